"""The brightest spots of an image, by which a copy that was cut or mirrored is known again."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter

N_SPOTS, SPOT_VOXELS = 64, 9  # the brightest spots of an image, and the side of a cube around each
EVEN = 1e-9  # variance of what shows nothing, as part of the squared maximum
HEIGHT_DIGITS = 4  # of the brightness of a spot, as part of the brightest
ALIKE = 0.995  # correlation of two cubes that may be one, each rounded to 8 bits
LEAST_SHARED = 4  # spots


@dataclass(frozen=True, eq=False)
class Spots:
    """Where an image is brightest.

    Parameters
    ----------
    places : ndarray, shape (n, 3)
        Voxels.
    cubes : ndarray, shape (n, 729)
        The voxels around each.
    width : int
        Of the image, in voxels, along its first axis.
    """

    places: np.ndarray
    cubes: np.ndarray
    width: int

    def mirrored(self) -> "Spots":
        """Return those of the image with left and right exchanged."""
        places = self.places.copy()
        places[:, 0] = self.width - 1 - places[:, 0]
        cubes = self.cubes.reshape(-1, *[SPOT_VOXELS] * 3)[:, ::-1]
        return Spots(places, cubes.reshape(self.cubes.shape), self.width)


def spots_of(array: np.ndarray) -> Spots | None:
    """Return the brightest spots, none of them darker than what is around.

    Of those that are as bright, as where an image is saturated, the most uneven count, wherever
    they lie: a copy may be mirrored.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
        On any scale.

    Returns
    -------
    Spots or None
        At most 64; None if there are fewer than four.

    Examples
    --------
    >>> spots_of(np.zeros((20, 20, 20))) is None
    True
    """
    edge = SPOT_VOXELS // 2
    if min(array.shape) <= SPOT_VOXELS:
        return None
    smooth = uniform_filter(array, 3)
    is_top = smooth == maximum_filter(smooth, SPOT_VOXELS)
    scaled = array.astype(np.float64) / (np.abs(array).max() or 1)
    spread = uniform_filter(scaled**2, SPOT_VOXELS) - uniform_filter(scaled, SPOT_VOXELS) ** 2
    is_top &= spread > EVEN  # the air of an extracted brain is one large plateau
    inner = tuple(slice(edge, n - edge) for n in array.shape)
    places = np.argwhere(is_top[inner]) + edge
    if len(places) < LEAST_SHARED:
        return None
    heights = np.round(smooth[tuple(places.T)] / np.abs(array).max(), HEIGHT_DIGITS)
    places = places[np.lexsort((-spread[tuple(places.T)], -heights))[:N_SPOTS]]
    cubes = [array[tuple(slice(n - edge, n + edge + 1) for n in place)].ravel() for place in places]
    return Spots(places, np.stack(cubes), len(array))


def move_between(one: Spots, other: Spots) -> np.ndarray | None:
    """Return by how many voxels most of the spots moved that two images share.

    Parameters
    ----------
    one, other : Spots

    Returns
    -------
    ndarray, shape (3,), or None
        From `one` to `other`; None if fewer than four moved alike.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((40, 40, 40))
    >>> move_between(spots_of(image), spots_of(image[2:, :, 5:]))
    array([-2,  0, -5])
    """
    alike = np.argwhere(_centred(one.cubes) @ _centred(other.cubes).T > ALIKE)
    if len(alike) < LEAST_SHARED:
        return None
    moves = other.places[alike[:, 1]] - one.places[alike[:, 0]]
    kinds, counts = np.unique(moves, axis=0, return_counts=True)
    move: np.ndarray = kinds[counts.argmax()]
    return move if counts.max() >= LEAST_SHARED else None


def _centred(cubes: np.ndarray) -> np.ndarray:
    """Return rows with mean 0 and norm 1."""
    rows = cubes - cubes.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    centred: np.ndarray = rows / np.where(norms > 0, norms, 1)
    return centred
