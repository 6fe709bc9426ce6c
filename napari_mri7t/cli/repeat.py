"""`mri7t repeat`: a synthesis or a simulation made again from its sidecar, and compared."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_mri7t.cli.console import drive, refuse_targets, warn
from napari_mri7t.cli.options import Overwrite

if TYPE_CHECKING:
    from napari_mri7t.engine.volumes.volume import Volume
    from napari_mri7t.engine.workflows.repeat import SidecarRecord, SourcePaths


def repeat(
    sidecar: Annotated[
        Path, typer.Argument(metavar="SIDECAR", help="The .json beside a synthetic image.")
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="What went in: the 3T volume, or simulate's 7T.",
            show_default="of its name, beside SIDECAR",
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="simulate's reference.", show_default="as for --input")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Your brain mask of then.", show_default="as for --input")
    ] = None,
    transform: Annotated[
        Path | None, typer.Option(help="Your transform of then.", show_default="as for --input")
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
    overwrite: Overwrite = False,
) -> None:
    """Make the image of SIDECAR again from the same input with the same settings, and compare bits.

    What was prepared first is prepared again; what `simulate` made is simulated again.

    Exit code 0 says that every bit is equal.
    """
    if output is not None:
        refuse_targets([output], overwrite=overwrite)

    from napari_mri7t.engine.errors import Mri7tError
    from napari_mri7t.engine.volumes.provenance import NOTICE
    from napari_mri7t.engine.volumes.volume import load_volume, save_volume
    from napari_mri7t.engine.workflows.repeat import (
        SourcePaths,
        compare_bits,
        find_image,
        read_record,
    )

    recipe = read_record(sidecar, device)
    image = find_image(recipe)
    places = SourcePaths(source, reference, mask, transform, model)
    warn(recipe.other_versions)
    again, facts, run = (_simulate if recipe.simulation else _synthesize)(recipe, places)
    if output is not None:
        save_volume(again, output, overwrite=overwrite, sidecar=facts)
        typer.echo(f"{output}: written")
        typer.echo(NOTICE)
    found = compare_bits(load_volume(image), again)
    if found.is_equal:
        typer.echo(f"{image}: repeated with {run}: equal, bit for bit")
        return
    place = "" if found.same_place else ", and lies elsewhere"
    raise Mri7tError(
        f"{image}: repeated with {run}: differs in {found.n_differing} of {again.array.size} "
        f"voxels, by up to {found.largest:.3g}{place}: the image was changed since, or computed "
        "with other versions or on other hardware"
    )


def _synthesize(
    recipe: "SidecarRecord", places: "SourcePaths"
) -> tuple["Volume", dict[str, Any], str]:
    """Give the image again, its sidecar, and with what it was made."""
    from napari_mri7t.engine.synthesis.synthesize import synthesis_sidecar
    from napari_mri7t.engine.workflows import repeat
    from napari_mri7t.engine.workflows.repeat import find_same_model

    (scan,) = repeat.find_sources(recipe, places)
    model = find_same_model(recipe, places.model)
    preparation = repeat.find_preparation(recipe, scan, places)
    steps = repeat.repeat_synthesis(recipe, scan, model, preparation)
    result = drive(steps, "again").synthesis
    run = f"{model.name} on {result.device} in {result.precision}"
    return result.volume, synthesis_sidecar(scan, model, result), run


def _simulate(
    recipe: "SidecarRecord", places: "SourcePaths"
) -> tuple["Volume", dict[str, Any], str]:
    """Give the image again, its sidecar, and with what it was made."""
    from napari_mri7t.engine.simulation.pseudo_3t import simulation_sidecar
    from napari_mri7t.engine.workflows import repeat

    sources = repeat.find_sources(recipe, places)
    again, config = repeat.repeat_simulation(recipe, sources)
    return again, simulation_sidecar(sources, config, recipe.image), f"seed {config.seed}"
