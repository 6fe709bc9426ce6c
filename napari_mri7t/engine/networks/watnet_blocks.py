"""The blocks of WATNet: distillation (DBlock) and the wavelet-based affine layer (WAT)."""

import torch
from torch import Tensor, nn

WIDTH = 64  # channels between the blocks
KEPT = 16  # channels of a block's first half that bypass its second


class DistillationBlock(nn.Module):
    """DBlock: enhancement by two times three convolutions, then compression to 64 channels.

    Parameters
    ----------
    slope : float
        Negative slope of the rectifiers; 0 is ReLU.
    stride : int
        1, or 2 to halve height and width.
    activate : bool
        Whether a rectifier follows the compression.

    References
    ----------
    .. [1] L. Qu et al., Medical Image Analysis 62:101663, 2020, section 3.
       doi:10.1016/j.media.2020.101663
    """

    def __init__(self, slope: float, *, stride: int = 1, activate: bool = True) -> None:
        super().__init__()
        self.stride = stride
        self.first = convolutions((WIDTH, 48, 32, 64), slope)
        self.second = convolutions((64 - KEPT, 64, 48, WIDTH + KEPT), slope, stride)
        self.depression = nn.Conv2d(WIDTH + KEPT, WIDTH, 1)
        self.activation = rectifier(slope) if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, 64, H, W) to (N, 64, H / stride, W / stride)."""
        kept, passed = self.first(x).split((KEPT, 64 - KEPT), dim=1)
        # The 1 x 1 compression with its stride reads one pixel in four: only those are computed.
        short = torch.cat((self._thin(x), self._thin(kept)), dim=1)
        y: Tensor = self.activation(self.depression(self.second(passed) + short))  # 80 channels
        return y

    def _thin(self, x: Tensor) -> Tensor:
        return x if self.stride == 1 else x[..., :: self.stride, :: self.stride]


class WaveletAffine(nn.Module):
    """WAT layer: features * gamma + beta, both computed from the level's coefficients."""

    def __init__(self, gamma: nn.Module, beta: nn.Module) -> None:
        super().__init__()
        self.gamma = gamma
        self.beta = beta

    def forward(self, features: Tensor, coefficients: Tensor) -> Tensor:
        """Modulate features (N, 64, h, w) by coefficients (N, 9 or 12, h, w)."""
        y: Tensor = torch.addcmul(self.beta(coefficients), features, self.gamma(coefficients))
        return y


def rectifier(slope: float) -> nn.Module:
    """Return a ReLU, or a LeakyReLU of that negative slope."""
    return nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)


def convolutions(widths: tuple[int, ...], slope: float, last_stride: int = 1) -> nn.Sequential:
    """Return 3 x 3 convolutions from width to width, a rectifier after each."""
    strides = [1] * (len(widths) - 2) + [last_stride]
    layers: list[nn.Module] = []
    for n_inputs, n_outputs, stride in zip(widths[:-1], widths[1:], strides, strict=True):
        convolution = nn.Conv2d(n_inputs, n_outputs, 3, stride, padding=1)
        layers += [convolution, rectifier(slope)]
    return nn.Sequential(*layers)
