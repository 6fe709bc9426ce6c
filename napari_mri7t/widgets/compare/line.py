"""The line of a swipe: over the canvas, so that it is seen and held like a handle."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPolygonF
from qtpy.QtWidgets import QWidget

LINE_COLOUR = "#57d957"
LINE_WIDTH = 2.0  # pixels, as the rest here
REACH = 8  # on either side of the line, which still takes hold of it
GRIP = 22.0  # height of the handle
ARROW = 4.0


class SwipeLine(QWidget):
    """A vertical line over a canvas; `dragged`: the column of the canvas it is drawn to, pixels."""

    dragged = Signal(float)

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setAccessibleName("Line of the swipe")

    def place(self, column: float | None) -> None:
        """Show the line in a column of the canvas; None, or one outside of it, hides it."""
        canvas = self.parentWidget()
        is_seen = column is not None and 0 <= column <= canvas.width()
        if is_seen:
            self.setGeometry(round(column) - REACH, 0, 2 * REACH, canvas.height())
        self.setVisible(is_seen)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the line, and a handle with two arrows in its middle."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(LINE_COLOUR))
        painter.drawRect(QRectF(REACH - LINE_WIDTH / 2, 0, LINE_WIDTH, self.height()))
        middle = self.height() / 2
        painter.drawRoundedRect(QRectF(0, middle - GRIP / 2, 2 * REACH, GRIP), ARROW, ARROW)
        painter.setBrush(Qt.GlobalColor.black)
        for side in (-1, 1):
            tip = QPointF(REACH + side * (ARROW + 2), middle)
            back = (QPointF(REACH + side * 2, middle + up) for up in (-ARROW, ARROW))
            painter.drawPolygon(QPolygonF([tip, *back]))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Take hold with the left button; the canvas gets the others."""
        event.setAccepted(event.button() == Qt.MouseButton.LeftButton)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Follow the mouse."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.dragged.emit(float(self.mapToParent(event.pos()).x()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Let go; the canvas, which knows of no press, gets no release."""
