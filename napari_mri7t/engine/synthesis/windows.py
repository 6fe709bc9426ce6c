"""Which part of a volume a slab sees: views, batches, and windows around the brain or a region."""

import math
from dataclasses import dataclass

import numpy as np

from napari_mri7t.engine.synthesis.config import AXES_OF_PLANE
from napari_mri7t.engine.volumes.grids import bounding_box

MARGIN = 8  # voxels of background around the brain that a slab sees
WINDOW_STEP = 8  # windows start at multiples of it: every slab is halved at the same pixels
WINDOW_MULTIPLE = 16  # of a window's size: oneDNN prepares its kernels anew for each size
SURROUNDINGS = 40  # voxels around a region that its slabs see: what decides its estimate
Region = tuple[slice, ...]


@dataclass(frozen=True)
class Batch:
    """Slabs that go through the network at once, by their first estimated slices.

    `window` holds their rows and columns; None where there is no brain.
    """

    starts: list[int]
    window: tuple[slice, ...] | None


@dataclass(frozen=True, eq=False)
class View:
    """The volume's slices along one plane, as they are or mirrored left to right."""

    plane: str
    mirrored: bool

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return (S, A, R) as slices (K, H, W) of this view."""
        seen = array[:, :, ::-1] if self.mirrored else array
        return seen.transpose(AXES_OF_PLANE[self.plane])

    def back(self, array: np.ndarray) -> np.ndarray:
        """Undo `of`."""
        seen = array.transpose(np.argsort(AXES_OF_PLANE[self.plane]))
        return seen[:, :, ::-1] if self.mirrored else seen

    def region(self, region: Region, shape: tuple[int, ...]) -> Region:
        """Return where a region of (S, A, R) lies in this view."""
        s, a, r = region
        n = shape[2]
        parts = (s, a, slice(n - r.stop, n - r.start) if self.mirrored else r)
        return tuple(parts[axis] for axis in AXES_OF_PLANE[self.plane])


def narrowed(batches: list[Batch], region: Region, n_outputs: int) -> list[Batch]:
    """Return the slabs that estimate slices of a region (K, H, W), in windows around it."""
    found = []
    for batch in batches:
        reached = [k for k in batch.starts if region[0].start - n_outputs < k < region[0].stop]
        window = batch.window
        if window is not None:
            window = tuple(map(_narrowed_part, window, region[1:]))
            window = window if all(part.stop > part.start for part in window) else None
        if reached:
            found.append(Batch(reached, window))
    return found


def _narrowed_part(window: slice, wanted: slice) -> slice:
    """Return the part of a window near a region, in one of few sizes where that fits."""
    if common(window, wanted).stop <= common(window, wanted).start:
        return slice(0, 0)
    start = max(window.start, (wanted.start - SURROUNDINGS) // WINDOW_STEP * WINDOW_STEP)
    size = -(-(wanted.stop + SURROUNDINGS - start) // WINDOW_MULTIPLE) * WINDOW_MULTIPLE
    return slice(start, min(window.stop, start + size))


def common(part: slice, other: slice) -> slice:
    """Return what two ranges have in common; its end is no further than its start if nothing."""
    return slice(max(part.start, other.start), min(part.stop, other.stop))


def relative(box: Region, outer: Region) -> Region:
    """Return a box counted from the corner of another."""
    return tuple(
        slice(part.start - whole.start, part.stop - whole.start)
        for part, whole in zip(box, outer, strict=True)
    )


def group_slabs(starts: list[int], brain: np.ndarray, n_outputs: int, room: int) -> list[list[int]]:
    """Group slabs up to a number of pixels, each by its first estimated slice.

    Several go through the network at once, since every call of an operation costs, but no more than
    are allocated quickly and stay near a core.
    """
    groups: list[list[int]] = []
    is_occupied = False
    for k in starts:
        was_occupied, is_occupied = is_occupied, bool(brain[k : k + n_outputs].any())
        if groups and is_occupied == was_occupied:
            window = window_of(brain[groups[-1][0] : k + n_outputs])
            if (len(groups[-1]) + 1) * n_pixels(window) <= room:
                groups[-1].append(k)
                continue
        groups.append([k])
    return groups


def window_of(brain: np.ndarray) -> tuple[slice, ...] | None:
    """Return the rows and columns that slices (K, H, W) of the brain occupy; None if none do."""
    occupied = np.asarray(brain.any(axis=0))
    return widened_box(occupied) if occupied.any() else None


def n_pixels(window: tuple[slice, ...] | None) -> int:
    """Return how many pixels a window holds; 0 for none."""
    return math.prod(part.stop - part.start for part in window) if window else 0


def widened_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the box of a mask with its margin, widened to one of few sizes where possible."""
    box = bounding_box(mask, MARGIN)
    return tuple(_widened(part, n) for part, n in zip(box, mask.shape, strict=True))


def _widened(part: slice, n: int) -> slice:
    start, end = part.start // WINDOW_STEP * WINDOW_STEP, min(n, part.stop)
    size = -(-(end - start) // WINDOW_MULTIPLE) * WINDOW_MULTIPLE
    start = min(start, max(0, n - size) // WINDOW_STEP * WINDOW_STEP)
    return slice(start, max(end, min(start + size, n)))
