"""Runs any generator of the engine away from Qt's thread: the only place where a thread starts.

A `Job` belongs to the application, not to the widget that started it: a training goes on when its
widget is closed and is found again with `running_jobs`.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable, Generator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from napari.qt.threading import create_worker
from napari.utils import progress
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication
from superqt.utils import GeneratorWorker
from superqt.utils import create_worker as create_quiet_worker

from napari_mri7t.engine.errors import Mri7tError, Mri7tWarning, StateError
from napari_mri7t.widgets.shared.stopping import Cancelled, Stop

LOGGER = logging.getLogger(__name__)
#: Least time between two updates of napari's activity dock, seconds: each one runs Qt's event loop.
ACTIVITY_INTERVAL_S = 0.2
#: How long the end of the interpreter waits for threads, milliseconds.
EXIT_MS = 10_000


@dataclass(frozen=True)
class Step:
    """What a record of the engine means to a bar: `total` 0 says that the end is not known.

    Parts that are not even take each its own time: no time left is told by them.
    """

    done: int
    total: int
    message: str
    is_even: bool = True


def as_step(record: Any) -> Step:
    """Read any record of the engine: slices, training steps, or the plain name of a stage."""
    if isinstance(record, str):
        return Step(0, 0, _capital(record))
    if isinstance(record, Step):
        return replace(record, message=_capital(record.message))
    if getattr(record, "training", None) is not None:  # a fold: its figures are shown elsewhere
        return Step(record.done, record.total, _capital(record.label))
    return Step(record.done, record.total, _capital(record.message))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Titled(partial):  # type: ignore[type-arg]
    """napari prints the function itself when it asks "close although this is running?"."""

    def __str__(self) -> str:
        return str(self.keywords["title"])


def _drive(
    make: Callable[[], Generator[Any, None, Any]], stop: Stop, *, title: str, breakable: bool
) -> Generator[Any, None, Any]:
    """Run the engine's generator to its end, or until `stop`, and close it in this thread.

    superqt takes every RuntimeError for a deleted widget and reports nothing, so none may leave.
    """
    steps, is_counting = None, False
    try:
        steps = make()
        while True:
            stop.rest()
            if stop.is_requested:
                return None
            try:
                with stop.interruptible() if breakable and is_counting else nullcontext():
                    record = next(steps)
            except StopIteration as end:
                return end.value
            is_counting = as_step(record).total > 0  # before that libraries are being imported
            yield record
    except Cancelled:
        return None
    except RuntimeError as error:
        raise StateError(f"{title} failed: {error}") from error
    finally:
        stop.forget()
        if steps is not None:
            steps.close()


class _StoppingWorker(GeneratorWorker):
    """superqt's own `quit` leaves the generator suspended; this one lets it reach its `finally`."""

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(func, *args, **kwargs)
        self.stop: Stop = args[1]

    def quit(self) -> None:
        self.stop.request()


