"""`mri7t simulate`: simulate a 3T scan from a 7T volume, or pairs from a folder of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t.cli.console import given, progress_bar, refuse_targets, say, warn
from napari_mri7t.cli.options import Index, Overwrite, Reference
from napari_mri7t.engine.errors import Mri7tError

if TYPE_CHECKING:
    from napari_mri7t.engine.simulation.pseudo_3t import SimulatedPair, SimulationConfig
    from napari_mri7t.engine.volumes.volume import Volume


def simulate(
    target: Annotated[
        Path,
        typer.Argument(metavar="TARGET", help="Brain-extracted 7T volume, or a folder of them."),
    ],
    source_out: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE_OUT",
            help="The pseudo-3T, .nii or .nii.gz; for a folder, the dataset of pairs for `train`.",
        ),
    ],
    reference: Reference = None,
    target_out: Annotated[
        Path | None, typer.Option(help="Where to save the histogram-matched 7T.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="report: Gaussian noise; realistic: contrast, resolution, shading, Rician noise; "
            "noise: Rician noise of random strength, random contrast.",
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
        int | None,
        typer.Option(
            help="Seed of the random numbers; each volume of a folder gets the next.",
            show_default="0",
        ),
    ] = None,
    index: Index = None,
    overwrite: Overwrite = False,
) -> None:
    """Simulate a 3T scan from a 7T volume, or a dataset of pairs from a folder of 7T volumes."""
    from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig
    from napari_mri7t.engine.volumes.files.streams import extension_of
    from napari_mri7t.engine.volumes.files.writing import OUTPUT_EXTENSIONS
    from napari_mri7t.engine.volumes.provenance import NOTICE

    config = given(SimulationConfig(), variance=variance, seed=seed, preset=preset)
    if variance is not None and config.preset != SimulationConfig.preset:
        raise Mri7tError(f"variance is of the preset report; {config.preset} draws its own noise")
    if target.is_dir() and extension_of(source_out) not in OUTPUT_EXTENSIONS:
        if target_out is not None or index is not None:
            raise Mri7tError(f"{target}: a folder takes neither --target-out nor --index")
        _simulate_folder(target, source_out, reference, config, overwrite=overwrite)
    else:
        outputs = [source_out] if target_out is None else [source_out, target_out]
        refuse_targets(outputs, overwrite=overwrite)
        pair = _simulate_volume(target, reference, index, config)
        pair.save(source_out, target_out, overwrite=overwrite)
        for path in outputs:
            say(f"{path}: written")
        if target_out is None and pair.inputs[0].array.max() > 1:
            say("It lies in 0 to 1; --target-out writes its 7T on that scale, to compare with.")
    say(NOTICE)


def _simulate_volume(
    target: Path, reference: Path | None, index: int | None, config: "SimulationConfig"
) -> "SimulatedPair":
    from napari_mri7t.engine.datasets.field_strength import field_warnings
    from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t

    inputs = [_load(path, index) for path in (target, reference) if path is not None]
    if config.preset != "noise":  # which serves scans of any field strength
        warn(f"{inputs[0].name}: {note}" for note in field_warnings(target, "7"))
    matched_to = None if reference is None else inputs[1]
    with progress_bar("pseudo-3T") as report:
        return simulate_3t(inputs[0], reference=matched_to, config=config, report=report)


def _simulate_folder(
    folder: Path,
    output: Path,
    reference: Path | None,
    config: "SimulationConfig",
    *,
    overwrite: bool,
) -> None:
    from napari_mri7t.engine.datasets.subjects import find_subjects
    from napari_mri7t.engine.workflows.simulate import simulate_dataset

    matched_to = None if reference is None else _load(reference, None)
    with progress_bar("pseudo-3T") as report:
        written = simulate_dataset(
            find_subjects(folder), output, reference=matched_to, config=config,
            overwrite=overwrite, report=report,
        )  # fmt: skip
    n_pairs = len(written) // 2
    say(f"{output}: {n_pairs} pair{'s' * (n_pairs != 1)} written")


def _load(path: Path, index: int | None) -> "Volume":
    from napari_mri7t.engine.datasets.bids import load_scan

    volume = load_scan(path, index)
    warn(f"{volume.name}: {note}" for note in volume.warnings)
    return volume
