"""Quick background work that follows a slider: only the latest request counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_mri7t.widgets.shared.worker import Job


class Latest(QObject):
    """Runs one request at a time; of those waiting, only the latest is run.

    Signals: `answered` (what the function returned), `failed` (a sentence).
    """

    answered = Signal(object)
    failed = Signal(str)

    def __init__(self, title: str, parent: QObject) -> None:
        super().__init__(parent)  # an answer must not find its widget deleted
        self._title = title
        self._job: Job | None = None
        self._next: tuple[Callable[..., Any], tuple[Any, ...]] | None = None

    def ask(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function(*arguments)`, now or after the current request."""
        if self._job is not None:
            self._next = (function, arguments)
            return
        self._job = Job(self._title, lambda report: function(*arguments), quiet=True)
        self._job.succeeded.connect(self._on_succeeded)
        self._job.failed.connect(self._on_failed)
        self._job.ended.connect(self._on_ended)
        self._job.start()

    def drop(self) -> None:
        """Stop answering."""
        self._next = None
        if self._job is not None:
            self._job.cancel()

    def _on_succeeded(self, result: Any) -> None:
        if self._next is None:
            self.answered.emit(result)

    def _on_failed(self, text: str) -> None:
        if self._next is None:
            self.failed.emit(text)

    def _on_ended(self) -> None:
        self._job = None
        if self._next is not None:
            (function, arguments), self._next = self._next, None
            self.ask(function, *arguments)
