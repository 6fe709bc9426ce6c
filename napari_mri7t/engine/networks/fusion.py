"""Fusion of a network's convolutions with the layers that follow them, for faster estimates.

A separate rectifier or sum reads and writes all features once more, which takes about as long as
the convolution itself; on the CPU, oneDNN computes both in one pass. Any network that `torch.fx`
can trace is rewritten; others run unchanged.
"""

import logging
import operator
import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any, cast

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
_TRACING = threading.Lock()  # torch patches the modules of the process, and must put them back


class FusedConvolution(nn.Module):
    """A convolution and the layer that follows it, with weights in oneDNN's layout.

    Parameters
    ----------
    convolution : nn.Conv2d
        With one group, padded with zeros.
    precision : torch.dtype
        Of weights and features.
    activation : tuple of str and list of float
        Name and parameters, as in oneDNN.
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
        # Plain attributes: `to` and `state_dict` cannot handle oneDNN's layout.
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.steps)
        self.bias = None if bias is None else bias.detach().to(precision)

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """Convolve (N, C, H, W) and add; a float32 addend is not rounded."""
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
    """Fuse the convolutions of a network with the layers that follow them.

    Batch normalisation is folded into the weights.

    Parameters
    ----------
    network : nn.Module
        In eval mode, on the CPU; not changed.
    precision : torch.dtype
        float32, or bfloat16 if the network runs in `mixed_precision`.

    Returns
    -------
    nn.Module
        A module with the same estimates up to rounding; the network itself if it cannot be traced
        or this build of torch has no oneDNN.
    """
    if not _has_onednn(precision):
        return network
    return _rewrite(network, partial(_fuse_node, precision=precision))


def fold_normalization(network: nn.Module) -> nn.Module:
    """Fold batch normalisation into the weights of the convolution before it.

    Parameters
    ----------
    network : nn.Module
        In eval mode, on any device; not changed.

    Returns
    -------
    nn.Module
        A module with the same estimates up to rounding; the network itself if it cannot be traced.
    """
    return _rewrite(network, _fold_node)


def _rewrite(network: nn.Module, rewrite_node: Callable[[fx.Node], None]) -> nn.Module:
    """Trace a network and rewrite the nodes of its convolutions."""
    try:
        with _TRACING:
            graph = _Tracer().trace(network)
        traced = fx.GraphModule(network, graph)
    except Exception as error:  # a network's code may raise anything while it is traced
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
    """Tracer that does not enter convolutions, nor the transform, which depends on sizes.

    While it traces, torch passes it the calls and parameters of all modules of the process. Those
    of another thread, such as a brain extraction's, go through as if there were no tracer.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Record the call of a module, unless another thread makes it."""
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Return what stands for an attribute, unless another thread reads it."""
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module stays one call."""
        if isinstance(m, nn.Conv2d | WaveletTransform):
            return True
        return super().is_leaf_module(m, module_qualified_name)


def _fuse_node(node: fx.Node, precision: torch.dtype) -> None:
    """Replace a convolution and the layer that follows it by one fused convolution."""
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
    """Replace a convolution and its normalisation by one convolution."""
    convolution, folded = _folded(node)
    if len(folded) > 1:
        _replace(folded, convolution, node.args)


def _folded(node: fx.Node) -> tuple[nn.Conv2d, list[fx.Node]]:
    """Return a convolution with its normalisation folded in, if it has one, and their nodes."""
    convolution = cast(nn.Conv2d, _module_of(node))
    follower = _only_user(node)
    normalization = _module_of(follower)
    if isinstance(normalization, nn.BatchNorm2d) and normalization.track_running_stats:
        return fuse_conv_bn_eval(convolution, normalization), [node, cast(fx.Node, follower)]
    return convolution, [node]


def _replace(nodes: list[fx.Node], module: nn.Module, inputs: tuple[Argument, ...]) -> None:
    """Replace consecutive nodes by one module."""
    name, graph = f"fused_{nodes[0].name}", nodes[0].graph
    cast(fx.GraphModule, graph.owning_module).add_submodule(name, module)
    with graph.inserting_before(nodes[-1]):
        nodes[-1].replace_all_uses_with(graph.call_module(name, inputs))
    for each in reversed(nodes):
        graph.erase_node(each)


def _is_plain_convolution(node: fx.Node) -> bool:
    """Return whether a node is a convolution without own forward, hook or parametrization."""
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
    """Return what a sum of two terms adds to a result."""
    if node.target not in SUMS or node.kwargs:
        return None
    others = [each for each in node.args if each is not result]
    return others[0] if len(others) == 1 and isinstance(others[0], fx.Node) else None


def _pad(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Pad with zeros; `F.pad` would write the new tensor twice."""
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
    """Return whether oneDNN's operations work, which torch has for its own compiler."""
    x = torch.zeros(1, 1, 1, 2, dtype=precision)
    try:
        convolution = nn.utils.skip_init(nn.Conv2d, 1, 1, 1)  # draws no random numbers
        FusedConvolution(convolution, precision, NO_ACTIVATION)(x, x)
    except (AttributeError, RuntimeError) as error:
        if is_out_of_memory(error):  # or nothing would be fused from now on
            raise
        LOGGER.info("convolutions are not fused: %s", error)
        return False
    return True
