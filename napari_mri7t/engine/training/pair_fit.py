"""Whether the 3T and the 7T of a subject show one brain in one place, by their correlation."""

from collections.abc import Iterator, Mapping

import numpy as np

MARGIN = 0.01  # by which another place, side or person must fit better than what is there
# Of the whole images, and of what is brighter than EDGE of the range. Pairs in place reach 0.91 and
# 0.41, also with the noise of the report; the contrast of a T2w leaves nothing above 0.
LEAST_CORRELATION, LEAST_WITHIN, EDGE = 0.5, 0.15, 0.05
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
    >>> brain = np.pad(np.arange(64.0).reshape(4, 4, 4), 3)
    >>> brain = (brain - brain.mean()) / np.linalg.norm(brain - brain.mean())
    >>> misfit(brain, brain, {}, 4)
    ''
    >>> misfit(np.roll(brain, 1, axis=2), brain, {}, 4)
    'fits its 7T better some 4 voxels up or down: register the two (mri7t pair does)'
    """
    here = float((source * target).sum())
    inside = target > target.min() + EDGE * np.ptp(target)
    within = float(np.corrcoef(source[inside], target[inside])[0, 1])
    if not (here > LEAST_CORRELATION and within > LEAST_WITHIN):
        return (
            f"hardly correlates with its 7T ({here:.2f}, {within:.2f} in the brain): check that "
            "both are T1w images of one person, registered to each other (mri7t pair does that)"
        )
    found = [
        *(
            (float((moved * target).sum()), f"{step} voxels {AXES[axis]}")
            for axis, moved in _moved(source)
        ),
        (float((_mirrored(source, target) * target).sum()), ""),
    ]
    best, where = max(found)
    if best > here + MARGIN:
        if not where:
            return "fits its 7T better mirrored left to right: check the headers of both"
        return f"fits its 7T better some {where}: register the two (mri7t pair does)"
    alike = {
        name: float((source * other).sum())
        for name, other in others.items()
        if other.shape == source.shape
    }
    nearest = max(alike, key=alike.__getitem__, default="")
    if nearest and alike[nearest] > here + MARGIN:
        return f"fits the 7T of {nearest} better than its own: check that they are one person's"
    return ""


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
