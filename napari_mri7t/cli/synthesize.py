"""`mri7t synthesize`: a 3T volume in, a synthetic 7T out."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mri7t.cli.console import drive, refuse_targets, warn


def synthesize(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="3T volume, NIfTI, brain-extracted.")
    ],
    output: Annotated[Path, typer.Argument(help="Where the synthetic 7T goes, .nii or .nii.gz.")],
    model: Annotated[
        str | None, typer.Option(help="Name (`mri7t models` lists them) or folder of a model.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps ... [default: auto].")
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            help="Slices from one input of the network to the next: 1 averages, 3 is fast."
        ),
    ] = None,
    end_slices: Annotated[
        int | None, typer.Option(help="Slices at either end left as they are in the 3T.")
    ] = None,
    index: Annotated[int | None, typer.Option(help="Which volume of a 4-D file, from 0.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUTPUT.")] = False,
) -> None:
    """Turn INPUT into a 7T-like volume on the same grid, with a JSON sidecar beside it."""
