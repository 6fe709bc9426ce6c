"""Networks that other packages bring, found by their entry points and loaded when asked for."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from napari_mri7t.engine.errors import ModelError

GROUP = "napari_mri7t.networks"


def registered_networks() -> list[EntryPoint]:
    """List what other packages registered, in the order of the names; nothing is imported.

    Returns
    -------
    list of EntryPoint
        Name, and where the network's class is.
    """
    return sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, origin(entry)))


def origin(entry: EntryPoint) -> str:
    """Name the package and version that registered a network."""
    return "unknown" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def load_network(entry: EntryPoint) -> Callable[..., Any]:
    """Import the class of a registered network.

    Parameters
    ----------
    entry : EntryPoint

    Returns
    -------
    callable
        Builds the network.

    Raises
    ------
    ModelError
        If the import fails, whatever its reason, or finds nothing that can be called.
    """
    try:
        network: Callable[..., Any] = entry.load()
    except Exception as error:
        raise ModelError(
            f"network {entry.name!r} of {origin(entry)} cannot be loaded "
            f"({type(error).__name__}: {error}): update or remove that package"
        ) from error
    if not callable(network):
        raise ModelError(
            f"network {entry.name!r} of {origin(entry)}: {entry.value} is no class: update or "
            "remove that package"
        )
    return network
