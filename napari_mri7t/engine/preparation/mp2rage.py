"""The noise around the head in an MP2RAGE's uniform image, which is recognised and removed.

The uniform image is a ratio: where both inversions show air, it is noise as bright as tissue.

References
----------
.. [1] Marques et al., MP2RAGE, a self bias-field corrected sequence for improved segmentation and
   T1-mapping at high field, NeuroImage 49(2):1271-1281, 2010.
   DOI 10.1016/j.neuroimage.2009.10.002.
.. [2] O'Brien et al., Robust T1-weighted structural brain imaging and morphometry at 7T using
   MP2RAGE, PLoS ONE 9(6):e99676, 2014. DOI 10.1371/journal.pone.0099676. Equation 6.
"""

from itertools import product

import numpy as np
from scipy.ndimage import binary_closing, binary_fill_holes, find_objects, label, uniform_filter

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.scale import border_of
from napari_mri7t.engine.volumes.volume import Volume, same_grid

CORNER = 0.1  # of each side: the part of a volume that shows air
NOISY = 0.15  # deviation of the air over the brightest tissue; a magnitude image has 0.05 at most
HALF_WAY = (0.2, 0.8)  # of the range, in which the air's mean lies
WINDOW_MM = 5.0  # in which the deviation is measured
SMOOTH = 0.6  # of the air's deviation: less is tissue
REGULARISATION = 5.0  # times the noise, squared: beta of [2]
LEAST_ROOT = 1e-3  # of the brightest tissue: the root of beta, at least
PADDED = 0.05  # part of the faces that have one value where a program put it there
LEAST_AIR = 0.1  # part of the corners that is no padding


def is_mp2rage(volume: Volume) -> bool:
    """Return whether the air around a head is noise as bright as tissue, as in a uniform image.

    Parameters
    ----------
    volume : Volume
        T1w.
    """
    air, shown = _air_of(volume.array), volume.array[~_padding_of(volume.array)]
    if not air.size:
        return False
    low, high = (float(each) for each in np.percentile(shown, (1, 99)))
    if not high > low:
        return False
    middle = (float(air.mean()) - low) / (high - low)
    is_noisy = air.std() / (high - low) > NOISY
    return bool(is_noisy and HALF_WAY[0] < middle < HALF_WAY[1])


def without_air(volume: Volume) -> Volume:
    """Return a uniform image, from 0 on, with 0 around the head, which is found by its smoothness.

    Parameters
    ----------
    volume : Volume
        For which `is_mp2rage` holds.

    Raises
    ------
    VolumeError
        If no head is found.
    """
    sides = [max(3, round(WINDOW_MM / size) // 2 * 2 + 1) for size in volume.voxel_size]
    array = volume.array.astype(np.float64)
    mean = uniform_filter(array, sides)
    spread = np.sqrt(np.maximum(uniform_filter(array**2, sides) - mean**2, 0))
    is_smooth = spread < SMOOTH * _air_of(volume.array).std()
    parts, n_parts = label(is_smooth & ~_padding_of(volume.array))
    if not n_parts:
        raise VolumeError(
            f"{volume.name}: no head was found in the noise of this MP2RAGE: provide a brain mask, "
            "or both inversions"
        )
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    closed = binary_closing(np.pad(largest, 5), iterations=5)[5:-5, 5:-5, 5:-5]
    head = binary_fill_holes(closed)
    return volume.with_array(np.where(head, volume.array - volume.array.min(), 0))


def combined(uniform: Volume, inversions: tuple[Volume, Volume]) -> Volume:
    """Return the robust combination [2] of an MP2RAGE, dark where both inversions are.

    Parameters
    ----------
    uniform : Volume
        The uniform image, from -0.5 to 0.5 on any linear scale whose ends it reaches.
    inversions : tuple of Volume
        Magnitudes of the first and second inversion, on its grid.

    Returns
    -------
    Volume
        In [0, 1] within rounding; 0 in air, and where the inversions are 0.

    Raises
    ------
    GridError
        If they lie on another grid.
    """
    for inversion in inversions:
        same_grid(uniform, inversion)
    low, high = float(uniform.array.min()), float(uniform.array.max())
    ratio = (uniform.array.astype(np.float64) - low) / (high - low) - 0.5
    first, second = (each.array.astype(np.float64) for each in inversions)
    first = _signed(ratio, first, second)
    air = _air_of(second)
    noise = air.mean() if air.size else 0.0  # none where a program removed it
    beta = max(REGULARISATION * noise, LEAST_ROOT * (second.max() or 1)) ** 2
    robust = (first * second - beta) / (first**2 + second**2 + 2 * beta)
    return uniform.with_array((robust + 0.5).clip(0).astype(np.float32))


def _signed(ratio: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the first inversion with its sign: the root of [1]'s ratio nearest to its magnitude.

    The ratio is first * second / (first ** 2 + second ** 2), a quadratic equation in `first`.
    """
    safe = np.where(np.abs(ratio) < 1e-6, 1e-6, ratio)
    root = np.sqrt(np.maximum(1 - 4 * safe**2, 0))
    roots = [(1 + sign * root) / (2 * safe) * second for sign in (-1, 1)]
    signed = np.sign(ratio) * first
    nearer: np.ndarray = np.where(
        np.abs(roots[0] - signed) <= np.abs(roots[1] - signed), roots[0], roots[1]
    )
    return nearer


def _air_of(array: np.ndarray) -> np.ndarray:
    """Return the voxels in the corners of what is no padding; none where hardly any is shown."""
    is_shown = ~_padding_of(array)
    box = find_objects(is_shown.astype(np.uint8))
    if not box:
        return np.empty(0)
    inner, is_shown = array[box[0]], is_shown[box[0]]
    sides = [max(1, round(CORNER * n)) for n in inner.shape]
    ends = [(slice(0, side), slice(-side, None)) for side in sides]
    is_corner = np.zeros(inner.shape, bool)
    for place in product(*ends):
        is_corner[place] = True
    air: np.ndarray = inner[is_corner & is_shown]
    return air if air.size > LEAST_AIR * is_corner.sum() else air[:0]


def _padding_of(array: np.ndarray) -> np.ndarray:
    """Return where a program put one value, as it corrects distortions or removes the face."""
    border, share = border_of(array)
    found: np.ndarray = (array == border) & (share > PADDED)
    return found
