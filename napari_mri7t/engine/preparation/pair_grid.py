"""The grid of a pair of scans, and both scans on it: each is interpolated once."""

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter

from napari_mri7t.engine.preparation.checks import MODEL_VOXEL_MM
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.volumes.grids import (
    CUBIC,
    FWHM_PER_SIGMA,
    LINEAR,
    bounding_box_mm,
    resample,
    upright_grid,
)
from napari_mri7t.engine.volumes.template import model_grid
from napari_mri7t.engine.volumes.volume import Volume

BOX_MARGIN_MM = 10.0
LEAST_SIGNAL = 1e-4  # of the brightest: what the interpolation may leave in the brain


def grid_in_words(grid: str | float) -> str:
    """Return where the pair lies, as a phrase."""
    words = {"mni": f"on {MODEL_VOXEL_MM:g} mm in MNI space", "7t": "on the 7T's own grid"}
    return words.get(str(grid), f"on {grid} mm around the 7T brain")


def grid_of(grid: str | float, target: Prepared) -> tuple[Volume, np.ndarray]:
    """Return the grid of a pair, empty, and the transform from mm of the 7T to it.

    Parameters
    ----------
    grid : str or float
        As in `PairConfig`.
    target : Prepared
        The 7T.
    """
    if grid == "mni":
        return model_grid(), target.to_mni
    if grid == "7t":
        return Volume(np.zeros(target.scan.shape, np.float32), target.scan.affine), np.eye(4)
    corners = bounding_box_mm(target.mask, target.scan.affine, BOX_MARGIN_MM)
    return upright_grid(corners, float(grid)), np.eye(4)


def on_grid(
    sides: tuple[Prepared, Prepared], grid: Volume, transforms: tuple[np.ndarray, np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return both corrected scans and both masks on a grid: the one interpolation of a pair.

    A scan whose voxels are finer than the grid's is smoothed first, to the grid's resolution. One
    that is 0 around the brain is continued there, so that the rim of the brain stays bright.

    Parameters
    ----------
    sides : tuple of Prepared
        3T and 7T.
    grid : Volume
    transforms : tuple of ndarray, shape (4, 4)
        mm of each scan to mm of the grid.
    """
    made, masks = [], []
    for side, transform in zip(sides, transforms, strict=True):
        scan = side.corrected
        is_there = np.array_equal(transform @ scan.affine, grid.affine)
        if is_there and scan.shape == grid.shape:
            made.append(scan.array)
            masks.append(side.mask)
            continue
        smooth = _smoothed(continued(scan, side.mask), grid, transform)
        made.append(resample(smooth, grid, transform, order=CUBIC))
        mask = side.scan.with_array(side.mask)
        masks.append(resample(mask, grid, transform, order=LINEAR) > 0.5)
    return made, masks


def continued(scan: Volume, mask: np.ndarray) -> Volume:
    """Give the empty voxels around a brain the value of the nearest one in it.

    Interpolation then does not darken its rim.

    Parameters
    ----------
    scan : Volume
    mask : ndarray of bool, shape of the scan

    Returns
    -------
    Volume
        The scan itself where tissue surrounds the brain, as in a head.
    """
    rim = binary_dilation(mask) & ~mask
    if np.count_nonzero(scan.array[rim]) > rim.sum() / 2:
        return scan  # a head: its own tissue surrounds the brain
    nearest = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return scan.with_array(np.where(scan.array == 0, scan.array[tuple(nearest)], scan.array))


def _smoothed(scan: Volume, grid: Volume, transform: np.ndarray) -> Volume:
    """Smooth a scan along the axes whose voxels are finer than the grid's, against aliasing."""
    steps = np.linalg.inv(transform @ scan.affine) @ grid.affine  # of the grid, in voxels
    lengths = np.linalg.norm(steps[:3, :3], axis=1)
    sigmas = np.sqrt(np.maximum(lengths**2 - 1, 0)) / FWHM_PER_SIGMA
    return scan.with_array(gaussian_filter(scan.array, sigmas))


def masked(array: np.ndarray, mask: np.ndarray, grid: Volume, name: str) -> Volume:
    """Return an image that is 0 outside a mask and above 0 in it."""
    least = LEAST_SIGNAL * float(array[mask].max())
    return Volume(np.where(mask, array.clip(least), 0).astype(np.float32), grid.affine, name)
