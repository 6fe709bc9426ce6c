"""`mri7t simulate`: a pseudo-3T from a 7T volume."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mri7t.cli.console import refuse_targets, warn


def simulate(
    target: Annotated[Path, typer.Argument(help="7T volume, NIfTI, brain-extracted.")],
    source_out: Annotated[Path, typer.Argument(help="Where the pseudo-3T goes, .nii or .nii.gz.")],
    reference: Annotated[
        Path | None,
        typer.Option(help="Volume whose histogram both get [default: the target's own]."),
    ] = None,
    target_out: Annotated[
        Path | None, typer.Option(help="Where the 7T with that histogram goes.")
    ] = None,
    variance: Annotated[
        float | None,
        typer.Option(
            help="Of the noise, where the 7T fills 0 to 1 [default: the report's, 0.003]."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the noise [default: 0].")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files.")] = False,
) -> None:
    """Make a pseudo-3T of TARGET: noise, then the histogram of a reference."""
