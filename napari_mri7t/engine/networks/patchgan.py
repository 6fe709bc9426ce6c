"""PatchGAN, a discriminator between real and synthetic 7T patches."""

import torch
from torch import Tensor, nn


class PatchGAN(nn.Module):
    """Convolutional discriminator that judges overlapping patches, conditioned on the source.

    Spectral normalisation in place of batch statistics keeps small batches stable.

    Parameters
    ----------
    n_slices : int
        Slices of the source, and of the estimate or target.
    width : int
        Channels of the first layer; the next two have twice and four times as many.

    References
    ----------
    .. [1] P. Isola et al., Image-to-image translation with conditional adversarial networks, CVPR
       2017, section 3.2.2. doi:10.1109/CVPR.2017.632
    .. [2] T. Miyato et al., Spectral normalization for generative adversarial networks, ICLR 2018.
       arXiv:1802.05957
    """

    def __init__(self, n_slices: int = 3, width: int = 32) -> None:
        super().__init__()
        self.n_slices = n_slices
        widths = (2 * n_slices, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for n_inputs, n_outputs in zip(widths[:-1], widths[1:], strict=True):
            convolution = nn.Conv2d(n_inputs, n_outputs, 4, stride=2, padding=1)
            layers += [nn.utils.parametrizations.spectral_norm(convolution), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, source: Tensor, judged: Tensor) -> Tensor:
        """Score patches of `judged` (N, n_slices, H, W) given `source`, to (N, 1, H/8, W/8)."""
        scores: Tensor = self.layers(torch.cat((source, judged), dim=1))
        return scores
