"""Runs the engine's long work away from Qt's thread: the only place where a thread starts.

A `Job` belongs to the application, not to the widget that started it: a training continues when its
widget is closed, and the next widget finds it with `find_job`, or its error with `take_failure`.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from napari.qt.threading import create_worker
from napari.utils import progress as ActivityBar
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QApplication
from superqt.utils import FunctionWorker

from napari_mri7t.engine.errors import Mri7tError, Mri7tWarning, StateError, in_words
from napari_mri7t.engine.progress import Cancelled, Progress, Report
from napari_mri7t.widgets.shared.stopping import Stop

LOGGER = logging.getLogger(__name__)
#: Least time between two updates of napari's activity dock, seconds: each one runs Qt's event loop.
ACTIVITY_INTERVAL_S = 0.2
#: How long the end of the interpreter waits for threads, milliseconds.
EXIT_MS = 10_000
FIELDS = {"end_slices": "Skip end slices"}  # as the window calls an argument of the engine
_failures: dict[type, str] = {}  # by the type of a job's state


@dataclass(frozen=True)
class Uneven(Progress):
    """Parts of unequal duration, which do not show the time left."""


@dataclass(frozen=True)
class _Run:
    """What the thread of a job does."""

    title: str
    work: Callable[[Report], Any]
    stop: Stop
    emit: Report
    is_breakable: bool

    def __str__(self) -> str:
        """Return what napari prints when it asks "close although this is running?"."""
        return self.title

    def __call__(self) -> Any:
        """Do the work; superqt takes every RuntimeError for a deleted widget, so none may leave."""
        try:
            self.stop.rest()
            try:
                return self.work(self._report)
            finally:
                self.stop.forbid_interrupt()
        except Cancelled:
            return None
        except RuntimeError as error:
            raise StateError(f"{self.title} failed: {error}") from error
        finally:
            self.stop.forget()

    def _report(self, progress: Progress) -> None:
        self.stop.forbid_interrupt()
        self.emit(progress)
        self.stop.rest()
        if self.is_breakable and progress.total > 0:  # before that libraries are being imported
            self.stop.allow_interrupt()


class _Worker(FunctionWorker):
    """superqt's own `quit` never reaches the function."""

    def quit(self) -> None:
        self._func.stop.request()


