"""Small controls that every widget uses: notices, a layer chooser, a folder field."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from napari.layers import Layer
from qtpy.QtCore import QEvent, Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices, QPaintEvent
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)

from napari_mri7t.engine.atomic import expanded
from napari_mri7t.engine.texts import visible_lines
from napari_mri7t.widgets.shared.icons import icon
from napari_mri7t.widgets.shared.labels import FoldedText

#: Readable as a stripe on napari's dark and on its light background.
ERROR_COLOUR = "#e5484d"
WARNING_COLOUR = "#e2a336"
INFORMATION_COLOUR = "#3e8ed0"
STRIPE = 3  # pixels
ARROW_GAP = 4  # pixels between a name and the arrow of its list
ZERO_WIDTH_SPACE = "\u200b"
LONG_RUN = re.compile(rf"[^\s{ZERO_WIDTH_SPACE}]{{24}}(?=[^\s{ZERO_WIDTH_SPACE}])")
FIRST_WORD = re.compile(r"[a-z]+ ")


def set_tooltip(widget: QWidget, text: str) -> None:
    """Set a tooltip that may hold names: it has no text format, so HTML in them is escaped."""
    shown = visible_lines(text)
    widget.setToolTip(paragraph(shown) if "<" in shown else shown)


def paragraph(text: str) -> str:
    """Return text as HTML that shows it as it is; a tooltip of it wraps."""
    return f"<p>{html.escape(visible_lines(text))}</p>".replace("\n", "<br>")


def wrap_anywhere(text: str) -> str:
    """Let a long path wrap: Qt breaks lines at spaces only and would widen the window."""
    text = visible_lines(text)
    for mark in ("/", "\\", "_", "-"):
        text = text.replace(mark, mark + ZERO_WIDTH_SPACE)
    return LONG_RUN.sub(lambda run: run[0] + ZERO_WIDTH_SPACE, text)


class Notice(FoldedText):
    """One sentence with a coloured stripe; a right click copies it."""

    def __init__(self, text: str, colour: str) -> None:
        super().__init__(wrap_anywhere(as_sentence(text)))
        self.plain_text = text
        self.colour = colour
        self.setObjectName("notice")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setStyleSheet(f"#notice {{ border-left: {STRIPE}px solid {colour}; }}")
        # around the label: it would draw the top of a folded line into a padding of its own
        self.layout().setContentsMargins(STRIPE + 7, 3, 3, 3)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._show_menu)

    def _show_menu(self, position: object) -> None:
        menu = QMenu(self)
        copy = menu.addAction("Copy this message")
        copy.triggered.connect(lambda: QApplication.clipboard().setText(self.plain_text))
        menu.popup(self.mapToGlobal(position))


def as_sentence(text: str) -> str:
    """Return a text with a capital, unless it begins with a name."""
    return text[:1].upper() + text[1:] if FIRST_WORD.match(text) else text


class Notices(QWidget):
    """Errors and warnings as sentences, inside the widget."""

    added = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self.setVisible(False)

    def event(self, event: QEvent) -> bool:
        """Take no room while there is nothing to show."""
        if event.type() == QEvent.Type.ParentChange and self.parentWidget() is not None:
            self.setVisible(bool(self.texts()))
        return super().event(event)

    def add(self, text: str, colour: str) -> None:
        """Show `text` once, an error below all that stood there before."""
        known = [notice for notice in self._notices() if notice.plain_text == text]
        if known and colour != ERROR_COLOUR:
            return
        notice = known[0] if known else Notice(text, colour)
        self._layout.removeWidget(notice)
        self._layout.addWidget(notice)
        self.setVisible(self.parentWidget() is not None)
        self.added.emit()

    def clear(self) -> None:
        """Remove all."""
        for text in self.texts():
            self.drop(text)

    def drop(self, text: str) -> None:
        """Remove one, if it is shown."""
        for notice in self._notices():
            if notice.plain_text == text:
                self._layout.removeWidget(notice)
                notice.hide()  # or it would be shown once more, as a window of its own
                notice.setParent(None)
                notice.deleteLater()
        self.setVisible(bool(self.texts()) and self.parentWidget() is not None)

    @property
    def newest(self) -> Notice | None:
        """The last one that was added and is shown."""
        return self._notices()[-1] if self._notices() else None

    def texts(self, colour: str | None = None) -> list[str]:
        """Return what is shown, of one colour or of all."""
        return [n.plain_text for n in self._notices() if colour in (None, n.colour)]

    def _notices(self) -> list[Notice]:
        widgets = (self._layout.itemAt(n).widget() for n in range(self._layout.count()))
        return [w for w in widgets if isinstance(w, Notice)]


class LayerChooser(QComboBox):
    """The viewer's layers that pass a test, always current; the choice survives renaming."""

    layer_changed = Signal(object)

    def __init__(
        self,
        viewer: napari.Viewer,
        accepts: Callable[[Layer], bool],
        tooltip: str,
        *,
        optional: str | None = None,
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._accepts = accepts
        self._tooltip = tooltip
        self._optional = optional
        self._layers: list[Layer | None] = []
        let_shrink(self)
        for event in self._events():
            event.connect(self.refresh)
        self.currentIndexChanged.connect(self._announce)
        self.refresh()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the name with both of its ends; Qt cuts a long one off."""
        painter, option, style = QStylePainter(self), QStyleOptionComboBox(), QStyle
        self.initStyleOption(option)
        part = style.SubControl.SC_ComboBoxEditField
        field = self.style().subControlRect(style.ComplexControl.CC_ComboBox, option, part, self)
        room = max(0, field.width() - ARROW_GAP)
        middle = Qt.TextElideMode.ElideMiddle
        option.currentText = option.fontMetrics.elidedText(option.currentText, middle, room)
        painter.drawComplexControl(style.ComplexControl.CC_ComboBox, option)
        painter.drawControl(style.ControlElement.CE_ComboBoxLabel, option)

    def _events(self) -> tuple[object, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered, events.renamed

    def release(self) -> None:
        """Stop listening to the viewer, before Qt deletes this control."""
        for event in self._events():
            event.disconnect(self.refresh)
        self._layers = []

    @property
    def layer(self) -> Layer | None:
        """The chosen layer."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @layer.setter
    def layer(self, layer: Layer | None) -> None:
        if layer in self._layers:
            self.setCurrentIndex(self._layers.index(layer))

    def refresh(self, event: object = None) -> None:
        """Read the viewer's layers again; the topmost comes first."""
        chosen = self.layer
        accepted = [layer for layer in reversed(self._viewer.layers) if self._accepts(layer)]
        self._layers = ([None] if self._optional else []) + accepted
        self.blockSignals(True)
        self.clear()
        self.addItems([layer.name if layer else str(self._optional) for layer in self._layers])
        if chosen in self._layers:
            self.setCurrentIndex(self._layers.index(chosen))
        self.blockSignals(False)
        self._explain()
        if self.layer is not chosen:
            self.layer_changed.emit(self.layer)

    def _explain(self) -> None:
        set_tooltip(self, f"{self._tooltip}\n{self.currentText() or 'no suitable layer yet'}")

    def _announce(self, index: int = 0) -> None:
        self._explain()
        self.layer_changed.emit(self.layer)


class FolderField(QWidget):
    """A line for a folder, and a button to browse; `what` names it in messages."""

    changed = Signal()

    def __init__(self, tooltip: str, what: str = "a folder") -> None:
        super().__init__()
        self._what = what
        self.line = QLineEdit()
        self.line.setToolTip(tooltip)
        self.line.setPlaceholderText("folder")
        self.line.textChanged.connect(lambda text: self.changed.emit())
        button = QPushButton(icon("folder"), "")
        button.setAccessibleName("Browse")
        button.setToolTip(tooltip)
        button.setFixedWidth(32)
        button.clicked.connect(self._ask)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line, 1)
        row.addWidget(button)

    @property
    def folder(self) -> Path | None:
        """The chosen folder."""
        text = self.line.text().strip()
        return expanded(text) if text else None

    @folder.setter
    def folder(self, folder: Path | str) -> None:
        self.line.setText(str(folder))

    def why_not(self) -> str | None:
        """Return why the folder cannot be read; None if it exists."""
        if self.folder is None:
            return f"Choose {self._what}."
        return None if self.folder.is_dir() else f"Folder {self.folder} does not exist."

    def _ask(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, self.line.toolTip(), self.line.text())
        if chosen:
            self.folder = chosen


