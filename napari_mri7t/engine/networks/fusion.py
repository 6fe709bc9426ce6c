"""A network's convolutions together with what follows them, in one pass over memory each.

For estimation, most of it on the CPU. A rectifier or a sum of its own reads and writes all features
once more, which takes about as long as the products do. oneDNN computes them with the convolution.
Any network that `torch.fx` can trace is rewritten; another runs as it is.
"""

import logging
import operator
from collections.abc import Callable
from functools import cache, partial
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Argument
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_mri7t.engine.errors import is_out_of_memory
from napari_mri7t.engine.networks.layers import SameConv2d
from napari_mri7t.engine.networks.wavelets import WaveletTransform

LOGGER = logging.getLogger(__name__)
Activation = tuple[str, list[float]]  # as oneDNN names it, and its numbers
NO_ACTIVATION: Activation = ("none", [])
RECTIFIERS = (F.relu, torch.relu, torch.relu_)
SUMS = (operator.add, operator.iadd, torch.add)


class FusedConvolution(nn.Module):
    """A convolution and what follows it; weights in one type, laid out as oneDNN wants them.

    Parameters
    ----------
    convolution : nn.Conv2d
        Of one group, padded with zeros.
    precision : torch.dtype
        Of weights and features.
    activation : tuple of str and list of float
        As oneDNN names it.
    """

    def __init__(
        self, convolution: nn.Conv2d, precision: torch.dtype, activation: Activation
    ) -> None:
        super().__init__()
        weight = convolution.weight.detach().to(precision, memory_format=torch.channels_last)
        bias = convolution.bias
        padding = cast("tuple[int, int]", convolution.padding)
        self.precision = precision
        self.n_outputs = convolution.out_channels
        self.same_padding = getattr(convolution, "same_padding", None)
        self.steps = (list(padding), list(convolution.stride), list(convolution.dilation), 1)
        self.activation = activation
        # Plain attributes: oneDNN's layout is not one that `to` or `state_dict` could handle.
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.steps)
        self.bias = None if bias is None else bias.detach().to(precision)

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """Convolve (N, C, H, W) and add; a source in float32 is added to, never rounded."""
        x = x.to(self.precision)
        if self.same_padding is not None:
            x = _pad(x, *self.same_padding)
        convolve = torch.ops.mkldnn._convolution_pointwise
        shape = (x.shape[0], self.n_outputs, *x.shape[2:])  # where the convolution keeps the size
        if addend is not None and addend.dtype == x.dtype and addend.shape == shape:
            sum_of: tuple[object, ...] = ("add", 1.0, None, [], None)
            y: Tensor = convolve.binary(x, addend, self.weight, self.bias, *self.steps, *sum_of)
            return y
        y = convolve(x, self.weight, self.bias, *self.steps, *self.activation, "")
        return y if addend is None else addend + y


def fuse(network: nn.Module, precision: torch.dtype) -> nn.Module:
    """Rewrite a network so that its convolutions take along what follows them.

    Batch normalisation becomes part of the weights.

    Parameters
    ----------
    network : nn.Module
        In eval mode, on the CPU; left as it is.
    precision : torch.dtype
        float32, or bfloat16 for a network that runs in `mixed_precision`.

    Returns
    -------
    nn.Module
        A module with the same estimates, to rounding; the network itself where it cannot be traced
        or this build of torch has no oneDNN.
    """
    if not _has_onednn(precision):
        return network
    return _rewrite(network, partial(_fuse_node, precision=precision))


def fold_normalization(network: nn.Module) -> nn.Module:
    """Make batch normalisation part of the weights of the convolution before it.

    Parameters
    ----------
    network : nn.Module
        In eval mode, on any device; left as it is.

    Returns
    -------
    nn.Module
        A module with the same estimates, to rounding; the network itself where it cannot be traced.
    """
    return _rewrite(network, _fold_node)


def _rewrite(network: nn.Module, rewrite_node: Callable[[fx.Node], None]) -> nn.Module:
    """Trace a network and rewrite the nodes of its convolutions."""
    try:
        traced = fx.GraphModule(network, _Tracer().trace(network))
    except Exception as error:  # whatever a network's own code raises at a stand-in for a tensor
        if is_out_of_memory(error):
            raise
        LOGGER.info("%s is not fused: %s", type(network).__name__, error)
        return network
    for node in list(traced.graph.nodes):
        if _is_plain_convolution(node):
            rewrite_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


