"""Intensities on one scale: normalisation, histogram matching, and harmonisation with a model.

A model expects one distribution of brain intensities: that of its reference. A scan is mapped to
it by a piecewise linear, monotone function through a few landmarks of both brains [1]_, not by a
full histogram match. The tails of a histogram depend on the brain extraction, not on tissue:
matched to a reference whose darkest voxels are almost 0, bright cerebrospinal fluid turns black.
Beyond the outer landmarks the map is linear; intensities above the model's range are added back
afterwards.

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
from napari_mri7t.engine.volumes.scale import zeroed
from napari_mri7t.engine.volumes.volume import Volume

N_TABLE_ENTRIES = 4096  # of a look-up table; finer than the 256 levels of the study's volumes
N_QUANTILES = 257
SAME_DISTRIBUTION = 0.02  # largest difference of quantiles that is ignored, in [0, 1]
LIMIT_PERCENT = 99.8  # of absolute differences in the brain: a few vessels do not set the scale
ROUND = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 10)  # of which a colour bar shows three values and more
PEAK_PERCENT, LARGEST_PEAK = 99.9, 5.0
BRIGHT = 98.0  # percentile of the brain that stands for its brightest tissue
BRIGHT_LEVEL = 0.8  # of that tissue for a model that takes any tones: vessels stay below 1
LANDMARKS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # quantiles of the brain


def normalize(
    array: np.ndarray, mask: np.ndarray | None = None, *, low: float = 0.0, high: float = 100.0
) -> tuple[np.ndarray, tuple[float, float]]:
    """Map intensities linearly so that two percentiles become 0 and 1.

    The defaults are the report's min-max. Percentiles inside the brain are robust to vessels and
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
        Intensities that became 0 and 1, for `denormalize`.

    Raises
    ------
    ValueError
        If the percentiles are out of order.
    VolumeError
        If `mask` holds no voxel or the two percentiles coincide.

    Examples
    --------
    >>> normalize(np.array([10.0, 20.0, 30.0]))
    (array([0. , 0.5, 1. ], dtype=float32), (10.0, 30.0))
    """
    if not 0 <= low < high <= 100:
        raise ValueError(f"percentiles must satisfy 0 <= low < high <= 100, got {low} and {high}")
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


def normalize_volume(volume: Volume) -> np.ndarray:
    """Return a scan's intensities with its background at 0 and its maximum at 1; float32.

    Raises
    ------
    VolumeError
        As `check_peak`, or if the volume is constant.
    """
    array = zeroed(volume).array
    _check_peak(array, volume.name)
    return normalize(array)[0]


def check_peak(volume: Volume) -> None:
    """Check that no few voxels outshine the others, which a scale by the maximum would darken.

    Raises
    ------
    VolumeError
        If the maximum is more than 5 times the 99.9th percentile of what is no background; in
        real scans with their vessels it is 1 to 3.5 times.
    """
    _check_peak(zeroed(volume).array, volume.name)


def _check_peak(array: np.ndarray, name: str) -> None:
    inside = array[array > background_of(array)]
    usual = float(np.percentile(inside, PEAK_PERCENT)) if inside.size else 0.0
    if usual > 0 and array.max() > LARGEST_PEAK * usual:
        raise VolumeError(
            f"{name}: its brightest voxel is {array.max() / usual:.0f} times as bright as "
            f"{PEAK_PERCENT:g} % of the others, so that a scale by the maximum would leave the "
            "brain dark: cap such voxels first"
        )


def bright_at_one(volume: Volume) -> np.ndarray:
    """Return intensities with the background at 0 and the brain's bright tissue at 1; float32.

    Unlike the maximum, a percentile of the brain does not depend on vessels.
    """
    array = zeroed(volume).array
    brain = array[array > background_of(array)]
    if not brain.size:
        raise VolumeError(f"{volume.name}: no voxel is above the background: check the volume")
    scaled: np.ndarray = (array / np.percentile(brain, BRIGHT)).astype(np.float32)
    return scaled


def denormalize(array: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Undo `normalize`, float32: 0 and 1 become the two bounds again."""
    lower, upper = bounds
    return (array * (upper - lower) + lower).astype(np.float32)


