"""Two-dimensional discrete wavelet transform of tensors, with filters and signs of PyWavelets.

Names follow the direction of the detail, as in `pywt.dwt2`: `horizontal`, `vertical`, `diagonal`.
"""

import pywt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

N_BANDS = 4  # approximation, horizontal, vertical, diagonal


class WaveletTransform(nn.Module):
    """One level of the separable transform, periodic at the border, stride 2.

    Parameters
    ----------
    wavelet : str
        Name of any orthogonal wavelet of PyWavelets, for example "haar", "db2", "sym4".

    Raises
    ------
    ValueError
        If `wavelet` is unknown to PyWavelets or not orthogonal.

    References
    ----------
    .. [1] S. Mallat, A theory for multiresolution signal decomposition, IEEE TPAMI 11(7), 1989,
       section III. doi:10.1109/34.192463
    """

    filters: Tensor

    def __init__(self, wavelet: str = "haar") -> None:
        super().__init__()
        if wavelet not in pywt.wavelist(kind="discrete"):
            raise ValueError(f"wavelet {wavelet!r} is unknown; see pywt.wavelist(kind='discrete')")
        bank = pywt.Wavelet(wavelet)
        if not bank.orthogonal:
            raise ValueError(
                f"wavelet {wavelet!r} is not orthogonal; choose haar, dbN, symN, coifN"
            )
        # Convolution runs over the flipped filter, and conv2d correlates: flip once.
        low = torch.tensor(bank.dec_lo[::-1], dtype=torch.float64)
        high = torch.tensor(bank.dec_hi[::-1], dtype=torch.float64)
        # Rows filter along height: a horizontal edge is a change along height.
        pairs = [(low, low), (high, low), (low, high), (high, high)]
        kernels = torch.stack([torch.outer(along_h, along_w) for along_h, along_w in pairs])
        # Fixed by the name of the wavelet, so not part of a model's weights.
        self.register_buffer("filters", kernels.unsqueeze(1).float(), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split images into approximation and details.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)
            H and W even.

        Returns
        -------
        approximation : Tensor, shape (N, C, H/2, W/2)
        details : Tensor, shape (N, 3 * C, H/2, W/2)
            Horizontal, vertical and diagonal coefficients of every channel in turn.

        Raises
        ------
        ValueError
            If H or W is odd.
        """
        n, c, h, w = x.shape
        if h % 2 or w % 2:
            raise ValueError(f"wavelet transform needs even sizes, got {h} x {w}; pad first")
        length = self.filters.shape[-1]
        if length > 2:
            x = _pad_periodic(x, length // 2 - 1)
        kernels = self.filters.to(x.dtype).repeat(c, 1, 1, 1)  # (4 * C, 1, L, L)
        bands = F.conv2d(x, kernels, stride=2, groups=c)  # (N, 4 * C, H/2, W/2)
        bands = bands.reshape(n, c, N_BANDS, h // 2, w // 2)
        return bands[:, :, 0], bands[:, :, 1:].flatten(1, 2)

    def decompose(self, x: Tensor, levels: int) -> tuple[Tensor, list[Tensor]]:
        """Transform the approximation repeatedly.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)
            H and W multiples of 2**levels.
        levels : int

        Returns
        -------
        approximation : Tensor, shape (N, C, H / 2**levels, W / 2**levels)
        details : list of Tensor
            Finest level first; level l has shape (N, 3 * C, H / 2**l, W / 2**l).
        """
        details = []
        for _ in range(levels):
            x, detail = self(x)
            details.append(detail)
        return x, details


def _pad_periodic(x: Tensor, margin: int) -> Tensor:
    """Pad the image periodically, even if the filter is longer than the image."""
    for axis in (2, 3):
        size = x.shape[axis]
        index = torch.arange(-margin, size + margin, device=x.device) % size
        x = x.index_select(axis, index)
    return x
