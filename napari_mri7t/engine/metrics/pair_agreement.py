"""Agreement of two registered scans of one person, and who among several people belongs to whom.

References
----------
.. [1] Studholme, Hill, Hawkes, An overlap invariant entropy measure of 3D medical image alignment,
   Pattern Recognition 32(1):71-86, 1999. DOI 10.1016/S0031-3203(98)00091-0.
.. [2] Dice, Measures of the amount of ecologic association between species, Ecology 26(3):297-302,
   1945. DOI 10.2307/1932409.
.. [3] Greve, Fischl, Accurate and robust brain image alignment using boundary-based registration,
   NeuroImage 48(1):63-72, 2009. DOI 10.1016/j.neuroimage.2009.06.060. Why the grey/white boundary
   shows an error of a registration.
.. [4] Lorensen, Cline, Marching cubes, Computer Graphics 21(4):163-169, 1987.
   DOI 10.1145/37402.37422.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from napari_mri7t.engine.metrics.detail import Spacing
from napari_mri7t.engine.metrics.similarity import check_pair, pick
from napari_mri7t.engine.metrics.tissue import GREY, WHITE, cluster_tissues
from napari_mri7t.engine.volumes.grids import bounding_box

N_BINS = 64
TAILS = (0.5, 99.5)  # percentiles that end the histogram: vessels and rims
BOUNDARY_MM = 1.0  # sigma of the smoothing that keeps noise from making boundaries
MARGIN_VOXELS = 2  # around the mask
N_POINTS = 50_000  # of a boundary that are measured
MOST_CORRELATION = 0.998  # two scans of one person: 0.988 at most; one scan resampled: 0.9997
LEAST_BETTER = 0.005  # of the information: a smaller lead over the own partner is chance


@dataclass(frozen=True)
class PairAgreement:
    """How well a registered 3T scan agrees with the 7T scan of the same person.

    Attributes
    ----------
    mutual_information : float
        Normalised [1]: 1 (none) to 2, in the common mask.
    correlation : float
        Of the intensities, -1 to 1.
    boundary_mm : float or None
        Median distance of the boundaries between grey and white matter; None where an image has
        none.
    overlap : float
        Dice's coefficient [2] of the two brain masks, 0 to 1.
    mirrored_information : float
        The information that is reached with the 3T scan mirrored left to right.
    """

    mutual_information: float
    correlation: float
    boundary_mm: float | None
    overlap: float
    mirrored_information: float


def normalized_mutual_information(
    reference: np.ndarray, estimate: np.ndarray, mask: np.ndarray
) -> float:
    """Return the normalised mutual information [1] of two images inside a mask.

    Parameters
    ----------
    reference, estimate : ndarray, shape (I, J, K)
        Any contrast and scale.
    mask : ndarray of bool, shape (I, J, K)

    Returns
    -------
    float
        1 (independent) to 2 (one determines the other).

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or the mask is empty.

    Examples
    --------
    >>> ramp = np.arange(1000.0).reshape(10, 10, 10)
    >>> mask = np.ones(ramp.shape, bool)
    >>> normalized_mutual_information(ramp, -3 * ramp, mask)
    2.0
    """
    from skimage.metrics import normalized_mutual_information as of_images

    check_pair(reference, estimate)
    sides = [pick(array, mask) for array in (reference, estimate)]
    sides = [values.clip(*np.percentile(values, TAILS)) for values in sides]
    if any(np.ptp(values) == 0 for values in sides):
        return 1.0
    return round(float(of_images(*sides, bins=N_BINS)), 12)


def dice(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Return Dice's coefficient [2] of two masks, 0 to 1; 0 where both are empty.

    Examples
    --------
    >>> dice(np.array([True, True, False]), np.array([True, False, False])).__round__(3)
    0.667
    """
    both = np.count_nonzero(reference & estimate)
    total = np.count_nonzero(reference) + np.count_nonzero(estimate)
    return float(2 * both / total) if total else 0.0


