"""Parts shared by several networks: Keras' padding, padding to a multiple, memory layout."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SameConv2d(nn.Conv2d):
    """Convolution whose output has the input's size, padded as Keras pads it.

    An even kernel gets one more row and column of padding at the bottom and the right.
    """

    def __init__(self, n_inputs: int, n_outputs: int, kernel_size: int) -> None:
        super().__init__(n_inputs, n_outputs, kernel_size)
        before = (kernel_size - 1) // 2
        after = kernel_size - 1 - before
        self.same_padding = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W) to (N, n_outputs, H, W)."""
        return super().forward(F.pad(x, self.same_padding))


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad height and width with zeros, at the bottom and the right, to a multiple."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple))


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, its convolutions' weights with channels last."""
    network.to(device)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
