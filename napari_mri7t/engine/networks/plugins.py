"""Networks of other packages, found by their entry points and imported when needed."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from napari_mri7t.engine.errors import ModelError

GROUP = "napari_mri7t.networks"


def registered_networks() -> list[EntryPoint]:
    """Return the entry points of networks, sorted by name; nothing is imported."""
    return sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, origin(entry)))


def origin(entry: EntryPoint) -> str:
    """Return the package and version that registered a network."""
    return "unknown" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def load_network(entry: EntryPoint) -> Callable[..., Any]:
    """Import the class of a registered network.

    Raises
    ------
    ModelError
        If the import fails, for whatever reason, or the object is not callable.
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
            f"network {entry.name!r} of {origin(entry)}: {entry.value} is not a class: update or "
            "remove that package"
        )
    return network
