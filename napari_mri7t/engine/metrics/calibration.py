"""How far an estimate may be from the truth: intervals calibrated on held-out brains.

A network's estimates of one voxel differ a little. Where they differ more, where the network took
more out of the scan than around, and in the tones where errors are larger for the same difference,
the interval is wider: its half-width is the local spread times a factor that depends on the
estimated intensity. The factor is a quantile of the errors of held-out brains [1]_.

References
----------
.. [1] Angelopoulos and Bates, A Gentle Introduction to Conformal Prediction and Distribution-Free
   Uncertainty Quantification, 2021, section 2.3. arXiv:2107.07511.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

INTERVAL = 0.9  # part of the voxels that an interval should hold
SMOOTHING = 2.0  # voxels, sigma: the spread of a few estimates is known around a voxel, not in it
HERE, AROUND = 0.7, 4.0  # voxels, sigma: where a change is compared with its surroundings
LEAST_CHANGE = 0.003  # of the model's range; less is none
N_TONES = 10  # intensities with a factor of their own, each with as many voxels
LEAST_SPREAD = 1e-4  # of the model's range; below it, rounding decides
N_FITTED = 200_000  # voxels of a brain that a calibration looks at


@dataclass(frozen=True)
class Calibration:
    """The factor from the local spread to the half-width of an interval.

    Parameters
    ----------
    interval : float
        Part of the voxels that the interval should hold, in (0, 1).
    intensity : tuple of float
        Rising, on the model's scale.
    factor : tuple of float
        At each intensity; between them it is interpolated.

    Examples
    --------
    >>> calibration = Calibration(0.9, (0.2, 0.6), (4.0, 2.0))
    >>> calibration.half_width(np.array([0.1, 0.4, 0.6]), np.array([0.01, 0.01, 0.02]))
    array([0.04, 0.03, 0.04])
    """

    interval: float
    intensity: tuple[float, ...]
    factor: tuple[float, ...]

    def __post_init__(self) -> None:
        steps = np.diff(self.intensity)
        if not 0 < self.interval < 1:
            raise ValueError(f"interval must lie between 0 and 1, got {self.interval}")
        if not self.intensity or len(self.intensity) != len(self.factor) or not (steps > 0).all():
            raise ValueError("intensity must rise, with one factor each")
        if not min(self.factor) >= 0 or not np.isfinite(self.factor).all():
            raise ValueError("factor must be numbers, none below 0")

    def half_width(self, estimate: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Return half of the interval's width around an estimate.

        Parameters
        ----------
        estimate : ndarray
            On the model's scale.
        spread : ndarray, same shape
            From `local_spread`.
        """
        factor = np.interp(estimate, self.intensity, self.factor)
        width: np.ndarray = factor * np.maximum(spread, LEAST_SPREAD)
        return width

    def as_dict(self) -> dict[str, Any]:
        """Return what a model card holds of it, rounded."""
        rounded = {
            key: [round(n, 4) for n in getattr(self, key)] for key in ("intensity", "factor")
        }
        return asdict(self) | rounded


def calibration_from(values: Mapping[str, Any]) -> Calibration:
    """Build a calibration from a card's entries.

    Raises
    ------
    ValueError
        If they are none.
    """
    try:
        tones, factors = (tuple(map(float, values[key])) for key in ("intensity", "factor"))
        return Calibration(float(values["interval"]), tones, factors)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no interval, intensity and factor: {error}") from error


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A brain that the model was not trained on, voxel by voxel.

    Parameters
    ----------
    name : str
    target, estimate, spread : ndarray, shape (n,)
        Of the brain's voxels, on the model's scale; the spread from `local_spread`.
    """

    name: str
    target: np.ndarray
    estimate: np.ndarray
    spread: np.ndarray

    def thinned(self) -> "HeldOut":
        """Return every n-th voxel, some `N_FITTED`."""
        step = max(1, len(self.target) // N_FITTED)
        parts = (each[::step] for each in (self.target, self.estimate, self.spread))
        return HeldOut(self.name, *parts)


def local_spread(spread: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return the spread of the estimates around every voxel, larger where the network changed more.

    A lesion that is taken for noise leaves no spread: all estimates agree to remove it. But more is
    removed there than around, so the spread is multiplied by the root of how much more.

    Parameters
    ----------
    spread : ndarray, 3-D
        Standard deviation of the estimates of each voxel; 0 outside the brain.
    change : ndarray, same shape
        Estimate minus source.
    """
    variance, squared = (np.square(each, dtype=np.float32) for each in (spread, change))
    here, around = (gaussian_filter(squared, sigma) + LEAST_CHANGE**2 for sigma in (HERE, AROUND))
    local: np.ndarray = np.sqrt(gaussian_filter(variance, SMOOTHING) * np.sqrt(here / around))
    return local


def calibrate(brains: Sequence[HeldOut], interval: float = INTERVAL) -> Calibration:
    """Choose the factors with which an interval holds its part of the brains' voxels.

    Every brain counts the same, whatever its size.

    Parameters
    ----------
    brains : sequence of HeldOut
    interval : float
        In (0, 1).

    Raises
    ------
    ValueError
        If there is no brain.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> estimate, spread = rng.uniform(size=(2, 100_000))
    >>> target = estimate + 2 * spread * rng.uniform(-1, 1, 100_000)
    >>> calibration = calibrate([HeldOut("sub-01", target, estimate, spread)])
    >>> bool(np.allclose(calibration.factor, 1.8, atol=0.03))
    True
    """
    if not brains:
        raise ValueError("a calibration needs at least one held-out brain")
    thin = [brain.thinned() for brain in brains]
    least = min(len(brain.target) for brain in thin)
    parts = [[each[:: max(1, len(each) // least)] for each in _scores(brain)] for brain in thin]
    tones, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
    edges = np.unique(np.quantile(tones, np.linspace(0, 1, N_TONES + 1)))
    place = np.clip(np.searchsorted(edges, tones, side="right") - 1, 0, max(0, len(edges) - 2))
    groups = [place == n for n in np.unique(place)]
    return Calibration(
        interval,
        tuple(float(np.median(tones[group])) for group in groups),
        tuple(float(np.quantile(scores[group], interval)) for group in groups),
    )


def _scores(brain: HeldOut) -> tuple[np.ndarray, np.ndarray]:
    """Return the estimates, and their errors over the spread."""
    error = np.abs(brain.estimate - brain.target)
    return brain.estimate, error / np.maximum(brain.spread, LEAST_SPREAD)


def coverage(brain: HeldOut, calibration: Calibration) -> float:
    """Return the part of a brain's voxels whose interval holds the target."""
    width = calibration.half_width(brain.estimate, brain.spread)
    return float(np.mean(np.abs(brain.estimate - brain.target) <= width))


def leave_one_out(brains: Sequence[HeldOut], interval: float = INTERVAL) -> dict[str, float]:
    """Return the coverage of each brain by a calibration on the others.

    Parameters
    ----------
    brains : sequence of HeldOut
        Two or more.
    interval : float

    Returns
    -------
    dict of str to float
        By the brain's name.

    Raises
    ------
    ValueError
        If there are fewer than two brains.
    """
    if len(brains) < 2:
        raise ValueError(f"leave-one-out needs two or more brains, got {len(brains)}")
    return {
        brain.name: coverage(brain, calibrate([b for b in brains if b is not brain], interval))
        for brain in brains
    }
