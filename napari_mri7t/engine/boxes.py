"""The box that a mask occupies: what is computed there only need not look at the background."""

import numpy as np


def bounding_box(mask: np.ndarray, margin_voxels: int) -> tuple[slice, ...]:
    """Smallest box around a mask, widened by a margin as far as the array reaches.

    Parameters
    ----------
    mask : ndarray of bool
    margin_voxels : int

    Returns
    -------
    tuple of slice
        One for each axis.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty: it has no box")
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        (where,) = np.nonzero(mask.any(axis=others))
        box.append(slice(max(0, int(where[0]) - margin_voxels), int(where[-1]) + margin_voxels + 1))
    return tuple(box)