class FileField(FolderField):
    """A line for a file, and a button to browse."""

    def __init__(self, tooltip: str, kinds: str) -> None:
        super().__init__(tooltip)
        self._kinds = kinds
        self.line.setPlaceholderText("file")

    def _ask(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, self.line.toolTip(), self.line.text(), self._kinds
        )
        if chosen:
            self.folder = chosen


def open_in_browser(page: Path) -> str:
    """Open a page in the web browser; return why it cannot, empty if it can."""
    if QDesktopServices.openUrl(QUrl.fromLocalFile(str(page.resolve()))):
        return ""
    return f"no web browser was found: open {page} in one"


def choice(options: dict[Any, str]) -> QComboBox:
    """Return a box of texts, each with its value."""
    box = QComboBox()
    let_shrink(box)
    for value, text in options.items():
        box.addItem(text, value)
    return box


def overwrite_box(what: str) -> QCheckBox:
    """Return the box that allows to replace what a run finds in its output folder."""
    box = QCheckBox("Overwrite")
    box.setToolTip(f"Replace {what}")
    return box


def let_shrink(box: QComboBox) -> None:
    """Let a combo box shrink below its longest entry."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


def set_enabled(widget: QWidget, why_not: str | None, tooltip: str) -> None:
    """Enable `widget`, or disable it with the reason in its tooltip."""
    widget.setEnabled(why_not is None)
    set_tooltip(widget, tooltip if why_not is None else f"{tooltip}\nUnavailable: {why_not}")
