"""A volume through a network, slab by slab of adjacent slices.

Only the brain is computed, each slab in the window that it needs.
"""

from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_mri7t.engine.devices import mixed_precision
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.networks import slices_of, takes_noise_map
from napari_mri7t.engine.networks.fusion import fold_normalization, fuse
from napari_mri7t.engine.networks.layers import to_device
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.lanes import in_lanes
from napari_mri7t.engine.synthesis.windows import (
    Batch,
    Region,
    View,
    common,
    group_slabs,
    n_pixels,
    narrowed,
    relative,
    widened_box,
    window_of,
)
from napari_mri7t.engine.volumes.brain import brain_region

GROUP_BYTES = 20_800_000  # of the slabs a core takes at once, in the widest layer at full size
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
BYTES_PER_VOXEL = 4096  # of activations per slice voxel in the widest network
Kept = dict[tuple[Any, ...], Tensor]  # estimates of slabs


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

    def threads_per_batch(self, n_batches: int, height: int, width: int) -> int:
        """Return how many cores share a batch: all where so few would leave lanes idle."""
        is_few = n_batches < 2 * self.n_lanes(height, width)
        if self.one_lane or is_few:
            return torch.get_num_threads()
        return self.threads_per_slab(height, width)

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
        if takes_noise_map(self.network):
            noise = slabs.new_full((len(slabs), 1, *slabs.shape[2:]), self.noise)
            slabs = torch.cat((slabs, noise), 1)
        with torch.inference_mode(), mixed_precision(self.device, self.precision):
            estimates: Tensor = network(slabs.contiguous(memory_format=torch.channels_last))
        return estimates.float()


@dataclass(frozen=True, eq=False)
class Part:
    """A region of a view's slices (K, H, W), and the slabs that meet it.

    `n_moments`: 1 for the mean of the estimates, 2 for the mean square of their change of the
    source, too. Squares of the estimates themselves would lose a small spread to rounding.
    """

    view: View
    region: Region
    batches: list[Batch]
    n_moments: int = 1
    kept: Kept | None = None  # estimates of slabs, for the next part

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
    kept : dict
        Estimates of the slabs of the last slice: the next slice shares most of them.
    """

    array: np.ndarray
    brain: np.ndarray
    box: Region
    views: tuple[tuple[View, list[Batch]], ...]
    network: nn.Module
    kept: Kept = field(default_factory=dict)


def plan_slabs(
    array: np.ndarray, runner: Runner, planes: tuple[str, ...] | None = None
) -> SlabPlan:
    """Decide which slabs of a volume go through a network, and in which windows.

    Parameters
    ----------
    array : ndarray of float32, shape (S, A, R)
        Source in [0, 1], background 0.
    runner : Runner
    planes : tuple of str, optional
        Of the slabs; by default those of the runner's settings.

    Raises
    ------
    VolumeError
        If there are too few slices for the network.
    """
    config = runner.config
    brain = brain_region(array) if config.crop else np.ones(array.shape, bool)
    box = widened_box(brain)
    inside = brain[box]
    flips = (False, True) if config.flips else (False,)
    views = [View(plane, flip) for plane in planes or config.planes for flip in flips]
    starts = [_slab_starts(view.of(inside).shape[0], runner, view.plane) for view in views]
    batches = [
        _batches(slabs, view.of(inside), runner) for view, slabs in zip(views, starts, strict=True)
    ]
    return SlabPlan(array, brain, box, tuple(zip(views, batches, strict=True)), runner.ready())


def average_views(
    array: np.ndarray, runner: Runner, report: Report = ignore, spread: np.ndarray | None = None
) -> np.ndarray:
    """Average the estimates of a whole volume over planes and mirror images.

    Parameters
    ----------
    array : ndarray of float32, shape (S, A, R)
        Source in [0, 1], background 0.
    runner : Runner
    report : callable
        Called after every batch of slabs.
    spread : ndarray of float32, shape (S, A, R), optional
        Gets the standard deviation of the estimates that are averaged.

    Raises
    ------
    VolumeError
        If there are too few slices for the network.
    """
    everything = tuple(slice(0, n) for n in array.shape)
    return average_region(plan_slabs(array, runner), everything, runner, report, spread)


def average_region(
    plan: SlabPlan,
    region: Region,
    runner: Runner,
    report: Report = ignore,
    spread: np.ndarray | None = None,
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
    spread : ndarray of float32, shape of the region, optional
        As for `average_views`.

    Returns
    -------
    ndarray of float32
        In [0, 1] but for the network's overshoot; 0 outside the brain.
    """
    estimate = np.zeros([part.stop - part.start for part in region], np.float32)
    box = tuple(common(part, whole) for part, whole in zip(region, plan.box, strict=True))
    if any(part.stop <= part.start for part in box):
        return estimate
    inside, at = plan.array[plan.box], relative(box, plan.box)
    _, n_outputs = slices_of(runner.network)
    parts = [
        Part(
            view,
            near := view.region(at, inside.shape),
            narrowed(batches, near, n_outputs),
            n_moments=1 if spread is None else 2,
        )
        for view, batches in plan.views
    ]
    parts = [_one_by_one(each, plan.kept) if each.n_slabs <= n_outputs else each for each in parts]
    n_slabs, done = sum(each.n_slabs for each in parts), 0
    moments = np.zeros((parts[0].n_moments, *inside[at].shape), np.float32)
    for each in parts:
        now = part(report, done, n_slabs, f"{each.view.plane} slices", each.n_slabs)
        finished = _estimate_slices(each.view.of(inside), each, runner, plan.network, now)
        finished /= len(parts)
        for total, of_view in zip(moments, finished, strict=True):
            total += each.view.back(of_view)
        done += each.n_slabs
    here = relative(box, region)
    np.copyto(estimate[here], moments[0], where=plan.brain[box])
    if spread is not None:
        variance = np.maximum(moments[1] - (moments[0] - inside[at]) ** 2, 0)
        np.copyto(spread[here], np.sqrt(variance), where=plan.brain[box])
    return estimate


