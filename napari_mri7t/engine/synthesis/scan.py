"""Any T1w scan in, its 7T-like estimate on the grid that was asked for out: the whole way.

To the model's space, and home: the estimate on the grid that was asked for.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from napari_mri7t.engine.models.model import Model
from napari_mri7t.engine.preparation.checks import check_domain, check_resolution
from napari_mri7t.engine.preparation.optional import (
    PreparationProgress,
    in_background,
    library_versions,
)
from napari_mri7t.engine.preparation.prepare import PreparationConfig, Prepared, prepare
from napari_mri7t.engine.preparation.quality import describe_distance, registration_warnings
from napari_mri7t.engine.progress import run_to_end, with_records
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import Synthesis, SynthesisProgress, estimate
from napari_mri7t.engine.volumes.grids import CUBIC, LINEAR, bounding_box, resample
from napari_mri7t.engine.volumes.provenance import file_digest, voxel_digest
from napari_mri7t.engine.volumes.volume import Volume

MODEL_SHAPE = (182, 218, 182)  # FSL's MNI152 grid of 1 mm, on which the models were trained
MODEL_ORIGIN_MM = (-91.0, -126.0, -72.0)  # of the voxel (0, 0, 0), turned to RAS+
COVERED = 0.999  # of the interpolation's weight from within the field of view
SEAM_MM = 3.0  # inside the brain's edge, over which the scan goes over into the estimate
RawProgress = PreparationProgress | SynthesisProgress
JOINING = SynthesisProgress(1, 1, "into the scan")
Result = TypeVar("Result")


def model_grid() -> Volume:
    """Make the empty grid of the models' space: 1 mm, MNI, RAS+."""
    affine = np.eye(4)
    affine[:3, 3] = MODEL_ORIGIN_MM
    return Volume(np.zeros(MODEL_SHAPE, np.float32), affine, name="MNI152")


def to_mni(prepared: Prepared) -> Generator[str, None, tuple[Volume, np.ndarray, Volume]]:
    """Resample a prepared scan to the models' space.

    Parameters
    ----------
    prepared : Prepared

    Yields
    ------
    str
        What is being done.

    Returns
    -------
    brain : Volume
        0 outside the brain; no file's geometry.
    mask : ndarray of bool
    scan : Volume
        The scan with everything outside the brain.
    """
    grid = model_grid()
    yield "mask to MNI space"
    mask_volume = prepared.scan.with_array(prepared.mask)
    mask = resample(mask_volume, grid, prepared.to_mni, order=LINEAR) > 0.5
    yield "brain to MNI space"
    whole = resample(prepared.corrected, grid, prepared.to_mni, order=CUBIC)
    name = prepared.scan.name
    brain = Volume(np.where(mask, whole, 0), grid.affine, name)
    yield "scan to MNI space"
    scan = resample(prepared.scan, grid, prepared.to_mni, order=CUBIC)
    return brain, mask, Volume(scan, grid.affine, name)


def from_mni(estimate: Volume, prepared: Prepared) -> np.ndarray:
    """Resample an estimate in the models' space to the scan's own grid, by cubic splines.

    Parameters
    ----------
    estimate : Volume
        In MNI space, with the scan outside the brain: a hard edge would ring.
    prepared : Prepared

    Returns
    -------
    ndarray of float32, shape of the scan
        The corrected scan where the models' field of view ends.
    """
    home = np.linalg.inv(prepared.to_mni)
    found = resample(estimate, prepared.scan, home, order=CUBIC)
    everywhere = estimate.with_array(np.ones(estimate.shape))
    covered = resample(everywhere, prepared.scan, home, order=LINEAR) > COVERED
    return np.where(covered, found, prepared.corrected.array)


