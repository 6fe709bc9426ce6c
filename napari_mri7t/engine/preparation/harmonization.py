"""Bring a scan's intensities to those a model was trained on, and the estimate back.

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
from scipy.ndimage import generate_binary_structure, label

from napari_mri7t.engine.boxes import bounding_box

N_QUANTILES = 257
SAME_DISTRIBUTION = 0.02  # largest difference of quantiles that counts as none, in [0, 1]
LANDMARKS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # quantiles of the brain


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


def fill_brain(array: np.ndarray) -> np.ndarray:
    """Mask what lies above the background, with the holes of every axial slice filled.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)

    Returns
    -------
    ndarray of bool, same shape
    """
    mask: np.ndarray = array > background_of(array)
    if not mask.any():
        return mask
    inside = mask[bounding_box(mask, 0)].T  # slices first, as they lie in memory
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = generate_binary_structure(2, 1)
    gaps, n_gaps = label(~inside, in_plane)
    is_hole = np.ones(n_gaps + 1, bool)
    is_hole[0] = False  # the brain itself
    for rim in (gaps[:, 0], gaps[:, -1], gaps[..., 0], gaps[..., -1]):
        is_hole[rim] = False
    inside |= is_hole[gaps]
    return mask


def background_of(array: np.ndarray) -> float:
    """Tell the intensity outside the brain: the least of the volume, 0 where that is below 0."""
    return max(0.0, float(array.min()))


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
