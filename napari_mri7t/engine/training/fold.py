"""The training loop of one network on one set of subjects: deterministic, resumable."""

import csv
import io
import json
import math
import time
from collections.abc import Generator, Iterable
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.devices import mixed_precision, resolve_precision
from napari_mri7t.engine.errors import DeviceError, StateError
from napari_mri7t.engine.networks import build_network, slices_of
from napari_mri7t.engine.networks.layers import to_device
from napari_mri7t.engine.networks.patchgan import PatchGAN
from napari_mri7t.engine.networks.watnet import WATNetQu2020
from napari_mri7t.engine.networks.wavelets import WaveletTransform
from napari_mri7t.engine.training.checkpoint import load_state, save_state
from napari_mri7t.engine.training.losses import (
    adversarial_loss,
    discriminator_loss,
    synthesis_loss,
)
from napari_mri7t.engine.training.patches import PatchPool, TrainingSubject
from napari_mri7t.engine.training.presets import TrainConfig

HISTORY = "history.csv"
HISTORY_COLUMNS = ("step", "loss", "discriminator_loss", "learning_rate")
HISTORY_STEPS = 10  # steps averaged into one row, and between two waits for the device
ADAM_EPSILON = 1e-7  # Keras' default


@dataclass(frozen=True)
class TrainProgress:
    """Where a training stands, after every step.

    Parameters
    ----------
    step, n_steps : int
        Steps done and to do.
    loss : float
        Mean over the last `HISTORY_STEPS` steps.
    learning_rate : float
    patches_per_second : float
        Of this session; 0 right after a resume.
    seconds_left : float
    """

    step: int
    n_steps: int
    loss: float
    learning_rate: float
    patches_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class FoldJob:
    """What to train, on what, and where its state lives.

    Parameters
    ----------
    network : str
        One of `NETWORKS`.
    config : TrainConfig
    fold : int
        Part of the seed of everything drawn.
    folder : Path
        Gets the checkpoints and the history; must exist.
    device : torch.device
    network_config : dict
        Arguments of the network's constructor.
    """

    network: str
    config: TrainConfig
    fold: int
    folder: Path
    device: torch.device
    network_config: dict[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Give what a checkpoint must share with the job that resumes it."""
        settings = asdict(self.config)
        del settings["checkpoint_steps"]  # when it was saved does not change what was learnt
        return {
            "network": self.network,
            "network_config": self.network_config,
            "fold": self.fold,
            "settings": settings,
        }


@dataclass(eq=False)
class Learner:
    """The networks and optimisers of one training, and how far they have come."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    discriminator: nn.Module | None = None
    discriminator_optimizer: torch.optim.Optimizer | None = None
    step: int = 0
    history: list[list[float]] = field(default_factory=list)

    def tensors(self) -> dict[str, Tensor]:
        """Name every tensor that the next step depends on."""
        found: dict[str, Tensor] = {}
        for part, module in self._modules():
            found |= {f"{part}/{key}": value for key, value in module.state_dict().items()}
        for part, optimizer in self._optimizers():
            for index, state in optimizer.state_dict()["state"].items():
                found |= {f"{part}/{index}/{key}": value for key, value in state.items()}
        rows = torch.tensor(self.history, dtype=torch.float64)
        return found | {"history": rows.reshape(-1, len(HISTORY_COLUMNS))}

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Continue from what `tensors` gave."""
        for part, module in self._modules():
            prefix = f"{part}/"
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        for part, optimizer in self._optimizers():
            states: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"{part}/"):
                    _, index, name = key.split("/")
                    states.setdefault(int(index), {})[name] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
        self.history = tensors["history"].tolist()
        self.step = step

    def _modules(self) -> Iterable[tuple[str, nn.Module]]:
        yield "network", self.network
        yield "average", self.average
        if self.discriminator is not None:
            yield "discriminator", self.discriminator

    def _optimizers(self) -> Iterable[tuple[str, torch.optim.Optimizer]]:
        yield "optimizer", self.optimizer
        if self.discriminator_optimizer is not None:
            yield "discriminator_optimizer", self.discriminator_optimizer


def train_fold(
    job: FoldJob, subjects: list[TrainingSubject]
) -> Generator[TrainProgress, None, nn.Module]:
    """Train one network, from its last checkpoint where there is one.

    Every random number of a step is seeded by (seed, fold, step), so that a training killed at any
    moment and run again ends with the weights of one that was not; on the CPU, bit for bit.

    Parameters
    ----------
    job : FoldJob
    subjects : list of TrainingSubject
        Those trained on; the held-out one must not be among them.

    Yields
    ------
    TrainProgress
        After every step. Closing the generator stops the training; a checkpoint is written first.

    Returns
    -------
    nn.Module
        The trained network (the averaged weights, where the settings average), in eval mode.

    Raises
    ------
    StateError
        If the checkpoint is of another network or other settings, or the loss is not finite.
    DeviceError
        If the device's memory does not suffice.
    """
    try:
        return (yield from _train(job, subjects))
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"{job.device}: out of memory at batch_size {job.config.batch_size} and patch_size "
            f"{job.config.patch_size}; set batch_size to {max(1, job.config.batch_size // 2)}"
        ) from error


def _train(
    job: FoldJob, subjects: list[TrainingSubject]
) -> Generator[TrainProgress, None, nn.Module]:
    config = job.config
    learner = _new_learner(job)
    slices = slices_of(learner.network)
    pool = PatchPool(subjects, slices, config, job.device)
    if isinstance(learner.network, WATNetQu2020):
        learner.network.fit_bands(pool.draw(256, seeded_generator(job, config.n_steps))[0])
        learner.average.load_state_dict(learner.network.state_dict())
    _resume(learner, job)
    saved, first, start = learner.step, learner.step, time.perf_counter()
    losses: list[tuple[Tensor, Tensor]] = []
    try:
        while learner.step < config.n_steps:
            batch = pool.draw(
                _batch_size(config, learner.step), seeded_generator(job, learner.step)
            )
            losses.append(_step(learner, batch, config, job.device))
            learner.step += 1
            if learner.step % HISTORY_STEPS == 0 or learner.step == config.n_steps:
                learner.history.append(_history_row(losses, learner.step, config))
                losses = []
            if learner.step % config.checkpoint_steps == 0 and not losses:
                _save(learner, job)
                saved = learner.step
            rate = (learner.step - first) / (time.perf_counter() - start)
            yield _progress(learner, config, rate)
    finally:
        if learner.step > saved and not losses:
            _save(learner, job)
    network = learner.average if config.average_decay else learner.network
    return network.eval()


def _new_learner(job: FoldJob) -> Learner:
    """Build networks and optimisers; the fresh weights depend on (seed, fold) alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed(job, 2**31))
        network = build_network(job.network, **job.network_config)
        discriminator = PatchGAN(slices_of(network)[1]) if job.config.adversarial_weight else None
    network = to_device(network, job.device).train()
    learner = Learner(
        network, deepcopy(network), _adam(network, job.config.learning_rate, job.config)
    )
    if discriminator is not None:
        learner.discriminator = to_device(discriminator, job.device)
        learner.discriminator_optimizer = _adam(
            learner.discriminator, job.config.discriminator_learning_rate, job.config
        )
    return learner


