"""The noise of a scan, from its own white matter."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter

from napari_mri7t.engine.volumes.brain import background_of

SMOOTHING = 1.0  # voxels, sigma; before tissues are told apart
HIGH_PASS = 1.5  # voxels, sigma; what is finer is taken for noise where there is one tissue
# That Gaussian misses what neighbours share. How much, by the part of the deviation that a narrower
# one removes: of noise that was smoothed by 0.9 to 0 voxels.
NARROW = 0.6  # voxels, sigma
NARROW_PARTS = (0.386, 0.431, 0.490, 0.566, 0.649, 0.744)
MISSED = (1.295, 1.220, 1.152, 1.092, 1.047, 1.016)
DEPTHS = (4, 3, 2, 1)  # voxels below the surface of white matter, the first that leaves enough
LEAST_VOXELS = 2000
ROBUST = 1.4826  # of a Gaussian: its deviation over its median absolute deviation
# What a network is told, by the level, both over the bright tissue: of 3 %, much is the tissue's
# own. Chosen on ds002748 sub-40, 53 and 56 with known noise, and below 2.2 % on the second scans of
# two people of OASIS, so that no tissue's volume moves by more than 1 % (docs/results.md).
LEVELS = (0.0, 0.022, 0.03, 0.038, 0.06, 1.0)
TOLD = (0.0, 0.0158, 0.0168, 0.0285, 0.0558, 0.93)
# Weak noise that neighbours share, as the mean of registered acquisitions has it, is told a fifth
# more; chosen on the same second scans. It fades out from one bound to the other.
MORE = 0.2
WEAK_LEVELS = (0.022, 0.024)
SHARED_PARTS = (0.45, 0.48)  # of `Noise.narrow`; white noise of 1 % more gives a scan 0.49 to 0.51
SAMPLING = 7  # every n-th voxel decides the thresholds of the tissues


@dataclass(frozen=True)
class Noise:
    """The noise deep in the white matter of a scan.

    Attributes
    ----------
    level : float
        Standard deviation in the scan's own units, with what neighbours share of it.
    narrow : float
        Part of the deviation that a Gaussian of 0.6 voxels removes, of what one of 1.5 voxels does:
        0.74 of white noise, less where neighbours share it.
    """

    level: float
    narrow: float = NARROW_PARTS[-1]


def noise_level(array: np.ndarray) -> float:
    """Estimate the standard deviation of what is finer than 1.5 voxels, deep in white matter.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
        T1w brain, extracted.

    Returns
    -------
    float
        In the scan's own units. 0 where the brain is too small to tell.
    """
    return _fine(array, _deep_white_matter(array))


def measure_noise(array: np.ndarray) -> Noise:
    """Estimate the noise of a scan with what neighbours share, as interpolation leaves it.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
        T1w brain, extracted.

    Returns
    -------
    Noise
        Of level 0 where the brain is too small to tell.
    """
    deep = _deep_white_matter(array)
    fine = _fine(array, deep)
    if deep is None or fine == 0:
        return Noise(0.0)
    narrow = _removed(array, NARROW, deep) / fine
    return Noise(fine * float(np.interp(narrow, NARROW_PARTS, MISSED)), narrow)


def _deep_white_matter(array: np.ndarray) -> np.ndarray | None:
    """Return a mask, some voxels below the surface of white matter; None if there is too little."""
    from skimage.filters import threshold_multiotsu  # slow to import

    brain = array > background_of(array)
    if not brain.any():
        return None
    smooth = gaussian_filter(array.astype(np.float32), SMOOTHING)
    values = smooth[brain]
    try:
        white = smooth > threshold_multiotsu(values[::SAMPLING].clip(max=_ceiling(values)), 3)[1]
    except ValueError:  # fewer than three values
        return None
    for depth in DEPTHS:
        deep: np.ndarray = binary_erosion(white & brain, iterations=depth)
        if deep.sum() >= LEAST_VOXELS:
            return deep
    return None


def _fine(array: np.ndarray, deep: np.ndarray | None) -> float:
    return 0.0 if deep is None else _removed(array, HIGH_PASS, deep)


def _removed(array: np.ndarray, sigma: float, where: np.ndarray) -> float:
    """Return the robust deviation of what a Gaussian removes there."""
    removed = (array - gaussian_filter(array.astype(np.float32), sigma))[where]
    return float(ROBUST * np.median(np.abs(removed - np.median(removed))))


def told_noise(noise: Noise, bright: float, factor: float = 1.0) -> float:
    """Return the standard deviation that a network with a noise map is told.

    Parameters
    ----------
    noise : Noise
    bright : float
        Intensity of the bright tissue, in the same unit as the noise; above 0.
    factor : float
        The user's: 0 leaves a scan nearly as it is, 2 smooths more.

    Returns
    -------
    float
        In the same unit.
    """
    level = noise.level / bright
    is_weak = float(np.interp(level, WEAK_LEVELS, (1.0, 0.0)))
    is_shared = float(np.interp(noise.narrow, SHARED_PARTS, (1.0, 0.0)))
    more = 1 + MORE * is_weak * is_shared
    return float(np.interp(level, LEVELS, TOLD)) * more * factor * bright


def _ceiling(values: np.ndarray) -> float:
    return float(np.percentile(values, 99.5))
