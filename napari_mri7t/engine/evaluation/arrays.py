"""Checks that every metric makes before it compares two arrays voxel by voxel."""

from __future__ import annotations

import math

import numpy as np


def pick(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Take the values inside a mask.

    Parameters
    ----------
    array : ndarray, any shape
    mask : ndarray of bool, the same shape

    Returns
    -------
    ndarray of float64, shape (n,), n > 0

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

    Parameters
    ----------
    reference, estimate : ndarray

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
            raise ValueError(f"{role}: holds NaN or infinite values; no figure would mean anything")


def check_range(data_range: float) -> None:
    """Refuse a span of intensities that is no span.

    Parameters
    ----------
    data_range : float

    Raises
    ------
    ValueError
        Unless it is finite and above 0.
    """
    if not (math.isfinite(data_range) and data_range > 0):
        raise ValueError(f"data_range must be a positive number, got {data_range}")
