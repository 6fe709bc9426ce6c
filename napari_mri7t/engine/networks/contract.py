"""Checks of what training and synthesis require of every network."""

from collections.abc import Callable

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.networks import build_network, slices_of, takes_noise_map

SIZES = ((8, 8), (24, 32), (27, 37), (9, 64))  # height and width, odd ones too
ORDER_TOLERANCE = 1e-4  # the batch size may change the order of sums, of 18,496 in basic_cnn
Build = Callable[[], nn.Module]


def check_network(name: str, **config: object) -> None:
    """Check that a network meets the requirements of training and synthesis.

    Parameters
    ----------
    name : str
        As `build_network` takes it.
    **config
        Arguments of the network's constructor.

    Raises
    ------
    ModelError
        If a check fails; the message says which.
    """
    for check in CHECKS:
        check(lambda: build_network(name, **config))


def check_slices(build: Build) -> None:
    """Check that `n_slices` and `n_outputs` are odd, so that the outputs lie in the middle."""
    n_slices, n_outputs = slices_of(build())
    if n_slices % 2 == 0 or n_outputs % 2 == 0 or not 0 < n_outputs <= n_slices:
        raise ModelError(
            f"n_slices {n_slices} and n_outputs {n_outputs} must be odd, n_outputs at most n_slices"
        )


def check_sizes(build: Build) -> None:
    """Check that an estimate is finite and has the size of its source, whatever that is."""
    network = build().eval()
    _, n_outputs = slices_of(network)
    for height, width in SIZES:
        estimate = _estimate(network, _slab(network, height, width))
        if estimate.shape != (2, n_outputs, height, width):
            raise ModelError(
                f"slices of {height} x {width} give an output of shape {tuple(estimate.shape)}, "
                f"expected {(2, n_outputs, height, width)}"
            )
        if not torch.isfinite(estimate).all():
            raise ModelError(f"slices of {height} x {width} give values that are not finite")


def check_gradients(build: Build) -> None:
    """Check that a gradient reaches every parameter."""
    network = build()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():  # no layer stays at an initial zero
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    network(_slab(network)).square().mean().backward()
    without = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    if without:
        raise ModelError(f"no gradient reaches {', '.join(without)}")


def check_repeatable(build: Build) -> None:
    """Check that the same input gives the same bits."""
    network = build().eval()
    if not torch.equal(_estimate(network, _slab(network)), _estimate(network, _slab(network))):
        raise ModelError("the same input gives two different estimates in eval mode")


def check_weights(build: Build) -> None:
    """Check that an estimate depends on nothing but the weights."""
    network, twin = build().eval(), build().eval()
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    twin.load_state_dict(load(save(weights)))
    if not torch.equal(_estimate(network, _slab(network)), _estimate(twin, _slab(network))):
        raise ModelError("a second network with the same weights gives a different estimate")


def check_independence(build: Build) -> None:
    """Check that every slab of a batch is estimated independently."""
    network = build().eval()
    x = _slab(network)
    apart = (_estimate(network, x)[:1] - _estimate(network, x[:1])).abs().max()
    if apart > ORDER_TOLERANCE:
        raise ModelError(f"an estimate depends on the other slabs of its batch, by {apart:.2g}")


CHECKS: tuple[Callable[[Build], None], ...] = (
    check_slices, check_sizes, check_gradients, check_repeatable, check_weights,
    check_independence,
)  # fmt: skip


def _slab(network: nn.Module, height: int = 24, width: int = 32) -> Tensor:
    n_channels = slices_of(network)[0] + takes_noise_map(network)
    return torch.rand((2, n_channels, height, width), generator=torch.Generator().manual_seed(1))


def _estimate(network: nn.Module, slabs: Tensor) -> Tensor:
    with torch.inference_mode():
        estimate: Tensor = network(slabs)
    return estimate
