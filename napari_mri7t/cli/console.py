"""What every command shares: one sentence for an error, a progress bar, checks before the work."""

import contextlib
import dataclasses
import sys
import time
import warnings
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol, TextIO, TypeVar

import typer

from napari_mri7t.engine.errors import Mri7tError, Mri7tWarning

LOG_SECONDS = 30.0
EXIT_BAD_INPUT = 1  # usage errors are 2, as everywhere
Result = TypeVar("Result")
Config = TypeVar("Config", bound="Settings")


class Settings(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Step(Protocol):
    """What a step of long work tells; the engine's progress records all do."""

    @property
    def done(self) -> int: ...  # noqa: D102
    @property
    def total(self) -> int: ...  # noqa: D102
    @property
    def message(self) -> str: ...  # noqa: D102


@contextlib.contextmanager
def sentences_for_errors() -> Iterator[None]:
    """Turn the errors that a user can cause into one sentence on stderr and exit code 1.

    Anything else is a fault of ours and keeps its traceback.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        except (Mri7tError, ValueError) as error:
            _fail(str(error))
        except OSError as error:
            _fail(_explain(error))
        except MemoryError:
            _fail("not enough memory: close other programs or take a smaller volume")


def _explain(error: OSError) -> str:
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"


def _fail(sentence: str) -> None:
    print(f"{' '.join(sentence.split())}", file=sys.stderr)  # noqa: T201
    raise SystemExit(EXIT_BAD_INPUT)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print our own warnings as sentences; those of libraries are no business of the user's."""
    if issubclass(category, Mri7tWarning):
        warn([str(message)])


def warn(sentences: Iterable[str]) -> None:
    """Print each sentence once, on stderr."""
    for sentence in dict.fromkeys(sentences):
        typer.echo(f"warning: {sentence}", err=True)


def given(config: Config, **options: object) -> Config:
    """Put the options that were given into a frozen config; the others keep its defaults."""
    wanted = {name: value for name, value in options.items() if value is not None}
    return dataclasses.replace(config, **wanted)


def refuse_targets(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Find out before the work, not after it, that its result cannot be written."""
    from napari_mri7t.engine.atomic import check_target
    from napari_mri7t.engine.volumes.files.streams import extension_of, sidecar_of
    from napari_mri7t.engine.volumes.files.writing import OUTPUT_EXTENSIONS

    seen: set[Path] = set()
    for path in paths:
        if extension_of(path) not in OUTPUT_EXTENSIONS:
            raise Mri7tError(f"{path}: unknown extension for saving: use .nii.gz or .nii")
        for target in (path, sidecar_of(path)):
            resolved = check_target(target, overwrite=overwrite)
            if resolved in seen:
                raise Mri7tError(f"{path}: named twice: give every output its own name")
            seen.add(resolved)


def drive(steps: Generator[Step, None, Result], title: str) -> Result:
    """Run long work to its end, under a progress bar if stderr is a terminal.

    Elsewhere (a log file, a cluster) a line is printed every `LOG_SECONDS`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),  # a file may be called [/red].nii
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    # closing: a Ctrl-C must end the generator here and now, so that it can clean up
    with (
        contextlib.closing(steps),
        Progress(*columns, console=console, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task(title, total=None)
        logged = time.monotonic()
        while True:
            try:
                record = next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result
            text = f"{title}: {record.message}"
            bar.update(task, completed=record.done, total=record.total, description=text)
            if not console.is_terminal and time.monotonic() - logged > LOG_SECONDS:
                typer.echo(f"{text}, {record.done} of {record.total}", err=True)
                logged = time.monotonic()
