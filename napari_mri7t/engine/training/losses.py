"""What a training minimises: pixel errors, inside the brain or everywhere, and terms for detail."""

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_mri7t.engine.networks.wavelets import WaveletTransform
from napari_mri7t.engine.training.presets import TrainConfig

SSIM_SIGMA = 1.5  # voxels; as in PROTOCOL's and TensorFlow's metric
SSIM_RADIUS = 5
K1, K2 = 0.01, 0.03


def brain_weights(target: Tensor, background_weight: float) -> Tensor:
    """Weigh voxels where the target is above 0 by 1, the others by `background_weight`."""
    return torch.where(target > 0, 1.0, background_weight)


def pixel_loss(estimate: Tensor, target: Tensor, config: TrainConfig) -> Tensor:
    """Take the mean absolute or squared error, voxels weighted by `brain_weights`.

    With `background_weight` 0 this is the loss that the report proposes for the future: nothing is
    learnt from the dark background.
    """
    error = estimate - target
    error = error.abs() if config.pixel_loss == "mae" else error.square()
    if config.background_weight == 1:
        return error.mean()
    weights = brain_weights(target, config.background_weight)
    return (weights * error).sum() / weights.sum().clamp_min(1.0)


def ssim_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Take 1 - SSIM of slices in [0, 1], Gaussian window of 11 x 11.

    References
    ----------
    .. [1] Z. Wang et al., Image quality assessment: from error visibility to structural similarity,
       IEEE TIP 13(4), 2004. doi:10.1109/TIP.2003.819861
    """
    x, y = estimate.flatten(0, 1).unsqueeze(1), target.flatten(0, 1).unsqueeze(1)  # (N*C, 1, H, W)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mean_x**2
    variance_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2)
    structure = (2 * covariance + K2**2) / (variance_x + variance_y + K2**2)
    loss: Tensor = 1 - (luminance * structure).mean()
    return loss


def gradient_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Take the mean absolute error of the finite differences along height and width."""
    error = estimate - target
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def wavelet_loss(estimate: Tensor, target: Tensor, transform: WaveletTransform) -> Tensor:
    """Take the mean absolute error of the finest wavelet details."""
    _, details = transform(estimate - target)
    loss: Tensor = details.abs().mean()
    return loss


def synthesis_loss(
    estimate: Tensor, target: Tensor, config: TrainConfig, transform: WaveletTransform
) -> Tensor:
    """Add up the terms that a configuration asks for.

    Parameters
    ----------
    estimate, target : Tensor, shape (N, C, H, W)
        float32, target in [0, 1].
    config : TrainConfig
    transform : WaveletTransform
        On the tensors' device.

    Returns
    -------
    Tensor, scalar
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
    """Take the hinge loss of the verdicts on real and on synthetic patches.

    References
    ----------
    .. [1] T. Miyato et al., Spectral normalization for generative adversarial networks, ICLR 2018,
       eq. 16. arXiv:1802.05957
    """
    return F.relu(1 - real).mean() + F.relu(1 + synthetic).mean()


def adversarial_loss(synthetic: Tensor) -> Tensor:
    """Take the generator's side of the hinge game: eq. 17 of Miyato et al. 2018."""
    return -synthetic.mean()


def _blur(x: Tensor) -> Tensor:
    """Filter (N, 1, H, W) with the separable Gaussian, valid part only."""
    offsets = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=x.dtype, device=x.device)
    weights = torch.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    weights = weights / weights.sum()
    return F.conv2d(F.conv2d(x, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
