"""`mri7t simulate`: simulate a 3T scan from a 7T volume."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mri7t.cli.console import given, progress_bar, refuse_targets, say, warn
from napari_mri7t.cli.options import Index, Overwrite, Reference
from napari_mri7t.engine.errors import Mri7tError


def simulate(
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="7T volume, NIfTI, brain-extracted.")
    ],
    source_out: Annotated[
        Path,
        typer.Argument(metavar="SOURCE_OUT", help="The pseudo-3T, .nii or .nii.gz."),
    ],
    reference: Reference = None,
    target_out: Annotated[
        Path | None, typer.Option(help="Where to save the histogram-matched 7T.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="report: Gaussian noise; realistic: contrast, resolution, shading, Rician noise; "
            "noise: Rician noise of random strength in random tones.",
            show_default="report",
        ),
    ] = None,
    variance: Annotated[
        float | None,
        typer.Option(
            help="Noise variance of the preset report, on intensities from 0 to 1.",
            show_default="0.003",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the random numbers.", show_default="0")
    ] = None,
    index: Index = None,
    overwrite: Overwrite = False,
) -> None:
    """Simulate a 3T scan from a 7T volume."""
    outputs = [source_out] if target_out is None else [source_out, target_out]
    refuse_targets(outputs, overwrite=overwrite)

    from napari_mri7t.engine.datasets.bids import load_scan
    from napari_mri7t.engine.datasets.field_strength import field_warnings
    from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
    from napari_mri7t.engine.volumes.provenance import NOTICE

    config = given(SimulationConfig(), variance=variance, seed=seed, preset=preset)
    if variance is not None and config.preset != SimulationConfig.preset:
        raise Mri7tError(f"variance is of the preset report; {config.preset} draws its own noise")
    inputs = [load_scan(path, index) for path in (target, reference) if path is not None]
    for volume in inputs:
        warn(f"{volume.name}: {note}" for note in volume.warnings)
    if config.preset != "noise":  # which serves scans of any field strength
        warn(f"{inputs[0].name}: {note}" for note in field_warnings(target, "7"))
    matched_to = None if reference is None else inputs[1]
    with progress_bar("pseudo-3T") as report:
        pair = simulate_3t(inputs[0], reference=matched_to, config=config, report=report)
    pair.save(source_out, target_out, overwrite=overwrite)
    for path in outputs:
        say(f"{path}: written")
    say(NOTICE)
