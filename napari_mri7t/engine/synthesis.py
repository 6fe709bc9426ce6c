"""From a 3T volume to its 7T-like estimate: harmonised, slice by slice, averaged."""

import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from torch import nn

from napari_mri7t.engine.devices import (
    is_out_of_memory,
    mixed_precision,
    precision_name,
    resolve_device,
    resolve_precision,
)
from napari_mri7t.engine.domain import check_domain
from napari_mri7t.engine.errors import DeviceError, VolumeError
from napari_mri7t.engine.networks import slices_of
from napari_mri7t.engine.networks.layers import to_device
from napari_mri7t.engine.networks.model import Model
from napari_mri7t.engine.preparation.harmonization import fill_brain, harmonize
from napari_mri7t.engine.volume import Volume

AXES_OF_PLANE = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}  # of (S, A, R)
MARGIN = 16  # voxels of background kept around the brain; the estimate is 0 beyond
CROP_MULTIPLE = 8  # crops are rounded to it, so that no network pads
BYTES_PER_VOXEL = 4096  # of activations per slice voxel in the widest network, measured
CPU_BATCH = 1  # one slice already fills the cores, and Cancel waits for one batch


@dataclass(frozen=True)
class SynthesisConfig:
    """How a volume is synthesised.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : {"auto", "float32", "bfloat16"}
        auto takes bfloat16 where the hardware computes it fast.
    step : int
        Slices from one slab to the next; 1 averages every slice over all slabs that estimate it,
        the network's number of outputs (3 in the report) estimates each once.
    end_slices : int
        Slices at either end that stay as in the source; 30 in the report.
    planes : tuple of {"axial", "coronal", "sagittal"}
        Planes whose estimates are averaged.
    flips : bool
        Average the estimates of the volume and of its left-right mirror image.
    crop : bool
        Compute only the box around the brain, and leave the background 0: every voxel that has
        none of the brain beside it in the source. False computes whole slices, as the report.
    memory_mb : int
        Bound for a batch's activations on a GPU, MB.
    """

    device: str = "auto"
    precision: str = "auto"
    step: int = 1
    end_slices: int = 0
    planes: tuple[str, ...] = ("axial",)
    flips: bool = False
    crop: bool = True
    memory_mb: int = 1024

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ValueError(f"step must be at least 1, got {self.step}")
        if self.end_slices < 0:
            raise ValueError(f"end_slices must be at least 0, got {self.end_slices}")
        if not self.planes or not set(self.planes) <= set(AXES_OF_PLANE):
            raise ValueError(
                f"planes must be some of {', '.join(AXES_OF_PLANE)}, got {self.planes}"
            )
        if self.memory_mb < 1:
            raise ValueError(f"memory_mb must be at least 1, got {self.memory_mb}")


@dataclass(frozen=True)
class SynthesisProgress:
    """How many slabs of slices are done, of how many, and what is being done."""

    done: int
    total: int
    message: str


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A finished synthesis: the estimate on the source's grid, and how it was made."""

    volume: Volume
    device: str
    precision: str
    seconds: float
    warnings: tuple[str, ...]
    settings: dict[str, Any]


def synthesize(
    source: Volume,
    model: Model,
    config: SynthesisConfig = SynthesisConfig(),
) -> Generator[SynthesisProgress, None, Synthesis]:
    """Synthesise a 7T-like volume.

    Parameters
    ----------
    source : Volume
        3T, any intensity scale; what lies above the background is taken for the brain.
    model : Model
    config : SynthesisConfig

    Yields
    ------
    SynthesisProgress
        After every batch of slices; closing the generator cancels.

    Returns
    -------
    Synthesis
        Its volume has the source's grid and range of intensities.

    Raises
    ------
    VolumeError
        If the volume has too few slices for the network, or is all background.
    DeviceError
        If the device is not there, or even one slice is more than its memory holds.
    """
    start = time.perf_counter()
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    n_slices = source.shape[2]
    if 2 * config.end_slices >= n_slices:
        raise VolumeError(
            f"{source.name}: {config.end_slices} end slices on either side leave nothing of "
            f"{n_slices} to synthesise; lower end_slices"
        )
    if not (source.array > 0).any():
        raise VolumeError(f"{source.name}: no voxel above 0: nothing to synthesise")
    quantiles = np.asarray(model.card.preprocessing["intensity_quantiles"])
    harmonization = harmonize(source.array, quantiles)
    prepared = harmonization.to_model(source.array)
    notes = list(check_domain(source, model.card))
    runner = _Runner(model.network, config, device, precision)
    estimate = yield from _on_any_device(prepared.T, runner, notes)
    by_slices = harmonization.to_scan(estimate.clip(0, 1), fill_brain(source.array).T)
    if config.end_slices:
        source_slices = source.array.T
        by_slices[: config.end_slices] = source_slices[: config.end_slices]
        by_slices[-config.end_slices :] = source_slices[-config.end_slices :]
    return Synthesis(
        volume=source.with_array(by_slices.T, name=f"{source.name}_synthetic-7T"),
        device=str(runner.device),
        precision=precision_name(runner.precision),
        seconds=time.perf_counter() - start,
        warnings=tuple(notes),
        settings=asdict(config) | {"harmonized": harmonization.scan is not None},
    )