def _one_by_one(wanted: Part, kept: Kept) -> Part:
    """Return the few slabs of a slice one by one, with those that the last slice had."""
    batches = [Batch([k], batch.window) for batch in wanted.batches for k in batch.starts]
    keys = {_key(wanted, batch) for batch in batches}
    for key in [key for key in kept if key[0] == wanted.view and key not in keys]:
        del kept[key]
    return replace(wanted, batches=batches, kept=kept)


def _key(wanted: Part, batch: Batch) -> tuple[Any, ...]:
    """Return what tells slabs apart."""
    window = tuple((part.start, part.stop) for part in batch.window or ())
    return wanted.view, wanted.n_moments, tuple(batch.starts), window


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
            f"the volume has {n} {plane} slices; the network needs {n_outputs + 2 * ends}: use "
            f"another volume{', or skip fewer end slices' if ends else ''}",
            argument="end_slices" if ends else "",
        )
    starts = list(range(ends, last + 1, effective_step(runner)))
    return starts if starts[-1] == last else [*starts, last]


def _estimate_slices(
    array: np.ndarray, wanted: Part, runner: Runner, network: nn.Module, report: Report
) -> np.ndarray:
    """Estimate a part of slices (K, H, W) from its slabs, averaged; (`n_moments`, K, H, W)."""
    region, batches = wanted.region, wanted.batches
    n_slices, n_outputs = slices_of(runner.network)
    margin = (n_slices - n_outputs) // 2
    first, stop = region[0].start, region[0].stop
    low = min([first, *(batch.starts[0] for batch in batches)])  # slabs reach beyond the region
    high = max([stop, *(batch.starts[-1] + n_outputs for batch in batches)])
    volume = torch.from_numpy(_padded(array, low - margin, high + margin)).to(runner.device)
    total = torch.zeros(wanted.n_moments, high - low, *array.shape[1:], device=runner.device)
    count = np.zeros(high - low, np.float32)

    def estimate(batch: Batch) -> Tensor | None:
        if batch.window is None:
            return None
        if wanted.kept and (known := wanted.kept.get(_key(wanted, batch))) is not None:
            return known
        windows = [(slice(k - low, k - low + n_slices), *batch.window) for k in batch.starts]
        slabs = torch.stack([volume[window] for window in windows])
        return _moments_of(slabs, runner.run(network, slabs), wanted.n_moments)

    n_done = 0
    n_threads = runner.threads_per_batch(len(batches), *array.shape[1:])
    with closing(in_lanes(estimate, batches, n_threads)) as estimates:
        for batch, estimated in zip(batches, estimates, strict=True):
            for n, k in enumerate(batch.starts):
                at = slice(k - low, k - low + n_outputs)
                count[at] += 1
                if estimated is not None and batch.window is not None:
                    _add_to(total[(slice(None), at, *batch.window)], estimated[:, n])
            if wanted.kept is not None and estimated is not None:
                wanted.kept[_key(wanted, batch)] = estimated
            n_done += len(batch.starts)
            report(Progress(n_done, wanted.n_slabs, "slices"))
    at = slice(first - low, stop - low)
    moments, count = total[(slice(None), at, *region[1:])].cpu().numpy(), count[at]
    moments /= np.maximum(count, 1)[:, None, None]
    uncovered = count == 0  # the end slices
    moments[0, uncovered] = array[region][uncovered]
    return moments


def _moments_of(slabs: Tensor, estimates: Tensor, n_moments: int) -> Tensor:
    """Return estimates (1, N, n_outputs, H, W), and the squares of their change if asked for."""
    if n_moments == 1:
        return estimates[None]
    n_outputs = estimates.shape[1]
    margin = (slabs.shape[1] - n_outputs) // 2
    return torch.stack((estimates, (estimates - slabs[:, margin : margin + n_outputs]).square()))


def _padded(array: np.ndarray, low: int, high: int) -> np.ndarray:
    """Return slices low to high of (K, H, W); beyond the ends, the end slices again."""
    within = array[max(low, 0) : high]
    beyond = (max(-low, 0), max(high - len(array), 0))
    return np.ascontiguousarray(np.pad(within, (beyond, (0, 0), (0, 0)), mode="edge"))


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
        groups = group_slabs(starts, brain, n_outputs, runner.pixels_per_group())
    batches = []
    for group in groups:
        window = window_of(brain[group[0] : group[-1] + n_outputs])
        n = len(group)
        if runner.device.type == "cpu" and window is not None:
            n = runner.slabs_at_once(n_pixels(window), *whole)
        batches += [Batch(group[first : first + n], window) for first in range(0, len(group), n)]
    return batches


def _add_to(total: Tensor, slices: Tensor) -> None:
    """Add slices to a total in place.

    By numpy on the CPU: torch would wake its other threads, which spin on the cores of the lanes.
    """
    if total.device.type == "cpu":
        total.numpy()[:] += slices.numpy()
    else:
        total += slices
