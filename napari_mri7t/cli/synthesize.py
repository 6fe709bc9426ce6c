"""`mri7t synthesize`: a 3T volume in, a synthetic 7T out."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mri7t.cli.console import drive, given, refuse_targets, warn


def synthesize(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="3T volume, NIfTI, brain-extracted.")
    ],
    output: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT", help="Where the synthetic 7T goes, .nii or .nii.gz."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Name or folder; `mri7t models` lists names.",
            show_default="the one that `mri7t models` marks",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", show_default="auto")
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            help="Slices from one prediction to the next: 1 averages three, 3 is fast.",
            show_default="1",
        ),
    ] = None,
    end_slices: Annotated[
        int | None,
        typer.Option(help="Slices at either end left as they are.", show_default="0"),
    ] = None,
    index: Annotated[int | None, typer.Option(help="Which volume of a 4-D file, from 0.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist.")
    ] = False,
) -> None:
    """Turn INPUT into a 7T-like volume on the same grid, with a JSON sidecar beside it."""
    refuse_targets([output], overwrite=overwrite)

    from napari_mri7t.engine.cards import DEFAULT_MODEL
    from napari_mri7t.engine.networks.model import load_model
    from napari_mri7t.engine.provenance import NOTICE
    from napari_mri7t.engine.synthesis import SynthesisConfig
    from napari_mri7t.engine.synthesis import synthesize as steps_of
    from napari_mri7t.engine.synthesis_sidecar import synthesis_sidecar
    from napari_mri7t.engine.volume import load_volume, save_volume

    config = given(SynthesisConfig(), device=device, step=step, end_slices=end_slices)
    volume = load_volume(source, index=index)
    warn(volume.warnings)
    trained = load_model(model or DEFAULT_MODEL)
    result = drive(steps_of(volume, trained, config), "synthetic 7T")
    warn(result.warnings)
    facts = synthesis_sidecar(volume, trained, result)
    save_volume(result.volume, output, overwrite=overwrite, sidecar=facts)
    typer.echo(f"{output}: {trained.name} on {result.device}, {result.seconds:.1f} s")
    typer.echo(NOTICE)
