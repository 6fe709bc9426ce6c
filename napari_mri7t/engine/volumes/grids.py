"""Grids in space: resampling from one to another, and the bounding box of a mask."""

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter

from napari_mri7t.engine.volumes.volume import Volume

LINEAR, CUBIC = 1, 3  # spline orders
FWHM_PER_SIGMA = 2.3548  # of a Gaussian


def resample(
    volume: Volume, grid: Volume, transform: np.ndarray | None = None, *, order: int = CUBIC
) -> np.ndarray:
    """Resample a volume to another grid.

    Parameters
    ----------
    volume : Volume
        Outside its field of view, intensities are 0.
    grid : Volume
        Gives the shape and affine of the result.
    transform : ndarray, shape (4, 4), optional
        From mm of `volume` to mm of `grid`; the identity by default.
    order : int
        Of the spline: 1 linear, 3 cubic, whose overshoots are clipped.
    """
    to_grid = np.eye(4) if transform is None else transform
    index = np.linalg.inv(volume.affine) @ np.linalg.inv(to_grid) @ grid.affine
    found: np.ndarray = affine_transform(
        volume.array, index[:3, :3], index[:3, 3], grid.shape, order=order, output=np.float32
    )
    low, high = volume.array.min(), volume.array.max()
    return found.clip(min(low, 0), max(high, 0))


def downsample(volume: Volume, grid: Volume, transform: np.ndarray | None = None) -> np.ndarray:
    """Resample to a coarser grid, smoothed first against aliasing.

    Parameters
    ----------
    volume, grid, transform
        As for `resample`.
    """
    sigmas = [
        np.sqrt(max(0.0, max(grid.voxel_size) ** 2 - size**2)) / FWHM_PER_SIGMA / size
        for size in volume.voxel_size
    ]
    smooth = volume.with_array(gaussian_filter(volume.array, sigmas))
    return resample(smooth, grid, transform, order=LINEAR)


def upright_grid(corners: np.ndarray, voxel_size: float) -> Volume:
    """Return an empty grid along the anatomical axes.

    Parameters
    ----------
    corners : ndarray, shape (2, 3)
        Of the box to cover, mm.
    voxel_size : float
        Of all three axes, mm.

    Returns
    -------
    Volume
        Zeros.
    """
    n_voxels = np.ceil((corners[1] - corners[0]) / voxel_size).astype(int) + 1
    affine = np.diag([voxel_size] * 3 + [1.0])
    affine[:3, 3] = corners[0]
    return Volume(np.zeros(n_voxels, np.float32), affine, name="grid")


def bounding_box(mask: np.ndarray, margin_voxels: int) -> tuple[slice, ...]:
    """Return the smallest box around a mask, widened by a margin within the array.

    Returns
    -------
    tuple of slice
        One for each axis.

    Raises
    ------
    ValueError
        If the mask is empty.

    Examples
    --------
    >>> bounding_box(np.array([False, False, False, True, True]), 1)
    (slice(2, 6, None),)
    """
    if not mask.any():
        raise ValueError("the mask is empty and has no bounding box: check it")
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        (where,) = np.nonzero(mask.any(axis=others))
        box.append(slice(max(0, int(where[0]) - margin_voxels), int(where[-1]) + margin_voxels + 1))
    return tuple(box)


def bounding_box_mm(mask: np.ndarray, affine: np.ndarray, margin_mm: float = 0.0) -> np.ndarray:
    """Return two corners, (2, 3), mm, of the box around a mask along the anatomical axes."""
    along = [(side.start, side.stop - 1) for side in bounding_box(mask, 0)]
    corners = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 3)
    mm = corners @ affine[:3, :3].T + affine[:3, 3]
    return np.stack([mm.min(axis=0) - margin_mm, mm.max(axis=0) + margin_mm])
