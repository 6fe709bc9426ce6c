"""The bar of actions: start, cancel, more; progress with the time left, result; its notices."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal, SignalInstance
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from napari_mri7t.engine.progress import Progress
from napari_mri7t.widgets.shared.controls import (
    ERROR_COLOUR,
    INFORMATION_COLOUR,
    WARNING_COLOUR,
    FoldedText,
    Notices,
    as_sentence,
    set_tooltip,
    wrap_anywhere,
)
from napari_mri7t.widgets.shared.icons import icon, icon_button
from napari_mri7t.widgets.shared.worker import Job, Uneven, percent

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.utils.events import Event

FAILED = "Failed. See the message above."
STATUS_LINES = 3  # that have room
BAR_HEIGHT = 6  # pixels


class JobPanel(QWidget):
    """Shows one `Job` at a time, and the reason if another cannot start.

    Its `notices` are placed by the widget it belongs to.
    """

    start_requested = Signal()
    idle = Signal()

    def __init__(
        self,
        verb: str,
        tooltip: str,
        *,
        pausable: bool = False,
        cancelled: str = "Cancelled; nothing was changed.",
    ) -> None:
        super().__init__()
        self._tooltip = tooltip
        self._cancelled = self._what_is_left = cancelled
        self._why_not: str | None = None
        self.job: Job | None = None
        self._last_words = ""
        self._of_action = ""  # the last words, if they are of an action beside the job
        # The last words, and the layer that they name.
        self._named: tuple[str, Layer | None] = ("", None)
        self._chosen: tuple[object, ...] = ()
        self._first: tuple[float, float, float] | None = None  # time, done, total
        self._is_warm = False  # something was done since
        self._done = 0.0  # at the last report
        self.start_button = icon_button("start", verb)
        self.start_button.setToolTip(tooltip)
        self.start_button.clicked.connect(self.start_requested)
        self.cancel_button = icon_button("cancel", "Cancel")
        self.cancel_button.setToolTip("Stop within two seconds; no partial result is kept")
        self.cancel_button.clicked.connect(self.cancel)
        self.pause_button = icon_button("pause", "Pause")
        self.pause_button.setToolTip("Pause the work; press again to resume")
        if not pausable:
            self.pause_button.hide()
        self.pause_button.clicked.connect(self.pause)
        self.bar = QProgressBar()
        self.bar.setAccessibleName("Progress")
        self.bar.setTextVisible(False)  # the line below says it
        self.bar.setFixedHeight(BAR_HEIGHT)
        self.status = FoldedText()
        self.status.label.least_lines = STATUS_LINES
        for part in (self.bar, self.status):  # the buttons stay where they are
            policy = part.sizePolicy()
            policy.setRetainSizeWhenHidden(True)
            part.setSizePolicy(policy)
        self.notices = Notices()
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._lay_out()
        self._show_idle("")

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.start_button, 2)
        buttons.addWidget(self.pause_button, 1)
        buttons.addWidget(self.cancel_button, 1)
        self._rows = QVBoxLayout()
        self._rows.setSpacing(4)
        self._rows.addLayout(buttons)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._rows)
        for part in (self.bar, self.status):
            column.addWidget(part)

    def add_buttons(self, *buttons: QWidget) -> None:
        """Add a row of further actions; a hidden one leaves its place to the others."""
        row = QHBoxLayout()
        for button in buttons:
            row.addWidget(button)
        self._rows.addLayout(row)

    def set_ready(self, why_not: str | None) -> None:
        """Allow the start, or forbid it and show the reason."""
        self._why_not = why_not
        if self.job is None:
            self._show_idle(self._last_words)

    def follow(self, job: Job, cancelled: str | None = None) -> None:
        """Show `job`, which may run or be paused already; `cancelled`: the message if cancelled."""
        self.job = job
        self._what_is_left = cancelled or self._cancelled
        self._first = None
        self._last_words = ""
        self.notices.clear()
        job.progressed.connect(self._on_progressed)
        job.warned.connect(self.warn)
        job.failed.connect(self._on_failed)
        job.cancelled.connect(self._on_cancelled)
        job.ended.connect(self._on_ended)
        if self.start_button.hasFocus():
            self.setFocus()  # on Cancel, a second press of the space bar would stop the run
        self.cancel_button.setEnabled(True)
        self.pause_button.setEnabled(True)
        self.start_button.setEnabled(False)
        self._name_pause()
        self.bar.setRange(0, 0)
        self.bar.show()
        if job.last is not None:
            self._show_bar(job.last)
        self.show_status("Paused" if job.is_held else "Starting")

    def cancel(self) -> None:
        """Ask the job to stop."""
        if self.job is not None:
            self.job.cancel()
            if self.cancel_button.hasFocus():
                self.setFocus()
            self.cancel_button.setEnabled(False)
            self.show_status("Stopping")

    def pause(self) -> None:
        """Pause the job, or resume it."""
        if self.job is not None:
            self.job.pause()
            self._first = None  # a pause is not part of the pace
            self._name_pause()
            self.show_status("Paused" if self.job.is_held else "Resuming")

    def _name_pause(self) -> None:
        is_held = self.job is not None and self.job.is_held
        self.pause_button.setText("Resume" if is_held else "Pause")
        self.pause_button.setIcon(icon("start" if is_held else "pause"))

    def show_status(self, text: str) -> None:
        """One line under the bar."""
        self.status.setText(wrap_anywhere(text))
        self.status.setVisible(bool(text))

    def warn(self, text: str) -> None:
        """Show a warning."""
        self.notices.add(text, WARNING_COLOUR)

    def inform(self, text: str) -> None:
        """Show a note."""
        self.notices.add(text, INFORMATION_COLOUR)

    def fail(self, text: str) -> None:
        """Show an error of an action beside the job, whose result stays in sight.

        Without a result, the line below says that there is an error.
        """
        self.notices.add(text, ERROR_COLOUR)
        if self._last_words in ("", self._of_action):
            self.conclude(FAILED)

    def _on_failed(self, text: str) -> None:
        self.notices.add(text, ERROR_COLOUR)
        self.conclude(FAILED)

    def hear(
        self,
        done: SignalInstance,
        failed: SignalInstance,
        show: Callable[[str], None] | None = None,
    ) -> None:
        """Show how an action beside the job ends; its success takes its failures away.

        `show`: what shows a success, `mention` if not given.
        """
        said: list[str] = []

        def on_done(text: str) -> None:
            while said:
                self.notices.drop(said.pop())
            (show or self.mention)(text)

        def on_failed(text: str) -> None:
            said.append(text)
            self.fail(text)

        done.connect(on_done)
        failed.connect(on_failed)

    def _on_progressed(self, progress: Progress) -> None:
        if self.job is None or self.job.is_cancelling or self.job.is_held:
            return
        self._show_bar(progress)
        text = as_sentence(progress.message)
        if isinstance(progress, Uneven):
            self._first = None
        else:
            is_between = 0 < progress.done < progress.total
            count = f": {percent(progress)}\u00a0%" if is_between else ""
            text = f"{text}{count}{self._time_left(progress.done, progress.total)}"
        self.show_status(text)

    def _show_bar(self, progress: Progress) -> None:
        self.bar.setRange(0, 100 if progress.total else 0)
        self.bar.setValue(percent(progress))

    def _time_left(self, done: float, total: float) -> str:
        """Return the time left at the pace since the first advance, which a start makes slow."""
        now = time.monotonic()
        is_still, self._done = done == self._done, done
        if self._first is None or done < self._first[1] or total != self._first[2]:
            self._first = (now, done, total)
            self._is_warm = False
            return ""
        if is_still:
            return ""
        if not self._is_warm:
            self._first = (now, done, total)
            self._is_warm = True
            return ""
        since, first, _ = self._first
        return f", {duration((now - since) / (done - first) * (total - done))} left"

    def forget(self) -> None:
        """Drop the last line and the notices, unless a job runs: what they are about is gone."""
        if self.job is None:
            self.notices.clear()
            self.conclude("")

    def drop_failure(self) -> None:
        """Take back why the last run failed, once another choice may let it succeed."""
        if self.job is None:
            for text in self.notices.texts(ERROR_COLOUR):
                self.notices.drop(text)
            self.amend(FAILED, "")

    def about(self, *chosen: object) -> None:
        """Forget once something else is `chosen` than at the last call."""
        is_same = chosen == self._chosen
        self._chosen = chosen
        if not is_same:
            self.forget()

    def conclude(self, text: str, layer: Layer | None = None) -> None:
        """Show a line that stays after the job has ended, as long as another can start.

        `layer`: its name ends the line, also once it is renamed.
        """
        self._named = (text, layer)
        self._last_words = text if layer is None else f"{text}{layer.name}"
        if layer is not None:
            layer.events.name.connect(self._on_renamed)
        if self.job is None:
            self._show_idle(self._last_words)

    def mention(self, text: str) -> None:
        """Show how an action beside the job ended, until another one fails."""
        self._of_action = text
        self.conclude(text)

    def amend(self, old: str, new: str) -> None:
        """Show another line in place of `old`, if that still stands there."""
        if old and self._last_words == old:
            self.conclude(new)

    def release(self) -> None:
        """Stop the job, and listen to no layer any more."""
        self._named = ("", None)
        self.cancel()

    def _on_renamed(self, event: Event) -> None:
        text, layer = self._named  # from a plugin's viewer, which wraps its layers
        if layer == event.source and self._last_words.startswith(text):
            self.conclude(text, layer)

    def _on_cancelled(self) -> None:
        self.conclude(self._what_is_left)

    def _on_ended(self) -> None:
        self.job = None
        self._name_pause()
        self._show_idle(self._last_words)
        self.idle.emit()

    def _show_idle(self, text: str) -> None:
        self.bar.hide()
        was_here = any(x.hasFocus() for x in (self, self.cancel_button, self.pause_button))
        self.start_button.setEnabled(self._why_not is None and self.job is None)
        if was_here:
            (self.start_button if self.start_button.isEnabled() else self).setFocus()
        self.cancel_button.setEnabled(False)
        self.pause_button.setEnabled(False)
        why_not = "" if self._why_not is None else f"\nUnavailable: {self._why_not}"
        set_tooltip(self.start_button, self._tooltip + why_not)
        is_said = self._why_not is None or self._why_not in self.notices.texts()
        has_failed = self._why_not is None and bool(self.notices.texts(ERROR_COLOUR))
        words = "" if text == FAILED and not has_failed else text
        self.show_status(words if is_said else self._why_not)


def duration(seconds: float) -> str:
    """Return a duration as text."""
    if seconds < 1:
        return "less than a second"
    if seconds < 100:
        return f"about {seconds:.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