class Job(QObject):
    """One long piece of the engine's work, with its place in napari's activity dock.

    Signals, all in Qt's thread: `progressed` (a `Progress`), `noted` (whatever the work emits by
    it, also after a cancel), `warned` (a sentence), then exactly one of `succeeded` (what the work
    returned), `failed` (a sentence), `cancelled`, and last `ended`.
    """

    progressed = Signal(object)
    noted = Signal(object)
    warned = Signal(str)
    succeeded = Signal(object)
    failed = Signal(str)
    cancelled = Signal()
    ended = Signal()
    _reported = Signal(object)

    def __init__(
        self,
        title: str,
        work: Callable[[Report], Any],
        *,
        quiet: bool = False,
        breakable: bool = False,
        state: object = None,
    ) -> None:
        """Prepare a job.

        Parameters
        ----------
        title : str
            What napari calls it.
        work : callable
            Called once in the thread, with the report that it must call often: it waits while
            the job is paused, and raises `Cancelled` once the job is cancelled.
        quiet : bool
            Brief work that follows a slider, not shown in napari's activity dock.
        breakable : bool
            A cancel may interrupt the time after a report whose `total` is above 0; no library
            may be imported there, and no file left half-made.
        state : object
            What a widget that finds the job again needs to show it.
        """
        super().__init__(QApplication.instance())
        self.title = title
        self.quiet = quiet
        self.state = state
        self.last: Progress | None = None
        self.started_at = time.monotonic()
        self._stop = Stop()
        self._settled = False
        self._activity: ActivityBar | None = None
        self._activity_at = 0.0
        self._reported.connect(self._on_reported, Qt.ConnectionType.QueuedConnection)
        run = _Run(title, work, self._stop, self._reported.emit, breakable)
        make = _Worker if quiet else _noticed_worker
        self._worker = make(run)
        self._worker.returned.connect(self._on_returned)
        self._worker.errored.connect(self._on_errored)
        self._worker.warned.connect(self._on_warned)
        self._worker.finished.connect(self._on_finished)

    def start(self) -> None:
        """Start the thread."""
        _end_before_qt()
        self.started_at = time.monotonic()
        if not self.quiet:
            self._activity = ActivityBar(total=0, desc=self.title, file=_Nowhere())
        self._worker.start()

    def cancel(self) -> None:
        """Ask the work to end at its next report; returns at once."""
        if not self._settled:
            self._worker.quit()

    def pause(self) -> None:
        """Hold the work at its next report, or resume it."""
        if self.is_held:
            self._stop.let_go()
        else:
            self._stop.hold()

    @property
    def is_held(self) -> bool:
        """Whether the job is paused."""
        return self._stop.is_held

    @property
    def is_cancelling(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_requested

    def _on_reported(self, progress: Progress) -> None:
        self.last = progress
        self.progressed.emit(progress)
        self._show_activity(progress)

    def _show_activity(self, progress: Progress) -> None:
        """Update the bar rarely, and last in a handler: each update runs Qt's event loop."""
        now = time.monotonic()
        if self._activity is None or now - self._activity_at < ACTIVITY_INTERVAL_S:
            return
        self._activity_at = now
        total = 100 if progress.total else 0
        if self._activity.total != total:
            self._activity.total = total
        self._activity.update(percent(progress) - self._activity.n)

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
            return
        if self.state is not None:
            _failures[type(self.state)] = text
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


def _noticed_worker(run: _Run) -> _Worker:
    """Return a worker that napari knows of: it asks before it closes while one runs."""
    return create_worker(run, _worker_class=_Worker, _ignore_errors=True)


def percent(progress: Progress) -> int:
    """Return how much is done; 0 if the end is unknown."""
    return int(100 * progress.done / progress.total) if progress.total else 0


@cache
def _end_before_qt() -> None:
    """Have threads end before the interpreter does: one that outlives Qt aborts the process.

    Registered after Qt's own exit handler, and therefore called before it.
    """
    atexit.register(_end_jobs)


def _end_jobs() -> None:
    try:
        FunctionWorker.await_workers(EXIT_MS)
    except RuntimeError as error:
        LOGGER.warning("a thread did not end within %d s: %s", EXIT_MS // 1000, error)


class _Nowhere:
    """Where tqdm, on which napari's progress stands, prints its text bar."""

    def write(self, text: str) -> None:
        """Drop `text`."""

    def flush(self) -> None:
        """Do nothing."""


def running_jobs() -> list[Job]:
    """Return every job whose thread has not ended."""
    application = QApplication.instance()
    return [] if application is None else application.findChildren(Job)


def find_job(kind: type) -> Job | None:
    """Return the running job with a state of this kind, whoever started it."""
    return next((job for job in running_jobs() if isinstance(job.state, kind)), None)


def take_failure(kind: type) -> str:
    """Return, once, the error of the last job with a state of this kind; empty where none failed.

    A widget that shows it takes it; otherwise it waits for the next widget.
    """
    return _failures.pop(kind, "")


def sentence(error: BaseException) -> str:
    """Return one clear sentence for the user; log unexpected errors in full."""
    if isinstance(error, Mri7tError | ValueError | OSError) and str(error):
        field = FIELDS.get(getattr(error, "argument", ""))
        return f"{in_words(error)} ({field})" if field else in_words(error)
    if isinstance(error, MemoryError):
        return "Not enough memory: close other programs or choose a smaller volume."
    LOGGER.error("unexpected error", exc_info=error)
    return (
        f"Unexpected error: {type(error).__name__}: {error}. "
        "Please report it; the details are in the terminal."
    )
