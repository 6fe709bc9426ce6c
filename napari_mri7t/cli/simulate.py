"""`mri7t simulate`: a pseudo-3T from a 7T volume."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mri7t.cli.console import given, refuse_targets, warn
from napari_mri7t.cli.options import Index, Overwrite, Reference


def simulate(
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="7T volume, NIfTI, brain-extracted.")
    ],
    source_out: Annotated[
        Path,
        typer.Argument(metavar="SOURCE_OUT", help="Where the pseudo-3T goes, .nii or .nii.gz."),
    ],
    reference: Reference = None,
    target_out: Annotated[
        Path | None, typer.Option(help="Where the 7T with that histogram goes.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="report: Gaussian noise; realistic: contrast, resolution, shading, Rician noise.",
            show_default="report",
        ),
    ] = None,
    variance: Annotated[
        float | None,
        typer.Option(
            help="Of the report's noise, where the 7T fills 0 to 1.", show_default="the report's"
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is random.", show_default="0")] = (
        None
    ),
    index: Index = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a pseudo-3T of TARGET, as the report did or closer to what scanners give."""
    outputs = [source_out] if target_out is None else [source_out, target_out]
    refuse_targets(outputs, overwrite=overwrite)

    from napari_mri7t.engine.datasets.bids import load_scan
    from napari_mri7t.engine.simulation.pseudo_3t import (
        PAIR,
        SimulationConfig,
        simulate_3t,
        simulation_sidecar,
    )
    from napari_mri7t.engine.volumes.provenance import NOTICE
    from napari_mri7t.engine.volumes.volume import save_volume

    config = given(SimulationConfig(), variance=variance, seed=seed, preset=preset)
    inputs = [load_scan(path, index) for path in (target, reference) if path is not None]
    for volume in inputs:
        warn(f"{volume.name}: {note}" for note in volume.warnings)
    made = simulate_3t(inputs[0], reference=None if reference is None else inputs[1], config=config)
    for volume, path, image in zip(made, outputs, PAIR, strict=False):
        facts = simulation_sidecar(inputs, config, image)
        save_volume(volume, path, overwrite=overwrite, sidecar=facts)
        typer.echo(f"{path}: written")
    typer.echo(NOTICE)
