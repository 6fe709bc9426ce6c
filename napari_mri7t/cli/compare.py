"""`mri7t compare`: how close an estimate comes to its reference."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from napari_mri7t.cli.console import warn


def compare(
    reference: Annotated[Path, typer.Argument(help="The real volume, NIfTI.")],
    estimate: Annotated[Path, typer.Argument(help="The volume to score, on the same grid.")],
    mask: Annotated[
        Path | None,
        typer.Option(help="The brain: voxels above 0 [default: the reference's own]."),
    ] = None,
    data_range: Annotated[
        float | None,
        typer.Option(help="Span that intensities can take, never guessed [default: 1]."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score ESTIMATE against REFERENCE: MAE, PSNR (dB), SSIM; whole volume and inside the brain."""
    from napari_mri7t.engine.evaluation import metrics
    from napari_mri7t.engine.volume import load_volume

    real, scored = load_volume(reference), load_volume(estimate)
    brain = None if mask is None else load_volume(mask)
    if data_range is None:
        scores = metrics.compare(real, scored, mask=brain)
        if real.array.max() > 2:
            warn([f"{reference}: intensities reach {real.array.max():g}: give their --data-range"])
    else:
        scores = metrics.compare(real, scored, mask=brain, data_range=data_range)
    typer.echo(metrics.scores_to_json(scores) if as_json else scores_table(scores))


def scores_table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Set scores as a small table, one row per region or per volume."""
    lines = [f"{'':<14}{'MAE':>10}{'PSNR, dB':>10}{'SSIM':>10}"]
    lines += [
        f"{row:<14}{cells['mae']:>10.6f}{cells['psnr']:>10.4f}{cells['ssim']:>10.5f}"
        for row, cells in scores.items()
    ]
    return "\n".join(lines)
