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

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_mri7t.engine.simulation.realistic import each, field_weights, shading_field, uniform

TONE_DEVIATION = 0.25  # of the logarithm of the exponent
LEVEL = (0.6, 1.0)  # of its bright tissue: around `intensity.BRIGHT_LEVEL`
LARGEST_NOISE = 0.1  # 12 % of the bright tissue at the usual level
NOISE_EXPONENT = 1.5  # of an even draw: scans of 2 to 4 % are the commonest
VARIATION = (0.0, 0.6)  # weakest to strongest noise in space, part of the mean
SHADING = (0.0, 0.1)  # what a correction leaves
# Part of the items whose noise is smoothed, and sigma of the Gaussian along each axis, voxels: in
# white matter of real scans neighbours correlate by 0.4 to 0.65, as filtered and interpolated
# k-space leaves them; a Gaussian of 1 voxel, cut to three, gives 0.70.
CORRELATED = 0.7
LARGEST_SIGMA = 1.0
LOSING = 0.1  # part of the items that lose resolution, which the estimate gives back
# Part of the items that are smoother than the clean brains, in source and target, and largest sigma
# of the Gaussian, voxels: what two real scans of a person at 1 mm share has 3 to 8 dB less power at
# 0.4 to 0.6 cycles per voxel than the clean brains. What is finer on them is noise.
SMOOTH = 0.7
LARGEST_SMOOTHNESS = 0.8


@dataclass(frozen=True, eq=False)
class NoiseStrengths:
    """What is done to each item of a batch; tensors of shape (N,) where not said.

    Parameters
    ----------
    exponent, level : Tensor
        Tone curve and brightness.
    sigma : Tensor
        Of the noise.
    smoothing : Tensor, shape (N, 3)
        Sigma of the Gaussian that correlates the noise along each axis, voxels; 0 for none.
    smoothness : Tensor
        Sigma of the Gaussian that smooths source and target, voxels; 0 for none.
    loss : Tensor
        Of resolution, 0 to 1.
    variation, shading : Tensor
        Weakest to strongest noise, darkest to brightest, as a fraction of the mean.
    variation_field, shading_field : Tensor, shape (N, 9)
        As `realistic.field_weights`.
    """

    exponent: Tensor
    level: Tensor
    sigma: Tensor
    smoothing: Tensor
    smoothness: Tensor
    loss: Tensor
    variation: Tensor
    variation_field: Tensor
    shading: Tensor
    shading_field: Tensor


def draw_noise(n: int, generator: torch.Generator) -> NoiseStrengths:
    """Draw the strengths of a batch of `n` items, on the generator's device."""
    exponent = TONE_DEVIATION * torch.randn(n, generator=generator, device=generator.device)
    parts = CORRELATED, SMOOTH, LOSING
    is_correlated, is_smooth, is_losing = (uniform(n, (0.0, 1.0), generator) < p for p in parts)
    return NoiseStrengths(
        exponent=exponent.exp(),
        level=uniform(n, LEVEL, generator),
        sigma=LARGEST_NOISE * uniform(n, (0.0, 1.0), generator) ** NOISE_EXPONENT,
        smoothing=uniform(3 * n, (0.0, LARGEST_SIGMA), generator).view(n, 3)
        * is_correlated[:, None],
        smoothness=uniform(n, (0.0, LARGEST_SMOOTHNESS), generator) * is_smooth,
        loss=uniform(n, (0.0, 1.0), generator) * is_losing,
        variation=uniform(n, VARIATION, generator),
        variation_field=field_weights(n, generator),
        shading=uniform(n, SHADING, generator),
        shading_field=field_weights(n, generator),
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
        With and without noise and loss of resolution, in the same tones and equally smooth; 0 where
        `clean` is 0.
    level : Tensor, shape (N, D, H, W)
        Standard deviation of the noise.
    """
    brain = clean > 0
    along = strengths.smoothness[:, None].expand(-1, 3)
    clean, coarse = (
        _smoothed(image, along, lambda side: 1 + 2 * side) for image in (clean, coarse)
    )
    shading = shading_field(
        clean.shape, strengths.shading, strengths.shading_field, generator
    ) * each(strengths.level)
    tones = [
        seen.clamp_min(0) ** each(strengths.exponent) * shading
        for seen in (clean, torch.lerp(clean, coarse, each(strengths.loss)))
    ]
    level = each(strengths.sigma) * shading_field(
        clean.shape, strengths.variation, strengths.variation_field, generator
    )
    level = level.clamp_min(0)
    noise = [_noise(clean, strengths.smoothing, generator) * level for _ in range(2)]
    noisy = torch.hypot(tones[1] + noise[0], noise[1])
    return noisy * brain, tones[0] * brain, level


def _noise(like: Tensor, smoothing: Tensor, generator: torch.Generator) -> Tensor:
    """Return Gaussian noise of deviation 1, smoothed by a Gaussian along three axes."""
    noise = torch.randn(like.shape, generator=generator, device=like.device)
    return _smoothed(noise, smoothing, lambda side: (1 + 2 * side.square()).sqrt())


def _smoothed(image: Tensor, sigma: Tensor, norm: Callable[[Tensor], Tensor]) -> Tensor:
    """Smooth by a Gaussian along three axes, cut to three weights: `side`, 1, `side`, over `norm`.

    Their sum as the norm keeps what is smooth, the root of their squares' sum keeps the deviation
    of white noise.
    """
    for axis in (axis for axis in (1, 2, 3) if image.shape[axis] > 1):
        side = torch.exp(-0.5 / sigma[:, axis - 1].clamp_min(0.05).square())
        pad = [0, 0, 0, 0, 0, 0]
        pad[2 * (3 - axis) : 2 * (3 - axis) + 2] = (1, 1)
        padded = F.pad(image[:, None], pad, mode="reflect")[:, 0]
        below, here, above = (padded.narrow(axis, n, image.shape[axis]) for n in range(3))
        image = (here + each(side) * (below + above)) / each(norm(side))
    return image
