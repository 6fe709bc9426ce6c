"""A small picture by which a person recognises a scan in a list."""

import numpy as np

from napari_mri7t.engine.volumes.grids import LINEAR, resample, upright_grid
from napari_mri7t.engine.volumes.volume import Volume

PIXEL_MM = 2.0
BELOW_TOP_MM = 65.0  # from the crown to the ventricles, with or without the skull
LEAST_SHARE = 0.02  # of a slice's voxels are bright where the head begins
BRIGHTEST_PERCENT = 99.5


def thumbnail(volume: Volume) -> np.ndarray:
    """Return an axial slice through the ventricles, seen from above, anterior up.

    Parameters
    ----------
    volume : Volume
        A head or a brain, in any orientation; of a slab that is lower, the middle is shown.

    Returns
    -------
    ndarray of uint8, shape (height, width)
        Pixels of 2 mm, 0 to 255; right is right.

    Examples
    --------
    >>> from napari_mri7t.engine.volumes.template import load_template
    >>> thumbnail(load_template()).shape
    (117, 99)
    """
    corners = _corners_mm(volume)
    height = _height_mm(volume, corners)
    corners[:, 2] = height
    plane = resample(volume, upright_grid(corners, PIXEL_MM), order=LINEAR)[:, :, 0]  # (R, A)
    low = float(plane.min())
    bright = plane[plane > low]
    high = float(np.percentile(bright, BRIGHTEST_PERCENT)) if bright.size else low + 1
    grey = 255 * ((plane - low) / max(high - low, float(np.finfo(np.float32).tiny))).clip(0, 1)
    return np.ascontiguousarray(grey.T[::-1].astype(np.uint8))


def _corners_mm(volume: Volume) -> np.ndarray:
    """Return the least and the greatest coordinate that a voxel has, shape (2, 3)."""
    ends = [(0, n - 1) for n in volume.shape]
    indices = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1)
    places = volume.affine[:3, :3] @ indices + volume.affine[:3, 3:]
    return np.stack([places.min(axis=1), places.max(axis=1)])


def _height_mm(volume: Volume, corners: np.ndarray) -> float:
    """Return the height of the slice: below the crown, or in the middle of what is imaged."""
    low, high = corners[:, 2]
    upright = np.argmax(np.abs(volume.affine[2, :3]))  # the voxel axis nearest to the height
    is_bright = np.moveaxis(volume.array > volume.array.mean(), upright, 0)
    share = is_bright.reshape(len(is_bright), -1).mean(axis=1)
    inside = np.flatnonzero(share > LEAST_SHARE)
    if not inside.size:
        return float(low + high) / 2
    heights = low + inside / max(1, len(share) - 1) * (high - low)
    if volume.affine[2, upright] < 0:
        heights = low + high - heights
    top, bottom = heights.max(), heights.min()
    wanted = top - BELOW_TOP_MM
    return float(wanted if wanted > bottom else (top + bottom) / 2)
