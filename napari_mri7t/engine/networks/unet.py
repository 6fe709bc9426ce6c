"""SliceUNet, this project's own network: a residual U-Net over a slab of adjacent slices."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_mri7t.engine.networks.layers import pad_to_multiple
from napari_mri7t.engine.networks.watnet import initialize_he_normal


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions added to their input, without normalisation.

    Normalisation would discard the absolute intensity, which is to be estimated; as in EDSR [1]_.

    References
    ----------
    .. [1] B. Lim et al., Enhanced deep residual networks for single image super-resolution, CVPR
       Workshops 2017, section 3.1. doi:10.1109/CVPRW.2017.151
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, width, H, W) to features of the same shape."""
        y: Tensor = x + self.second(F.relu(self.first(x), inplace=True))
        return y


class SliceUNet(nn.Module):
    """Residual U-Net that sees several slices on either side of those it estimates.

    Noise is independent between slices but anatomy is not, so that further neighbours help to
    separate the two. Skips are sums, scales are strided convolutions, as in [1]_.

    Parameters
    ----------
    n_slices : int
        Adjacent slices seen, odd.
    n_outputs : int
        Central slices estimated, odd, at most `n_slices`.
    widths : tuple of int
        Channels per scale, finest first; each further scale has half the size.
    n_blocks : int
        Residual blocks per scale, in the encoder and in the decoder.
    noise_map : bool
        Take one more channel, after the slices: the standard deviation of the noise, as in [1]_.

    References
    ----------
    .. [1] K. Zhang et al., Plug-and-play image restoration with deep denoiser prior (DRUNet), IEEE
       TPAMI 44(10), 2022, section 3.1. doi:10.1109/TPAMI.2021.3088914
    """

    def __init__(
        self,
        n_slices: int = 7,
        n_outputs: int = 3,
        widths: tuple[int, ...] = (32, 64, 96, 128),
        n_blocks: int = 2,
        noise_map: bool = False,
    ) -> None:
        super().__init__()
        if n_slices % 2 == 0 or n_outputs % 2 == 0 or n_outputs > n_slices:
            raise ValueError(
                f"n_slices {n_slices} and n_outputs {n_outputs} must be odd, "
                "n_outputs at most n_slices"
            )
        self.n_slices = n_slices
        self.n_outputs = n_outputs
        self.noise_map = noise_map
        self.multiple = 2 ** (len(widths) - 1)
        self.stem = nn.Conv2d(n_slices + noise_map, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_blocks(width, n_blocks) for width in widths[:-1])
        self.shrink = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2)
            for fine, coarse in zip(widths[:-1], widths[1:], strict=True)
        )
        self.bottom = _blocks(widths[-1], n_blocks)
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2)
            for fine, coarse in zip(widths[:-1], widths[1:], strict=True)
        )
        self.up = nn.ModuleList(_blocks(width, n_blocks) for width in widths[:-1])
        self.output = nn.Conv2d(widths[0], n_outputs, 3, padding=1)
        initialize_he_normal(self)
        self._start_as_identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map slices (N, n_slices, H, W) in [0, 1] to the central (N, n_outputs, H, W).

        With a noise map, (N, n_slices + 1, H, W).
        """
        height, width = x.shape[-2:]
        features = self.stem(pad_to_multiple(x, self.multiple))
        skips = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            features = blocks(features)
            skips.append(features)
            features = shrink(features)
        features = self.bottom(features)
        for blocks, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            features = blocks(grow(features) + skips.pop())
        residual: Tensor = self.output(features)[..., :height, :width]
        margin = (self.n_slices - self.n_outputs) // 2
        return x[:, margin : margin + self.n_outputs] + residual

    def _start_as_identity(self) -> None:
        """Zero the last layer: the first estimate is the source. Damp the residual blocks."""
        nn.init.zeros_(self.output.weight)
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                with torch.no_grad():
                    module.second.weight.mul_(0.1)


def _blocks(width: int, n_blocks: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(n_blocks)))