def match_histogram(array: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Match the intensity distribution of an array to that of another, as scikit-image does.

    Parameters
    ----------
    array, reference : ndarray, any shapes
        Whole volumes in the report, background included.

    References
    ----------
    .. [1] R. C. Gonzalez, R. E. Woods, Digital Image Processing, section "histogram matching
       (specification)"; the numbers are those of `skimage.exposure.match_histograms`.
    """
    from skimage.exposure import match_histograms  # slow to import, and rarely needed

    matched: np.ndarray = match_histograms(array, reference)
    return matched.astype(np.float32)


@dataclass(frozen=True, eq=False)
class LookUpTable:
    """A monotone map of intensities, sampled evenly between two bounds.

    Histogram matching depends on the two distributions only; as a table it can be applied to any
    part of a volume, with any noise.

    Parameters
    ----------
    low, high : float
        Intensities of the first and last entry, which also hold beyond.
    values : ndarray of float32, shape (n,)
        Intensities to map to.
    """

    low: float
    high: float
    values: np.ndarray

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """Map an array of any shape; linear between the entries, float32."""
        entries = np.linspace(self.low, self.high, len(self.values))
        mapped: np.ndarray = np.interp(array, entries, self.values).astype(np.float32)
        return mapped


def histogram_table(
    array: np.ndarray, reference: np.ndarray, n_entries: int = N_TABLE_ENTRIES
) -> LookUpTable:
    """Return the map of `match_histogram` as a table.

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
        intensity that becomes 1; None for the identity.
    """

    background: float
    scan: np.ndarray | None = None
    model: np.ndarray | None = None

    @property
    def slope(self) -> float:
        """Model intensities per unit of the scan, from the background to the bright end."""
        if self.scan is None or self.model is None:
            return 1.0
        return float(self.model[-1] / (self.scan[-1] - self.background))

    def to_model(self, array: np.ndarray) -> np.ndarray:
        """Map a scan to [0, 1], background to 0; float32."""
        if self.scan is None or self.model is None:
            return array.astype(np.float32, copy=False)
        mapped = np.zeros_like(array, np.float32)
        for seen, to in _layers(array, mapped):
            brain = seen > self.background
            to[brain] = np.interp(seen[brain], self.scan, self.model)
        return mapped

    def to_scan(
        self,
        estimate: np.ndarray,
        source: np.ndarray,
        brain: np.ndarray,
        brightest: float | None = None,
    ) -> np.ndarray:
        """Map an estimate in [0, 1] to the scan's own range; float32.

        Parameters
        ----------
        estimate, source : ndarray
            Of the model, and the scan it was made from. Where the scan is brighter than what became
            1, the excess is added back; no voxel exceeds the scan's maximum.
        brain : ndarray of bool, same shape
            Outside, the map is linear through the background.
        brightest : float, optional
            The scan's maximum, where `source` is a part of it.
        """
        if self.scan is None or self.model is None:
            return estimate.astype(np.float32, copy=False)
        middle = len(self.scan) // 2
        slope = (self.scan[middle] - self.background) / self.model[middle]
        mapped = np.empty_like(estimate, np.float32)
        most = np.float32(source.max() if brightest is None else brightest)
        for value, seen, tissue, to in _layers(estimate, source, brain, mapped):
            to[:] = self.background + slope * value
            excess = np.maximum(seen[tissue] - self.scan[-1], 0)
            to[tissue] = np.interp(value[tissue], self.model, self.scan) + excess
            np.minimum(to, most, out=to)
        return mapped


def harmonize(array: np.ndarray, quantiles: np.ndarray) -> Harmonization:
    """Return the map from a scan's brain intensities to a model's.

    Parameters
    ----------
    array : ndarray of float32
        The scan, at any scale; the brain is what lies above the background.
    quantiles : ndarray, shape (n,)
        Of the model's reference, at even steps from 0 to 1, in [0, 1].

    Returns
    -------
    Harmonization
        The identity where the scan already has the model's distribution.
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


def scale_linearly(array: np.ndarray) -> Harmonization:
    """Return the linear map that brings a scan's bright tissue to `BRIGHT_LEVEL`.

    Parameters
    ----------
    array : ndarray of float32
        The scan, at any scale; the brain is what lies above the background.
    """
    background = background_of(array)
    bright = float(np.percentile(array[array > background], BRIGHT)) - background
    ends = np.array([0.0, 1.0])
    return Harmonization(background, background + bright / BRIGHT_LEVEL * ends, ends)


def brain_quantiles(array: np.ndarray, n_quantiles: int = N_QUANTILES) -> np.ndarray:
    """Return quantiles at even steps from 0 to 1 of the intensities above the background."""
    background = background_of(array)
    foreground = np.concatenate([layer[layer > background] for (layer,) in _layers(array)])
    foreground.sort()  # numpy sorts floats faster than it takes many quantiles
    places = np.linspace(0, len(foreground) - 1, n_quantiles)
    quantiles: np.ndarray = np.interp(places, np.arange(len(foreground)), foreground)
    return quantiles


def _layers(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the slices of volumes of one shape in memory order, small enough for a cache."""
    axis = int(np.argmax(np.abs(arrays[0].strides)))
    return zip(*(np.moveaxis(array, axis, 0) for array in arrays), strict=True)


def symmetric_limit(difference: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Return the largest difference to show, the same for both signs: a round number.

    Parameters
    ----------
    difference : ndarray
        Of intensities.
    mask : ndarray of bool, the same shape, optional
        Where to look; the voxels that are not 0 by default.

    Returns
    -------
    float
        Above 0, so that a display always has a range.
    """
    size = np.abs(difference)
    inside = size[size > 0 if mask is None else mask]
    limit = float(np.percentile(inside, LIMIT_PERCENT)) if inside.size else 0.0
    if limit <= 0:
        return 1.0
    unit = 10.0 ** np.floor(np.log10(limit))
    return float(unit * next((step for step in ROUND if limit <= step * unit), ROUND[-1]))
