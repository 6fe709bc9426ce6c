"""The structural similarity map, and the checks that every metric makes of its two arrays.

References
----------
.. [1] Wang, Bovik, Sheikh, Simoncelli, Image quality assessment: from error visibility to
   structural similarity, IEEE Transactions on Image Processing 13(4), 2004.
   DOI 10.1109/TIP.2003.819861.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import correlate1d

SSIM_WINDOW = 11  # pixels, the side of the Gaussian window, as in [1] and tf.image.ssim
SSIM_SIGMA = 1.5  # pixels
SSIM_K1 = 0.01  # of the data range: keeps the luminance term stable where both means vanish
SSIM_K2 = 0.03  # of the data range: the same for contrast and structure
SSIM_MARGIN = SSIM_WINDOW // 2  # voxels that the "valid" map lacks on each side, in the plane


def pick(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the values inside a mask.

    Raises
    ------
    ValueError
        If the shapes differ or the mask is empty.
    """
    if np.shape(mask) != np.shape(array):
        raise ValueError(f"the mask's shape {np.shape(mask)} is not the volume's {np.shape(array)}")
    inside: np.ndarray = np.asarray(array)[np.asarray(mask, bool)].astype(np.float64)
    if inside.size == 0:
        raise ValueError("the mask is empty: no voxel to take a mean over")
    return inside


def check_pair(reference: np.ndarray, estimate: np.ndarray) -> None:
    """Refuse arrays that cannot be compared voxel by voxel.

    Raises
    ------
    ValueError
        If the shapes differ, or one holds NaN or infinity.
    """
    if np.shape(reference) != np.shape(estimate):
        raise ValueError(
            f"reference {np.shape(reference)} and estimate {np.shape(estimate)} must have one shape"
        )
    for role, array in (("reference", reference), ("estimate", estimate)):
        if not np.isfinite(array).all():
            raise ValueError(f"{role}: holds NaN or infinite values; replace them first")


def check_range(data_range: float) -> None:
    """Refuse a data range that is not a positive number.

    Raises
    ------
    ValueError
        Unless it is finite and above 0.
    """
    if not (math.isfinite(data_range) and data_range > 0):
        raise ValueError(f"data_range must be a positive number, got {data_range}")


def ssim_map(reference: np.ndarray, estimate: np.ndarray, *, data_range: float) -> np.ndarray:
    """Return the structural similarity of every axial slice where the window fits into the slice.

    Local means, variances and the covariance are weighted by a Gaussian window of 11 x 11 pixels
    and are those of a population (no N / (N - 1)), as in ``tf.image.ssim``. The formula needs only
    the sum of the two variances: four filters, not five.

    Parameters
    ----------
    reference, estimate : ndarray, shape (I, J, K)
        Finite values; slices lie along the third axis.
    data_range : float
        As for `psnr`.

    Returns
    -------
    ndarray of float64, shape (I - 10, J - 10, K)
        Values in [-1, 1]. Voxel (0, j, k) of the map is voxel (5, j + 5, k) of the volume.

    Raises
    ------
    ValueError
        As for `psnr`, and if a slice is smaller than the window.
    """
    check_range(data_range)
    check_pair(reference, estimate)
    if np.ndim(reference) != 3 or min(np.shape(reference)[:2]) < SSIM_WINDOW:
        raise ValueError(
            f"ssim: expected (I, J, K) with slices of at least {SSIM_WINDOW} x {SSIM_WINDOW}, "
            f"got {np.shape(reference)}"
        )
    slices = (np.asarray(reference).T, np.asarray(estimate).T)  # (K, J, I)
    n_k, n_j, n_i = slices[0].shape
    out = np.empty((n_k, n_j - 2 * SSIM_MARGIN, n_i - 2 * SSIM_MARGIN))
    for k, (x, y) in enumerate(zip(*slices, strict=True)):
        x, y = np.ascontiguousarray(x, np.float64), np.ascontiguousarray(y, np.float64)
        out[k] = similarity_of_moments(
            _window(x), _window(y), _window(x * y), _window(x**2 + y**2), data_range
        )
    return out.T


def similarity_of_moments(
    mean_x: np.ndarray,
    mean_y: np.ndarray,
    mean_product: np.ndarray,
    mean_squares: np.ndarray,
    data_range: float,
) -> np.ndarray:
    """Return the structural similarity from local means: eq. 13 of [1].

    Parameters
    ----------
    mean_x, mean_y, mean_product, mean_squares : ndarray, one shape
        Local means of x, y, x y and x^2 + y^2.
    data_range : float
        Positive.
    """
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    means = mean_x * mean_y
    squares = mean_x**2 + mean_y**2
    luminance = (2 * means + c1) / (squares + c1)
    structure = (2 * (mean_product - means) + c2) / (mean_squares - squares + c2)
    return np.asarray(luminance * structure)


def mean_similarity(similarity: np.ndarray, mask: np.ndarray | None) -> float:
    """Return the mean of a map over the part of a mask that it covers.

    Parameters
    ----------
    similarity : ndarray, shape (I - 10, J - 10, K)
        From `ssim_map`.
    mask : ndarray of bool, shape (I, J, K), or None
        None averages the whole map.

    Raises
    ------
    ValueError
        If the mask has another shape, or no voxel where the map is defined.
    """
    if mask is None:
        return float(similarity.mean())
    inner = slice(SSIM_MARGIN, -SSIM_MARGIN)
    inside = np.asarray(mask, bool)[inner, inner]
    if inside.shape != similarity.shape:
        raise ValueError(f"ssim: the mask's shape {np.shape(mask)} is not the volume's")
    if not inside.any():
        raise ValueError(f"ssim: the mask has no voxel {SSIM_MARGIN} or more from a slice's border")
    return float(similarity[inside].mean())


def _window(image: np.ndarray) -> np.ndarray:
    """Return the Gaussian mean around every pixel of (J, I) whose window lies inside."""
    inner = slice(SSIM_MARGIN, -SSIM_MARGIN)
    rows = correlate1d(image, GAUSSIAN, axis=0)[inner]
    return np.asarray(correlate1d(rows, GAUSSIAN, axis=1)[:, inner])


def _gaussian() -> np.ndarray:
    """Return the weights along one axis; the 2-D window is their outer product."""
    distance = np.arange(SSIM_WINDOW) - SSIM_MARGIN
    weights = np.exp(-(distance**2) / (2 * SSIM_SIGMA**2))
    return np.asarray(weights / weights.sum())


GAUSSIAN = _gaussian()  # (11,), sums to 1