def blend(
    scan: Volume, estimate: np.ndarray, mask: np.ndarray, outside: str = "scan"
) -> np.ndarray:
    """Put the estimate of the brain into its scan.

    Parameters
    ----------
    scan : Volume
        As it came.
    estimate : ndarray, shape (I, J, K)
    mask : ndarray of bool, shape (I, J, K)
        The brain.
    outside : {"scan", "zero"}
        What stands outside the brain. The scan goes over into the estimate smoothly, within 3 mm
        of what it shows outside; where that is 0, as around an extracted brain, and where zeros
        are asked for, the estimate reaches the edge.

    Returns
    -------
    ndarray of float32, shape (I, J, K)
        Exactly the scan, or 0, outside the mask.
    """
    around = (scan.array != 0) & ~mask
    if outside == "zero" or not around.any():
        return np.where(mask, estimate, 0 if outside == "zero" else scan.array)
    joined = scan.array.copy()
    box = bounding_box(mask, round(SEAM_MM / min(scan.voxel_size)))
    weight = seam_weight(~around[box], scan.voxel_size) * mask[box]
    joined[box] += weight * (estimate[box] - joined[box])
    return joined


def seam_weight(mask: np.ndarray, voxel_size: tuple[float, float, float]) -> np.ndarray:
    """Rise smoothly from 0 outside a mask to 1 three mm within; float32."""
    if mask.all():
        return np.ones(mask.shape, np.float32)
    depth = distance_transform_edt(mask, sampling=voxel_size).astype(np.float32)
    part = np.clip(depth / SEAM_MM, 0, 1)
    weight: np.ndarray = part * part * (3 - 2 * part)
    return weight


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


def synthesize(
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
        As `estimate`.
    """
    notes = check_resolution(scan, allowed=preparation.allow_out_of_domain)
    prepared = yield from prepare(scan, preparation)
    if prepared is None:
        synthesis = yield from estimate(scan, model, config)
        return RawSynthesis(replace(synthesis, warnings=(*notes, *synthesis.warnings)), None)
    words = yield from _meanwhile(
        lambda: describe_distance(prepared, model.card), SynthesisProgress(0, 1, "how far it lies")
    )
    facts = prepared.facts | _asked_for(preparation, scan) | {"distance": list(words)}
    if preparation.space == "native" and preparation.way == "grid":
        synthesis = yield from _on_own_grid(prepared, model, config, preparation)
    else:
        synthesis = yield from _in_model_space(prepared, model, config, preparation)
    settings = synthesis.settings | {"preparation": facts}
    warnings = (*notes, *registration_warnings(prepared), *synthesis.warnings)
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
    synthesis = yield from estimate(prepared.brain, model, config)
    made = synthesis.volume.array
    joined = yield from _meanwhile(
        lambda: blend(prepared.scan, made, prepared.mask, preparation.outside), JOINING
    )
    return replace(synthesis, volume=synthesis.volume.with_array(joined))


def _in_model_space(
    prepared: Prepared, model: Model, config: SynthesisConfig, preparation: PreparationConfig
) -> Generator[RawProgress, None, Synthesis]:
    moving = SynthesisProgress(0, 1, "to MNI space")
    steps = to_mni(prepared)
    brain, mask, around = yield from _meanwhile(lambda: run_to_end(steps), moving)
    synthesis = yield from estimate(brain, model, config)
    made = synthesis.volume.array
    if preparation.space == "mni":
        # Around an extracted brain, resampling leaves traces that are no scan to go over into.
        shown = ((prepared.scan.array != 0) & ~prepared.mask).any()
        outside = preparation.outside if shown else "zero"
        joined = yield from _meanwhile(lambda: blend(around, made, mask, outside), JOINING)
        volume = brain.with_array(joined, name=synthesis.volume.name)
    else:
        whole = brain.with_array(np.where(mask, made, around.array))

        def back() -> np.ndarray:
            found = from_mni(whole, prepared)
            return blend(prepared.scan, found, prepared.mask, preparation.outside)

        home = yield from _meanwhile(back, JOINING)
        volume = prepared.scan.with_array(home, name=synthesis.volume.name)
    notes = (*check_domain(prepared.brain, model.card), *synthesis.warnings)
    return replace(synthesis, volume=volume, warnings=tuple(dict.fromkeys(notes)))