@dataclass
class _Runner:
    """Where and how the network runs; changes when memory runs out or a half type overflows."""

    network: nn.Module
    config: SynthesisConfig
    device: torch.device
    precision: torch.dtype
    batch: int = 0

    def batch_for(self, height: int, width: int) -> int:
        if self.batch:
            return self.batch
        if self.device.type == "cpu":
            return CPU_BATCH
        return max(1, self.config.memory_mb * 2**20 // (BYTES_PER_VOXEL * height * width))


def _on_any_device(
    array: np.ndarray, runner: _Runner, notes: list[str]
) -> Generator[SynthesisProgress, None, np.ndarray]:
    """Run, and run again with less memory, on the CPU, or in float32 where that is needed."""
    while True:
        try:
            estimate = yield from _average_views(array, runner)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            notes.append(_with_less_memory(runner, error))
            continue
        if np.isfinite(estimate).all():
            return estimate
        if runner.precision == torch.float32:
            raise VolumeError("the network gave values that are not numbers; check the model")
        notes.append(f"{precision_name(runner.precision)} overflowed: computed again in float32")
        runner.precision = torch.float32


def _with_less_memory(runner: _Runner, error: Exception) -> str:
    """Halve the batch, then leave the GPU; tell what was done."""
    largest = runner.batch or runner.batch_for(1, 1)
    if runner.device.type == "cpu":
        raise DeviceError(
            "out of memory on the CPU with one slice at a time: close other programs or take a "
            "machine with more memory"
        ) from error
    if largest > 1:
        runner.batch = 1 if runner.batch else 8
        return f"{runner.device} ran out of memory: went on with batches of {runner.batch}"
    note = f"{runner.device} ran out of memory with one slice: went on on the CPU"
    runner.device, runner.batch = torch.device("cpu"), 0
    runner.precision = resolve_precision(runner.config.precision, runner.device)
    return note


def _average_views(
    array: np.ndarray, runner: _Runner
) -> Generator[SynthesisProgress, None, np.ndarray]:
    """Average the estimates over planes and mirror images; array and result (S, A, R)."""
    config = runner.config
    box = _brain_box(array) if config.crop else tuple(slice(0, n) for n in array.shape)
    inside = array[box]
    views = [
        (plane, flip) for plane in config.planes for flip in ((False, True)[: 1 + config.flips])
    ]
    starts = [_slab_starts(inside.shape[AXES_OF_PLANE[p][0]], runner, p) for p, _ in views]
    total, done = sum(map(len, starts)), 0
    mean = np.zeros(inside.shape, np.float32)
    for (plane, flip), slabs in zip(views, starts, strict=True):
        seen = inside[:, :, ::-1] if flip else inside
        order = AXES_OF_PLANE[plane]
        steps = _estimate_slices(seen.transpose(order), slabs, runner)
        for n_done, finished in steps:
            yield SynthesisProgress(done + n_done, total, f"{plane} slices")
            if finished is not None:
                view = finished.transpose(np.argsort(order))
                mean += (view[:, :, ::-1] if flip else view) / len(views)
        done += len(slabs)
    estimate = np.zeros(array.shape, np.float32)
    estimate[box] = np.where(_near_brain(inside), mean, 0) if config.crop else mean
    return estimate


def _slab_starts(n: int, runner: _Runner, plane: str) -> list[int]:
    """List the first estimated slice of every slab; the last slab may overlap the one before."""
    _, n_outputs = slices_of(runner.network)
    ends = runner.config.end_slices if plane == "axial" and not runner.config.crop else 0
    last = n - ends - n_outputs
    if last < ends:
        raise VolumeError(
            f"the volume has {n} {plane} slices; the network needs {n_outputs + 2 * ends}: lower "
            "end_slices or take another volume"
        )
    starts = list(range(ends, last + 1, runner.config.step))
    return starts if starts[-1] == last else [*starts, last]


def _estimate_slices(
    array: np.ndarray, starts: list[int], runner: _Runner
) -> Generator[tuple[int, np.ndarray | None], None, None]:
    """Estimate every slice of (K, H, W) from its slabs, averaged; the last yield has the result."""
    n_slices, n_outputs = slices_of(runner.network)
    margin = (n_slices - n_outputs) // 2
    height, width = array.shape[1:]
    network = to_device(runner.network, runner.device)
    padded = np.pad(array, ((margin, margin), (0, 0), (0, 0)), mode="edge")
    volume = torch.from_numpy(np.ascontiguousarray(padded)).to(runner.device)
    total = torch.zeros(array.shape, device=runner.device)
    count = np.zeros(len(array), np.float32)
    batch_size = runner.batch_for(height, width)
    for first in range(0, len(starts), batch_size):
        batch = starts[first : first + batch_size]
        slabs = torch.stack([volume[k : k + n_slices] for k in batch])
        with torch.inference_mode(), mixed_precision(runner.device, runner.precision):
            estimates = network(slabs.contiguous(memory_format=torch.channels_last)).float()
        for k, estimate in zip(batch, estimates, strict=True):
            total[k : k + n_outputs] += estimate
            count[k : k + n_outputs] += 1
        yield first + len(batch), None
    mean = total.cpu().numpy() / np.maximum(count, 1)[:, None, None]
    uncovered = count == 0
    mean[uncovered] = array[uncovered]
    yield len(starts), mean


def _near_brain(array: np.ndarray) -> np.ndarray:
    """Mask the voxels that lie above 0 or touch one that does."""
    near: np.ndarray = binary_dilation(array > 0, np.ones((3, 3, 3), bool))
    return near


def _brain_box(array: np.ndarray) -> tuple[slice, ...]:
    """Find the box of the brain with its margin, sizes a multiple of 8 where there is room."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        occupied = np.flatnonzero((array > 0).any(axis=others))
        size = int(occupied[-1] - occupied[0]) + 1 + 2 * MARGIN
        size = min(-(-size // CROP_MULTIPLE) * CROP_MULTIPLE, array.shape[axis])
        middle = (int(occupied[0]) + int(occupied[-1]) + 1) // 2
        start = min(max(0, middle - size // 2), array.shape[axis] - size)
        box.append(slice(start, start + size))
    return tuple(box)
