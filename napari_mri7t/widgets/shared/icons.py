"""Icons, drawn here in colours that show on napari's dark and light themes.

Each has a shape of its own: none is told from another by its colour alone.
"""

from __future__ import annotations

from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap, QPolygonF
from qtpy.QtWidgets import QPushButton

SIZE = 64  # pixels drawn; Qt scales them down
ICON_SIZE = 12  # pixels on a button that stands beside others
FAINT = 0.35  # opacity
GO, STOP, CALM = "#3fa45b", "#e5484d", "#8a93a0"
Corners = tuple[tuple[float, float], ...]
#: Name to colour and shapes, each by its corners in a square of 1.
ICONS: dict[str, tuple[str, tuple[Corners, ...]]] = {
    "start": (GO, (((0.2, 0.1), (0.9, 0.5), (0.2, 0.9)),)),
    "pause": (
        CALM,
        (
            ((0.18, 0.12), (0.42, 0.12), (0.42, 0.88), (0.18, 0.88)),
            ((0.58, 0.12), (0.82, 0.12), (0.82, 0.88), (0.58, 0.88)),
        ),
    ),
    "cancel": (STOP, (((0.16, 0.16), (0.84, 0.16), (0.84, 0.84), (0.16, 0.84)),)),
    "folder": (
        CALM,
        (((0.05, 0.18), (0.38, 0.18), (0.48, 0.3), (0.95, 0.3), (0.95, 0.84), (0.05, 0.84)),),
    ),
    "check": (
        GO,
        (((0.08, 0.5), (0.22, 0.36), (0.4, 0.56), (0.78, 0.14), (0.92, 0.28), (0.4, 0.86)),),
    ),
    "cross": (
        STOP,
        (
            ((0.12, 0.26), (0.26, 0.12), (0.88, 0.74), (0.74, 0.88)),
            ((0.74, 0.12), (0.88, 0.26), (0.26, 0.88), (0.12, 0.74)),
        ),
    ),
    "dash": (CALM, (((0.1, 0.42), (0.9, 0.42), (0.9, 0.58), (0.1, 0.58)),)),
    "wait": (  # an hourglass
        CALM,
        (((0.15, 0.08), (0.85, 0.08), (0.5, 0.52)), ((0.5, 0.48), (0.85, 0.92), (0.15, 0.92))),
    ),
    "look": (  # a triangle with a gap, as a sign of warning
        "#e2a336",
        (
            ((0.5, 0.04), (0.98, 0.94), (0.56, 0.94), (0.56, 0.3)),
            ((0.5, 0.04), (0.44, 0.3), (0.44, 0.94), (0.02, 0.94)),
        ),
    ),
    "save": (
        CALM,
        (
            ((0.42, 0.06), (0.58, 0.06), (0.58, 0.4), (0.78, 0.4), (0.5, 0.7)),
            ((0.5, 0.7), (0.22, 0.4), (0.42, 0.4), (0.42, 0.06)),
            ((0.1, 0.8), (0.9, 0.8), (0.9, 0.92), (0.1, 0.92)),
        ),
    ),
}


def icon_button(name: str, text: str) -> QPushButton:
    """Return a button with an icon and a label, small enough to stand beside others."""
    button = QPushButton(icon(name), text)
    button.setIconSize(QSize(ICON_SIZE, ICON_SIZE))
    return button


def icon(name: str) -> QIcon:
    """Return one of `ICONS`, faint on a disabled button: Qt's own grey is brighter than some."""
    made = QIcon(_drawn(name))
    made.addPixmap(_drawn(name, FAINT), QIcon.Mode.Disabled)
    return made


def _drawn(name: str, opacity: float = 1.0) -> QPixmap:
    colour, shapes = ICONS[name]
    pixmap = QPixmap(SIZE, SIZE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setOpacity(opacity)
    painter.setBrush(QColor(colour))
    for corners in shapes:
        painter.drawPolygon(QPolygonF([QPointF(SIZE * x, SIZE * y) for x, y in corners]))
    painter.end()
    return pixmap
