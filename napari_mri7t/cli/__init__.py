"""The command line `mri7t ...`: parses, calls the engine, prints.

One module per command or group of commands; each imports the engine inside its functions, so that
`mri7t --help` responds at once. A new command is such a module and one line in `commands`.
"""

from typing import NoReturn

from napari_mri7t.cli.stops import exit_at_once, exit_code, handled_by, raise_interrupt

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line; bad input ends with one sentence on stderr and exit code 1.

    Ctrl-C, SIGTERM and SIGHUP end it with 128 and the number of the signal.
    """
    with handled_by(exit_at_once):
        from napari_mri7t.cli.commands import app
        from napari_mri7t.cli.console import sentences_for_errors

    with handled_by(raise_interrupt):
        try:
            with sentences_for_errors():
                app()
        except KeyboardInterrupt:
            _end()
        except SystemExit as end:
            if end.code == EXIT_INTERRUPTED:  # typer's, for any KeyboardInterrupt
                _end()
            raise


def _end() -> NoReturn:
    """End as a signal asked; the interpreter would wait for work that cannot be stopped."""
    from napari_mri7t.cli.console import say
    from napari_mri7t.engine.preparation.optional import unfinished_work

    if unfinished_work():
        exit_at_once()
    say("stopped", err=True)
    raise SystemExit(exit_code()) from None
