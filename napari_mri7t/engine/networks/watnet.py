"""WATNet: wavelet coefficients of the source modulate the features at three scales.

Two versions: the report's, and the one that the paper's authors released.
"""

from typing import cast

import torch
from torch import Tensor, nn

from napari_mri7t.engine.networks.layers import SameConv2d, pad_to_multiple
from napari_mri7t.engine.networks.watnet_blocks import (
    WIDTH,
    DistillationBlock,
    WaveletAffine,
    convolutions,
    rectifier,
)
from napari_mri7t.engine.networks.watnet_start import (
    add_nothing,
    gather_and_add_nothing,
    wire_central_slice,
)
from napari_mri7t.engine.networks.wavelets import WaveletTransform

N_SLICES = 3
N_LEVELS = 3
SLOPE_QU2020 = 0.05  # LeakyReLU, from the released code
BANDS_QU2020 = (9, 9, 12)  # channels; the coarsest level also sees the approximation


class WATNet(nn.Module):
    """WATNet as the report builds it: 1,346,307 parameters.

    The transposed convolution has the report's 1 x 1 kernel, which fills one pixel in four.

    Parameters
    ----------
    wavelet : str
        Any orthogonal wavelet of PyWavelets.
    central_only : bool
        Estimate the central slice alone. The bottleneck, 64 channels at an eighth of the size,
        can hold one slice but not three.

    References
    ----------
    .. [1] "CNN network to synthesize 7T MRI images from 3T MRI images", report, Univ. Lille and
       Centrale Lille, section on WATNet.
    .. [2] L. Qu et al., Medical Image Analysis 62:101663, 2020. doi:10.1016/j.media.2020.101663
    """

    n_slices = N_SLICES

    def __init__(self, wavelet: str = "haar", *, central_only: bool = False) -> None:
        super().__init__()
        self.n_outputs = 1 if central_only else N_SLICES
        self.transform = WaveletTransform(wavelet)
        self.stem = convolutions((N_SLICES, WIDTH, WIDTH), 0.0)
        self.extraction = nn.ModuleList(DistillationBlock(0.0, stride=2) for _ in range(N_LEVELS))
        self.modulation = nn.ModuleList(
            WaveletAffine(SameConv2d(9, WIDTH, 2), SameConv2d(9, WIDTH, 2)) for _ in range(N_LEVELS)
        )
        self.bottom = nn.Sequential(DistillationBlock(0.0), DistillationBlock(0.0))
        self.reconstruction = nn.Sequential(*(_up_report() for _ in range(N_LEVELS)))
        self.residual = nn.Sequential(
            convolutions((WIDTH, WIDTH), 0.0), nn.Conv2d(WIDTH, N_SLICES, 3, padding=1)
        )
        initialize_he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map slices (N, 3, H, W) in [0, 1] to source plus residual, (N, n_outputs, H, W)."""
        height, width = x.shape[-2:]
        padded = pad_to_multiple(x, 2**N_LEVELS)
        _, details = self.transform.decompose(padded, N_LEVELS)
        features = self.stem(padded)
        for block, affine, detail in zip(self.extraction, self.modulation, details, strict=True):
            features = affine(block(features), detail)
        features = self.reconstruction(self.bottom(features))  # (N, 64, H, W)
        residual: Tensor = self.residual(features)[..., :height, :width]
        y = x + torch.tanh(residual)
        return y[:, 1:2] if self.n_outputs == 1 else y

    def start_as_identity(self) -> None:
        """Set initial weights whose first estimate is the source; see `watnet_start`.

        With the report's initialisation every gamma is near 0 in flat regions and the first
        residuals saturate the tanh: within a few steps all rectifiers are inactive for good.
        """
        wire_central_slice(self)
        gather_and_add_nothing(self.residual)


class WATNetQu2020(nn.Module):
    """WATNet as its authors released it: 1,467,971 parameters.

    `band_mean` and `band_std` standardise the wavelet coefficients and hold statistics of the
    training set; `fit_bands` sets them.

    References
    ----------
    .. [1] L. Qu et al., Synthesized 7T MRI from 3T MRI via deep learning in spatial and wavelet
       domains, Medical Image Analysis 62:101663, 2020. doi:10.1016/j.media.2020.101663
    """

    n_slices = 3
    n_outputs = 3
    band_mean: Tensor
    band_std: Tensor

    def __init__(self, wavelet: str = "haar") -> None:
        super().__init__()
        slope = SLOPE_QU2020
        self.transform = WaveletTransform(wavelet)
        self.register_buffer("band_mean", torch.zeros(sum(BANDS_QU2020)))
        self.register_buffer("band_std", torch.ones(sum(BANDS_QU2020)))
        self.stem = convolutions((self.n_slices, WIDTH, WIDTH), slope)
        self.extraction = nn.ModuleList(
            DistillationBlock(slope, stride=2, activate=False) for _ in range(N_LEVELS)
        )
        self.modulation = nn.ModuleList(
            WaveletAffine(_branch(n, slope), _branch(n, slope)) for n in BANDS_QU2020
        )
        self.activation = rectifier(slope)
        self.bottom = nn.Sequential(DistillationBlock(slope), DistillationBlock(slope))
        self.reconstruction = nn.Sequential(*(_up_qu2020(slope) for _ in range(N_LEVELS)))
        self.residual = nn.Conv2d(WIDTH, self.n_outputs, 17, padding=8)
        initialize_he_normal(self)
        _initialize_bilinear(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map slices (N, 3, H, W) in [0, 1] to source plus residual, (N, 3, H, W)."""
        height, width = x.shape[-2:]
        padded = pad_to_multiple(x, 2**N_LEVELS)
        coefficients = self._standardize(self._coefficients(padded))
        features = self.stem(padded)
        for block, affine, level in zip(
            self.extraction, self.modulation, coefficients, strict=True
        ):
            features = self.activation(affine(block(features), level))
        features = self.reconstruction(self.bottom(features))  # (N, 64, H, W)
        residual: Tensor = self.residual(features)[..., :height, :width]
        return x + residual

    def start_as_identity(self) -> None:
        """Set initial weights whose first estimate is the source; see `watnet_start`.

        The upsampling starts as in the report, and learns to interpolate.
        """
        wire_central_slice(self)
        last_up = cast(nn.Sequential, self.reconstruction[-1])[-1]
        add_nothing(self.residual, cast(nn.ConvTranspose2d, last_up))

    @torch.no_grad()
    def fit_bands(self, x: Tensor) -> None:
        """Set mean and standard deviation of every band from slices (N, 3, H, W)."""
        levels = self._coefficients(pad_to_multiple(x, 2**N_LEVELS))
        self.band_mean.copy_(torch.cat([level.float().mean((0, 2, 3)) for level in levels]))
        std = torch.cat([level.float().std((0, 2, 3)) for level in levels])
        self.band_std.copy_(std.clamp_min(1e-6))  # a band may be constant

    def _coefficients(self, x: Tensor) -> list[Tensor]:
        approximation, details = self.transform.decompose(x, N_LEVELS)
        return [*details[:-1], torch.cat((details[-1], approximation), dim=1)]

    def _standardize(self, levels: list[Tensor]) -> list[Tensor]:
        means, stds = self.band_mean.split(BANDS_QU2020), self.band_std.split(BANDS_QU2020)
        return [
            (level - mean.view(1, -1, 1, 1).to(level.dtype)) / std.view(1, -1, 1, 1).to(level.dtype)
            for level, mean, std in zip(levels, means, stds, strict=True)
        ]


def initialize_he_normal(network: nn.Module) -> None:
    """Set He-normal weights and zero biases in every convolution, as Keras' `he_normal`."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _branch(n_coefficients: int, slope: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_coefficients, 32, 3, padding=1),
        rectifier(slope),
        nn.Conv2d(32, WIDTH, 3, padding=1),
    )


def _up_report() -> nn.Sequential:
    up = nn.ConvTranspose2d(WIDTH, WIDTH, 1, stride=2, output_padding=1)
    return nn.Sequential(DistillationBlock(0.0), up)


def _up_qu2020(slope: float) -> nn.Sequential:
    up = nn.ConvTranspose2d(WIDTH, WIDTH, 4, stride=2, padding=1, groups=WIDTH, bias=False)
    return nn.Sequential(DistillationBlock(slope), up)


def _initialize_bilinear(network: WATNetQu2020) -> None:
    """Set the depthwise transposed convolutions to bilinear interpolation."""
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            module.weight.data.copy_(torch.outer(line, line).expand_as(module.weight))