def boundary_distance(
    reference: np.ndarray,
    estimate: np.ndarray,
    mask: np.ndarray,
    voxel_size: Spacing = (1.0, 1.0, 1.0),
) -> float:
    """Return how far the boundaries of white matter in two T1w images lie apart.

    Each boundary is the surface [4] half-way between the mean of grey and of white matter, after a
    light smoothing; its distance is measured to the plane of the nearest piece of the other.

    Parameters
    ----------
    reference, estimate : ndarray, shape (I, J, K)
        T1w, of one person, registered.
    mask : ndarray of bool, shape (I, J, K)
        The brain in both.
    voxel_size : tuple of float
        mm.

    Returns
    -------
    float
        Median over both directions, mm.

    Raises
    ------
    ValueError
        If an image does not fall into three tissues, or the mask is empty.
    """
    check_pair(reference, estimate)
    box = bounding_box(mask, MARGIN_VOXELS)
    surfaces = [white_surface(array[box], mask[box], voxel_size) for array in (reference, estimate)]
    distances = []
    for (points, _), (others, normals) in (surfaces, surfaces[::-1]):
        points = points[:: max(1, len(points) // N_POINTS)]
        _, nearest = KDTree(others).query(points)
        apart = points - others[nearest]
        distances.append(np.abs((apart * normals[nearest]).sum(axis=1)))
    return float(np.median(np.concatenate(distances)))


def white_surface(
    array: np.ndarray, mask: np.ndarray, voxel_size: Spacing
) -> tuple[np.ndarray, np.ndarray]:
    """Return the boundary between grey and white matter.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
        T1w.
    mask : ndarray of bool, shape (I, J, K)
        The brain.
    voxel_size : tuple of float
        mm.

    Returns
    -------
    points, normals : ndarray, shape (n, 3)
        mm from the first voxel; of length 1.

    Raises
    ------
    ValueError
        If the image does not fall into three tissues.
    """
    from skimage.measure import marching_cubes

    sigmas = [BOUNDARY_MM / size for size in voxel_size]
    inside = gaussian_filter(mask.astype(np.float32), sigmas)
    smooth = gaussian_filter(np.where(mask, array, 0).astype(np.float32), sigmas)
    smooth = np.where(mask, smooth / np.maximum(inside, np.finfo(np.float32).eps), 0)
    tissues = cluster_tissues(smooth, mask)
    level = (smooth[tissues == GREY].max() + smooth[tissues == WHITE].min()) / 2
    points, _, normals, _ = marching_cubes(smooth, level, spacing=voxel_size)
    return points, normals


def cross_information(sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> np.ndarray:
    """Return the information between each person's 3T scan and everybody's 7T scan.

    Parameters
    ----------
    sources, targets : sequence of ndarray, one shape
        As `comparable` returns them: of one person at the same place of both.

    Returns
    -------
    ndarray of float64, shape (n, n)
        Rows are 3T scans, columns 7T scans. 1 where two brains do not overlap.
    """
    found = np.ones((len(sources), len(targets)))
    for row, source in enumerate(sources):
        for column, target in enumerate(targets):
            both = (source > 0) & (target > 0)
            if both.any():
                found[row, column] = normalized_mutual_information(target, source, both)
    return found


def copies(images: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, str]:
    """Return the people whose scan seems to be another's, too.

    Parameters
    ----------
    images : sequence of ndarray, one shape
        Of one field strength, as `comparable` returns them.
    names : sequence of str
        Of the people.

    Returns
    -------
    dict
        Name to the name of the person whose scan is most alike.

    Examples
    --------
    >>> a, b = np.random.default_rng(0).random((2, 9, 9, 9))
    >>> copies([a, b, 2 * a], ["a", "b", "c"])
    {'a': 'c', 'c': 'a'}
    """
    alike = np.zeros((len(images), len(images)))
    for row, column in combinations(range(len(images)), 2):
        alike[row, column] = alike[column, row] = _correlation(images[row], images[column])
    rows = np.flatnonzero(alike.max(axis=1, initial=0) > MOST_CORRELATION).tolist()
    return {names[row]: names[int(alike[row].argmax())] for row in rows}


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation of two brains where both are; 0 where there is none."""
    both = (first > 0) & (second > 0)
    if not both.any() or any(np.ptp(side[both]) == 0 for side in (first, second)):
        return 0.0
    return float(np.corrcoef(first[both], second[both])[0, 1])


def swapped(information: np.ndarray, names: Sequence[str]) -> dict[str, str]:
    """Return the people whose 3T scan fits another person's 7T scan better than their own.

    Parameters
    ----------
    information : ndarray, shape (n, n)
        As `cross_information` returns it.
    names : sequence of str
        Of the people.

    Returns
    -------
    dict
        Name to the name of the person whose 7T scan fits best.

    Examples
    --------
    >>> swapped(np.array([[1.1, 1.3, 1.1], [1.3, 1.1, 1.1], [1.1, 1.1, 1.3]]), ["a", "b", "c"])
    {'a': 'b', 'b': 'a'}
    """
    best = information.argmax(axis=1)
    return {
        names[row]: names[column]
        for row, column in enumerate(best)
        if information[row, column] > information[row, row] + LEAST_BETTER
    }