def _adam(network: nn.Module, rate: float, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        network.parameters(), lr=rate, eps=ADAM_EPSILON, weight_decay=config.weight_decay
    )


def _step(
    learner: Learner, batch: tuple[Tensor, Tensor], config: TrainConfig, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Take one optimiser step; return the losses, still on the device."""
    source, target = batch
    precision = resolve_precision(config.precision, device)
    transform = WaveletTransform().to(device)
    for group in learner.optimizer.param_groups:
        group["lr"] = config.learning_rate_at(learner.step)
    with mixed_precision(device, precision):
        estimate = learner.network(source.contiguous(memory_format=torch.channels_last))
    estimate = estimate.float()
    loss = synthesis_loss(estimate, target, config, transform)
    judged = torch.zeros((), device=device)
    if learner.discriminator is not None:
        condition = _central(source, target.shape[1])
        judged = _discriminate(learner, condition, target, estimate.detach(), config)
        scores = _frozen_scores(learner.discriminator, condition, estimate)
        loss = loss + config.adversarial_weight * adversarial_loss(scores)
    learner.optimizer.zero_grad()
    loss.backward()
    if config.gradient_clip:
        nn.utils.clip_grad_norm_(learner.network.parameters(), config.gradient_clip)
    learner.optimizer.step()
    if config.average_decay:
        _update_average(learner, config.average_decay)
    return loss.detach(), judged.detach()


def _discriminate(
    learner: Learner, condition: Tensor, target: Tensor, estimate: Tensor, config: TrainConfig
) -> Tensor:
    """Take the discriminator's own step."""
    discriminator, optimizer = learner.discriminator, learner.discriminator_optimizer
    if discriminator is None or optimizer is None:
        raise ValueError("this training has no discriminator")
    loss = discriminator_loss(discriminator(condition, target), discriminator(condition, estimate))
    optimizer.zero_grad()
    loss.backward()
    if config.gradient_clip:
        nn.utils.clip_grad_norm_(discriminator.parameters(), config.gradient_clip)
    optimizer.step()
    return loss


def _frozen_scores(discriminator: nn.Module, condition: Tensor, estimate: Tensor) -> Tensor:
    """Judge without gathering gradients for the discriminator."""
    discriminator.requires_grad_(False)
    scores: Tensor = discriminator(condition, estimate)
    discriminator.requires_grad_(True)
    return scores


def _central(source: Tensor, n_outputs: int) -> Tensor:
    margin = (source.shape[1] - n_outputs) // 2
    return source[:, margin : margin + n_outputs]


@torch.no_grad()
def _update_average(learner: Learner, decay: float) -> None:
    """Move the average towards the weights; quicker at the start, where the weights are poor."""
    decay = min(decay, (1 + learner.step) / (10 + learner.step))
    pairs = zip(
        learner.average.state_dict().values(), learner.network.state_dict().values(), strict=True
    )
    for average, value in pairs:
        if average.is_floating_point():
            average.lerp_(value, 1 - decay)
        else:
            average.copy_(value)


def _batch_size(config: TrainConfig, step: int) -> int:
    """Give an epoch's last batch only what remains of the epoch."""
    if not config.patches_per_epoch:
        return config.batch_size
    steps_per_epoch = math.ceil(config.patches_per_epoch / config.batch_size)
    done = (step % steps_per_epoch) * config.batch_size
    return min(config.batch_size, config.patches_per_epoch - done)


def _seed(job: FoldJob, step: int) -> int:
    sequence = np.random.SeedSequence([job.config.seed, job.fold, step])
    return int(sequence.generate_state(1)[0])


def seeded_generator(job: FoldJob, step: int) -> torch.Generator:
    """Give the generator that decides everything drawn in one step."""
    return torch.Generator(job.device).manual_seed(_seed(job, step))


def _history_row(
    losses: list[tuple[Tensor, Tensor]], step: int, config: TrainConfig
) -> list[float]:
    mean = torch.stack([torch.stack(pair) for pair in losses]).mean(0)
    loss, judged = mean.tolist()
    if not math.isfinite(loss):
        raise StateError(
            f"the loss is {loss} at step {step}: the training has diverged; lower learning_rate "
            f"({config.learning_rate:g}) or set gradient_clip"
        )
    return [float(step), loss, judged, config.learning_rate_at(step - 1)]


def _progress(learner: Learner, config: TrainConfig, steps_per_second: float) -> TrainProgress:
    return TrainProgress(
        step=learner.step,
        n_steps=config.n_steps,
        loss=learner.history[-1][1] if learner.history else math.nan,
        learning_rate=config.learning_rate_at(learner.step - 1),
        patches_per_second=steps_per_second * config.batch_size,
        seconds_left=(config.n_steps - learner.step) / steps_per_second,
    )


def _save(learner: Learner, job: FoldJob) -> None:
    save_state(job.folder, learner.tensors(), {**job.facts(), "step": learner.step})
    text = io.StringIO()
    csv.writer(text).writerows([HISTORY_COLUMNS, *learner.history])
    write_atomically(job.folder / HISTORY, lambda file: file.write(text.getvalue().encode()))


def _resume(learner: Learner, job: FoldJob) -> None:
    state = load_state(job.folder)
    if state is None:
        return
    tensors, facts = state
    step = facts.pop("step")
    expected = job.facts()
    for key, value in expected.items():
        # JSON knows no tuples; compare what it makes of both.
        if _as_json(facts.get(key)) != _as_json(value):
            raise StateError(
                f"{job.folder}: the checkpoint's {key} differ from what is asked for "
                f"({facts.get(key)} against {value}); use another run folder"
            )
    learner.restore(tensors, step)


def _as_json(value: object) -> object:
    return json.loads(json.dumps(value))
