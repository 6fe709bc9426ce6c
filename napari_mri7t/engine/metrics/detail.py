"""Fine detail: 3-D structural similarity, high-frequency error norm, gradient error.

Smoothing can raise the PSNR; it worsens these figures. All are computed on the mask's bounding box,
with a margin that makes the result equal to that of the whole volume.

References
----------
.. [1] Ravishankar, Bresler, MR image reconstruction from highly undersampled k-space data by
   dictionary learning, IEEE Transactions on Medical Imaging 30(5), 2011.
   DOI 10.1109/TMI.2010.2090538 (HFEN: a Laplacian of Gaussian of 1.5 voxels, 15 voxels wide).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d, gaussian_laplace

from napari_mri7t.engine.metrics.similarity import (
    GAUSSIAN,
    SSIM_MARGIN,
    SSIM_WINDOW,
    check_pair,
    check_range,
    pick,
    similarity_of_moments,
)
from napari_mri7t.engine.volumes.grids import bounding_box

HFEN_SIGMA = 1.5  # voxels, as in [1]
HFEN_MARGIN = 7  # voxels: half of the kernel's 15, as in [1]
Spacing = tuple[float, float, float]


def ssim_3d(
    reference: np.ndarray, estimate: np.ndarray, *, data_range: float, mask: np.ndarray
) -> float:
    """Return the structural similarity in windows of 11 x 11 x 11 voxels, averaged over a mask.

    Unlike the slice-wise SSIM it is sensitive to inconsistent neighbouring slices.

    Parameters
    ----------
    reference, estimate : ndarray, shape (I, J, K)
        Finite values, at least 11 voxels along each axis.
    data_range : float
        The span that intensities can take.
    mask : ndarray of bool, shape (I, J, K)
        Its voxels within 5 of a face of the volume, where no full window fits, are left out.

    Returns
    -------
    float
        1 for identical arrays.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, the volume is smaller than the window, or the
        mask is empty where the map is defined.
    """
    check_range(data_range)
    check_pair(reference, estimate)
    if np.ndim(reference) != 3 or min(np.shape(reference)) < SSIM_WINDOW:
        raise ValueError(
            f"ssim_3d: expected at least {SSIM_WINDOW} voxels along three axes, "
            f"got {np.shape(reference)}"
        )
    inside = np.zeros(np.shape(reference), bool)
    inner = (slice(SSIM_MARGIN, -SSIM_MARGIN),) * 3
    inside[inner] = _bool(mask, reference)[inner]
    box = bounding_box(inside, SSIM_MARGIN)
    x, y = (np.asarray(array[box], np.float64) for array in (reference, estimate))
    similarity = similarity_of_moments(
        _window_3d(x), _window_3d(y), _window_3d(x * y), _window_3d(x**2 + y**2), data_range
    )
    return float(similarity[inside[box]].mean())


def hfen(reference: np.ndarray, estimate: np.ndarray, *, mask: np.ndarray) -> float:
    """Return the high-frequency error norm: the Laplacian of Gaussian of the error, normalised.

    ``||LoG(estimate - reference)|| / ||LoG(reference)||`` over the mask, with the kernel of [1]
    in three dimensions.

    Parameters
    ----------
    reference, estimate : ndarray, shape (I, J, K)
        Finite values.
    mask : ndarray of bool, shape (I, J, K)

    Returns
    -------
    float
        0 for identical arrays, 1 for an estimate without any detail.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, the mask is empty, or the reference has no detail.
    """
    check_pair(reference, estimate)
    inside = _bool(mask, reference)
    box = bounding_box(inside, HFEN_MARGIN)
    x = np.asarray(reference[box], np.float64)
    detail = pick(_laplacian(x), inside[box])
    scale = float(np.linalg.norm(detail))
    if scale == 0:
        raise ValueError("hfen: the reference is flat inside the mask, so HFEN is undefined")
    error = _laplacian(np.asarray(estimate[box], np.float64) - x)
    return float(np.linalg.norm(pick(error, inside[box]))) / scale


def gradient_error(
    reference: np.ndarray,
    estimate: np.ndarray,
    *,
    mask: np.ndarray,
    voxel_size: Spacing = (1.0, 1.0, 1.0),
) -> float:
    """Return the mean absolute difference of the two gradients' lengths, intensity per mm.

    Parameters
    ----------
    reference, estimate : ndarray, shape (I, J, K)
        Finite values, at least 2 voxels along each axis.
    mask : ndarray of bool, shape (I, J, K)
    voxel_size : tuple of float
        Along the three axes, mm.

    Returns
    -------
    float
        0 for identical arrays.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or the mask is empty.
    """
    check_pair(reference, estimate)
    inside = _bool(mask, reference)
    box = bounding_box(inside, 1)
    lengths = [gradient_length(array[box], voxel_size) for array in (reference, estimate)]
    return float(np.abs(pick(lengths[1] - lengths[0], inside[box])).mean())


def gradient_length(array: np.ndarray, voxel_size: Spacing = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Return the length of the intensity gradient, by central differences (one-sided at a face).

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
    voxel_size : tuple of float
        mm.

    Returns
    -------
    ndarray of float64, shape (I, J, K)
        Intensity per mm.
    """
    parts = np.gradient(np.asarray(array, np.float64), *voxel_size)
    return np.asarray(np.sqrt(sum(part**2 for part in parts)))


def _bool(mask: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Return the mask as bool; refuse one of another shape."""
    if np.shape(mask) != np.shape(array):
        raise ValueError(f"the mask's shape {np.shape(mask)} is not the volume's {np.shape(array)}")
    return np.asarray(mask, bool)


def _laplacian(array: np.ndarray) -> np.ndarray:
    """Return the Laplacian of Gaussian, its kernel cut at 7 voxels from the centre."""
    return np.asarray(gaussian_laplace(array, HFEN_SIGMA, truncate=HFEN_MARGIN / HFEN_SIGMA))


def _window_3d(array: np.ndarray) -> np.ndarray:
    """Return the Gaussian mean around every voxel."""
    for axis in range(3):
        array = correlate1d(array, GAUSSIAN, axis=axis)
    return array
