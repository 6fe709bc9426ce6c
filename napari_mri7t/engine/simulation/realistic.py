"""Realistic 3T from 7T: contrast, resolution, shading and Rician noise of random strengths.

Random, so that a network trains on the differences between scanners. On tensors: a whole volume is
a batch of one; training draws strengths for each patch.

References
----------
.. [1] Wright et al., Water proton T1 measurements in brain tissue at 7, 3, and 1.5T, MAGMA
   21:121-130, 2008. DOI 10.1007/s10334-008-0104-8. White and grey matter at 3T: 838 +- 50 and
   1607 +- 112 ms.
.. [2] Mugler, Brookeman, Three-dimensional magnetization-prepared rapid gradient-echo imaging (3D
   MP RAGE), Magnetic Resonance in Medicine 15:152-157, 1990. DOI 10.1002/mrm.1910150117.
.. [3] Jack et al., The Alzheimer's Disease Neuroimaging Initiative (ADNI): MRI methods, Journal of
   Magnetic Resonance Imaging 27:685-691, 2008. DOI 10.1002/jmri.21049.
.. [4] Kwan, Evans, Pike, MRI simulation-based evaluation of image-processing and classification
   methods, IEEE Transactions on Medical Imaging 18(11):1085-1097, 1999. DOI 10.1109/42.816072.
.. [5] Gudbjartsson, Patz, The Rician distribution of noisy MRI data, Magnetic Resonance in Medicine
   34:910-914, 1995. DOI 10.1002/mrm.1910340618.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_mri7t.engine.errors import VolumeError

# Grey over white matter. MP-RAGE's signal [2] with the T1 of [1] and their deviations, at TR 1.9 to
# 3.0 s and TI 0.9 to 1.1 s, is 0.4 to 0.7 at 3T; the models' 7T brains have 0.65.
GREY_TO_WHITE = (0.5, 0.7)
GREY_TO_WHITE_7T = 0.65
COARSEST_MM = 1.25  # in-plane, of a 3T protocol for many sites [3]; the 7T volumes have 1 mm
SHADING = (0.0, 0.2)  # darkest to brightest, part of the mean: BrainWeb's weaker field [4]
NOISE = (0.01, 0.09)  # sigma over white matter's signal: BrainWeb's levels [4], drawn by logarithm
# Part of a voxel's noise in each neighbour along an axis: resampling correlates it; linear
# interpolation half-way between voxels, and back, gives 1/4.
NOISE_SPREAD = (0.0, 0.25)
FIELD_VOXELS = 200  # side of the cube in which a field is defined: a head of 1 mm
N_POLYNOMIALS = 9  # of a field: up to second order, without the constant
WHITE_QUANTILE = 0.95  # of the brain: white matter


@dataclass(frozen=True, eq=False)
class Strengths:
    """Strengths of the degradation of each item of a batch; tensors of shape (N,), field (N, 9).

    Parameters
    ----------
    contrast : Tensor
        Exponent of the intensities.
    loss : Tensor
        Of resolution, from 0 (the volume's own) to 1 (`COARSEST_MM`).
    shading : Tensor
        Darkest to brightest, as a fraction of the mean.
    field : Tensor
        Weights of the field's polynomials; their absolute values sum to 1.
    noise : Tensor
        Sigma over the signal of white matter.
    spread : Tensor
        Fraction of the noise in each neighbour.
    """

    contrast: Tensor
    loss: Tensor
    shading: Tensor
    field: Tensor
    noise: Tensor
    spread: Tensor


def draw_strengths(n: int, generator: torch.Generator) -> Strengths:
    """Draw the strengths of a batch.

    Parameters
    ----------
    n : int
        Items.
    generator : torch.Generator

    Returns
    -------
    Strengths
        On the generator's device.
    """
    ratio = uniform(n, GREY_TO_WHITE, generator)
    weights = field_weights(n, generator)
    return Strengths(
        contrast=ratio.log() / math.log(GREY_TO_WHITE_7T),
        loss=uniform(n, (0.0, 1.0), generator),
        shading=uniform(n, SHADING, generator),
        field=weights,
        noise=uniform(n, (math.log(NOISE[0]), math.log(NOISE[1])), generator).exp(),
        spread=uniform(n, NOISE_SPREAD, generator),
    )


def uniform(n: int, bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Draw `n` values evenly between two bounds, on the generator's device."""
    low, high = bounds
    return low + (high - low) * torch.rand(n, generator=generator, device=generator.device)


def field_weights(n: int, generator: torch.Generator) -> Tensor:
    """Draw the weights of `n` fields, (n, 9), as `Strengths.field` holds them."""
    weights = torch.randn((n, N_POLYNOMIALS), generator=generator, device=generator.device)
    return weights / weights.abs().sum(1, keepdim=True)


def white_of(clean: np.ndarray) -> float:
    """Return the signal of white matter.

    Parameters
    ----------
    clean : ndarray
        T1w brain, background 0.

    Raises
    ------
    VolumeError
        If no voxel is above 0.
    """
    brain = clean[clean > 0]
    if not brain.size:
        raise VolumeError("no voxel is above 0: there is no brain to simulate; check the volume")
    return float(np.quantile(brain, WHITE_QUANTILE))


def lower_resolution(array: np.ndarray, voxel_size: Sequence[float]) -> np.ndarray:
    """Truncate k-space to that of 1.25 mm voxels.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
    voxel_size : sequence of float
        mm; a coarser axis stays as it is.
    """
    from scipy import fft  # training on GPUs loads no other part of scipy

    k_space = fft.rfftn(array.astype(np.float32, copy=False))
    for axis, size in enumerate(voxel_size):
        is_last = axis == 2
        n = array.shape[axis]
        frequency = np.abs(fft.rfftfreq(n) if is_last else fft.fftfreq(n))  # cycles per voxel
        shape = [-1 if a == axis else 1 for a in range(3)]
        k_space *= (frequency <= 0.5 * size / COARSEST_MM).reshape(shape)
    cut: np.ndarray = fft.irfftn(k_space, array.shape).astype(np.float32)
    return cut


def degrade(
    clean: Tensor,
    coarse: Tensor,
    white: Tensor,
    strengths: Strengths,
    generator: torch.Generator,
) -> Tensor:
    """Degrade 7T images to 3T-like ones; where `clean` is 0 they stay 0.

    Parameters
    ----------
    clean, coarse : Tensor, shape (N, D, H, W)
        7T, background 0; the same from `lower_resolution`.
    white : Tensor, shape (N,)
        Signal of white matter, above 0.
    strengths : Strengths
    generator : torch.Generator
        Of the noise and of the item's place in the field.

    Returns
    -------
    Tensor, shape (N, D, H, W)
        At least 0, on the scale of `clean`.
    """
    white = each(white)
    image = torch.lerp(clean, coarse, each(strengths.loss)).clamp_min(0)
    image = (image / white) ** each(strengths.contrast)
    image = image * shading_field(clean.shape, strengths.shading, strengths.field, generator)
    sigma = each(strengths.noise)
    real = image + sigma * _noise(clean, strengths.spread, generator)
    imaginary = sigma * _noise(clean, strengths.spread, generator)
    magnitude = torch.hypot(real, imaginary) * white
    return torch.where(clean > 0, magnitude, torch.zeros_like(magnitude))


def shading_field(
    shape: Sequence[int], shading: Tensor, weights: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw fields of second order around 1.

    Parameters
    ----------
    shape : sequence of int
        (N, D, H, W); smaller shapes are random parts of the field.
    shading : Tensor, shape (N,)
        Darkest to brightest, as a fraction of the mean.
    weights : Tensor, shape (N, 9)
        As `field_weights` draws them.
    generator : torch.Generator
    """
    n, *sides = shape
    device = shading.device
    axes = []
    for axis, side in enumerate(sides):
        half = min(1.0, side / FIELD_VOXELS)
        middle = (1 - half) * (2 * torch.rand((n, 1), generator=generator, device=device) - 1)
        along = middle + torch.linspace(-half, half, side, device=device)  # (N, side)
        view = [n, 1, 1, 1]
        view[axis + 1] = side
        axes.append(along.view(view))
    x, y, z = axes
    parts = (x, y, z, x * y, x * z, y * z, x * x - 1 / 3, y * y - 1 / 3, z * z - 1 / 3)
    scaled = weights * (shading / 2)[:, None]
    field = torch.ones(tuple(shape), device=device)
    for weight, part in zip(scaled.unbind(1), parts, strict=True):
        field = field + each(weight) * part
    return field


def _noise(like: Tensor, spread: Tensor, generator: torch.Generator) -> Tensor:
    """Return Gaussian noise of deviation 1, each voxel's spread to its neighbours."""
    noise = torch.randn(like.shape, generator=generator, device=like.device)
    side = each(spread)
    kept = 1 - 2 * side
    for axis in (axis for axis in (1, 2, 3) if noise.shape[axis] > 1):
        noise = kept * noise + side * (noise.roll(1, axis) + noise.roll(-1, axis))
        noise = noise / (kept**2 + 2 * side**2).sqrt()
    return noise


def each(values: Tensor) -> Tensor:
    """Return one value an item, (N,), so that it multiplies (N, D, H, W)."""
    return values.view(-1, 1, 1, 1)
