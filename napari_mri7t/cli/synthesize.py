"""`mri7t synthesize`: a synthetic 7T from a 3T scan."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t.cli.console import given, progress_bar, refuse_targets, say, warn
from napari_mri7t.cli.options import (
    AllowOutOfDomain,
    Background,
    Device,
    EndSlices,
    Index,
    Keep,
    Model,
    NoiseFactor,
    Overwrite,
    Planes,
    Prepare,
    SeriesNumber,
    Space,
    Step,
    Via,
    computation,
)
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig

if TYPE_CHECKING:
    from napari_mri7t.engine.synthesis.synthesize import Synthesis


def synthesize(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="3T scan, T1w, raw or prepared.")],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="The synthetic 7T, .nii or .nii.gz.")
    ],
    model: Model = None,
    device: Device = SynthesisConfig.device,
    step: Step = SynthesisConfig.step,
    planes: Planes = "",
    end_slices: EndSlices = SynthesisConfig.end_slices,
    noise_factor: NoiseFactor = SynthesisConfig.noise_factor,
    index: Index = None,
    series: SeriesNumber = None,
    prepare: Prepare = None,
    mask: Annotated[
        Path | None, typer.Option(help="Your brain mask on INPUT's grid; replaces the extraction.")
    ] = None,
    transform: Annotated[
        Path | None,
        typer.Option(help="Your transform to MNI space: ITK's, or a 4 x 4 matrix in RAS+ mm."),
    ] = None,
    space: Space = OutputConfig.space,
    via: Via = OutputConfig.via,
    background: Background = OutputConfig.background,
    keep: Keep = None,
    uncertainty: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File, .nii or .nii.gz, for the uncertainty of each voxel: half the width of its "
            "90 % interval. For calibrated models: scan_unet and slice_unet.",
        ),
    ] = None,
    allow_out_of_domain: AllowOutOfDomain = False,
    overwrite: Overwrite = False,
) -> None:
    """Synthesise a 7T-like image of INPUT.

    INPUT may be any T1w scan of an adult head. It is prepared as needed, which requires the extra
    `native`; a brain-extracted scan at 1 mm in MNI space needs no preparation. OUTPUT and the
    file of --uncertainty get a JSON sidecar, the folder of --keep a quality page.
    """
    refuse_targets([p for p in (output, uncertainty) if p is not None], overwrite=overwrite)

    from napari_mri7t.engine.datasets.doubts import scan_doubts
    from napari_mri7t.engine.preparation.prepare import PreparationConfig
    from napari_mri7t.engine.synthesis.scan import synthesize
    from napari_mri7t.engine.volumes.provenance import NOTICE
    from napari_mri7t.engine.volumes.volume import load_volume

    config = computation(
        planes,
        device=device,
        step=step,
        end_slices=end_slices,
        noise_factor=noise_factor,
        uncertainty=uncertainty is not None,
    )
    goes_to = OutputConfig(space, via, background)
    preparation = given(
        PreparationConfig(allow_out_of_domain=allow_out_of_domain),
        prepare=prepare, mask=mask, transform=transform, keep=keep,
    )  # fmt: skip
    began = time.monotonic()
    scan = load_volume(source, index=index, series=series)
    told = (*scan.warnings, *scan_doubts(scan))
    warn(told)
    with progress_bar("synthetic 7T") as report:
        made = synthesize(scan, model, config, preparation, goes_to, report=report)
    seconds = time.monotonic() - began
    warn(text for text in made.warnings if text not in told)
    if step > made.settings["step"]:
        warn([f"step {step} became {made.settings['step']}: {made.model.name} needs every slice"])
    for text in made.settings.get("preparation", {}).get("distance", ()):
        say(f"{scan.name}: {text}")
    made.save(output, uncertainty, overwrite=overwrite)
    if keep is not None:
        _keep_page(made, keep)
    with_it = "" if made.prepared is None else " with the preparation"
    say(f"{output}: {made.model.name} on {made.device}, {seconds:.1f} s{with_it}")
    say(NOTICE)


def _keep_page(made: "Synthesis", keep: Path) -> None:
    """Draw the quality page beside what was kept of a preparation."""
    from napari_mri7t.engine.preparation.cache import open_cache
    from napari_mri7t.engine.report.quality_page import write_quality_page

    found = None if made.prepared is None else open_cache(made.prepared.scan, keep)
    if made.prepared is None or found is None:
        say(f"{keep}: nothing is kept, since the scan was not prepared")
        return
    keep.mkdir(parents=True, exist_ok=True)
    write_quality_page(made.prepared, made.volume, made.model.card, found.files.page)
    say(f"{found.files.page}: check it before you trust the result")
