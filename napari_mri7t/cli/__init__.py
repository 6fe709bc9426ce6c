"""The command line `mri7t ...`: parses, calls the engine, prints.

One module per command; each imports the engine inside its function, so that `mri7t --help` answers
at once. A new command is a module beside these and one line in `_COMMANDS` below.
"""

from typing import Annotated

import typer

from napari_mri7t import __version__

app = typer.Typer(
    name="mri7t",
    help="7T-like T1w brain volumes from 3T scans: for research, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
    """Run the command line."""
    app()
