"""MAE, PSNR, SSIM and NRMSE of an estimate, over the whole volume and inside the brain.

The definitions are those of the report's Table 1 (whole volume, data range given by the caller,
SSIM as ``tf.image.ssim`` on every axial slice). The same figures inside the brain leave out the
background, four fifths of a volume, which inflates them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from napari_mri7t.engine.metrics.similarity import (
    check_pair,
    check_range,
    mean_similarity,
    pick,
    ssim_map,
)
from napari_mri7t.engine.volumes.scale import foreground_of
from napari_mri7t.engine.volumes.volume import Volume, same_grid


def mae(reference: np.ndarray, estimate: np.ndarray, *, mask: np.ndarray | None = None) -> float:
    """Return the mean absolute error, in the unit of the arrays.

    Parameters
    ----------
    reference, estimate : ndarray, one shape
        Finite values.
    mask : ndarray of bool, the same shape, optional
        Voxels to take the mean over. All of them by default.

    Returns
    -------
    float
        0 for identical arrays.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or the mask is empty.
    """
    return float(np.abs(_error(reference, estimate, mask)).mean())


def psnr(
    reference: np.ndarray,
    estimate: np.ndarray,
    *,
    data_range: float,
    mask: np.ndarray | None = None,
) -> float:
    """Return the peak signal-to-noise ratio, dB: 10 log10(data_range^2 / mean squared error).

    Parameters
    ----------
    reference, estimate : ndarray, one shape
        Finite values.
    data_range : float
        The span that intensities can take (1 for volumes in [0, 1]); never taken from the data,
        which would make the figures of two subjects incomparable.
    mask : ndarray of bool, the same shape, optional
        Voxels to take the mean over. All of them by default.

    Returns
    -------
    float
        ``inf`` for identical arrays; `to_json` writes it as a string.

    Raises
    ------
    ValueError
        As for `mae`, and if `data_range` is not a positive number.
    """
    check_range(data_range)
    mse = float(np.square(_error(reference, estimate, mask)).mean())
    return math.inf if mse == 0 else 10 * math.log10(data_range**2 / mse)


def nrmse(reference: np.ndarray, estimate: np.ndarray, *, mask: np.ndarray | None = None) -> float:
    """Return the root mean squared error over the root mean square of the reference.

    scikit-image's "euclidean" normalisation: it needs no data range and does not depend on the
    two extreme voxels of the reference.

    Parameters
    ----------
    reference, estimate : ndarray, one shape
        Finite values.
    mask : ndarray of bool, the same shape, optional
        Voxels to take both means over. All of them by default.

    Returns
    -------
    float
        0 for identical arrays, 1 for an estimate of zeros.

    Raises
    ------
    ValueError
        As for `mae`, and if the reference is zero everywhere in the mask.
    """
    error = _error(reference, estimate, mask)
    inside = np.asarray(reference, np.float64) if mask is None else pick(reference, mask)
    scale = float(np.square(inside).mean())
    if scale == 0:
        raise ValueError("nrmse: the reference is zero in every voxel, nothing to normalise by")
    return math.sqrt(float(np.square(error).mean()) / scale)


def ssim(
    reference: np.ndarray,
    estimate: np.ndarray,
    *,
    data_range: float,
    mask: np.ndarray | None = None,
) -> float:
    """Return the mean structural similarity over axial slices, as ``tf.image.ssim`` computes it.

    Parameters
    ----------
    reference, estimate : ndarray, shape (I, J, K)
        Finite values.
    data_range : float
        As for `psnr`.
    mask : ndarray of bool, shape (I, J, K), optional
        Average the map over these voxels. The map itself is computed from whole slices, so a
        voxel at the mask's edge sees its true surroundings; the mask's voxels within 5 of the
        slice's border, where no full window fits, are left out.

    Returns
    -------
    float
        1 for identical arrays.

    Raises
    ------
    ValueError
        As for `ssim_map`, and if the mask is empty or has no voxel where the map is defined.
    """
    return mean_similarity(ssim_map(reference, estimate, data_range=data_range), mask)


def compare(
    reference: Volume,
    estimate: Volume,
    *,
    mask: Volume | None = None,
    data_range: float = 1.0,
) -> dict[str, dict[str, float]]:
    """Score an estimate against its reference, over the whole volume and inside the brain.

    Parameters
    ----------
    reference, estimate : Volume
        On one grid.
    mask : Volume, optional
        The brain: its voxels above 0. By default the reference without its background.
    data_range : float
        As for `psnr`.

    Returns
    -------
    dict
        ``{"whole": {"mae", "psnr", "ssim"}, "brain": {"mae", "psnr", "ssim"}}``.

    Raises
    ------
    GridError
        If the volumes do not lie on one grid.
    ValueError
        If the mask is empty, a value is not finite, or the data range is not positive.
    """
    same_grid(reference, estimate)
    if mask is not None:
        same_grid(reference, mask)
    brain = foreground_of(reference) if mask is None else mask.array > 0
    if not brain.any():
        raise ValueError(f"{(mask or reference).name}: the mask holds no voxel above 0")
    x, y = reference.array, estimate.array
    with naming(reference, estimate, mask):
        similarity = ssim_map(x, y, data_range=data_range)
        return {
            region: {
                "mae": mae(x, y, mask=inside),
                "psnr": psnr(x, y, data_range=data_range, mask=inside),
                "ssim": mean_similarity(similarity, inside),
            }
            for region, inside in (("whole", None), ("brain", brain))
        }


@contextmanager
def naming(reference: Volume, estimate: Volume, mask: Volume | None) -> Iterator[None]:
    """Add the volumes' names to an error about their arrays.

    Parameters
    ----------
    reference, estimate : Volume
    mask : Volume, optional

    Raises
    ------
    ValueError
        Any that the block raises, with the names in front.
    """
    try:
        yield
    except ValueError as error:
        inside = f" in {mask.name}" if mask is not None else ""
        raise ValueError(f"{reference.name} and {estimate.name}{inside}: {error}") from error


def _error(reference: np.ndarray, estimate: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return estimate minus reference, float64, flat if masked."""
    check_pair(reference, estimate)
    if mask is None:
        return np.asarray(np.subtract(estimate, reference, dtype=np.float64))
    return np.asarray(pick(estimate, mask) - pick(reference, mask))
