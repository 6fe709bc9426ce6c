"""Shared by all commands: one sentence for an error, a progress bar, checks before the work."""

import contextlib
import dataclasses
import io
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Protocol, TextIO, TypeVar

import typer

from napari_mri7t.cli.stops import STDERR, exit_at_once, handled_by
from napari_mri7t.engine.errors import Mri7tError, Mri7tWarning, in_words, reason_of
from napari_mri7t.engine.progress import Progress, Report
from napari_mri7t.engine.texts import visible

LOG_SECONDS = 30.0
GRACE_SECONDS = 1.5  # from the second Ctrl-C to an end without clearing up
EXIT_BAD_INPUT = 1  # usage errors are 2, as everywhere
STOPPING = "Stopping at the next step; press Ctrl-C again to stop at once."


class Dataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


Config = TypeVar("Config", bound=Dataclass)


@contextlib.contextmanager
def sentences_for_errors() -> Iterator[None]:
    """Turn the errors that a user can cause into one sentence on stderr and exit code 1.

    The option that sets an error's `argument` is appended. Any other error is a bug and
    keeps its traceback.
    """
    _allow_every_character()
    with warnings.catch_warnings(), _log_as_sentences():
        warnings.showwarning = _show_warning
        try:
            yield
        except (Mri7tError, ValueError) as error:
            _fail(f"{error}{option_of(getattr(error, 'argument', ''))}")
        except OSError as error:
            _fail(in_words(error))
        except MemoryError:
            _fail("not enough memory: close other programs or use a smaller volume")


def option_of(argument: str) -> str:
    """Return " (--option)", the option that sets an engine's argument; "" if there is none."""
    return f" (--{argument.replace('_', '-')})" if argument else ""


def has_option(command: Callable[..., object], argument: str) -> bool:
    """Return whether a command has the option that sets an engine's argument."""
    from typer.main import get_command

    alone = typer.Typer(add_completion=False)
    alone.command()(command)
    names = {name for parameter in get_command(alone).params for name in parameter.opts}
    return f"--{argument.replace('_', '-')}" in names


@contextlib.contextmanager
def own_options(command: Callable[..., object]) -> Iterator[None]:
    """Clear the `argument` of an error for which the running command has no option."""
    try:
        yield
    except Mri7tError as error:
        if error.argument and not has_option(command, error.argument):
            error.argument = ""
        raise


def say(*lines: object, err: bool = False) -> None:
    """Print lines: all that any command prints, since what they name may hold terminal escapes.

    What a full disk keeps from a redirected output goes into the error: it tells what was written.
    """
    text = "\n".join(map(visible, lines))
    try:
        typer.echo(text, err=err)
    except OSError as error:
        if err or isinstance(error, BrokenPipeError):  # nobody reads on, as behind `head`
            raise
        why = f"cannot be written to ({reason_of(error)}); it lacks: {text}"
        raise Mri7tError(f"standard output: {why}") from error


def _allow_every_character() -> None:
    """Escape what the encoding of the screen or the file lacks, in place of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(sentence: str) -> None:
    say(" ".join(sentence.split()), err=True)
    raise SystemExit(EXIT_BAD_INPUT)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print the warnings of this package as sentences; drop those of libraries."""
    if issubclass(category, Mri7tWarning):
        warn([str(message)])


def warn(sentences: Iterable[str]) -> None:
    """Print each sentence once, on stderr."""
    for sentence in dict.fromkeys(sentences):
        say(f"warning: {sentence}", err=True)


@contextlib.contextmanager
def _log_as_sentences() -> Iterator[None]:
    """Print what the engine logs as it prints warnings."""
    logger, handler = logging.getLogger("napari_mri7t"), _Sentences(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Sentences(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        warn([record.getMessage()])


def given(config: Config, **options: object) -> Config:
    """Return a frozen config with the options that were given; the others keep its defaults."""
    wanted = {name: value for name, value in options.items() if value is not None}
    return dataclasses.replace(config, **wanted)


def refuse_targets(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Raise before the work, not after it, if its results cannot be written."""
    from napari_mri7t.engine.atomic import check_folder, check_target
    from napari_mri7t.engine.volumes.files.sidecars import check_sidecar_target
    from napari_mri7t.engine.volumes.files.streams import extension_of
    from napari_mri7t.engine.volumes.files.writing import OUTPUT_EXTENSIONS

    seen: set[Path] = set()
    for path in paths:
        if extension_of(path) not in OUTPUT_EXTENSIONS:
            raise Mri7tError(f"{path}: unknown extension for saving: use .nii.gz or .nii")
        check_target(path, overwrite=overwrite)
        for target in (path, check_sidecar_target(path)):
            resolved = check_target(target, overwrite=overwrite)
            if resolved in seen:
                raise Mri7tError(f"{path}: used for two outputs: choose another name for one")
            seen.add(resolved)
        check_folder(resolved.parent)


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Report]:
    """Show the progress of long work, and let Ctrl-C stop it at its next report.

    A bar if stderr is a terminal; elsewhere (a log file, a cluster) a line every `LOG_SECONDS`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),  # a file may be called [/red].nii
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    logged = time.monotonic()
    with (
        _interrupts() as is_interrupted,
        Bar(*columns, console=console, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task(visible(title), total=None)

        def report(now: Progress) -> None:
            nonlocal logged
            if is_interrupted():
                raise KeyboardInterrupt
            text = visible(f"{title}: {now.message}")
            if now.total:  # otherwise the end is unknown, and the bar stays where it is
                bar.update(task, completed=now.done, total=now.total)
            bar.update(task, description=text)
            if not console.is_terminal and time.monotonic() - logged > LOG_SECONDS:
                say(f"{text}{_amount(now)}", err=True)
                logged = time.monotonic()

        yield report
        if is_interrupted():  # after the last report
            raise KeyboardInterrupt


def _amount(now: Progress) -> str:
    """Return how far a line of a log is: of several things, which; of one, the per cent."""
    if not now.total:
        return ""
    if now.total == 1:
        return f", {100 * now.done:.0f} %"
    return f", {now.done:.0f} of {now.total:.0f}"


@contextlib.contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Record the first Ctrl-C, so that the work can clean up; the second one raises at once.

    What then still waits for a thread is ended by the third, or after `GRACE_SECONDS`.
    """
    pressed = threading.Event()
    end = threading.Timer(GRACE_SECONDS, exit_at_once)
    end.daemon = True

    def note(number: int, frame: FrameType | None) -> None:
        if end.is_alive():
            exit_at_once()
        if pressed.is_set():
            end.start()
            raise KeyboardInterrupt
        pressed.set()
        with contextlib.suppress(OSError):  # past the buffer, which may just be written to
            os.write(STDERR, f"\n{STOPPING}\n".encode())

    with handled_by(note):
        try:
            yield pressed.is_set
        finally:
            end.cancel()
