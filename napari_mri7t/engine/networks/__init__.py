"""The networks by name; each maps adjacent source slices to estimates of the central ones."""

from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

from torch import nn

from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.networks.basic_cnn import BasicCNN
from napari_mri7t.engine.networks.limits import limited
from napari_mri7t.engine.networks.plugins import load_network, origin, registered_networks
from napari_mri7t.engine.networks.unet import SliceUNet
from napari_mri7t.engine.networks.watnet import WATNet, WATNetQu2020
from napari_mri7t.engine.texts import MESSAGE_LENGTH, brief


class SliceNetwork(Protocol):
    """A network from (N, n_slices, H, W) in [0, 1] to (N, n_outputs, H, W).

    The `n_outputs` slices are the central ones of the `n_slices`. A network whose attribute
    `noise_map` is true takes one more channel: the standard deviation of the noise.
    """

    n_slices: int
    n_outputs: int


@runtime_checkable
class IdentityStart(Protocol):
    """A network whose first estimate can be the source itself."""

    def start_as_identity(self) -> None:
        """Set such initial weights."""


# Raised by a network's constructor for odd arguments; RuntimeError by torch, for odd sizes.
ODD_CONFIG = (
    ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError,
)  # fmt: skip
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "basic_cnn": BasicCNN,
    "watnet": WATNet,
    "watnet_qu2020": WATNetQu2020,
    "slice_unet": SliceUNet,
}


def available_networks() -> tuple[dict[str, Callable[..., nn.Module]], list[str]]:
    """Return all networks, including those of other packages.

    Returns
    -------
    found : dict
        Name to constructor, those of this package first.
    complaints : list of str
        One sentence for each registered network that cannot be used.
    """
    found, complaints = dict(NETWORKS), []
    for entry in registered_networks():
        if entry.name in found:
            complaints.append(
                f"network {entry.name!r} of {origin(entry)} is not available: another one has the "
                "same name; ask its authors to rename it"
            )
            continue
        try:
            found[entry.name] = load_network(entry)
        except ModelError as error:
            complaints.append(str(error))
    return found, complaints


def build_network(name: str, **config: Any) -> nn.Module:
    """Return a network with random weights.

    Parameters
    ----------
    name : str
        One of `NETWORKS`, or one that another package registered.
    **config
        Arguments of the network's constructor, as in a model card.

    Raises
    ------
    ValueError
        If the name is unknown, the network does not take the arguments, or it would have more
        weights than `limits.MOST_WEIGHTS`.
    ModelError
        If it comes from another package and cannot be loaded or built.
    """
    if name in NETWORKS:
        return _build(name, NETWORKS[name], config, ODD_CONFIG)
    registered = registered_networks()
    entry = next((entry for entry in registered if entry.name == name), None)
    if entry is None:
        names = ", ".join([*NETWORKS, *(entry.name for entry in registered)])
        raise ValueError(
            f"network {brief(name)} is unknown; choose one of {names}, or install the package that "
            "provides it"
        )
    try:
        network = _build(name, load_network(entry), config)
        slices_of(network)
    except (ValueError, ModelError):
        raise
    except Exception as error:
        raise ModelError(
            f"network {name!r} of {origin(entry)} cannot be built ({type(error).__name__}: "
            f"{error}): update or remove that package"
        ) from error
    return network


def _build(
    name: str,
    network: Callable[..., nn.Module],
    config: dict[str, Any],
    odd: tuple[type[Exception], ...] = (TypeError,),
) -> nn.Module:
    try:
        with limited():
            return network(**config)
    except odd as error:
        reason = " ".join(str(error).split())[:MESSAGE_LENGTH]
        raise ValueError(f"network {name!r} does not take {brief(config)}: {reason}") from error


def count_parameters(network: nn.Module) -> int:
    """Return the number of weights as Keras counts them.

    Running statistics are included, fixed filters and counters are not.
    """
    n_weights = sum(parameter.numel() for parameter in network.parameters())
    statistics = ("running_mean", "running_var")
    return n_weights + sum(
        buffer.numel() for name, buffer in network.named_buffers() if name.endswith(statistics)
    )


def takes_noise_map(network: nn.Module) -> bool:
    """Return whether a network takes the noise's deviation as one more channel, the last."""
    return bool(getattr(network, "noise_map", False))


def slices_of(network: nn.Module) -> tuple[int, int]:
    """Return how many slices a network sees and how many it estimates."""
    contract = cast(SliceNetwork, network)
    return contract.n_slices, contract.n_outputs
