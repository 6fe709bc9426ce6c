"""The base of every widget of the plugin: a column of groups, and one clean-up on removal."""

from __future__ import annotations

import napari
from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QObject, QPoint, QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QGroupBox,
    QMainWindow,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_mri7t.engine.volumes.provenance import NOTICE
from napari_mri7t.widgets.shared.accessibility import FOCUS_STYLE, WheelGuard, name_controls
from napari_mri7t.widgets.shared.controls import LayerChooser
from napari_mri7t.widgets.shared.docks import dock_of, join_tabs, name_of
from napari_mri7t.widgets.shared.fold import FoldBox, new_form
from napari_mri7t.widgets.shared.job_panel import JobPanel
from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.latest import Latest

#: What a widget may take of the window, pixels. Until it is a tab, it stands below another one: the
#: least heights of both together must not make a small window higher.
WIDTH = 350
LEAST_HEIGHT = 100  # of what scrolls
FRESH_MS = 500  # after a notice was added, in which it is kept in sight
CANCELLED = "{name} closed, run cancelled."  # napari shows some 40 characters
DISCLAIMER = "Not for diagnosis: may add or remove lesions."


class EngineWidget(QWidget):
    """A plugin widget: a column that fits 350 px, and one clean-up on removal."""

    preferred_width = WIDTH
    disclaimer_line, disclaimer_text = DISCLAIMER, NOTICE  # at the foot, once; its tooltip
    closed_while_running = CANCELLED  # told to the user

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self._released = False
        self._was_shown = False
        self._name = ""  # of its dock
        self._wheel = WheelGuard(self)
        self._revealed_at: QPoint | None = None
        self._revealing = QTimer(self, singleShot=True, interval=0)
        self._revealing.timeout.connect(self._reveal)  # a bound method: Qt drops it with the widget
        self._fresh = QTimer(self, singleShot=True, interval=FRESH_MS)  # since a notice was added
        self.setStyleSheet(FOCUS_STYLE)
        self.body = QWidget()
        self.column = QVBoxLayout(self.body)
        self.column.setContentsMargins(6, 6, 6, 6)
        self.column.setSpacing(8)
        self._scroll = QScrollArea()
        self._scroll.setWidget(self.body)
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._foot = QWidget()  # always in sight
        foot = QVBoxLayout(self._foot)
        foot.setContentsMargins(6, 0, 6, 0)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._scroll)
        outer.addWidget(self._foot)
        self.disclaimer = TextLabel(self.disclaimer_line)
        self.disclaimer.setToolTip(self.disclaimer_text)
        self.disclaimer.setContentsMargins(6, 0, 6, 6)
        outer.addWidget(self.disclaimer)
        self.body.installEventFilter(self)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return the width that the fields and the scroll bar need; tall contents scroll."""
        bar = self._scroll.verticalScrollBar().sizeHint().width()
        foot = self._foot.minimumSizeHint()
        line = self.disclaimer.minimumSizeHint().width()
        width = max(self.body.minimumSizeHint().width() + bar, foot.width(), line)
        return QSize(width, LEAST_HEIGHT + max(0, foot.height()))

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the size that shows every field."""
        bar = self._scroll.verticalScrollBar().sizeHint().width()
        wanted = self.body.sizeHint()
        foot = self._foot.sizeHint().height()
        return QSize(
            min(wanted.width() + bar, self.preferred_width), wanted.height() + max(0, foot)
        )

    def pin(self, bar: QWidget) -> None:
        """Keep a bar of actions in sight below the column; a panel's notices scroll with it."""
        self._foot.layout().addWidget(bar)
        if not isinstance(bar, JobPanel):
            return
        notices = bar.notices
        self.column.addWidget(notices)
        self._notices = notices
        notices.added.connect(self._revealing.start)
        notices.added.connect(self._fresh.start)

    def _reveal(self) -> None:
        """Scroll to the newest notice, again until everything above it has its height."""
        newest = self._notices.newest
        if newest is None:
            return
        self._scroll.ensureWidgetVisible(newest, 0, 0)  # a low window has no room for margins
        place = newest.mapTo(self.body, newest.rect().bottomLeft())
        if place != self._revealed_at:  # a label asks for its height when it has its width
            self._revealed_at = place
            self._revealing.start()

    def group(self, title: str) -> QFormLayout:
        """Add a titled group of fields at the foot of the column."""
        box = QGroupBox(title)
        self.column.addWidget(box)
        return new_form(box)

    def fold(self, title: str, tooltip: str = "") -> FoldBox:
        """Add a folded group of fields at the foot of the column."""
        box = FoldBox(title, tooltip)
        self.column.addWidget(box)
        return box

    def event(self, event: QEvent) -> bool:
        """Detect that napari removes the parent, as when the dock's x is pressed."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._tell_of_run()
            self._release_once()
        return super().event(event)

    def _tell_of_run(self) -> None:
        """Tell what becomes of a run whose widget is closed before it ends."""
        panel = self.findChild(JobPanel)
        if not self._released and panel is not None and panel.job is not None:
            show_warning(self.closed_while_running.format(name=self._name or panel.job.title))

    def showEvent(self, event: object) -> None:  # noqa: N802
        """Watch the main window: closing it also ends the widget; take a tab beside the others."""
        if not self._was_shown:
            self._was_shown = True
            name_controls(self)
            self._wheel.guard(self)
            later = QTimer(self, singleShot=True, interval=0)  # once the dock has its place
            later.timeout.connect(self._join_tabs)
            later.start()
            dock = dock_of(self)
            if dock is not None:  # a tab that comes to the front gets no event of its own
                self._name = name_of(dock)
                dock.visibilityChanged.connect(self._on_in_sight)
        window = self._main_window()
        if window is not None:
            window.installEventFilter(self)
        super().showEvent(event)
        self._on_in_sight(True)

    def _on_in_sight(self, is_in_sight: bool) -> None:
        if is_in_sight and not self._released:
            self.catch_up()

    def catch_up(self) -> None:
        """Take over what the plugin's other widgets have left in the memory since."""

    def let_others_catch_up(self) -> None:
        """Tell the plugin's other widgets in the window that there is something new."""
        window = self._main_window()
        for other in [] if window is None else window.findChildren(EngineWidget):
            if other is not self:
                other._on_in_sight(True)

    def _main_window(self) -> QMainWindow | None:
        window = self.window()
        while window is not None and not isinstance(window, QMainWindow):
            window = window.parent()
        return window

    def _join_tabs(self) -> None:
        join_tabs(self, EngineWidget)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Detect that the window closes, which the user may still cancel in napari's dialog."""
        if event.type() == QEvent.Type.Close and isinstance(watched, QMainWindow):
            if event.spontaneous():
                QTimer.singleShot(0, self._release_if_gone)
            else:
                self._release_once()
        elif event.type() == QEvent.Type.Resize and watched is self.body:
            if self._fresh.isActive():  # a notice got its height
                self._revealing.start()
        elif event.type() == QEvent.Type.LayoutRequest and watched is self.body:
            self._wheel.guard(self)
            self.updateGeometry()  # a scroll area does not announce that its content has grown
        return super().eventFilter(watched, event)

    def _release_if_gone(self) -> None:
        if not self.window().isVisible():
            self._release_once()

    def _release_once(self) -> None:
        if not self._released:
            self._released = True
            self._revealing.stop()
            self._fresh.stop()
            self.release()

    def release(self) -> None:
        """Stop listening to the viewer and drop pending requests; subclasses add their own."""
        for latest in self.findChildren(Latest):
            latest.drop()
        for chooser in self.findChildren(LayerChooser):
            chooser.release()
