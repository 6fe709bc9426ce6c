"""A volume through a network, slab by slab of adjacent slices: where the slabs lie, what they see.

Only the brain is computed, each slab in the window that it needs.
"""

import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_mri7t.engine.boxes import bounding_box
from napari_mri7t.engine.brain_region import brain_region
from napari_mri7t.engine.devices import mixed_precision
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.lanes import in_lanes
from napari_mri7t.engine.networks import slices_of
from napari_mri7t.engine.networks.fusion import fold_normalization, fuse
from napari_mri7t.engine.networks.graphs import GraphedNetwork
from napari_mri7t.engine.networks.layers import to_device
from napari_mri7t.engine.planes import AXES_OF_PLANE
from napari_mri7t.engine.synthesis_config import SynthesisConfig

LANE_BYTES = 20_800_000  # of the widest layer's features, in the slabs that a core takes at once
MARGIN = 8  # voxels of background around the brain that a slab sees
WINDOW_STEP = 8  # windows start at multiples of it: every slab is halved at the same pixels
# Of a window's size: oneDNN prepares its kernels anew for each size, a GPU captures a graph.
WINDOW_MULTIPLES = {"cpu": 16, "cuda": 64}
Estimator = Callable[[Tensor], Tensor]
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
BYTES_PER_VOXEL = 4096  # of activations per slice voxel in the widest network


