"""`mri7t models`: the trained models in the package."""

from typing import Annotated

import typer


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the bundled models with their parameter counts."""
    import json

    from napari_mri7t.engine.cards import list_models

    cards = list_models()
    if as_json:
        typer.echo(json.dumps([card.as_dict() for card in cards], indent=2))
        return
    for card in cards:
        typer.echo(card)
