"""The networks and optimisers of one training, as tensors for a checkpoint, and one step."""

import math
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from napari_mri7t.engine.devices import mixed_precision, resolve_precision
from napari_mri7t.engine.networks import IdentityStart, build_network, slices_of
from napari_mri7t.engine.networks.layers import to_device
from napari_mri7t.engine.networks.patchgan import PatchGAN
from napari_mri7t.engine.networks.wavelets import WaveletTransform
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.losses import adversarial_loss, discriminator_loss, synthesis_loss

#: The last is NaN, in the file empty, but at checkpoints; states of version 0.1 lack it.
HISTORY_COLUMNS = ("step", "loss", "discriminator_loss", "learning_rate", "held_out_psnr")
ADAM_EPSILON = 1e-7  # Keras' default


@dataclass(eq=False)
class Learner:
    """The networks and optimisers of one training, and the steps they have taken."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    discriminator: nn.Module | None = None
    discriminator_optimizer: torch.optim.Optimizer | None = None
    transform: WaveletTransform = field(default_factory=WaveletTransform)  # of the wavelet loss
    step: int = 0
    history: list[list[float]] = field(default_factory=list)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that the next step depends on, by name."""
        found: dict[str, Tensor] = {}
        for part, module in self._modules():
            found |= {f"{part}/{key}": value for key, value in module.state_dict().items()}
        for part, optimizer in self._optimizers():
            for index, state in optimizer.state_dict()["state"].items():
                found |= {f"{part}/{index}/{key}": value for key, value in state.items()}
        rows = torch.tensor(self.history, dtype=torch.float64)
        return found | {"history": rows.reshape(-1, len(HISTORY_COLUMNS))}

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Set everything to what `tensors` returned."""
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
        rows = tensors["history"].tolist()
        self.history = [[*row, *[math.nan] * (len(HISTORY_COLUMNS) - len(row))] for row in rows]
        self.step = step

    def to(self, device: torch.device) -> None:
        """Move everything to the device of the training."""
        for _, module in self._modules():
            to_device(module, device)
        self.transform.to(device)

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Move the average towards the weights; faster at the start, where it is still random."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
        pairs = zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        )
        for average, value in pairs:
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)

    def _modules(self) -> Iterable[tuple[str, nn.Module]]:
        yield "network", self.network
        yield "average", self.average
        if self.discriminator is not None:
            yield "discriminator", self.discriminator

    def _optimizers(self) -> Iterable[tuple[str, torch.optim.Optimizer]]:
        yield "optimizer", self.optimizer
        if self.discriminator_optimizer is not None:
            yield "discriminator_optimizer", self.discriminator_optimizer


def new_learner(
    network_name: str, network_config: dict[str, Any], config: TrainConfig, seed: int
) -> Learner:
    """Build networks and optimisers; the initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(network_name, **network_config).train()
        if config.start == "identity" and isinstance(network, IdentityStart):
            network.start_as_identity()
        discriminator = PatchGAN(slices_of(network)[1]) if config.adversarial_weight else None
    learner = Learner(network, deepcopy(network), _adam(network, config.learning_rate, config))
    if discriminator is not None:
        learner.discriminator = discriminator
        learner.discriminator_optimizer = _adam(
            discriminator, config.discriminator_learning_rate, config
        )
    return learner


def _adam(network: nn.Module, rate: float, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        network.parameters(), lr=rate, eps=ADAM_EPSILON, weight_decay=config.weight_decay
    )


def take_step(
    learner: Learner, batch: tuple[Tensor, Tensor], config: TrainConfig, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Take one step of the optimiser, and of the discriminator's if there is one.

    Parameters
    ----------
    learner : Learner
        Weights, averages and optimisers are updated; `step` and `history` are not.
    batch : tuple of Tensor
        Source (N, n_slices, H, W) and target (N, n_outputs, H, W), in [0, 1], on `device`.
    config : TrainConfig
    device : torch.device

    Returns
    -------
    loss, discriminator_loss : Tensor
        Scalars, still on the device; the second is 0 without a discriminator.
    """
    source, target = batch
    precision = resolve_precision(config.precision, device)
    for group in learner.optimizer.param_groups:
        group["lr"] = config.learning_rate_at(learner.step)
    with mixed_precision(device, precision):
        estimate = learner.network(source.contiguous(memory_format=torch.channels_last))
    estimate = estimate.float()
    loss = synthesis_loss(estimate, target, config, learner.transform)
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
        learner.update_average(config.average_decay)
    return loss.detach(), judged.detach()


def _discriminate(
    learner: Learner, condition: Tensor, target: Tensor, estimate: Tensor, config: TrainConfig
) -> Tensor:
    """Take a step of the discriminator's optimiser."""
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
    """Return scores through which no gradient reaches the discriminator."""
    discriminator.requires_grad_(False)
    scores: Tensor = discriminator(condition, estimate)
    discriminator.requires_grad_(True)
    return scores


def _central(source: Tensor, n_outputs: int) -> Tensor:
    margin = (source.shape[1] - n_outputs) // 2
    return source[:, margin : margin + n_outputs]
