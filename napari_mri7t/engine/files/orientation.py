"""Flips and swaps of axes: from a file's order to the closest RAS+, and back, voxels untouched."""

import numpy as np
from nibabel.orientations import (
    aff2axcodes,
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)


def orientation_of(affine: np.ndarray) -> str:
    """Return the axis codes of an affine, e.g. "RAS".

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to RAS+ mm.

    Returns
    -------
    str
        Three letters: where each voxel axis points.
    """
    return "".join(str(code) for code in aff2axcodes(affine))


def voxel_size_of(affine: np.ndarray) -> tuple[float, float, float]:
    """Return the lengths of a voxel's edges.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to mm.

    Returns
    -------
    tuple of float
        Along i, j and k, mm.
    """
    i, j, k = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return float(i), float(j), float(k)


def ras_grid(affine: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return affine and shape of a grid once its axes are brought to closest RAS+.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel of the file to RAS+ mm.
    shape : tuple of int
        (I, J, K) of the file.

    Returns
    -------
    affine : ndarray of float64, shape (4, 4)
        Voxel of the reordered array to RAS+ mm.
    shape : tuple of int
        (I, J, K) of the reordered array.
    """
    orientation = io_orientation(affine)  # type: ignore[no-untyped-call]
    moved = affine @ inv_ornt_aff(orientation, shape[:3])  # type: ignore[no-untyped-call]
    i, j, k = (shape[int(axis)] for axis in np.argsort(orientation[:, 0]))
    return np.asarray(moved, dtype=np.float64), (i, j, k)


def to_ras(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Bring a file's array to closest RAS+.

    Parameters
    ----------
    array : ndarray, shape (I, J, K) or (I, J, K, T)
        As the file orders it; further axes stay.
    affine : ndarray, shape (4, 4)
        Voxel of the file to RAS+ mm.

    Returns
    -------
    ndarray
        A view.
    """
    orientation = io_orientation(affine)  # type: ignore[no-untyped-call]
    return np.asarray(apply_orientation(array, orientation))  # type: ignore[no-untyped-call]


def from_ras(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Bring an array in closest RAS+ back to its file's order: the inverse of `to_ras`.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
        Closest RAS+.
    affine : ndarray, shape (4, 4)
        Voxel of the file to RAS+ mm.

    Returns
    -------
    ndarray
        A view.
    """
    there = io_orientation(affine)  # type: ignore[no-untyped-call]
    back = ornt_transform(axcodes2ornt("RAS"), there)  # type: ignore[no-untyped-call]
    return np.asarray(apply_orientation(array, back))  # type: ignore[no-untyped-call]
