"""Intensities on one scale: normalisation, histogram matching, monotone look-up tables."""

from dataclasses import dataclass

import numpy as np

from napari_mri7t.engine.errors import VolumeError

N_TABLE_ENTRIES = 4096  # of a look-up table; finer than the 256 levels of the study's volumes


@dataclass(frozen=True, eq=False)
class LookUpTable:
    """A monotone map of intensities, sampled evenly between two bounds.

    Histogram matching needs only the two empirical distributions, so that as a table it can be
    applied to any part of a volume, with any noise.

    Parameters
    ----------
    low, high : float
        Intensities of the first and the last entry; beyond them the nearest entry holds.
    values : ndarray of float32, shape (n,)
        Intensities mapped to.
    """

    low: float
    high: float
    values: np.ndarray

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """Map an array of any shape; linear between the entries, float32."""
        entries = np.linspace(self.low, self.high, len(self.values))
        mapped: np.ndarray = np.interp(array, entries, self.values).astype(np.float32)
        return mapped


def normalize(
    array: np.ndarray, mask: np.ndarray | None = None, *, low: float = 0.0, high: float = 100.0
) -> tuple[np.ndarray, tuple[float, float]]:
    """Map intensities linearly so that two percentiles become 0 and 1.

    The defaults are the report's min-max. Percentiles inside the brain hold against vessels and
    fat, which dominate the maximum at 7T. Nothing is clipped.

    Parameters
    ----------
    array : ndarray, any shape
        Intensities in scanner units.
    mask : ndarray of bool, same shape, optional
        Voxels the percentiles are taken from; all by default.
    low, high : float
        Percent, 0 <= low < high <= 100.

    Returns
    -------
    normalized : ndarray of float32, same shape
    bounds : tuple of float
        Intensities that became 0 and 1; `denormalize` takes them.

    Raises
    ------
    ValueError
        If the percentiles are out of order.
    VolumeError
        If `mask` holds no voxel or the two percentiles coincide.
    """
    if not 0 <= low < high <= 100:
        raise ValueError(f"percentiles must obey 0 <= low < high <= 100, got {low} and {high}")
    values = array if mask is None else array[mask]
    if values.size == 0:
        raise VolumeError("the mask is empty: no voxel to take percentiles from; check the mask")
    lower, upper = (float(bound) for bound in np.percentile(values, (low, high)))
    if not upper > lower:
        raise VolumeError(
            f"intensities are constant ({lower:g}) between percentiles {low:g} and {high:g}: "
            "nothing to normalise; check the volume"
        )
    return ((array - lower) / (upper - lower)).astype(np.float32), (lower, upper)


def denormalize(array: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Undo `normalize`: 0 and 1 become the two bounds again; float32."""
    lower, upper = bounds
    return (array * (upper - lower) + lower).astype(np.float32)


def match_histogram(array: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Give an array the intensity distribution of another, as scikit-image does.

    Parameters
    ----------
    array, reference : ndarray, any shapes
        Whole volumes in the report, background included.

    Returns
    -------
    ndarray of float32, shape of `array`

    References
    ----------
    .. [1] R. C. Gonzalez, R. E. Woods, Digital Image Processing, section "histogram matching
       (specification)"; the numbers are those of `skimage.exposure.match_histograms`.
    """
    # Imported here: the reader needs this file's neighbours, not scikit-image.
    from skimage.exposure import match_histograms

    matched: np.ndarray = match_histograms(array, reference)
    return matched.astype(np.float32)


def histogram_table(
    array: np.ndarray, reference: np.ndarray, n_entries: int = N_TABLE_ENTRIES
) -> LookUpTable:
    """Write the map of `match_histogram` as a table.

    Parameters
    ----------
    array, reference : ndarray, any shapes
        The distributions to map from and to.
    n_entries : int
        Entries of the table, evenly spaced over the range of `array`.

    Raises
    ------
    VolumeError
        If `array` is constant.
    """
    levels, counts = np.unique(array.ravel(), return_counts=True)
    if len(levels) < 2:
        raise VolumeError("the volume is constant: its histogram cannot be matched; check the file")
    reference_levels, reference_counts = np.unique(reference.ravel(), return_counts=True)
    quantiles = np.cumsum(counts) / array.size
    reference_quantiles = np.cumsum(reference_counts) / reference.size
    matched = np.interp(quantiles, reference_quantiles, reference_levels)
    entries = np.linspace(levels[0], levels[-1], n_entries)
    values = np.interp(entries, levels, matched).astype(np.float32)
    return LookUpTable(float(levels[0]), float(levels[-1]), values)
