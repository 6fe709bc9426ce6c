"""Contrast between tissues, and the correlation of the error with the anatomy.

The tissues come from a clustering of the reference alone: the estimate has no influence on where
grey and white matter lie.

References
----------
.. [1] Lloyd, Least squares quantization in PCM, IEEE Transactions on Information Theory 28(2),
   1982. DOI 10.1109/TIT.1982.1056489.
.. [2] Magnotta, Friedman, Measurement of signal-to-noise and contrast-to-noise in the fBIRN
   multicenter imaging study, Journal of Digital Imaging 19, 2006. DOI 10.1007/s10278-006-0264-x.
.. [3] Ganzetti, Wenderoth, Mantini, Quantitative evaluation of intensity inhomogeneity correction
   methods for structural MR brain images, Neuroinformatics 14, 2016.
   DOI 10.1007/s12021-015-9277-2.
"""

from __future__ import annotations

import math

import numpy as np

from napari_mri7t.engine.metrics.detail import Spacing, gradient_length
from napari_mri7t.engine.metrics.similarity import check_pair, pick
from napari_mri7t.engine.volumes.grids import bounding_box

FLUID, GREY, WHITE = 1, 2, 3  # labels, in the order of their brightness on T1w
N_TISSUES = 3
N_LEVELS = 1024  # of the histogram that is clustered instead of millions of voxels
MAX_ITERATIONS = 200


def cluster_tissues(reference: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Label fluid, grey and white matter by k-means on the intensities inside a mask.

    Lloyd's iteration [1] on a histogram, started from the 1/6, 1/2 and 5/6 quantiles: no random
    numbers, so that a volume always gets the same labels.

    Parameters
    ----------
    reference : ndarray, shape (I, J, K)
        T1w: fluid dark, white matter bright.
    mask : ndarray of bool, shape (I, J, K)
        The brain.

    Returns
    -------
    ndarray of uint8, shape (I, J, K)
        0 outside the mask, else `FLUID`, `GREY` or `WHITE`.

    Raises
    ------
    ValueError
        If the mask is empty, or its intensities do not fall into three groups.
    """
    values = pick(reference, mask)
    counts, edges = np.histogram(values, bins=N_LEVELS)
    levels = (edges[:-1] + edges[1:]) / 2
    cumulative = np.cumsum(counts) / values.size
    centres = levels[np.searchsorted(cumulative, (np.arange(N_TISSUES) + 0.5) / N_TISSUES)]
    for _ in range(MAX_ITERATIONS):
        nearest = np.searchsorted((centres[:-1] + centres[1:]) / 2, levels)
        weights = np.bincount(nearest, counts, minlength=N_TISSUES)
        if (weights == 0).any():
            raise ValueError(
                "the intensities inside the mask do not fall into three tissues; "
                "check that this is a T1w brain and that the mask belongs to it"
            )
        moved = np.bincount(nearest, counts * levels, minlength=N_TISSUES) / weights
        if np.allclose(moved, centres, rtol=0, atol=1e-12 * (edges[-1] - edges[0])):
            break
        centres = moved
    labels = np.zeros(np.shape(reference), np.uint8)
    bounds = (centres[:-1] + centres[1:]) / 2
    labels[np.asarray(mask, bool)] = 1 + np.searchsorted(bounds, values)
    return labels


def tissue_contrast(array: np.ndarray, tissues: np.ndarray) -> tuple[float, float]:
    """Return grey/white contrast-to-noise ratio and coefficient of joint variation.

    ``CNR = |white - grey| / sqrt(sd_white^2 + sd_grey^2)``, larger is better: [2] with the
    spread inside the tissues in place of that of the background, which brain extraction removes.
    ``CJV = (sd_white + sd_grey) / |white - grey|`` [3], smaller is better.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
        The volume to judge: an estimate, a source, or the reference itself for comparison.
    tissues : ndarray of uint8, shape (I, J, K)
        From `cluster_tissues`.

    Returns
    -------
    cnr, cjv : float
        Infinite where a tissue has no spread, or both have the same mean.
    """
    grey, white = pick(array, tissues == GREY), pick(array, tissues == WHITE)
    step = abs(float(white.mean() - grey.mean()))
    spread_grey, spread_white = float(grey.std()), float(white.std())
    noise = math.hypot(spread_grey, spread_white)
    cnr = step / noise if noise > 0 else math.inf
    cjv = (spread_grey + spread_white) / step if step > 0 else math.inf
    return cnr, cjv


def error_anatomy_correlation(
    reference: np.ndarray, estimate: np.ndarray, *, mask: np.ndarray
) -> float:
    """Return Pearson's correlation of the error map with the reference inside a mask.

    Ideally 0: an error that resembles the anatomy is missing or exaggerated contrast. Negative:
    the estimate's contrast is lower than the reference's.

    Parameters
    ----------
    reference, estimate : ndarray, shape (I, J, K)
        Finite values.
    mask : ndarray of bool, shape (I, J, K)

    Returns
    -------
    float
        In [-1, 1]; 0 where the error or the reference is constant.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or the mask is empty.
    """
    check_pair(reference, estimate)
    inside = pick(reference, mask)
    return _correlation(_error(inside, pick(estimate, mask)), inside)


def error_edge_correlation(
    reference: np.ndarray,
    estimate: np.ndarray,
    *,
    mask: np.ndarray,
    voxel_size: Spacing = (1.0, 1.0, 1.0),
) -> float:
    """Return Pearson's correlation of the absolute error with the gradient inside a mask.

    Positive: the error lies at the edges, as that of a blurred estimate does.

    Parameters
    ----------
    reference, estimate : ndarray, shape (I, J, K)
        Finite values, at least 2 voxels along each axis.
    mask : ndarray of bool, shape (I, J, K)
    voxel_size : tuple of float
        mm.

    Returns
    -------
    float
        In [-1, 1]; 0 where either is constant.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or the mask is empty.
    """
    check_pair(reference, estimate)
    error = np.abs(_error(pick(reference, mask), pick(estimate, mask)))
    inside = np.asarray(mask, bool)
    box = bounding_box(inside, 1)
    return _correlation(error, pick(gradient_length(reference[box], voxel_size), inside[box]))


def _error(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Return the error; 0 where all that varies is the rounding of float32."""
    error: np.ndarray = estimate - reference
    largest = max(np.abs(reference).max(), np.abs(estimate).max())
    is_constant = np.ptp(error) <= 4 * np.finfo(np.float32).eps * largest
    return np.zeros_like(error) if is_constant else error


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's r of two samples, 0 where one is constant."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else 0.0
