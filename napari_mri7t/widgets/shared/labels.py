"""Labels of plain text: as high as their lines, and folded where those are many."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QRect, QSize, Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QApplication, QLabel, QToolButton, QVBoxLayout, QWidget

FOLDED_LINES = 3
MORE, LESS = "More", "Less"


class TextLabel(QLabel):
    """A label that shows a name as it is: Qt would take `<b>` in it for HTML.

    One that wraps is as high as its text. Qt's own depends on every layout around it passing on a
    height for a width, and forms in forms do not.
    """

    #: Lines to show at most; None for all. Lines to keep room for.
    most_lines: int | None = None
    least_lines = 0
    _room = 0  # pixels kept for the next text

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setIndent(0)  # else Qt measures it narrower than it draws it
        self.setText(" ")  # Qt measures a label that never had a text as -1
        self.setText(text)

    def setText(self, text: str) -> None:  # noqa: N802
        """Show another text, in its own room."""
        self._room = 0
        super().setText(text)

    def blank(self) -> None:
        """Show nothing, and keep the room until the next text: what stands below does not move."""
        room = self.height() if self.text() and self.isVisible() else self._room
        self.setText("")
        self._room = room
        self.updateGeometry()

    def show_or_hide(self, text: str) -> None:
        """Show another text; without one, take no room."""
        self.setText(text)
        self.setVisible(bool(text))

    def hasHeightForWidth(self) -> bool:  # noqa: N802
        """Return False: the hints hold the height."""
        return False

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the size of the text at the present width."""
        hint = super().sizeHint()
        return QSize(hint.width(), self._height()) if self.wordWrap() else hint

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return the height of the text at the present width, and the width of a word."""
        hint = super().minimumSizeHint()
        return QSize(hint.width(), self._height()) if self.wordWrap() else hint

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Ask for another height at another width."""
        super().resizeEvent(event)
        if self.wordWrap() and event.oldSize().width() != event.size().width():
            # Not now: the layouts around it are at work, and would miss it.
            QApplication.postEvent(self, QEvent(QEvent.Type.LayoutRequest))

    def event(self, event: QEvent) -> bool:
        """Ask for the height of the text once the layouts have given the width."""
        if event.type() == QEvent.Type.LayoutRequest:
            place: QWidget | None = self
            while place is not None and not place.isWindow():
                place.updateGeometry()  # of each: a layout may hold what it measured before
                place = place.parentWidget()
        return super().event(event)

    def _height(self) -> int:
        n_lines, around = divmod(self.whole_height(), self.line_height())
        n_shown = max(n_lines - self._folded_lines(), self.least_lines)
        return max(n_shown * self.line_height() + around, self._room)

    def whole_height(self) -> int:
        """Return the height of all lines, pixels."""
        return self.heightForWidth(self.width())

    def line_height(self) -> int:
        """Return the height of a line as it is drawn: rounded up, unlike the font's spacing."""
        around = QRect(0, 0, self.width(), self.whole_height())
        return self.fontMetrics().boundingRect(around, Qt.TextFlag.TextSingleLine, "X").height()

    def _folded_lines(self) -> int:
        n_lines = self.whole_height() // self.line_height()
        return 0 if self.most_lines is None else max(0, n_lines - self.most_lines)


class FoldedText(QWidget):
    """A text that wraps; of a long one the first lines, and a button that shows the others."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.label = _FoldedLabel()
        self.label.setWordWrap(True)
        self.label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.label.most_lines = FOLDED_LINES
        self.button = QToolButton()
        self.button.setText(MORE)
        self.button.setAccessibleName("Show the whole message")
        self.button.setToolTip("Show the whole message, or its first lines")
        self.button.clicked.connect(self.toggle)
        self.button.setVisible(False)
        self.label.laid_out.connect(self._offer)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.label)
        column.addWidget(self.button, 0, Qt.AlignmentFlag.AlignRight)
        self.setText(text)

    def text(self) -> str:
        """Return the whole text."""
        return self.label.text()

    def setText(self, text: str) -> None:  # noqa: N802
        """Show another text, folded if it is long."""
        if text != self.label.text():
            self.label.setText(text)
            self._fold(True)

    def toggle(self) -> None:
        """Show all lines, or the first ones."""
        self._fold(self.label.most_lines is None)

    def _fold(self, is_folded: bool) -> None:
        self.label.most_lines = FOLDED_LINES if is_folded else None
        self.button.setText(MORE if is_folded else LESS)
        self.label.updateGeometry()
        self._offer()

    def _offer(self) -> None:
        is_long = self.label.is_long(FOLDED_LINES)
        if self.button.isHidden() == is_long:
            self.button.setVisible(is_long)


class _FoldedLabel(TextLabel):
    """A label that announces when its lines may have changed."""

    laid_out = Signal()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.laid_out.emit()

    def is_long(self, n_lines: int) -> bool:
        return self.whole_height() >= (n_lines + 1) * self.line_height()
