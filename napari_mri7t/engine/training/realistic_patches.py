"""Patches that look like 3T, each with strengths of its own, harmonised as a scan would be."""

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_mri7t.engine.preparation.harmonization import LANDMARKS
from napari_mri7t.engine.preparation.realistic import degrade, draw_strengths

SAMPLED_VOXELS = 4096  # of a brain, from which its landmarks are taken
# Exponent of what the harmonisation leaves over: moves grey matter by some 0.03 of [0, 1], about
# half the distance of the ten 7T brains' histograms from each other (docs/raw_scans.md).
LEFT_OVER = (0.9, 1.1)


@dataclass(frozen=True, eq=False)
class BrainSamples:
    """Evenly spread voxels of every subject's brain.

    Parameters
    ----------
    clean, coarse : Tensor, shape (M, SAMPLED_VOXELS)
        The normalised 7T, and with less resolution.
    white : Tensor, shape (M,)
        Signal of white matter in `clean`.
    landmarks : Tensor, shape (M, len(LANDMARKS))
        Of the target, to which sources are harmonised.
    """

    clean: Tensor
    coarse: Tensor
    white: Tensor
    landmarks: Tensor


def realistic_source(
    clean: Tensor,
    coarse: Tensor,
    samples: BrainSamples,
    subject: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Make the 3T side of patches as a network will meet it.

    Parameters
    ----------
    clean, coarse : Tensor, shape (N, D, H, W)
    samples : BrainSamples
    subject : Tensor of int, shape (N,)
    generator : torch.Generator

    Returns
    -------
    Tensor, shape (N, D, H, W)
        In [0, 1], background 0.
    """
    n = len(subject)
    strengths = draw_strengths(n, generator)
    white = samples.white[subject]
    image = degrade(clean, coarse, white, strengths, generator)
    whole = [each[subject].view(n, 1, 1, -1) for each in (samples.clean, samples.coarse)]
    brain = degrade(whole[0], whole[1], white, strengths, generator).view(n, -1)
    found = torch.quantile(brain, torch.tensor(LANDMARKS, device=brain.device), dim=1).T
    harmonized = map_by_landmarks(image, found, samples.landmarks[subject])
    low, high = LEFT_OVER
    left = low + (high - low) * torch.rand(n, generator=generator, device=image.device)
    powered: Tensor = harmonized ** left.view(-1, 1, 1, 1)
    return powered


def map_by_landmarks(image: Tensor, scan: Tensor, model: Tensor) -> Tensor:
    """Map as `harmonize` does, on a device and for a batch.

    Parameters
    ----------
    image : Tensor, shape (N, D, H, W)
    scan, model : Tensor, shape (N, L)
        Landmarks of each item's brain and of what it is to look like; strictly rising.

    Returns
    -------
    Tensor, shape (N, D, H, W)
        In [0, 1].
    """
    middle = scan.shape[1] // 2 - 1  # as in `harmonize`, which counts 0 too
    slope = (model[:, -1:] - model[:, middle, None]) / (scan[:, -1:] - scan[:, middle, None])
    zero = torch.zeros_like(slope)
    scan = torch.cat((zero, scan, scan[:, -1:] + (1 - model[:, -1:]) / slope), 1)
    model = torch.cat((zero, model, torch.ones_like(slope)), 1)
    flat = image.flatten(1).contiguous()  # (N, V)
    above = torch.searchsorted(scan, flat).clamp(1, scan.shape[1] - 1)
    x0, x1 = scan.gather(1, above - 1), scan.gather(1, above)
    y0, y1 = model.gather(1, above - 1), model.gather(1, above)
    part = ((flat - x0) / (x1 - x0).clamp_min(1e-6)).clamp(0, 1)
    return torch.lerp(y0, y1, part).view(image.shape)
