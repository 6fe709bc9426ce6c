"""The command line `mri7t ...`: parses, calls the engine, prints.

One module per command or group of commands; each imports the engine inside its functions, so that
`mri7t --help` responds at once. A new command is such a module and one line below.
"""

from typing import Annotated

import typer

from napari_mri7t import __version__
from napari_mri7t.cli import (
    batch,
    compare,
    demo,
    doctor,
    evaluate,
    models,
    repeat,
    robustness,
    simulate,
    synthesize,
    train,
)
from napari_mri7t.cli.console import own_options, sentences_for_errors

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
    demo.demo, train.train, train.export, evaluate.evaluate, evaluate.report, evaluate.reproduce,
    robustness.robustness, repeat.repeat, doctor.doctor,
):  # fmt: skip
    app.command()(own_options(command)(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mri7t {__version__}")
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


def main() -> None:
    """Run the command line; bad input ends with one sentence on stderr and exit code 1."""
    with sentences_for_errors():
        app()
