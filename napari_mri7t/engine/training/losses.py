"""Losses: pixel errors, in the brain or everywhere, and terms for detail."""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.image import structural_similarity_index_measure

from napari_mri7t.engine.networks.wavelets import WaveletTransform
from napari_mri7t.engine.training.config import TrainConfig

LEAST_SQUARED_ERROR = 1e-6  # 60 dB, added so that the logarithm of a perfect patch is finite


def pixel_loss(estimate: Tensor, target: Tensor, config: TrainConfig) -> Tensor:
    """Return the mean absolute or squared error, background weighted by `background_weight`.

    With `background_weight` 0 nothing is learnt from the dark background, as the report proposes
    for future work. "psnr" is the mean over patches of log10 of the squared error, that is -PSNR/10
    [1]_: otherwise the brains with the strongest noise dominate the mean error.

    References
    ----------
    .. [1] L. Chen et al., HINet: half instance normalization network for image restoration, CVPR
       Workshops 2021, on its loss function. arXiv:2105.06086
    """
    error = estimate - target
    error = error.abs() if config.pixel_loss == "mae" else error.square()
    weights = torch.where(target > 0, 1.0, config.background_weight)
    if config.pixel_loss == "psnr":
        axes = (1, 2, 3)
        of_patch = (weights * error).sum(axes) / weights.sum(axes).clamp_min(1.0)
        return (of_patch + LEAST_SQUARED_ERROR).log10().mean()
    if config.background_weight == 1:
        return error.mean()
    return (weights * error).sum() / weights.sum().clamp_min(1.0)


def ssim_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Return 1 - SSIM of slices in [0, 1], Gaussian window of sigma 1.5, valid part only.

    References
    ----------
    .. [1] Z. Wang et al., Image quality assessment: from error visibility to structural similarity,
       IEEE TIP 13(4), 2004. doi:10.1109/TIP.2003.819861
    """
    # Each slice by itself: the channels of a batch are slices.
    slices = [volume.flatten(0, 1).unsqueeze(1) for volume in (estimate, target)]  # (N*C, 1, H, W)
    similarity = structural_similarity_index_measure(slices[0], slices[1], data_range=1.0)
    return 1 - cast(Tensor, similarity)


def gradient_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute error of the finite differences along height and width."""
    error = estimate - target
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def wavelet_loss(estimate: Tensor, target: Tensor, transform: WaveletTransform) -> Tensor:
    """Return the mean absolute error of the finest wavelet details."""
    _, details = transform(estimate - target)
    loss: Tensor = details.abs().mean()
    return loss


def synthesis_loss(
    estimate: Tensor, target: Tensor, config: TrainConfig, transform: WaveletTransform
) -> Tensor:
    """Return the weighted sum of the terms that a configuration asks for.

    Parameters
    ----------
    estimate, target : Tensor, shape (N, C, H, W)
        float32, target in [0, 1].
    config : TrainConfig
    transform : WaveletTransform
        On the tensors' device.
    """
    loss = pixel_loss(estimate, target, config)
    if config.ssim_weight:
        loss = loss + config.ssim_weight * ssim_loss(estimate, target)
    if config.gradient_weight:
        loss = loss + config.gradient_weight * gradient_loss(estimate, target)
    if config.wavelet_weight:
        loss = loss + config.wavelet_weight * wavelet_loss(estimate, target, transform)
    return loss


def discriminator_loss(real: Tensor, synthetic: Tensor) -> Tensor:
    """Return the hinge loss of the scores of real and synthetic patches.

    References
    ----------
    .. [1] T. Miyato et al., Spectral normalization for generative adversarial networks, ICLR 2018,
       eq. 16. arXiv:1802.05957
    """
    return F.relu(1 - real).mean() + F.relu(1 + synthetic).mean()


def adversarial_loss(synthetic: Tensor) -> Tensor:
    """Return the generator's hinge loss: eq. 17 of Miyato et al. 2018."""
    return -synthetic.mean()