class _Tracer(fx.Tracer):
    """Looks into everything but convolutions, and the transform, which asks for sizes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tell what stays one call."""
        if isinstance(m, nn.Conv2d | WaveletTransform):
            return True
        return super().is_leaf_module(m, module_qualified_name)


def _fuse_node(node: fx.Node, precision: torch.dtype) -> None:
    """Put one fused convolution in the place of a convolution and what follows it."""
    convolution, fused = _folded(node)
    if not _can_be_fused(convolution):
        return
    inputs, activation = [node.args[0]], NO_ACTIVATION
    follower = _only_user(fused[-1])
    if follower is not None and (found := _activation_of(follower)):
        activation = found
        fused.append(follower)
    elif follower is not None and (addend := _addend_of(follower, fused[-1])):
        inputs.append(addend)
        fused.append(follower)
    _replace(fused, FusedConvolution(convolution, precision, activation), tuple(inputs))


def _fold_node(node: fx.Node) -> None:
    """Put one convolution in the place of a convolution and its normalisation."""
    convolution, folded = _folded(node)
    if len(folded) > 1:
        _replace(folded, convolution, node.args)


def _folded(node: fx.Node) -> tuple[nn.Conv2d, list[fx.Node]]:
    """Give a convolution with the normalisation that follows it, if one does, and their nodes."""
    convolution = cast(nn.Conv2d, _module_of(node))
    follower = _only_user(node)
    normalization = _module_of(follower)
    if isinstance(normalization, nn.BatchNorm2d) and normalization.track_running_stats:
        return fuse_conv_bn_eval(convolution, normalization), [node, cast(fx.Node, follower)]
    return convolution, [node]


def _replace(nodes: list[fx.Node], module: nn.Module, inputs: tuple[Argument, ...]) -> None:
    """Put one module in the place of nodes that follow each other."""
    name, graph = f"fused_{nodes[0].name}", nodes[0].graph
    cast(fx.GraphModule, graph.owning_module).add_submodule(name, module)
    with graph.inserting_before(nodes[-1]):
        nodes[-1].replace_all_uses_with(graph.call_module(name, inputs))
    for each in reversed(nodes):
        graph.erase_node(each)


def _is_plain_convolution(node: fx.Node) -> bool:
    """Tell whether a node does what its weights say, without own forward, hook, parametrization."""
    module = _module_of(node)
    if module is None or type(module) not in (nn.Conv2d, SameConv2d):
        return False
    is_hooked = bool(module._forward_pre_hooks or module._forward_hooks)
    return not is_hooked and len(node.args) == 1 and not node.kwargs


def _can_be_fused(convolution: nn.Conv2d) -> bool:
    plain = convolution.groups == 1 and convolution.padding_mode == "zeros"
    return plain and not isinstance(convolution.padding, str)


def _module_of(node: fx.Node | None) -> nn.Module | None:
    if node is None or node.op != "call_module":
        return None
    return cast(fx.GraphModule, node.graph.owning_module).get_submodule(str(node.target))


def _only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _activation_of(node: fx.Node) -> Activation | None:
    module = _module_of(node)
    if isinstance(module, nn.ReLU) or node.target in RECTIFIERS:
        return "relu", []
    if isinstance(module, nn.LeakyReLU):
        return "leaky_relu", [module.negative_slope]
    return ("sigmoid", []) if isinstance(module, nn.Sigmoid) else None


def _addend_of(node: fx.Node, result: fx.Node) -> fx.Node | None:
    """Tell what a sum adds to a result, if it is a sum of two."""
    if node.target not in SUMS or node.kwargs:
        return None
    others = [each for each in node.args if each is not result]
    return others[0] if len(others) == 1 and isinstance(others[0], fx.Node) else None


def _pad(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Pad with zeros; `F.pad` would write the whole of the new tensor twice."""
    n, c, height, width = x.shape
    shape = (n, c, height + top + bottom, width + left + right)
    padded = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    inside = padded[:, :, top : top + height, left : left + width]
    for rim in (padded[:, :, :top], padded[:, :, top + height :]):
        rim.zero_()
    for rim in (padded[..., :left], padded[..., left + width :]):
        rim.zero_()
    inside.copy_(x)
    return padded


@cache
def _has_onednn(precision: torch.dtype) -> bool:
    """Try the operations, which torch has for its own compiler, on two pixels."""
    x = torch.zeros(1, 1, 1, 2, dtype=precision)
    try:
        FusedConvolution(nn.Conv2d(1, 1, 1), precision, NO_ACTIVATION)(x, x)
    except (AttributeError, RuntimeError) as error:
        LOGGER.info("convolutions are not fused: %s", error)
        return False
    return True
