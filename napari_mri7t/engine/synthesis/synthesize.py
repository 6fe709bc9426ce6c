"""From a 3T volume to its 7T-like estimate: harmonised, slice by slice, averaged.

The sidecar of a synthetic 7T: the one place that says which facts of a synthesis it holds.
"""

import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from napari_mri7t.engine.devices import precision_name, resolve_device, resolve_precision
from napari_mri7t.engine.errors import DeviceError, VolumeError, is_out_of_memory
from napari_mri7t.engine.models.model import Model
from napari_mri7t.engine.preparation.checks import check_domain
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.slabs import Runner, average_views, effective_step
from napari_mri7t.engine.volumes.brain import background_of, fill_brain
from napari_mri7t.engine.volumes.intensity import harmonize
from napari_mri7t.engine.volumes.provenance import Execution, sidecar
from napari_mri7t.engine.volumes.volume import Volume


@dataclass(frozen=True)
class SynthesisProgress:
    """How many slabs of slices are done, of how many, and what is being done."""

    done: int
    total: int
    message: str


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A finished synthesis: the estimate on the source's grid, and how it was made.

    `threads` are torch's on the CPU, None on another device.
    """

    volume: Volume
    device: str
    threads: int | None
    precision: str
    seconds: float
    warnings: tuple[str, ...]
    settings: dict[str, Any]


def estimate(
    source: Volume,
    model: Model,
    config: SynthesisConfig = SynthesisConfig(),  # noqa: B008 - frozen
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
    if not (source.array > background_of(source.array)).any():
        raise VolumeError(
            f"{source.name}: no voxel above 0 and above the others: nothing to synthesise"
        )
    quantiles = np.asarray(model.card.preprocessing["intensity_quantiles"])
    harmonization = harmonize(source.array, quantiles)
    is_mapped = harmonization.scan is not None
    prepared = harmonization.to_model(source.array)
    notes = list(check_domain(source, model.card))
    runner = Runner(model.network, config, device, precision)
    estimate = yield from _on_any_device(prepared.T, runner, notes)
    by_slices = estimate.clip(0, 1, out=estimate)
    if is_mapped:
        brain = fill_brain(source.array).T
        by_slices = harmonization.to_scan(by_slices, source.array.T, brain)
    if config.end_slices:
        source_slices = source.array.T
        by_slices[: config.end_slices] = source_slices[: config.end_slices]
        by_slices[-config.end_slices :] = source_slices[-config.end_slices :]
    return Synthesis(
        volume=source.with_array(by_slices.T, name=f"{source.name}_synthetic-7T"),
        device=str(runner.device),
        threads=torch.get_num_threads() if runner.device.type == "cpu" else None,
        precision=precision_name(runner.precision),
        seconds=time.perf_counter() - start,
        warnings=tuple(notes),
        settings=asdict(replace(config, step=effective_step(runner))) | {"harmonized": is_mapped},
    )


def _on_any_device(
    array: np.ndarray, runner: Runner, notes: list[str]
) -> Generator[SynthesisProgress, None, np.ndarray]:
    """Run, and run again with less memory, on the CPU, or in float32 where that is needed."""
    while True:
        try:
            estimate = yield from with_records(average_views(array, runner), _progress)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            notes.append(_with_less_memory(runner, array.shape, error))
            continue
        if np.isfinite(estimate).all():
            return estimate
        if runner.precision == torch.float32:
            raise VolumeError("the network gave values that are not numbers; check the model")
        notes.append(f"{precision_name(runner.precision)} overflowed: computed again in float32")
        runner.precision = torch.float32


def _progress(step: tuple[int, int, str]) -> SynthesisProgress:
    done, total, plane = step
    return SynthesisProgress(done, total, f"{plane} slices")


def _with_less_memory(runner: Runner, shape: tuple[int, ...], error: Exception) -> str:
    """Take fewer slabs at once, then leave the GPU; tell what was done."""
    on_cpu = runner.device.type == "cpu"
    if on_cpu and not runner.one_lane and runner.n_lanes(*shape[1:]) > 1:
        runner.one_lane = True
        return "cpu ran out of memory: went on with one batch at a time, on all cores"
    if runner.batch != 1:
        runner.batch = 1 if runner.batch or on_cpu else 8
        return f"{runner.device} ran out of memory: went on with batches of {runner.batch}"
    if on_cpu:
        raise DeviceError(
            "out of memory on the CPU with one slice at a time: close other programs or take a "
            "machine with more memory"
        ) from error
    note = f"{runner.device} ran out of memory with one slice: went on on the CPU"
    runner.device, runner.batch = torch.device("cpu"), 0
    runner.precision = resolve_precision(runner.config.precision, runner.device)
    return note


def synthesis_sidecar(source: Volume, model: Model, synthesis: Synthesis) -> dict[str, Any]:
    """Describe a synthesis, so that it can be made again.

    Parameters
    ----------
    source : Volume
        What went in.
    model : Model
        What it went through.
    synthesis : Synthesis
        What came out.

    Returns
    -------
    dict
        As `provenance.sidecar`.
    """
    execution = Execution(
        device=synthesis.device,
        precision=synthesis.precision,
        model=model.name,
        model_sha256=model.card.sha256,
        threads=synthesis.threads,
    )
    return sidecar(
        "synthesize",
        [source],
        execution,
        settings=synthesis.settings,
        warnings=synthesis.warnings,
    )
