"""Whether the 3T and the 7T of a subject show one brain in one place, by their correlation."""

import math
import warnings
from collections.abc import Iterator, Mapping

import numpy as np

from napari_mri7t.engine.errors import Mri7tWarning
from napari_mri7t.engine.volumes.scale import border_of

MARGIN = 0.01  # by which another place, side or person must fit better than what is there
CHANCE = 4.0  # standard errors of the difference of two correlations, which few samples make large
# Of the whole images, and of what is brighter than EDGE of the range. The ten brains and their
# pseudo-3T reach 0.91 in both; with an inverted contrast, 0.10 at most in the second.
LEAST_CORRELATION, LEAST_WITHIN, EDGE = 0.5, 0.3, 0.05
LEAST_SHOWN, ROUNDING = 100, 1e-6  # samples that can tell; part of the range, in single precision
MIRRORED = "mirrored left to right"
CHECK, REGISTER = "check the headers of both", "register the two"
AXES = ("left or right", "forwards or backwards", "up or down")  # of volumes in RAS+


def misfit(
    source: np.ndarray, target: np.ndarray, others: Mapping[str, np.ndarray], step: int
) -> str:
    """Return why a 3T does not seem to belong where it is; empty if it does.

    Parameters
    ----------
    source, target : ndarray, shape (I, J, K)
        Sampled evenly in RAS+, mean 0, norm 1.
    others : mapping of str to ndarray
        The same of the 7T of other subjects; those of another shape are passed over.
    step : int
        Voxels between the samples.

    Returns
    -------
    str
        A sentence without its beginning.

    Examples
    --------
    >>> brain = np.pad(np.arange(4096.0).reshape(16, 16, 16), 3)
    >>> brain = (brain - brain.mean()) / np.linalg.norm(brain - brain.mean())
    >>> noisy = brain + np.random.default_rng(0).normal(0, 1e-3, brain.shape)
    >>> misfit(noisy, brain, {}, 4)
    ''
    >>> misfit(np.roll(noisy, 1, axis=2), brain, {}, 4)
    'fits its 7T better some 4 voxels up or down: register the two'
    """
    here, n_samples = _fit(source, target), int((target != border_of(target)[0]).sum())

    def lead(fit: float, likeness: float) -> float:
        return fit - here - _margin(here, likeness, n_samples)

    places = [(moved, f"some {step} voxels {AXES[axis]}") for axis, moved in _moved(source)]
    places.append((_mirrored(source, target), MIRRORED))
    leads = [(lead(_fit(moved, target), np.vdot(moved, source)), words) for moved, words in places]
    best, where = max(leads)
    if best > 0:
        return f"fits its 7T better {where}: {CHECK if where == MIRRORED else REGISTER}"
    alike = {
        name: lead(_fit(source, other), np.vdot(other, target))
        for name, other in others.items()
        if other.shape == source.shape
    }
    nearest = max(alike, key=alike.__getitem__, default="")
    if nearest and alike[nearest] > 0:
        return f"fits the 7T of {nearest} better than its own: check that they are one person's"
    if _is_function(source, target):
        return (
            "differs from its 7T in contrast alone, as no two scans do: use a real 3T scan, or the "
            "7T alone, whose 3T is then simulated"
        )
    if here > 0:
        return ""
    return (
        "hardly correlates with its 7T: check that both are T1w images of one person, registered "
        "to each other"
    )


def warn_of_misfits(
    samples: Mapping[tuple[str, str], np.ndarray], steps: Mapping[str, int]
) -> None:
    """Warn of a 3T that fits another place, side or person better than its own 7T.

    Parameters
    ----------
    samples : mapping
        Subject and field, "3T" or "7T", to the image as `misfit` takes it.
    steps : mapping of str to int
        Voxels between the samples of each subject.

    Warns
    -----
    Mri7tWarning
        A sentence for each such subject.
    """
    targets = {subject: sample for (subject, field), sample in samples.items() if field == "7T"}
    for (subject, field), sample in samples.items():
        if field == "3T" and subject in targets:
            others = {name: each for name, each in targets.items() if name != subject}
            if why := misfit(sample, targets[subject], others, steps[subject]):
                warnings.warn(f"{subject}: its 3T {why}", Mri7tWarning, stacklevel=3)


def _is_function(source: np.ndarray, target: np.ndarray) -> bool:
    """Return whether the brighter of two voxels in one image is never the darker in the other."""
    is_shown = (source != border_of(source)[0]) & (target != border_of(target)[0])
    one, other = source[is_shown], target[is_shown]
    if len(one) < LEAST_SHOWN:
        return False
    return any(
        bool(np.diff(b[np.lexsort((b, a))]).min() >= -ROUNDING * np.ptp(b))
        for a, b in ((one, other), (other, one))
    )


def _fit(source: np.ndarray, target: np.ndarray) -> float:
    """Return the correlation of two images; 0 if it is too low for one brain in one place."""
    inside = target > target.min() + EDGE * np.ptp(target)
    within = float(np.corrcoef(source[inside], target[inside])[0, 1])
    whole = float((source * target).sum())
    return whole if whole > LEAST_CORRELATION and within > LEAST_WITHIN else 0.0


def _margin(fit: float, likeness: float, n_samples: int) -> float:
    """Return by how much another image must fit better than one whose correlation with it is this.

    The fits of two images that are alike differ by their noise: their standard error is that of
    Steiger (1980), Psychological Bulletin 87, for dependent correlations.
    """
    rest = 1 - 2 * fit**2
    shared = likeness * rest - fit**2 * (rest - likeness**2) / 2
    variance = 2 * ((1 - fit**2) ** 2 - shared) / max(n_samples, 1)
    return max(MARGIN, CHANCE * math.sqrt(max(variance, 0.0)))


def _moved(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield an image moved by a sample both ways along each axis."""
    for axis in range(array.ndim):
        for way in (1, -1):
            yield axis, np.roll(array, way, axis)


def _mirrored(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return an image mirrored left to right, its middle where that of the other is."""
    mirrored = source[::-1]
    return np.roll(mirrored, round(_middle(target) - _middle(mirrored)), 0)


def _middle(array: np.ndarray) -> float:
    """Return the mean index of what is brighter than the average, along the first axis."""
    bright = np.nonzero(array > 0)[0]
    return float(np.mean(bright)) if len(bright) else 0.0
