"""`mri7t synthesize`: a 3T volume in, a synthetic 7T out."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mri7t.cli.console import drive, given, refuse_targets, warn
from napari_mri7t.cli.options import Device, Index, Model, Overwrite, Step
from napari_mri7t.engine.synthesis.config import SynthesisConfig


def synthesize(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="3T volume, NIfTI; raw or prepared.")
    ],
    output: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT", help="Where the synthetic 7T goes, .nii or .nii.gz."),
    ],
    model: Model = None,
    device: Device = SynthesisConfig.device,
    step: Step = SynthesisConfig.step,
    end_slices: Annotated[
        int, typer.Option(help="Slices at either end left as they are.")
    ] = SynthesisConfig.end_slices,
    index: Index = None,
    prepare: Annotated[
        str | None,
        typer.Option(
            help="auto: extract the brain, correct the bias field and register where the scan "
            "needs it; none: take it as it is; full: every step.",
            show_default="auto",
        ),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Your brain mask on INPUT's grid, in place of ours.")
    ] = None,
    transform: Annotated[
        Path | None,
        typer.Option(help="Your transform to MNI space: ITK's, or a 4 x 4 matrix in RAS mm."),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="Grid of OUTPUT: native, INPUT's own; mni, 1 mm in MNI space.",
            show_default="native",
        ),
    ] = None,
    way: Annotated[
        str | None,
        typer.Option(
            help="To native: grid, on INPUT's own voxels; model, over 1 mm in MNI space.",
            show_default="grid",
        ),
    ] = None,
    outside: Annotated[
        str | None,
        typer.Option(help="Outside the brain: scan, as it was; zero.", show_default="scan"),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep mask, bias field, transform and a quality page there; a second run takes "
            "them from there.",
        ),
    ] = None,
    allow_out_of_domain: Annotated[
        bool, typer.Option("--allow-out-of-domain", help="Go on with a scan that is too coarse.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn INPUT into a 7T-like volume on the same grid, with a JSON sidecar beside it.

    INPUT may be any T1w scan of an adult's head. What it needs is done first, for which the extra
    `native` must be installed; a brain that is extracted, of 1 mm and in MNI space needs nothing.
    """
    refuse_targets([output], overwrite=overwrite)

    from napari_mri7t.engine.models.card import DEFAULT_MODEL
    from napari_mri7t.engine.models.model import load_model
    from napari_mri7t.engine.preparation.prepare import PreparationConfig
    from napari_mri7t.engine.synthesis.scan import synthesize
    from napari_mri7t.engine.synthesis.synthesize import synthesis_sidecar
    from napari_mri7t.engine.volumes.provenance import NOTICE
    from napari_mri7t.engine.volumes.volume import load_volume, save_volume

    config = SynthesisConfig(device=device, step=step, end_slices=end_slices)
    preparation = given(
        PreparationConfig(allow_out_of_domain=allow_out_of_domain),
        prepare=prepare, mask=mask, transform=transform, space=space, way=way, outside=outside,
        keep=keep,
    )  # fmt: skip
    volume = load_volume(source, index=index)
    warn(volume.warnings)
    trained = load_model(model or DEFAULT_MODEL)
    run = drive(synthesize(volume, trained, config, preparation), "synthetic 7T")
    result = run.synthesis
    warn(result.warnings)
    for text in result.settings.get("preparation", {}).get("distance", ()):
        typer.echo(f"{volume.name}: {text}")
    facts = synthesis_sidecar(volume, trained, result)
    save_volume(result.volume, output, overwrite=overwrite, sidecar=facts)
    if keep is not None and run.prepared is not None:
        from napari_mri7t.engine.report.quality_page import write_quality_page

        page = keep / f"{volume.name}_quality.png"
        write_quality_page(run.prepared, result.volume, trained.card, page)
        typer.echo(f"{page}: look at it before you trust the result")
    typer.echo(f"{output}: {trained.name} on {result.device}, {result.seconds:.1f} s")
    typer.echo(NOTICE)
