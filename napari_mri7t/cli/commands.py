"""All commands of `mri7t`; a new one is a module and one line below."""

from typing import Annotated

import typer

from napari_mri7t import __version__
from napari_mri7t.cli import (
    batch,
    bids_app,
    compare,
    demo,
    doctor,
    evaluate,
    models,
    pair,
    repeat,
    robustness,
    simulate,
    synthesize,
    train,
)
from napari_mri7t.cli.console import own_options, say

app = typer.Typer(
    name="mri7t",
    help="Synthesise 7T-like T1w brain images from 3T scans: for research, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to import than everything else
)
for command in (
    synthesize.synthesize, batch.batch, simulate.simulate, compare.compare, models.models,
    demo.demo, pair.pair, train.train, train.export, evaluate.evaluate, evaluate.report,
    evaluate.reproduce, robustness.robustness, repeat.repeat, doctor.doctor,
):  # fmt: skip
    app.command()(own_options(command)(command))
app.command(cls=bids_app.BidsAppCommand)(own_options(bids_app.bids_app)(bids_app.bids_app))


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"mri7t {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass
