"""`mri7t models`: the bundled models, and the networks of installed plugins."""

from typing import Annotated

import typer

from napari_mri7t.cli.console import say, warn


def models(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the full model cards as JSON.")
    ] = False,
    folds: Annotated[
        bool, typer.Option("--folds", help="List the models of single folds, to verify scores.")
    ] = False,
) -> None:
    """List the bundled models and the networks of plugins."""
    from napari_mri7t.engine.models.card import DEFAULT_MARKS
    from napari_mri7t.engine.models.card import models as bundled_models
    from napari_mri7t.engine.networks.plugins import registered_networks
    from napari_mri7t.engine.texts import to_json

    cards = bundled_models(folds=folds)
    if as_json:
        say(*to_json([card.as_dict() for card in cards]).split("\n"))
        return
    rows = [(card.name, f"{card.n_parameters:,}", card.title) for card in cards]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:2]]
    for name, count, title in rows:
        mark = DEFAULT_MARKS.get(name, "")
        say(f"{name:<{widths[0]}}  {count:>{widths[1]}} parameters  {title}{mark}")
    if not folds and registered_networks():
        _list_networks()


def _list_networks() -> None:
    """Print the networks of other packages; this imports them, and torch."""
    from napari_mri7t.engine.networks import NETWORKS, available_networks
    from napari_mri7t.engine.networks.plugins import origin, registered_networks

    found, complaints = available_networks()
    for entry in registered_networks():
        if entry.name in found.keys() - NETWORKS.keys():
            say(f"{entry.name}  network of {origin(entry)}, for `mri7t train --network`")
    warn(complaints)
