"""Bring a scan's intensities to those a model was trained on, and the estimate back.

A model knows one distribution of brain intensities: that of its reference. The monotone map from
the scan's brain to it is histogram matching inside the brain, where the report matches whole
volumes: the part of background depends on the field of view, and would shift the match.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_fill_holes

N_QUANTILES = 257
SAME_DISTRIBUTION = 0.02  # largest difference of quantiles that counts as none, in [0, 1]


@dataclass(frozen=True, eq=False)
class Harmonization:
    """A monotone map between a scan's intensities and a model's, and its inverse.

    Parameters
    ----------
    background : float
        The scan's intensity outside the brain.
    scan, model : ndarray, shape (n,)
        Corresponding intensities, both strictly rising; None where the scan is as the model
        expects it already and nothing is mapped.
    """

    background: float
    scan: np.ndarray | None = None
    model: np.ndarray | None = None

    def to_model(self, array: np.ndarray) -> np.ndarray:
        """Map a scan to [0, 1], background to 0; float32."""
        if self.scan is None or self.model is None:
            return array.astype(np.float32, copy=False)
        mapped = np.interp(array, self.scan, self.model)
        inside: np.ndarray = np.where(array > self.background, mapped, 0).astype(np.float32)
        return inside

    def to_scan(self, array: np.ndarray, brain: np.ndarray) -> np.ndarray:
        """Map an estimate in [0, 1] to the scan's own range; float32.

        Inside the brain nothing is darker than its darkest voxel. Outside, the map is a line
        through the background: the monotone map leaps there, and would turn traces into tissue.
        """
        if self.scan is None or self.model is None:
            return array.astype(np.float32, copy=False)
        middle = len(self.scan) // 2
        slope = (self.scan[middle] - self.background) / self.model[middle]
        inside = np.interp(array, self.model[1:], self.scan[1:])
        outside = np.minimum(self.background + slope * array, self.scan[-1])
        mapped: np.ndarray = np.where(brain, inside, outside).astype(np.float32)
        return mapped


def brain_quantiles(array: np.ndarray, n_quantiles: int = N_QUANTILES) -> np.ndarray:
    """Take the quantiles 0 ... 1, at even steps, of what lies above the background."""
    foreground = array[array > background_of(array)]
    quantiles: np.ndarray = np.quantile(foreground, np.linspace(0, 1, n_quantiles))
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
    mask = array > background_of(array)
    return np.stack([binary_fill_holes(mask[..., k]) for k in range(mask.shape[2])], axis=2)


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
    # The background stands below the brain's least intensity on either scale.
    scan = np.concatenate(([background], own))
    model = np.concatenate(([0.0], quantiles))
    rising = np.concatenate(([True], (np.diff(scan) > 0) & (np.diff(model) > 0)))
    return Harmonization(background, scan[rising], model[rising])
