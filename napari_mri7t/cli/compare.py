"""`mri7t compare`: score an estimate against its reference."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from napari_mri7t.cli.console import option_of, say, warn
from napari_mri7t.cli.options import Index


def compare(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="The real volume.")],
    estimate: Annotated[
        Path, typer.Argument(metavar="ESTIMATE", help="The volume to score, on the same grid.")
    ],
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Brain mask: voxels above 0.", show_default="REFERENCE without its background"
        ),
    ] = None,
    data_range: Annotated[
        float | None,
        typer.Option(
            help="Data range of the intensities, on which PSNR and SSIM depend.",
            show_default="1 for a REFERENCE in 0 to 1, otherwise its own",
        ),
    ] = None,
    index: Index = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score an estimate against its reference.

    MAE, PSNR (dB) and SSIM of the whole volume and inside the brain; inside the brain also fine
    detail (3-D SSIM, HFEN, gradients), the contrast of grey and white matter (CNR, CJV), and
    whether the error follows the anatomy (it should not).
    """
    from napari_mri7t.engine.datasets.bids import load_scan
    from napari_mri7t.engine.metrics.inspection import (
        find_data_range,
        range_complaint,
        reference_doubts,
    )
    from napari_mri7t.engine.metrics.scoring import flatten, score
    from napari_mri7t.engine.texts import to_json

    real, scored = load_scan(reference, index), load_scan(estimate, index)
    brain = None if mask is None else load_scan(mask, index)
    for volume in filter(None, (real, scored, brain)):
        warn([f"{volume.name}: {text}" for text in volume.warnings])
    span, how = find_data_range(real, data_range)
    complaint = range_complaint(real, scored, data_range)
    if complaint is not None:
        is_of_range = "data range" in complaint
        warn([complaint + (option_of("data_range") if is_of_range else "")])
    warn(reference_doubts(real, brain))
    scores = score(real, scored, mask=brain, data_range=span)
    if as_json:
        about = {"data_range": {"span": span, "from": how}}
        say(*to_json(scores | about).split("\n"))
    else:
        say(*scores_table(scores), "", *detail_table(flatten(scores)))
        say("", f"Data range {span:g}: {how}.")


def detail_table(figures: Mapping[str, float]) -> list[str]:
    """Return the lines of the scores that `scores_table` leaves out, one each."""
    from napari_mri7t.engine.metrics.scoring import METRICS

    shown = ("mae", "psnr", "ssim")
    return [
        f"{metric.label:<40}{figures[key]:>10.5f} {metric.unit}".rstrip()
        for key, metric in METRICS.items()
        if key.partition("_")[2] not in shown
    ]


def scores_table(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return scores as the lines of a small table, one row per region or per volume."""
    lines = [f"{'':<14}{'MAE':>10}{'PSNR, dB':>10}{'SSIM':>10}"]
    lines += [
        f"{row:<14}{cells['mae']:>10.6f}{cells['psnr']:>10.4f}{cells['ssim']:>10.5f}"
        for row, cells in scores.items()
    ]
    return lines
