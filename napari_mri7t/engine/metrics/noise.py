"""The noise of a scan, from its own white matter."""

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter

from napari_mri7t.engine.volumes.brain import background_of

SMOOTHING = 1.0  # voxels, sigma; before tissues are told apart
HIGH_PASS = 1.5  # voxels, sigma; what is finer is taken for noise where there is one tissue
DEPTHS = (4, 3, 2, 1)  # voxels below the surface of white matter, the first that leaves enough
LEAST_VOXELS = 2000
ROBUST = 1.4826  # of a Gaussian: its deviation over its median absolute deviation
# Part of the fine deviation in white matter that a network is told: the rest is the tissue's own.
NOISE_PART = 0.85
SAMPLING = 7  # every n-th voxel decides the thresholds of the tissues


def noise_level(array: np.ndarray) -> float:
    """Estimate the standard deviation of a scan's noise, deep in white matter.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
        T1w brain, extracted.

    Returns
    -------
    float
        In the scan's own units: of what a Gaussian of 1.5 voxels removes. 0 where the brain is too
        small to tell.
    """
    from skimage.filters import threshold_multiotsu  # slow to import

    brain = array > background_of(array)
    if not brain.any():
        return 0.0
    smooth = gaussian_filter(array.astype(np.float32), SMOOTHING)
    values = smooth[brain]
    try:
        white = smooth > threshold_multiotsu(values[::SAMPLING].clip(max=_ceiling(values)), 3)[1]
    except ValueError:  # fewer than three values
        return 0.0
    for depth in DEPTHS:
        deep = binary_erosion(white & brain, iterations=depth)
        if deep.sum() >= LEAST_VOXELS:
            fine = (array - gaussian_filter(array.astype(np.float32), HIGH_PASS))[deep]
            return float(ROBUST * np.median(np.abs(fine - np.median(fine))))
    return 0.0


def told_noise(level: float, factor: float = 1.0) -> float:
    """Return the standard deviation that a network with a noise map is told.

    Parameters
    ----------
    level : float
        From `noise_level`.
    factor : float
        The user's: 0 leaves a scan nearly as it is, 2 smooths more.
    """
    return NOISE_PART * factor * level


def _ceiling(values: np.ndarray) -> float:
    return float(np.percentile(values, 99.5))
