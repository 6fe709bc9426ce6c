"""A volume through a network, slab by slab of adjacent slices.

Only the brain is computed, each slab in the window that it needs.
"""

import math
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_mri7t.engine.devices import mixed_precision
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.networks import slices_of, takes_noise_map
from napari_mri7t.engine.networks.fusion import fold_normalization, fuse
from napari_mri7t.engine.networks.layers import to_device
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.synthesis.config import AXES_OF_PLANE, SynthesisConfig
from napari_mri7t.engine.synthesis.lanes import in_lanes
from napari_mri7t.engine.volumes.brain import brain_region
from napari_mri7t.engine.volumes.grids import bounding_box

GROUP_BYTES = 20_800_000  # of the slabs a core takes at once, in the widest layer at full size
MARGIN = 8  # voxels of background around the brain that a slab sees
WINDOW_STEP = 8  # windows start at multiples of it: every slab is halved at the same pixels
WINDOW_MULTIPLE = 16  # of a window's size: oneDNN prepares its kernels anew for each size
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
BYTES_PER_VOXEL = 4096  # of activations per slice voxel in the widest network
SURROUNDINGS = 24  # voxels around a region that its slabs see: what decides its estimate
Region = tuple[slice, ...]


@dataclass
class Runner:
    """Where and how a network runs; changes when memory runs out or bfloat16 overflows."""

    network: nn.Module
    config: SynthesisConfig
    device: torch.device
    precision: torch.dtype
    batch: int = 0  # slabs at once; 0: as many as the memory holds
    one_lane: bool = False  # on the CPU: all cores share a slab, as many lie in memory at once
    noise: float = 0.0  # deviation in the source, for a network that takes a noise map

    def ready(self) -> nn.Module:
        """Return the network in its fastest form on the device, for one volume."""
        network = to_device(self.network, self.device)
        if self.device.type != "cpu":
            return fold_normalization(network)
        with mixed_precision(self.device, self.precision):
            return fuse(network, self.precision)

    def fitting(self, height: int, width: int) -> int:
        """Return how many slabs' activations the memory holds."""
        return self.batch or max(
            1, self.config.memory_mb * 2**20 // (BYTES_PER_VOXEL * height * width)
        )

    def threads_per_slab(self, height: int, width: int) -> int:
        """Return how many cores share a slab: one, where the memory holds one slab per core."""
        n_threads = torch.get_num_threads()
        if self.device.type != "cpu":
            return n_threads  # the GPU takes one batch after the other
        return -(-n_threads // min(n_threads, self.fitting(height, width)))

    def n_lanes(self, height: int, width: int) -> int:
        """Return how many batches are computed in parallel, unless one lane is asked for."""
        return torch.get_num_threads() // self.threads_per_slab(height, width)

    def pixels_per_group(self) -> int:
        """Return how many pixels of slabs share a window and, where memory allows, a pass."""
        layers = (each for each in self.network.modules() if isinstance(each, CONVOLUTIONS))
        widest = max((layer.out_channels for layer in layers), default=1)
        return GROUP_BYTES // (widest * self.precision.itemsize)

    def slabs_at_once(self, n_pixels: int, height: int, width: int) -> int:
        """Return how many slabs of a group a lane takes at once: its share of the memory."""
        if self.batch == 1:
            return 1
        n_lanes = self.n_lanes(height, width)
        return max(1, self.config.memory_mb * 2**20 // (BYTES_PER_VOXEL * n_pixels * n_lanes))

    def run(self, network: nn.Module, slabs: Tensor) -> Tensor:
        """Estimate slabs (N, n_slices, H, W); float32, (N, n_outputs, H, W)."""
        with torch.inference_mode(), mixed_precision(self.device, self.precision):
            estimates: Tensor = network(slabs.contiguous(memory_format=torch.channels_last))
        return estimates.float()


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


@dataclass(frozen=True, eq=False)
class Part:
    """A region of a view's slices (K, H, W), and the slabs that meet it."""

    view: View
    region: Region
    batches: list[Batch]

    @property
    def n_slabs(self) -> int:
        """How many slabs go through the network."""
        return sum(len(batch.starts) for batch in self.batches)


@dataclass(frozen=True, eq=False)
class SlabPlan:
    """Which slabs of a volume go through a network, of every view: all that is decided once.

    Attributes
    ----------
    array : ndarray of float32, shape (S, A, R)
        Source in [0, 1], background 0.
    brain : ndarray of bool, shape (S, A, R)
        What is estimated.
    box : tuple of slice
        Around the brain: where the slabs lie.
    views : tuple of (View, list of Batch)
    network : nn.Module
        In its fastest form.
    """

    array: np.ndarray
    brain: np.ndarray
    box: Region
    views: tuple[tuple[View, list[Batch]], ...]
    network: nn.Module


def plan_slabs(array: np.ndarray, runner: Runner) -> SlabPlan:
    """Decide which slabs of a volume go through a network, and in which windows.

    Parameters
    ----------
    array : ndarray of float32, shape (S, A, R)
        Source in [0, 1], background 0.
    runner : Runner

    Raises
    ------
    VolumeError
        If there are too few slices for the network.
    """
    config = runner.config
    brain = brain_region(array) if config.crop else np.ones(array.shape, bool)
    box = _widened_box(brain)
    inside = brain[box]
    flips = (False, True) if config.flips else (False,)
    views = [View(plane, flip) for plane in config.planes for flip in flips]
    starts = [_slab_starts(view.of(inside).shape[0], runner, view.plane) for view in views]
    batches = [
        _batches(slabs, view.of(inside), runner) for view, slabs in zip(views, starts, strict=True)
    ]
    return SlabPlan(array, brain, box, tuple(zip(views, batches, strict=True)), runner.ready())


def average_views(array: np.ndarray, runner: Runner, report: Report = ignore) -> np.ndarray:
    """Average the estimates of a whole volume over planes and mirror images.

    Parameters
    ----------
    array : ndarray of float32, shape (S, A, R)
        Source in [0, 1], background 0.
    runner : Runner
    report : callable
        Called after every batch of slabs.

    Raises
    ------
    VolumeError
        If there are too few slices for the network.
    """
    everything = tuple(slice(0, n) for n in array.shape)
    return average_region(plan_slabs(array, runner), everything, runner, report)


def average_region(
    plan: SlabPlan, region: Region, runner: Runner, report: Report = ignore
) -> np.ndarray:
    """Average the estimates of a part of a volume, from the slabs that it needs.

    Within their plane, slabs reach `SURROUNDINGS` voxels beyond the region.

    Parameters
    ----------
    plan : SlabPlan
    region : tuple of slice
        Of S, A and R, with both ends.
    runner : Runner
    report : callable
        Called after every batch of slabs.

    Returns
    -------
    ndarray of float32
        In [0, 1] but for the network's overshoot; 0 outside the brain.
    """
    estimate = np.zeros([part.stop - part.start for part in region], np.float32)
    box = tuple(_common(part, whole) for part, whole in zip(region, plan.box, strict=True))
    if any(part.stop <= part.start for part in box):
        return estimate
    inside, at = plan.array[plan.box], _relative(box, plan.box)
    parts = [
        Part(view, near := view.region(at, inside.shape), _narrowed(batches, near, runner))
        for view, batches in plan.views
    ]
    total, done = sum(each.n_slabs for each in parts), 0
    mean = np.zeros(inside[at].shape, np.float32)
    for each in parts:
        now = part(report, done, total, f"{each.view.plane} slices", each.n_slabs)
        finished = _estimate_slices(each.view.of(inside), each, runner, plan.network, now)
        finished /= len(parts)
        mean += each.view.back(finished)
        done += each.n_slabs
    np.copyto(estimate[_relative(box, region)], mean, where=plan.brain[box])
    return estimate


def effective_step(runner: Runner) -> int:
    """Return the slices from slab to slab: at most as many as a slab estimates."""
    _, n_outputs = slices_of(runner.network)
    return min(runner.config.step, n_outputs)


def _slab_starts(n: int, runner: Runner, plane: str) -> list[int]:
    """List the first estimated slice of every slab; the last slab may overlap the one before."""
    _, n_outputs = slices_of(runner.network)
    ends = runner.config.end_slices if plane == "axial" and not runner.config.crop else 0
    last = n - ends - n_outputs
    if last < ends:
        raise VolumeError(
            f"the volume has {n} {plane} slices; the network needs {n_outputs + 2 * ends}: lower "
            "end_slices or use another volume",
            argument="end_slices",
        )
    starts = list(range(ends, last + 1, effective_step(runner)))
    return starts if starts[-1] == last else [*starts, last]


def _estimate_slices(
    array: np.ndarray, wanted: Part, runner: Runner, network: nn.Module, report: Report
) -> np.ndarray:
    """Estimate a part of slices (K, H, W) from its slabs, averaged."""
    region, batches = wanted.region, wanted.batches
    n_slices, n_outputs = slices_of(runner.network)
    margin = (n_slices - n_outputs) // 2
    first, stop = region[0].start, region[0].stop
    low = min([first, *(batch.starts[0] for batch in batches)])  # slabs reach beyond the region
    high = max([stop, *(batch.starts[-1] + n_outputs for batch in batches)])
    volume = torch.from_numpy(_padded(array, low - margin, high + margin)).to(runner.device)
    total = torch.zeros((high - low, *array.shape[1:]), device=runner.device)
    count = np.zeros(high - low, np.float32)

    def estimate(batch: Batch) -> Tensor | None:
        if batch.window is None:
            return None
        windows = [(slice(k - low, k - low + n_slices), *batch.window) for k in batch.starts]
        slabs = torch.stack([volume[window] for window in windows])
        if takes_noise_map(runner.network):
            noise = slabs.new_full((len(slabs), 1, *slabs.shape[2:]), runner.noise)
            slabs = torch.cat((slabs, noise), 1)
        return runner.run(network, slabs)

    n_done = 0
    shared = runner.threads_per_slab(*array.shape[1:])
    n_threads = torch.get_num_threads() if runner.one_lane else shared
    with closing(in_lanes(estimate, batches, n_threads)) as estimates:
        for batch, estimated in zip(batches, estimates, strict=True):
            for n, k in enumerate(batch.starts):
                at = slice(k - low, k - low + n_outputs)
                count[at] += 1
                if estimated is not None and batch.window is not None:
                    _add_to(total[(at, *batch.window)], estimated[n])
            n_done += len(batch.starts)
            report(Progress(n_done, wanted.n_slabs, "slices"))
    at = slice(first - low, stop - low)
    mean, count = total[(at, *region[1:])].cpu().numpy(), count[at]
    mean /= np.maximum(count, 1)[:, None, None]
    uncovered = count == 0  # the end slices
    mean[uncovered] = array[region][uncovered]
    return mean


def _padded(array: np.ndarray, low: int, high: int) -> np.ndarray:
    """Return slices low to high of (K, H, W); beyond the ends, the end slices again."""
    within = array[max(low, 0) : high]
    beyond = (max(-low, 0), max(high - len(array), 0))
    return np.ascontiguousarray(np.pad(within, (beyond, (0, 0), (0, 0)), mode="edge"))


def _narrowed(batches: list[Batch], region: Region, runner: Runner) -> list[Batch]:
    """Return the slabs that estimate slices of a region (K, H, W), in windows around it."""
    _, n_outputs = slices_of(runner.network)
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
    if _common(window, wanted).stop <= _common(window, wanted).start:
        return slice(0, 0)
    start = max(window.start, (wanted.start - SURROUNDINGS) // WINDOW_STEP * WINDOW_STEP)
    size = -(-(wanted.stop + SURROUNDINGS - start) // WINDOW_MULTIPLE) * WINDOW_MULTIPLE
    return slice(start, min(window.stop, start + size))


def _common(part: slice, other: slice) -> slice:
    return slice(max(part.start, other.start), min(part.stop, other.stop))


def _relative(box: Region, outer: Region) -> Region:
    """Return a box counted from the corner of another."""
    return tuple(
        slice(part.start - whole.start, part.stop - whole.start)
        for part, whole in zip(box, outer, strict=True)
    )


def _batches(starts: list[int], brain: np.ndarray, runner: Runner) -> list[Batch]:
    """Group slabs, and split the groups into what goes through the network at once.

    Groups and their windows decide voxels near a window's rim. On the CPU they follow from network,
    precision and brain alone; memory and cores only split them.
    """
    whole = brain.shape[1:]
    _, n_outputs = slices_of(runner.network)
    if runner.device.type != "cpu":
        n = runner.fitting(*whole)
        groups = [starts[first : first + n] for first in range(0, len(starts), n)]
    else:
        groups = _groups(starts, brain, n_outputs, runner.pixels_per_group())
    batches = []
    for group in groups:
        window = _window(brain[group[0] : group[-1] + n_outputs])
        n = len(group)
        if runner.device.type == "cpu" and window is not None:
            n = runner.slabs_at_once(_n_pixels(window), *whole)
        batches += [Batch(group[first : first + n], window) for first in range(0, len(group), n)]
    return batches


def _groups(starts: list[int], brain: np.ndarray, n_outputs: int, room: int) -> list[list[int]]:
    """Group slabs up to a number of pixels, each by its first estimated slice.

    Several go through the network at once, since every call of an operation costs, but no more than
    are allocated quickly and stay near a core.
    """
    groups: list[list[int]] = []
    is_occupied = False
    for k in starts:
        was_occupied, is_occupied = is_occupied, bool(brain[k : k + n_outputs].any())
        if groups and is_occupied == was_occupied:
            window = _window(brain[groups[-1][0] : k + n_outputs])
            if (len(groups[-1]) + 1) * _n_pixels(window) <= room:
                groups[-1].append(k)
                continue
        groups.append([k])
    return groups


def _add_to(total: Tensor, slices: Tensor) -> None:
    """Add slices to a total in place.

    By numpy on the CPU: torch would wake its other threads, which spin on the cores of the lanes.
    """
    if total.device.type == "cpu":
        total.numpy()[:] += slices.numpy()
    else:
        total += slices


def _window(brain: np.ndarray) -> tuple[slice, ...] | None:
    """Return the rows and columns that slices (K, H, W) of the brain occupy; None if none do."""
    occupied = np.asarray(brain.any(axis=0))
    return _widened_box(occupied) if occupied.any() else None


def _n_pixels(window: tuple[slice, ...] | None) -> int:
    return math.prod(part.stop - part.start for part in window) if window else 0


def _widened_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the box of a mask with its margin, widened to one of few sizes where possible."""
    box = bounding_box(mask, MARGIN)
    return tuple(_widened(part, n) for part, n in zip(box, mask.shape, strict=True))


def _widened(part: slice, n: int) -> slice:
    start, end = part.start // WINDOW_STEP * WINDOW_STEP, min(n, part.stop)
    size = -(-(end - start) // WINDOW_MULTIPLE) * WINDOW_MULTIPLE
    start = min(start, max(0, n - size) // WINDOW_STEP * WINDOW_STEP)
    return slice(start, max(end, min(start + size, n)))
