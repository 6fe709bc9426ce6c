"""The networks and optimisers of one training: built, averaged, written down as tensors."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from napari_mri7t.engine.networks import IdentityStart, build_network, slices_of
from napari_mri7t.engine.networks.layers import to_device
from napari_mri7t.engine.networks.patchgan import PatchGAN
from napari_mri7t.engine.training.presets import TrainConfig

HISTORY_COLUMNS = ("step", "loss", "discriminator_loss", "learning_rate")
ADAM_EPSILON = 1e-7  # Keras' default


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

    def to(self, device: torch.device) -> None:
        """Move the networks to the device they are trained on."""
        for _, module in self._modules():
            to_device(module, device)

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Move the average towards the weights; quicker at the start, where they are poor."""
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
    """Build networks and optimisers; the fresh weights depend on the seed alone."""
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
