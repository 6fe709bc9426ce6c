"""Noise of random strength on clean brains, for models that reduce the noise of any scan.

Noise as parallel imaging and resampling leave it: Rician, stronger in some regions, and in part
correlated. Random tone curves stand for the contrasts of scanners, so that nothing has to be
matched. On tensors: a whole volume is a batch of one; training draws strengths for each patch.

References
----------
.. [1] Gudbjartsson, Patz, The Rician distribution of noisy MRI data, Magnetic Resonance in Medicine
   34:910-914, 1995. DOI 10.1002/mrm.1910340618.
.. [2] Pruessmann et al., SENSE: sensitivity encoding for fast MRI, Magnetic Resonance in Medicine
   42:952-962, 1999: noise varies in space with the geometry factor.
   DOI 10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_mri7t.engine.simulation.realistic import Strengths, shading_field

TONE_DEVIATION = 0.25  # of the logarithm of the exponent
LEVEL = (0.6, 1.0)  # of its bright tissue: around `intensity.BRIGHT_LEVEL`
SIGMA = (0.0, 0.1)  # of the noise: up to 12 % of the bright tissue at the usual level
VARIATION = (0.0, 0.6)  # weakest to strongest noise in space, part of the mean
SHADING = (0.0, 0.1)  # what a correction leaves
CORRELATED = 0.5  # part of the items whose noise is smoothed
LARGEST_SIGMA = 0.6  # voxels, of the Gaussian that smooths it
BLURRED = 0.25  # part of the items that lose resolution
N_FIELD = 9  # weights of a field


@dataclass(frozen=True, eq=False)
class NoiseStrengths:
    """What is done to each item of a batch; tensors of shape (N,).

    Parameters
    ----------
    exponent, level : Tensor
        Tone curve and brightness.
    sigma : Tensor
        Of the noise.
    smoothing : Tensor
        Sigma of the Gaussian that correlates the noise, voxels; 0 for none.
    loss : Tensor
        Of resolution, 0 to 1.
    variation, shading : Strengths
        Fields of the noise and of the intensities.
    """

    exponent: Tensor
    level: Tensor
    sigma: Tensor
    smoothing: Tensor
    loss: Tensor
    variation: Strengths
    shading: Strengths


def draw_noise(n: int, generator: torch.Generator) -> NoiseStrengths:
    """Draw the strengths of a batch of `n` items, on the generator's device."""
    device = generator.device

    def uniform(bounds: tuple[float, float]) -> Tensor:
        low, high = bounds
        return low + (high - low) * torch.rand(n, generator=generator, device=device)

    def field(bounds: tuple[float, float]) -> Strengths:
        weights = torch.randn((n, N_FIELD), generator=generator, device=device)
        zero = torch.zeros(n, device=device)
        shading = uniform(bounds)
        weights = weights / weights.abs().sum(1, keepdim=True)
        return Strengths(zero, zero, shading, weights, zero, zero)

    exponent = (TONE_DEVIATION * torch.randn(n, generator=generator, device=device)).exp()
    is_correlated = uniform((0.0, 1.0)) < CORRELATED
    is_blurred = uniform((0.0, 1.0)) < BLURRED
    return NoiseStrengths(
        exponent=exponent,
        level=uniform(LEVEL),
        sigma=uniform(SIGMA),
        smoothing=torch.where(is_correlated, uniform((0.0, LARGEST_SIGMA)), 0.0),
        loss=torch.where(is_blurred, uniform((0.0, 1.0)), 0.0),
        variation=field(VARIATION),
        shading=field(SHADING),
    )


def add_scan_noise(
    clean: Tensor, coarse: Tensor, strengths: NoiseStrengths, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Give clean images the tones of a scanner, and add noise.

    Parameters
    ----------
    clean, coarse : Tensor, shape (N, D, H, W)
        In [0, 1], background 0, bright tissue near 1; the same at a lower resolution.
    strengths : NoiseStrengths
    generator : torch.Generator
        Of the noise, and of the item's place in the fields.

    Returns
    -------
    noisy, target : Tensor, shape (N, D, H, W)
        With and without noise and loss of resolution, in the same tones; 0 where `clean` is 0.
    level : Tensor, shape (N, D, H, W)
        Standard deviation of the noise.
    """
    shading = shading_field(clean.shape, strengths.shading, generator) * _each(strengths.level)
    tones = [
        each.clamp_min(0) ** _each(strengths.exponent) * shading
        for each in (clean, torch.lerp(clean, coarse, _each(strengths.loss)))
    ]
    level = _each(strengths.sigma) * shading_field(clean.shape, strengths.variation, generator)
    level = level.clamp_min(0)
    noise = [_noise(clean, strengths.smoothing, generator) * level for _ in range(2)]
    noisy = torch.hypot(tones[1] + noise[0], noise[1])
    brain = clean > 0
    return noisy * brain, tones[0] * brain, level


def _noise(like: Tensor, smoothing: Tensor, generator: torch.Generator) -> Tensor:
    """Return Gaussian noise of deviation 1, smoothed by a Gaussian along three axes."""
    noise = torch.randn(like.shape, generator=generator, device=like.device)
    side = torch.exp(-0.5 / smoothing.clamp_min(0.05).square())  # of the neighbour, over the middle
    kernel = torch.stack((side, torch.ones_like(side), side), 1)
    kernel = kernel / kernel.square().sum(1, keepdim=True).sqrt()
    for axis in (axis for axis in (1, 2, 3) if like.shape[axis] > 1):
        pad = [0, 0, 0, 0, 0, 0]
        pad[2 * (3 - axis) : 2 * (3 - axis) + 2] = (1, 1)
        padded = F.pad(noise[:, None], pad, mode="reflect")[:, 0]
        parts = [padded.narrow(axis, n, like.shape[axis]) for n in range(3)]
        noise = sum((_each(kernel[:, n]) * part for n, part in enumerate(parts)), start=0 * noise)
    return noise


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
