"""Any T1w scan in, its 7T-like estimate on the grid that was asked for out: the whole way."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from napari_mri7t.engine.domain import check_domain
from napari_mri7t.engine.networks.model import Model
from napari_mri7t.engine.preparation.native import (
    PreparationProgress,
    in_background,
    library_versions,
)
from napari_mri7t.engine.preparation.raw_scan import PreparationConfig, Prepared, prepare_scan
from napari_mri7t.engine.preparation.recognition import check_resolution
from napari_mri7t.engine.preparation.ways_back import from_model_space, join, to_model_space
from napari_mri7t.engine.progress import run_to_end, with_records
from napari_mri7t.engine.provenance import file_digest, voxel_digest
from napari_mri7t.engine.scan_distance import distance_in_words, doubts
from napari_mri7t.engine.synthesis import Synthesis, SynthesisProgress, synthesize
from napari_mri7t.engine.synthesis_config import SynthesisConfig
from napari_mri7t.engine.volume import Volume

RawProgress = PreparationProgress | SynthesisProgress
JOINING = SynthesisProgress(1, 1, "into the scan")

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class RawSynthesis:
    """A finished run: the estimate where it was asked for, and what led to it.

    Attributes
    ----------
    synthesis : Synthesis
        Its volume lies on the grid asked for; its settings hold the preparation's facts.
    prepared : Prepared or None
        None where the scan went to the model as it is.
    """

    synthesis: Synthesis
    prepared: Prepared | None


def synthesize_scan(
    scan: Volume,
    model: Model,
    config: SynthesisConfig,
    preparation: PreparationConfig,
) -> Generator[RawProgress, None, RawSynthesis]:
    """Prepare a scan, synthesise its 7T-like estimate, and bring it back.

    Parameters
    ----------
    scan : Volume
        T1w, as it comes from the scanner or prepared in part.
    model : Model
    config : SynthesisConfig
    preparation : PreparationConfig

    Yields
    ------
    PreparationProgress, then SynthesisProgress
        Closing the generator cancels.

    Returns
    -------
    RawSynthesis
        In the scan's own range of intensities.

    Raises
    ------
    VolumeError
        If the scan is too coarse, its brain implausible, or its registration fails.
    Mri7tError
        If a library of the extra `native` is needed and missing.
    DeviceError
        As `synthesize`.
    """
    notes = check_resolution(scan, allowed=preparation.allow_out_of_domain)
    prepared = yield from prepare_scan(scan, preparation)
    if prepared is None:
        synthesis = yield from synthesize(scan, model, config)
        return RawSynthesis(replace(synthesis, warnings=(*notes, *synthesis.warnings)), None)
    words = yield from _meanwhile(
        lambda: distance_in_words(prepared, model.card), SynthesisProgress(0, 1, "how far it lies")
    )
    facts = prepared.facts | _asked_for(preparation, scan) | {"distance": list(words)}
    if preparation.space == "native" and preparation.way == "grid":
        synthesis = yield from _on_own_grid(prepared, model, config, preparation)
    else:
        synthesis = yield from _in_model_space(prepared, model, config, preparation)
    settings = synthesis.settings | {"preparation": facts}
    warnings = (*notes, *doubts(prepared), *synthesis.warnings)
    return RawSynthesis(replace(synthesis, settings=settings, warnings=warnings), prepared)


def _asked_for(preparation: PreparationConfig, scan: Volume) -> dict[str, Any]:
    """List what decides the voxels, for the sidecar: a file by its name and digest."""
    asked: dict[str, Any] = {
        name: getattr(preparation, name) for name in ("prepare", "space", "way", "outside")
    }
    for name in ("mask", "transform"):
        own = getattr(preparation, name)
        if isinstance(own, Path):
            asked[name] = {"File": own.name, "SHA256": file_digest(own)}
        elif own is not None:
            on_grid = scan.with_array(own.array > 0)  # as a repetition reads it from a file
            asked[name] = {"Name": own.name, "VoxelsSHA256": voxel_digest(on_grid)}
    return asked | {"threads": torch.get_num_threads(), "libraries": library_versions()}


def _meanwhile(
    work: Callable[[], Result], now: RawProgress
) -> Generator[RawProgress, None, Result]:
    """Do what takes a second or more without a break, so that a cancel need not wait for it."""
    return (yield from with_records(in_background(work), lambda _: now))


def _on_own_grid(
    prepared: Prepared, model: Model, config: SynthesisConfig, preparation: PreparationConfig
) -> Generator[RawProgress, None, Synthesis]:
    synthesis = yield from synthesize(prepared.brain, model, config)
    estimate = synthesis.volume.array
    joined = yield from _meanwhile(
        lambda: join(prepared.scan, estimate, prepared.mask, preparation.outside), JOINING
    )
    return replace(synthesis, volume=synthesis.volume.with_array(joined))


def _in_model_space(
    prepared: Prepared, model: Model, config: SynthesisConfig, preparation: PreparationConfig
) -> Generator[RawProgress, None, Synthesis]:
    moving = SynthesisProgress(0, 1, "to MNI space")
    steps = to_model_space(prepared)
    brain, mask, around = yield from _meanwhile(lambda: run_to_end(steps), moving)
    synthesis = yield from synthesize(brain, model, config)
    estimate = synthesis.volume.array
    if preparation.space == "mni":
        # Around an extracted brain, resampling leaves traces that are no scan to go over into.
        shown = ((prepared.scan.array != 0) & ~prepared.mask).any()
        outside = preparation.outside if shown else "zero"
        joined = yield from _meanwhile(lambda: join(around, estimate, mask, outside), JOINING)
        volume = brain.with_array(joined, name=synthesis.volume.name)
    else:
        whole = brain.with_array(np.where(mask, estimate, around.array))

        def back() -> np.ndarray:
            found = from_model_space(whole, prepared)
            return join(prepared.scan, found, prepared.mask, preparation.outside)

        home = yield from _meanwhile(back, JOINING)
        volume = prepared.scan.with_array(home, name=synthesis.volume.name)
    notes = (*check_domain(prepared.brain, model.card), *synthesis.warnings)
    return replace(synthesis, volume=volume, warnings=tuple(dict.fromkeys(notes)))
