"""To the model's space, and home: the estimate on the grid that was asked for."""

from collections.abc import Generator

import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_mri7t.engine.boxes import bounding_box
from napari_mri7t.engine.preparation.raw_scan import Prepared
from napari_mri7t.engine.preparation.resampling import CUBIC, LINEAR, resample
from napari_mri7t.engine.volume import Volume

MODEL_SHAPE = (182, 218, 182)  # FSL's MNI152 grid of 1 mm, on which the models were trained
MODEL_ORIGIN_MM = (-91.0, -126.0, -72.0)  # of the voxel (0, 0, 0), turned to RAS+
COVERED = 0.999  # of the interpolation's weight from within the field of view
SEAM_MM = 3.0  # inside the brain's edge, over which the scan goes over into the estimate


def model_grid() -> Volume:
    """Make the empty grid of the models' space: 1 mm, MNI, RAS+."""
    affine = np.eye(4)
    affine[:3, 3] = MODEL_ORIGIN_MM
    return Volume(np.zeros(MODEL_SHAPE, np.float32), affine, name="MNI152")


def to_model_space(prepared: Prepared) -> Generator[str, None, tuple[Volume, np.ndarray, Volume]]:
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


def from_model_space(estimate: Volume, prepared: Prepared) -> np.ndarray:
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


def join(scan: Volume, estimate: np.ndarray, mask: np.ndarray, outside: str = "scan") -> np.ndarray:
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
