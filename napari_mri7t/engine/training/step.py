"""One step of a training: the losses, the gradient, the discriminator's turn, the average."""

import torch
from torch import Tensor, nn

from napari_mri7t.engine.devices import mixed_precision, resolve_precision
from napari_mri7t.engine.networks.wavelets import WaveletTransform
from napari_mri7t.engine.training.learner import Learner
from napari_mri7t.engine.training.losses import (
    adversarial_loss,
    discriminator_loss,
    synthesis_loss,
)
from napari_mri7t.engine.training.presets import TrainConfig


def take_step(
    learner: Learner, batch: tuple[Tensor, Tensor], config: TrainConfig, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Take one step of the optimiser, and of the discriminator's where there is one.

    Parameters
    ----------
    learner : Learner
        Its weights, averages and optimisers move on; `step` and `history` do not.
    batch : tuple of Tensor
        Source (N, n_slices, H, W) and target (N, n_outputs, H, W), in [0, 1], on `device`.
    config : TrainConfig
    device : torch.device

    Returns
    -------
    loss, discriminator_loss : Tensor
        Of no axis, still on the device; the second is 0 without a discriminator.
    """
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
        learner.update_average(config.average_decay)
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
