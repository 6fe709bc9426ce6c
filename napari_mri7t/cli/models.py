"""`mri7t models`: the trained models in the package."""

from typing import Annotated

import typer


def models(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole model cards as JSON.")
    ] = False,
    folds: Annotated[
        bool, typer.Option("--folds", help="The models of single folds, to check figures with.")
    ] = False,
) -> None:
    """List the bundled models with their parameter counts."""
    import json

    from napari_mri7t.engine.cards import DEFAULT_MODEL, list_models

    cards = list_models(folds=folds)
    if as_json:
        typer.echo(json.dumps([card.as_dict() for card in cards], indent=2, ensure_ascii=False))
        return
    rows = [(card.name, f"{card.n_parameters:,}", card.title) for card in cards]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:2]]
    for name, count, title in rows:
        mark = " (default)" if name == DEFAULT_MODEL else ""
        typer.echo(f"{name:<{widths[0]}}  {count:>{widths[1]}} parameters  {title}{mark}")
