"""Initial weights for WATNet that pass the central slice through its bottleneck.

WATNet has no skips from encoder to decoder: all information about a pixel passes 64 channels at an
eighth of the size. From random weights it takes very long to learn a code that separates pixels,
and until then only smooth corrections are learnt. But 64 channels at an eighth of the size hold
exactly one slice: 8 x 8 pixels, a channel each. These initial weights do just that, like a
space-to-depth rearrangement [1]_; all weights remain trainable. A wire is a channel that carries
pixels of the slice unchanged.

References
----------
.. [1] W. Shi et al., Real-time single image and video super-resolution using an efficient sub-pixel
   convolutional neural network, CVPR 2016, section 3.2. doi:10.1109/CVPR.2016.207
"""

from collections.abc import Iterable, Iterator
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from napari_mri7t.engine.networks.watnet_blocks import DistillationBlock

SHIFTS = ((0, 0), (0, 1), (1, 0), (1, 1))  # of the pixels in a square of two by two
CENTRAL_SLICE = 1
KEPT_START = 64  # index of the channels that bypass a block, behind those of its input
SECOND_START, THIRD_START = 16, 32  # index of the wires through a block's second half
QUIET = 0.05  # factor on all other weights, so that the wires dominate at first
BESIDE_WIRES = 0.25  # factor on all other channels, for a kernel that sums thousands of values
Taps = Iterable[tuple[int, int, int]]  # input channel, and the pixel's offset along height, width


class WaveletNetwork(Protocol):
    """The parts of a WATNet that wires pass."""

    stem: nn.Sequential
    extraction: nn.ModuleList
    modulation: nn.ModuleList
    bottom: nn.Sequential
    reconstruction: nn.Sequential

    def modules(self) -> Iterator[nn.Module]:
        """Return every layer."""


@torch.no_grad()
def wire_central_slice(network: WaveletNetwork) -> None:
    """Set initial weights that carry the central slice, pixel by pixel, to the last upsampling.

    Its even and odd rows and columns are four channels there, each on every other pixel.

    Parameters
    ----------
    network : WaveletNetwork
        Changed in place.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.weight.mul_(0.5)
    stem = _convolutions(network.stem)
    _wire(stem[0], 0, [(CENTRAL_SLICE, 0, 0)])
    _wire(stem[1], 0, [(0, 0, 0)])
    stem[1].weight[SECOND_START : THIRD_START + SECOND_START] *= QUIET
    for level, (block, affine) in enumerate(
        zip(network.extraction, network.modulation, strict=True)
    ):
        _spread(cast(DistillationBlock, block), 4**level)
        branches = cast("tuple[nn.Module, nn.Module]", (affine.gamma, affine.beta))
        gamma, beta = (_convolutions(branch)[-1] for branch in branches)
        for convolution in (gamma, beta):
            convolution.weight.mul_(QUIET)
        cast(Tensor, gamma.bias).fill_(1.0)
    for block in network.bottom:
        _pass(cast(DistillationBlock, block), 64, gather=False)
    for level, step in enumerate(network.reconstruction):
        block, up = cast("tuple[DistillationBlock, nn.ConvTranspose2d]", tuple(step.children()))
        _pass(block, 4 ** (3 - level), gather=level > 0)
        _fill_one_pixel_in_four(up)


@torch.no_grad()
def gather_and_add_nothing(residual: nn.Sequential) -> None:
    """Merge the wires in the first convolution of a residual, and zero its last."""
    first, last = _convolutions(residual)
    _wire(first, 0, [(g, -dy, -dx) for g, (dy, dx) in enumerate(SHIFTS)])
    nn.init.zeros_(last.weight)


@torch.no_grad()
def add_nothing(residual: nn.Conv2d, last_up: nn.ConvTranspose2d) -> None:
    """Zero a residual of one large kernel, and damp all of its input but the wires.

    It sums 17 x 17 pixels of 64 channels: if all were as large as the wires, Adam's first steps
    would push the estimate far out of its range.
    """
    nn.init.zeros_(residual.weight)
    last_up.weight[len(SHIFTS) :] *= BESIDE_WIRES


def _fill_one_pixel_in_four(up: nn.ConvTranspose2d) -> None:
    """Upsample every channel by its values and three zeros each."""
    nn.init.zeros_(up.weight)
    channels = torch.arange(up.out_channels)
    place = cast("tuple[int, int]", up.padding)[0]  # of the kernel: what meets the even pixels
    up.weight[channels, channels % up.weight.shape[1], place, place] = 1


def _spread(block: DistillationBlock, n: int) -> None:
    """Turn n wires into 4 n at half the size: four adjacent pixels become four channels."""
    first, second = _convolutions(block.first), _convolutions(block.second)
    second[2].weight.mul_(QUIET)
    for b in range(n):
        _wire(first[0], b, [(b, 0, 0)])
        _wire(first[1], b, [(b, 0, 0)])
        for start, shift in zip((0, SECOND_START, THIRD_START), SHIFTS[1:], strict=True):
            _wire(first[2], start + b, [(b, *shift)])
        for start in (0, SECOND_START):
            _wire(second[0], start + b, [(start + b, 0, 0)])
            _wire(second[1], start + b, [(start + b, 0, 0)])
            _wire(second[2], start + SECOND_START + b, [(start + b, 0, 0)])
        sources = (b, KEPT_START + b, SECOND_START + b, THIRD_START + b)
        for g, source in enumerate(sources):
            _wire(block.depression, g * n + b, [(source, 0, 0)])
    if 4 * n < KEPT_START:  # the next level adds its wires here
        block.depression.weight[SECOND_START : THIRD_START + SECOND_START] *= QUIET


def _pass(block: DistillationBlock, n: int, *, gather: bool) -> None:
    """Pass n wires through a block; `gather` first merges 4 n, each at every other pixel."""
    first, second = _convolutions(block.first), _convolutions(block.second)
    second[2].weight.mul_(QUIET)
    if not gather:
        for b in range(n):
            _wire(block.depression, b, [(b, 0, 0)])
        return
    for b in range(n):
        taps = [(g * n + b, -dy, -dx) for g, (dy, dx) in enumerate(SHIFTS) if g]
        _wire(first[0], b, taps)
        _wire(first[1], b, [(b, 0, 0)])
        _wire(first[2], b, [(b, 0, 0)])
        _wire(block.depression, b, [(b, 0, 0), (KEPT_START + b, 0, 0)])


def _wire(convolution: nn.Conv2d, output: int, taps: Taps) -> None:
    """Make one output channel the sum of the tapped pixels."""
    centre = convolution.kernel_size[0] // 2
    convolution.weight[output] = 0
    cast(Tensor, convolution.bias)[output] = 0
    for channel, dy, dx in taps:
        convolution.weight[output, channel, centre + dy, centre + dx] = 1


def _convolutions(layers: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in layers.modules() if isinstance(layer, nn.Conv2d)]
