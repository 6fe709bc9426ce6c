"""The estimate of the brain in its scan: a smooth seam, and exactly the scan outside."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_mri7t.engine.volumes.grids import bounding_box
from napari_mri7t.engine.volumes.volume import Volume

SEAM_MM = 3.0  # inside the brain's edge, where the scan blends into the estimate


def blend(
    scan: Volume, estimate: np.ndarray, mask: np.ndarray, background: str = "scan"
) -> np.ndarray:
    """Merge the estimate of the brain into its scan.

    Parameters
    ----------
    scan : Volume
        As loaded.
    estimate : ndarray, shape (I, J, K)
    mask : ndarray of bool, shape (I, J, K)
        The brain.
    background : {"scan", "zero"}
        What the result shows outside the mask. The scan blends smoothly into the estimate within
        3 mm of what it shows outside; where it shows nothing, as around an extracted brain, and
        with "zero", the estimate reaches the edge.

    Returns
    -------
    ndarray of float32, shape (I, J, K)
        Exactly the scan, or 0, outside the mask.
    """
    return merge(scan.array, estimate, mask, seam_of(scan, mask, background), background)


def seam_of(scan: Volume, mask: np.ndarray, background: str = "scan") -> np.ndarray | None:
    """Return the weight of an estimate that blends into its scan; None where none blends.

    Parameters
    ----------
    scan, mask, background
        As for `blend`.

    Returns
    -------
    ndarray of float32, shape (I, J, K), or None
        0 outside the mask.
    """
    around = (scan.array != 0) & ~mask
    if background == "zero" or not around.any():
        return None
    box = bounding_box(mask, round(SEAM_MM / min(scan.voxel_size)))
    weight = np.zeros(mask.shape, np.float32)
    weight[box] = seam_weight(~around[box], scan.voxel_size) * mask[box]
    return weight


def merge(
    scan: np.ndarray,
    estimate: np.ndarray,
    mask: np.ndarray,
    seam: np.ndarray | None,
    background: str = "scan",
) -> np.ndarray:
    """Merge an estimate, or a part of it, with the weight of `seam_of`; as `blend`."""
    if seam is None:
        return np.where(mask, estimate, 0 if background == "zero" else scan)
    merged: np.ndarray = estimate - scan
    merged *= seam
    merged += scan
    return merged


def seam_weight(mask: np.ndarray, voxel_size: tuple[float, float, float]) -> np.ndarray:
    """Return weights that rise smoothly from 0 outside a mask to 1 three mm inside; float32."""
    if mask.all():
        return np.ones(mask.shape, np.float32)
    depth = distance_transform_edt(mask, sampling=voxel_size).astype(np.float32)
    part = np.clip(depth / SEAM_MM, 0, 1)
    weight: np.ndarray = part * part * (3 - 2 * part)
    return weight
