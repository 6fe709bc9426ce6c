"""Quick background work that follows a slider: only the latest request counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_mri7t.engine.progress import Progress, Report
from napari_mri7t.widgets.shared.worker import Job


class Latest(QObject):
    """Runs one request at a time; of those waiting, only the latest is run.

    Signals: `answered` (what the function returned), `failed` (a sentence), `progressed` (a
    `Progress`, of a request that is followed).
    """

    answered = Signal(object)
    progressed = Signal(object)
    failed = Signal(str)

    def __init__(self, title: str, parent: QObject) -> None:
        super().__init__(parent)  # an answer must not find its widget deleted
        self._title = title
        self._job: Job | None = None
        self._next: Callable[[Report], Any] | None = None

    def ask(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function(*arguments)`, now or after the current request."""
        self._request(lambda report: function(*arguments))

    def follow(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function(*arguments, report)`, once the current request has been cancelled."""
        if self._job is not None:
            self._job.cancel()
        self._request(lambda report: function(*arguments, report))

    def _request(self, work: Callable[[Report], Any]) -> None:
        if self._job is not None:
            self._next = work
            return
        self._job = Job(self._title, work, quiet=True)
        self._job.progressed.connect(self._on_progressed)
        self._job.succeeded.connect(self._on_succeeded)
        self._job.failed.connect(self._on_failed)
        self._job.ended.connect(self._on_ended)
        self._job.start()

    def drop(self) -> None:
        """Stop answering."""
        self._next = None
        if self._job is not None:
            self._job.cancel()

    def _on_progressed(self, progress: Progress) -> None:
        if self._next is None and self._job is not None and not self._job.is_cancelling:
            self.progressed.emit(progress)

    def _on_succeeded(self, result: Any) -> None:
        if self._next is None:
            self.answered.emit(result)

    def _on_failed(self, text: str) -> None:
        if self._next is None:
            self.failed.emit(text)

    def _on_ended(self) -> None:
        self._job = None
        if self._next is not None:
            work, self._next = self._next, None
            self._request(work)
