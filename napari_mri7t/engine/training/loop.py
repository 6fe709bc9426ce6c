"""The training loop of one network on one set of subjects: deterministic, resumable."""

import csv
import io
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.errors import DeviceError, StateError, is_out_of_memory
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.networks import slices_of, takes_noise_map
from napari_mri7t.engine.networks.watnet import WATNetQu2020
from napari_mri7t.engine.progress import Cancelled, Progress, Report, ignore
from napari_mri7t.engine.texts import as_read
from napari_mri7t.engine.training.checkpoint import HISTORY, load_state, save_state
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.held_out import HeldOutSlices
from napari_mri7t.engine.training.learner import HISTORY_COLUMNS, Learner, new_learner, take_step
from napari_mri7t.engine.training.pairs import TrainingSubject
from napari_mri7t.engine.training.patches import PatchPool
from napari_mri7t.engine.training.start import Start

BAND_PATCHES = 64  # sample for the statistics of the wavelet bands
SMALLEST_PATCH = 16  # voxels; the window of the SSIM loss is 11 wide
HISTORY_STEPS = 10  # losses fetched from the device at once, and averaged for the progress


@dataclass(frozen=True)
class TrainProgress(Progress):
    """Progress of a training after every step.

    Parameters
    ----------
    done, total, message
        As in `Progress`, counted in optimiser steps; `run_fold` adds one for the estimate.
    fold, label : int, str
        Number of the fold, or `FINAL`, and its name.
    loss : float
        Mean over the last `HISTORY_STEPS` steps of the history; NaN before the first.
    learning_rate : float
    patches_per_second : float
        Of this session; time spent in a report, as in a pause, does not count.
    seconds_left : float
        For the remaining steps at this pace.
    held_out_psnr : float
        Of a few slices of the held-out subject at the last checkpoint, inside the brain, dB; NaN
        before the first and where no subject is held out.
    """

    fold: int
    label: str
    loss: float
    learning_rate: float
    patches_per_second: float
    seconds_left: float
    held_out_psnr: float = math.nan


