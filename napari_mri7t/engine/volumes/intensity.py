"""Intensities on one scale: normalisation, histogram matching, monotone look-up tables.

Bring a scan's intensities to those a model was trained on, and the estimate back.

A model knows one distribution of brain intensities: that of its reference. The map from a scan to
it is a monotone line through a few landmarks of both brains [1]_, not a whole histogram match. The
tails of a histogram tell how a brain was cut out, not what its tissue is: matched to those of a
reference whose darkest voxels are almost 0, a bright cerebrospinal fluid came out black. Beyond
the outer landmarks the map is straight, and what is brighter than the model knows is added again.

References
----------
.. [1] Nyul, Udupa, Zhang, New variants of a method of MRI scale standardization, IEEE Transactions
   on Medical Imaging 19(2):143-150, 2000. DOI 10.1109/42.836373.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.brain import background_of

N_TABLE_ENTRIES = 4096  # of a look-up table; finer than the 256 levels of the study's volumes
N_QUANTILES = 257
SAME_DISTRIBUTION = 0.02  # largest difference of quantiles that counts as none, in [0, 1]
LANDMARKS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # quantiles of the brain


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


@dataclass(frozen=True, eq=False)
class Harmonization:
    """A monotone map between a scan's intensities and a model's, and its inverse.

    Parameters
    ----------
    background : float
        The scan's intensity outside the brain.
    scan, model : ndarray, shape (n,)
        Corresponding intensities, both strictly rising, from the background and 0 to the scan's
        intensity that becomes 1; None where the scan is as the model expects it already and
        nothing is mapped.
    """

    background: float
    scan: np.ndarray | None = None
    model: np.ndarray | None = None

    def to_model(self, array: np.ndarray) -> np.ndarray:
        """Map a scan to [0, 1], background to 0; float32."""
        if self.scan is None or self.model is None:
            return array.astype(np.float32, copy=False)
        mapped = np.zeros_like(array, np.float32)
        for seen, to in _layers(array, mapped):
            brain = seen > self.background
            to[brain] = np.interp(seen[brain], self.scan, self.model)
        return mapped

    def to_scan(self, estimate: np.ndarray, source: np.ndarray, brain: np.ndarray) -> np.ndarray:
        """Map an estimate in [0, 1] to the scan's own range; float32.

        Parameters
        ----------
        estimate, source : ndarray
            Of the model, and the scan it was made of: where the scan is brighter than what became
            1, the excess is added again, and nothing is brighter than the scan's brightest voxel.
        brain : ndarray of bool, same shape
            Outside, the map is a line through the background.
        """
        if self.scan is None or self.model is None:
            return estimate.astype(np.float32, copy=False)
        middle = len(self.scan) // 2
        slope = (self.scan[middle] - self.background) / self.model[middle]
        mapped = np.empty_like(estimate, np.float32)
        brightest = source.max()
        for value, seen, tissue, to in _layers(estimate, source, brain, mapped):
            to[:] = self.background + slope * value
            excess = np.maximum(seen[tissue] - self.scan[-1], 0)
            to[tissue] = np.interp(value[tissue], self.model, self.scan) + excess
            np.minimum(to, brightest, out=to)
        return mapped


def brain_quantiles(array: np.ndarray, n_quantiles: int = N_QUANTILES) -> np.ndarray:
    """Take the quantiles 0 ... 1, at even steps, of what lies above the background."""
    background = background_of(array)
    foreground = np.concatenate([layer[layer > background] for (layer,) in _layers(array)])
    foreground.sort()  # numpy sorts floats faster than it takes many quantiles
    places = np.linspace(0, len(foreground) - 1, n_quantiles)
    quantiles: np.ndarray = np.interp(places, np.arange(len(foreground)), foreground)
    return quantiles


def harmonize(array: np.ndarray, quantiles: np.ndarray) -> Harmonization:
    """Find the map from a scan's brain intensities to a model's.

    Parameters
    ----------
    array : ndarray of float32
        The scan, any scale; the brain is what lies above the background.
    quantiles : ndarray, shape (n,)
        Of the model's reference, at even steps from 0 to 1, in [0, 1].

    Returns
    -------
    Harmonization
        The identity where the scan has the model's distribution already.
    """
    background = background_of(array)
    own = brain_quantiles(array, len(quantiles))
    if np.abs(own - quantiles).max() <= SAME_DISTRIBUTION:
        return Harmonization(background)
    steps = np.linspace(0, 1, len(quantiles))
    scan, model = (np.interp(LANDMARKS, steps, each) for each in (own, quantiles))
    scan, model = np.concatenate(([background], scan)), np.concatenate(([0.0], model))
    rising = np.concatenate(([True], (np.diff(scan) > 0) & (np.diff(model) > 0)))
    scan, model = scan[rising], model[rising]
    middle = (len(scan) - 1) // 2
    slope = (model[-1] - model[middle]) / (scan[-1] - scan[middle])
    if model[-1] < 1:
        scan = np.append(scan, scan[-1] + (1 - model[-1]) / slope)
        model = np.append(model, 1.0)
    return Harmonization(background, scan, model)


def _layers(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Walk through volumes of one shape in the order of memory, in pieces that fit a cache."""
    axis = int(np.argmax(np.abs(arrays[0].strides)))
    return zip(*(np.moveaxis(array, axis, 0) for array in arrays), strict=True)
