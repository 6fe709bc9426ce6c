"""`mri7t repeat`: repeat what a sidecar describes, and compare."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mri7t.cli.console import progress_bar, refuse_targets, say
from napari_mri7t.cli.options import Overwrite


def repeat(
    sidecar: Annotated[
        Path, typer.Argument(metavar="SIDECAR", help="The .json beside a synthetic image.")
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="The original input: the 3T volume, or the 7T of `simulate`.",
            show_default="beside SIDECAR, by its name",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Reference of `simulate`; the 7T scan of `pair`.", show_default="as for --input"
        ),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Your original brain mask.", show_default="as for --input")
    ] = None,
    transform: Annotated[
        Path | None, typer.Option(help="Your original transform.", show_default="as for --input")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the original files are found, by name and SHA-256, in subfolders too.",
            show_default="beside SIDECAR",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to save the repetition.", show_default="not written")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Name or folder.", show_default="the one with the recorded SHA-256"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, mps.", show_default="the recorded one")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Recompute an image from its sidecar, and compare bit for bit.

    The same input and settings are used. Preparation steps are repeated as well; an image of
    `simulate` is simulated again.

    The exit code is 0 if every bit is equal.
    """
    if output is not None:
        refuse_targets([output], overwrite=overwrite)

    from napari_mri7t.engine.errors import Mri7tError
    from napari_mri7t.engine.volumes.provenance import NOTICE
    from napari_mri7t.engine.workflows.repeat import repeat as repeat_image
    from napari_mri7t.engine.workflows.repetition import SourcePaths

    paths = SourcePaths(source, reference, mask, transform, folder)
    with progress_bar("again") as report:
        found = repeat_image(sidecar, model=model, sources=paths, device=device, report=report)
    if output is not None:
        found.save(output, overwrite=overwrite)
        say(f"{output}: written")
        say(NOTICE)
    if found.is_equal:
        say(f"{found.image}: repeated with {found.made_with}: equal, bit for bit")
        return
    place = "" if found.same_place else ", and has a different affine"
    raise Mri7tError(
        f"{found.image}: repeated with {found.made_with}: differs in {found.n_differing} of "
        f"{found.again.array.size} voxels, by up to {found.largest:.3g}{place}: the image has "
        "changed since, or was computed with other versions or on other hardware"
    )