@dataclass(frozen=True)
class TrainJob:
    """One training: its network, its settings and the folder of its state.

    Parameters
    ----------
    network : str
        One of `NETWORKS`.
    config : TrainConfig
    fold : int
        Part of the seed of everything that is drawn.
    folder : Path
        Gets the checkpoints and the history; must exist.
    device : torch.device
    network_config : dict
        Arguments of the network's constructor.
    start : Start, optional
        Model whose weights the training starts from; by default its weights are random.
    data : str
        Digest of the images it is trained on; empty where nothing has to tell them apart.
    """

    network: str
    config: TrainConfig
    fold: int
    folder: Path
    device: torch.device
    network_config: dict[str, Any] = field(default_factory=dict)
    start: Start | None = None
    data: str = ""

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint must share with the job that resumes it."""
        facts = {
            "network": self.network,
            "network_config": self.network_config,
            "fold": self.fold,
            "settings": self.config.learnt_from(),
        }
        facts |= {"data": self.data} if self.data else {}
        return facts if self.start is None else facts | {"start": self.start.sha256}


def train(
    job: TrainJob,
    subjects: list[TrainingSubject],
    held_out: TrainingSubject | None = None,
    report: Report = ignore,
) -> nn.Module:
    """Train one network, from its last checkpoint if there is one.

    Every random number of a step is seeded by (seed, fold, step): a training that is interrupted
    at any moment and resumed ends with the weights of one that was not; on the CPU, bit for bit.

    Parameters
    ----------
    job : TrainJob
    subjects : list of TrainingSubject
        Training subjects; the held-out one must not be among them.
    held_out : TrainingSubject, optional
        For the curve in the history; the weights are the same without it, bit for bit.
    report : callable
        Gets a `TrainProgress` after every step. If it raises `Cancelled` or KeyboardInterrupt, a
        checkpoint of all steps is written first; an interrupt within a step leaves the last one.

    Returns
    -------
    nn.Module
        The trained network (the averaged weights, if the settings average), in eval mode.

    Raises
    ------
    StateError
        If the checkpoint is of another network or other settings, or the loss is not finite.
    DeviceError
        If the device runs out of memory.
    """
    try:
        return _train(job, subjects, held_out, report)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"{job.device}: out of memory at batch_size {job.config.batch_size} and patch_size "
            f"{job.config.patch_size}; {_smaller(job.config)}"
        ) from error


def _smaller(config: TrainConfig) -> str:
    """Return which setting to change to save memory; a study keeps its settings."""
    if config.batch_size > 1:
        advice = f"set batch_size to {config.batch_size // 2}"
    elif config.patch_size > SMALLEST_PATCH:
        size = max(SMALLEST_PATCH, config.patch_size // 2 // 8 * 8)  # a multiple of 8
        advice = f"set patch_size to {size}"
    else:
        return "choose a smaller network, in a new run folder, or another device"
    return f"{advice}, in a new run folder: this one keeps its settings"


def _train(
    job: TrainJob,
    subjects: list[TrainingSubject],
    held_out: TrainingSubject | None,
    report: Report,
) -> nn.Module:
    config = job.config
    learner, pool = _begin(job, subjects)
    watched = None if held_out is None else HeldOutSlices(held_out, learner.network)
    saved, first, seconds = learner.step, learner.step, 0.0
    losses: list[tuple[Tensor, Tensor]] = []
    while learner.step < config.n_steps:
        since = time.perf_counter()
        batch = pool.draw(_batch_size(config, learner.step), seeded_generator(job, learner.step))
        losses.append(take_step(learner, batch, config, job.device))
        learner.step += 1
        is_last = learner.step == config.n_steps
        is_saved = is_last or learner.step % config.checkpoint_steps == 0
        if is_saved or learner.step % HISTORY_STEPS == 0 or not learner.history:
            _note(losses, learner, config)
        if is_saved:
            if watched is not None:
                learner.history[-1][-1] = watched.psnr(_result(learner, config))
            _save(learner, job)
            saved = learner.step
        seconds += time.perf_counter() - since  # a pause in the report does not count
        try:
            report(_progress(job, learner, seconds / (learner.step - first)))
        except (Cancelled, KeyboardInterrupt):  # between two steps: a whole step is saved
            if learner.step > saved:
                _note(losses, learner, config)
                _save(learner, job)
            raise
    return _result(learner, config).eval()


def _result(learner: Learner, config: TrainConfig) -> nn.Module:
    """Return the network whose weights become the model."""
    return learner.average if config.average_decay else learner.network


def _begin(job: TrainJob, subjects: list[TrainingSubject]) -> tuple[Learner, PatchPool]:
    """Build the networks, fresh or from the last checkpoint, and the pool of patches."""
    learner = new_learner(job.network, job.network_config, job.config, _seed(job, 2**31))
    learner.to(job.device)
    network = learner.network
    pool = PatchPool(subjects, slices_of(network), job.config, job.device, takes_noise_map(network))
    is_fresh = not _resume(learner, job)
    if is_fresh and job.start is not None:
        _take_weights(learner, job.start)
    elif is_fresh and isinstance(learner.network, WATNetQu2020):
        sample, _ = pool.draw(BAND_PATCHES, seeded_generator(job, job.config.n_steps))
        learner.network.fit_bands(sample)
        learner.average.load_state_dict(learner.network.state_dict())
    return learner, pool


def _take_weights(learner: Learner, start: Start) -> None:
    """Copy the weights of another model into a fresh network."""
    model = load_model(start.folder)
    if model.card.sha256 != start.sha256:
        raise StateError(f"{start.folder}: the model has changed since; use another run folder")
    for network in (learner.network, learner.average):
        network.load_state_dict(model.network.state_dict())


def _batch_size(config: TrainConfig, step: int) -> int:
    """Return the batch size of a step: the last batch of an epoch holds the remainder."""
    if not config.patches_per_epoch:
        return config.batch_size
    steps_per_epoch = math.ceil(config.patches_per_epoch / config.batch_size)
    done = (step % steps_per_epoch) * config.batch_size
    return min(config.batch_size, config.patches_per_epoch - done)


def _seed(job: TrainJob, step: int) -> int:
    known = [] if job.start is None else [int(job.start.sha256[:8], 16)]  # other patches
    sequence = np.random.SeedSequence([job.config.seed, job.fold, step, *known])
    return int(sequence.generate_state(1)[0])


def seeded_generator(job: TrainJob, step: int) -> torch.Generator:
    """Return the generator that decides everything drawn in one step."""
    return torch.Generator(job.device).manual_seed(_seed(job, step))


def _note(losses: list[tuple[Tensor, Tensor]], learner: Learner, config: TrainConfig) -> None:
    """Move the losses of the last steps to the history; this waits for the device."""
    if not losses:
        return
    first = learner.step - len(losses)
    rows = torch.stack([torch.stack(pair) for pair in losses]).tolist()
    losses.clear()
    for step, (loss, judged) in enumerate(rows, start=first):
        if not math.isfinite(loss):
            raise StateError(
                f"the loss is {loss} at step {step}: the training has diverged; lower "
                f"learning_rate ({config.learning_rate:g}) or set gradient_clip"
            )
        rate = config.learning_rate_at(step)
        learner.history.append([float(step + 1), loss, judged, rate, math.nan])


def _progress(job: TrainJob, learner: Learner, seconds_per_step: float) -> TrainProgress:
    recent = learner.history[-HISTORY_STEPS:]
    loss = fmean(row[1] for row in recent) if recent else math.nan
    rate = job.config.learning_rate_at(learner.step - 1)
    pace = job.config.batch_size / seconds_per_step
    return TrainProgress(
        learner.step,
        job.config.n_steps,
        f"loss {loss:.5f}, learning rate {rate:.1e}, {pace:.1f} patches/s",
        fold=job.fold,
        label="",
        loss=loss,
        learning_rate=rate,
        patches_per_second=pace,
        seconds_left=(job.config.n_steps - learner.step) * seconds_per_step,
        held_out_psnr=next((p for *_, p in reversed(learner.history) if p == p), math.nan),
    )


def _save(learner: Learner, job: TrainJob) -> None:
    """Write the state, then the history: whoever counts its steps counts none that can be lost."""
    save_state(job.folder, learner.tensors(), {**job.facts(), "step": learner.step})
    _write_history(learner, job)


def _write_history(learner: Learner, job: TrainJob) -> None:
    text = io.StringIO()
    rows = ([*row, "" if math.isnan(psnr) else psnr] for *row, psnr in learner.history)
    csv.writer(text).writerows([HISTORY_COLUMNS, *rows])
    write_content(job.folder / HISTORY, text.getvalue())


def _resume(learner: Learner, job: TrainJob) -> bool:
    """Restore the last checkpoint; return whether there is one."""
    state = load_state(job.folder)
    if state is None:
        return False
    tensors, facts = state
    step = facts.pop("step")
    expected = job.facts()
    if "data" not in facts:  # a checkpoint of a version that did not record it
        expected.pop("data", None)
    for key, value in expected.items():
        if facts.get(key) != as_read(value):
            raise StateError(
                f"{job.folder}: the checkpoint's {key} differ from the requested ones "
                f"({facts.get(key)} against {value}); use another run folder"
            )
    learner.restore(tensors, step)
    _write_history(learner, job)  # it may be of a later state, which was damaged
    return True