class Job(QObject):
    """One long piece of the engine's work, with its place in napari's activity dock.

    Signals: `progressed` (the engine's record), `warned` (a sentence), then exactly one of
    `succeeded` (the generator's result), `failed` (a sentence), `cancelled`, and last `ended`.
    """

    progressed = Signal(object)
    warned = Signal(str)
    succeeded = Signal(object)
    failed = Signal(str)
    cancelled = Signal()
    ended = Signal()

    def __init__(
        self,
        title: str,
        make: Callable[[], Generator[Any, None, Any]],
        *,
        quiet: bool = False,
        breakable: bool = False,
        state: object = None,
    ) -> None:
        """Prepare a job.

        `quiet`: a second's work that follows the slider, of which napari need not speak.
        `breakable`: a cancel may break a long step off; no library is imported in a counted step.
        `state`: what a widget that finds the job again needs to show it.
        """
        super().__init__(QApplication.instance())
        self.title = title
        self.quiet = quiet
        self.state = state
        self.last: Any = None
        self.started_at = time.monotonic()
        self._stop = Stop()
        self._settled = False
        self._activity: progress | None = None
        self._activity_at = 0.0
        create = create_quiet_worker if quiet else create_worker
        self._worker = create(
            _Titled(_drive, title=title, breakable=breakable),
            make,
            self._stop,
            _worker_class=_StoppingWorker,
            _ignore_errors=True,
        )
        self._worker.yielded.connect(self._on_yielded)
        self._worker.returned.connect(self._on_returned)
        self._worker.errored.connect(self._on_errored)
        self._worker.warned.connect(self._on_warned)
        self._worker.finished.connect(self._on_finished)

    def start(self) -> None:
        """Start the thread."""
        _end_before_qt()
        self.started_at = time.monotonic()
        if not self.quiet:
            self._activity = progress(total=0, desc=self.title, file=_Nowhere())
        self._worker.start()

    def cancel(self) -> None:
        """Ask the generator to end at its next record; returns at once."""
        if not self._settled:
            self._worker.quit()

    def pause(self) -> None:
        """Hold the generator at its next record, or let it go on."""
        if self.is_held:
            self._stop.let_go()
        else:
            self._stop.hold()

    @property
    def is_held(self) -> bool:
        """Whether the job rests."""
        return self._stop.is_held

    @property
    def is_cancelling(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_requested

    def _on_yielded(self, record: Any) -> None:
        self.last = record
        self.progressed.emit(record)
        self._show_activity(as_step(record))

    def _show_activity(self, step: Step) -> None:
        """Update the bar seldom, and last in a handler: each update runs Qt's event loop."""
        now = time.monotonic()
        if self._activity is None or now - self._activity_at < ACTIVITY_INTERVAL_S:
            return
        self._activity_at = now
        if self._activity.total != step.total:
            self._activity.total = step.total
        self._activity.update(step.done - self._activity.n)

    def _on_returned(self, result: Any) -> None:
        if self._settled:
            return
        self._settled = True
        if self._stop.is_requested:
            self.cancelled.emit()
        else:
            self.succeeded.emit(result)

    def _on_errored(self, error: Exception) -> None:
        self._settled = True
        text = sentence(error)
        if self._stop.is_requested:
            LOGGER.info("after the cancel: %s", text)
            self.cancelled.emit()
        else:
            self.failed.emit(text)

    def _on_warned(self, details: tuple[Any, ...]) -> None:
        message, category = details[0], details[1]
        if issubclass(category, Mri7tWarning):
            self.warned.emit(str(message))
        else:
            LOGGER.warning("%s: %s", category.__name__, message)

    def _on_finished(self) -> None:
        if self._activity is not None:
            self._activity.close()
            self._activity = None
        self.ended.emit()
        self.setParent(None)
        self.deleteLater()


@cache
def _end_before_qt() -> None:
    """Have threads end before the interpreter does: one that outlives Qt aborts the process.

    Registered after Qt's own farewell, and therefore called before it.
    """
    atexit.register(_end_jobs)


def _end_jobs() -> None:
    try:
        GeneratorWorker.await_workers(EXIT_MS)
    except RuntimeError as error:
        LOGGER.warning("a thread did not end within %d s: %s", EXIT_MS // 1000, error)


class _Nowhere:
    """Where tqdm, on which napari's progress stands, prints its text bar."""

    def write(self, text: str) -> None:
        """Drop `text`."""

    def flush(self) -> None:
        """Nothing is kept."""


def running_jobs() -> list[Job]:
    """Every job whose thread has not ended."""
    application = QApplication.instance()
    return [] if application is None else application.findChildren(Job)


def sentence(error: BaseException) -> str:
    """Give one clear sentence for the user; log in full what the engine did not foresee."""
    if isinstance(error, Mri7tError | ValueError | OSError) and str(error):
        return str(error)
    if isinstance(error, MemoryError):
        return "Not enough memory for this: close other programs or choose a smaller volume."
    LOGGER.error("unforeseen error", exc_info=error)
    return (
        f"Something that should not happen: {type(error).__name__}: {error}. "
        "Please report it; the details are in the terminal."
    )
