"""`mri7t repeat`: a synthesis made again from its sidecar, and compared."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mri7t.cli.console import drive, refuse_targets, warn


def repeat(
    sidecar: Annotated[
        Path, typer.Argument(metavar="SIDECAR", help="The .json beside a synthetic 7T.")
    ],
    source: Annotated[
        Path | None,
        typer.Option("--input", help="The 3T volume.", show_default="of its name, beside SIDECAR"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where the repetition goes.", show_default="nowhere")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Name or folder.", show_default="the one with the recorded SHA-256"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, mps.", show_default="the recorded one")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist.")
    ] = False,
) -> None:
    """Make the image of SIDECAR again with the same input, model and settings, and compare bits.

    Exit code 0 says that every bit is equal.
    """
    if output is not None:
        refuse_targets([output], overwrite=overwrite)

    from napari_mri7t.engine import repetition
    from napari_mri7t.engine.errors import Mri7tError
    from napari_mri7t.engine.synthesis_sidecar import synthesis_sidecar
    from napari_mri7t.engine.volume import load_volume, save_volume

    recipe = repetition.read_recipe(sidecar, device)
    image = repetition.find_image(recipe)
    volume = repetition.find_source(recipe, source)
    trained = repetition.find_same_model(recipe, model)
    warn(recipe.other_versions)
    result = drive(repetition.repeat_synthesis(recipe, volume, trained), "again")
    if output is not None:
        facts = synthesis_sidecar(volume, trained, result)
        save_volume(result.volume, output, overwrite=overwrite, sidecar=facts)
        typer.echo(f"{output}: written")
    found = repetition.compare_bits(load_volume(image), result.volume)
    run = f"{trained.name} on {result.device} in {result.precision}"
    if found.is_equal:
        typer.echo(f"{image}: repeated with {run}: equal, bit for bit")
        return
    place = "" if found.same_place else ", and lies elsewhere"
    raise Mri7tError(
        f"{image}: repeated with {run}: differs in {found.n_differing} of "
        f"{result.volume.array.size} voxels, by up to {found.largest:.3g}{place}: the image was "
        "changed since, or computed with other versions or on other hardware"
    )