@dataclass
class Runner:
    """Where and how a network runs; changes when memory runs out or a half type overflows."""

    network: nn.Module
    config: SynthesisConfig
    device: torch.device
    precision: torch.dtype
    batch: int = 0  # slabs at once; 0: as many as the memory holds
    one_lane: bool = False  # on the CPU: all cores share a slab, as many lie in memory at once

    def ready(self) -> Estimator:
        """Give the network as it runs fastest on the device, for one volume."""
        network = to_device(self.network, self.device)
        if self.device.type == "cuda":
            return GraphedNetwork(fold_normalization(network))
        if self.device.type != "cpu":
            return network
        with mixed_precision(self.device, self.precision):
            return fuse(network, self.precision)

    @property
    def window_multiple(self) -> int:
        """Tell of what the sides of a window are multiples."""
        return WINDOW_MULTIPLES.get(self.device.type, min(WINDOW_MULTIPLES.values()))

    def fitting(self, height: int, width: int) -> int:
        """Tell how many slabs' activations the memory holds."""
        return self.batch or max(
            1, self.config.memory_mb * 2**20 // (BYTES_PER_VOXEL * height * width)
        )

    def threads_per_slab(self, height: int, width: int) -> int:
        """Tell how many cores share a slab: one, where the memory holds one slab per core."""
        n_threads = torch.get_num_threads()
        if self.device.type != "cpu" or self.one_lane:
            return n_threads  # the GPU takes one batch after the other
        return -(-n_threads // min(n_threads, self.fitting(height, width)))

    def pixels_per_lane(self) -> int:
        """Tell how many pixels of slabs a lane on the CPU takes at once, if one slab is no more."""
        if self.batch == 1:
            return 0
        layers = (each for each in self.network.modules() if isinstance(each, CONVOLUTIONS))
        widest = max((layer.out_channels for layer in layers), default=1)
        fitting = self.config.memory_mb * 2**20 // BYTES_PER_VOXEL // torch.get_num_threads()
        return min(LANE_BYTES // (widest * self.precision.itemsize), fitting)

    def run(self, network: Estimator, slabs: Tensor) -> Tensor:
        """Estimate slabs (N, n_slices, H, W); float32, (N, n_outputs, H, W)."""
        with torch.inference_mode(), mixed_precision(self.device, self.precision):
            estimates: Tensor = network(slabs.contiguous(memory_format=torch.channels_last))
        return estimates.float()


@dataclass(frozen=True, eq=False)
class View:
    """One look at the volume: its slices along one plane, as they lie or mirrored."""

    plane: str
    mirrored: bool

    def of(self, array: np.ndarray) -> np.ndarray:
        """Take (S, A, R) as slices (K, H, W) of this view."""
        seen = array[:, :, ::-1] if self.mirrored else array
        return seen.transpose(AXES_OF_PLANE[self.plane])

    def back(self, array: np.ndarray) -> np.ndarray:
        """Undo `of`."""
        seen = array.transpose(np.argsort(AXES_OF_PLANE[self.plane]))
        return seen[:, :, ::-1] if self.mirrored else seen


def average_views(
    array: np.ndarray, runner: Runner
) -> Generator[tuple[int, int, str], None, np.ndarray]:
    """Average the estimates over planes and mirror images.

    Parameters
    ----------
    array : ndarray of float32, shape (S, A, R)
        Source in [0, 1], background 0.
    runner : Runner

    Yields
    ------
    done, total : int
        Slabs.
    plane : str

    Returns
    -------
    ndarray of float32, shape (S, A, R)

    Raises
    ------
    VolumeError
        If there are too few slices for the network.
    """
    config = runner.config
    brain = brain_region(array) if config.crop else np.ones(array.shape, bool)
    box = _widened_box(brain, runner.window_multiple)
    inside, brain_inside = array[box], brain[box]
    flips = (False, True) if config.flips else (False,)
    views = [View(plane, flip) for plane in config.planes for flip in flips]
    starts = [_slab_starts(view.of(inside).shape[0], runner, view.plane) for view in views]
    total, done, network = sum(map(len, starts)), 0, runner.ready()
    mean = np.zeros(inside.shape, np.float32)
    for view, slabs in zip(views, starts, strict=True):
        steps = _estimate_slices(view.of(inside), view.of(brain_inside), slabs, runner, network)
        for n_done, finished in steps:
            yield done + n_done, total, view.plane
            if finished is not None:
                finished /= len(views)
                mean += view.back(finished)
        done += len(slabs)
    estimate = np.zeros(array.shape, np.float32)
    np.copyto(estimate[box], mean, where=brain_inside)
    return estimate


def effective_step(runner: Runner) -> int:
    """Tell the slices from slab to slab: never more than a slab estimates."""
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
            "end_slices or take another volume"
        )
    starts = list(range(ends, last + 1, effective_step(runner)))
    return starts if starts[-1] == last else [*starts, last]


def _estimate_slices(
    array: np.ndarray, brain: np.ndarray, starts: list[int], runner: Runner, network: Estimator
) -> Generator[tuple[int, np.ndarray | None], None, None]:
    """Estimate every slice of (K, H, W) from its slabs, averaged; the last yield has the result."""
    n_slices, n_outputs = slices_of(runner.network)
    margin = (n_slices - n_outputs) // 2
    padded = np.pad(array, ((margin, margin), (0, 0), (0, 0)), mode="edge")
    volume = torch.from_numpy(np.ascontiguousarray(padded)).to(runner.device)
    total = torch.zeros(array.shape, device=runner.device)
    count = np.zeros(len(array), np.float32)
    size = array.shape[1:]
    batches = _batches(starts, brain, n_outputs, runner)

    def estimate(batch: list[int]) -> tuple[tuple[slice, ...], Tensor] | None:
        window = _window(brain[batch[0] : batch[-1] + n_outputs], runner.window_multiple)
        if window is None:
            return None
        slabs = torch.stack([volume[(slice(k, k + n_slices), *window)] for k in batch])
        return window, runner.run(network, slabs)

    n_done = 0
    estimates = in_lanes(estimate, batches, runner.threads_per_slab(*size))
    with closing(estimates):
        for batch, estimated in zip(batches, estimates, strict=True):
            for n, k in enumerate(batch):
                count[k : k + n_outputs] += 1
                if estimated is not None:
                    window, slices = estimated
                    _add_to(total[(slice(k, k + n_outputs), *window)], slices[n])
            n_done += len(batch)
            yield n_done, None
    mean = total.cpu().numpy()
    mean /= np.maximum(count, 1)[:, None, None]
    uncovered = count == 0  # the end slices
    mean[uncovered] = array[uncovered]
    yield len(starts), mean


def _batches(
    starts: list[int], brain: np.ndarray, n_outputs: int, runner: Runner
) -> list[list[int]]:
    """Group the slabs that go through the network together, each by its first estimated slice."""
    whole = brain.shape[1:]
    if runner.device.type != "cpu":
        n = runner.fitting(*whole)
        return [starts[first : first + n] for first in range(0, len(starts), n)]
    # A lane takes several slabs at once, since every call of an operation costs, but no more than
    # allocate quickly and stay near its core.
    room = runner.pixels_per_lane()
    batches: list[list[int]] = []
    is_occupied = False
    for k in starts:
        was_occupied, is_occupied = is_occupied, bool(brain[k : k + n_outputs].any())
        if batches and is_occupied == was_occupied:
            window = _window(brain[batches[-1][0] : k + n_outputs], runner.window_multiple)
            n_pixels = math.prod(part.stop - part.start for part in window) if window else 0
            if (len(batches[-1]) + 1) * n_pixels <= room:
                batches[-1].append(k)
                continue
        batches.append([k])
    return batches


def _add_to(total: Tensor, slices: Tensor) -> None:
    """Add slices to a total in place.

    By numpy on the CPU: torch would wake its other threads, which spin on the cores of the lanes.
    """
    if total.device.type == "cpu":
        total.numpy()[:] += slices.numpy()
    else:
        total += slices


def _window(brain: np.ndarray, multiple: int) -> tuple[slice, ...] | None:
    """Find the rows and columns that slices (K, H, W) of the brain occupy; None where none do."""
    occupied = np.asarray(brain.any(axis=0))
    return _widened_box(occupied, multiple) if occupied.any() else None


def _widened_box(mask: np.ndarray, multiple: int) -> tuple[slice, ...]:
    """Find the box of a mask with its margin, widened to one of few sizes where there is room."""
    box = bounding_box(mask, MARGIN)
    return tuple(_widened(part, n, multiple) for part, n in zip(box, mask.shape, strict=True))


def _widened(part: slice, n: int, multiple: int) -> slice:
    start, end = part.start // WINDOW_STEP * WINDOW_STEP, min(n, part.stop)
    size = -(-(end - start) // multiple) * multiple
    start = min(start, max(0, n - size) // WINDOW_STEP * WINDOW_STEP)
    return slice(start, max(end, min(start + size, n)))
