"""A button with an arrow beside it, which offers what else it can do."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QPoint, Signal
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QWidget

ARROW, ARROW_WIDTH = "▾", 24


class MenuButton(QWidget):
    """Two push buttons in one: napari draws a tool button with a menu flat, and cuts its text."""

    clicked = Signal()

    def __init__(self, text: str, choices: dict[str, Callable[[], object]]) -> None:
        super().__init__()
        self.main = QPushButton(text)
        self.main.clicked.connect(self.clicked)
        self.arrow = QPushButton(ARROW)
        self.arrow.setFixedWidth(ARROW_WIDTH)
        self.arrow.setStyleSheet("padding: 0px;")
        self.arrow.setAccessibleName(f"{text}: more")
        self.arrow.clicked.connect(self._open)
        self._menu = QMenu(self)
        for name, work in choices.items():
            self._menu.addAction(name).triggered.connect(lambda _=False, work=work: work())
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(1)
        row.addWidget(self.main, 1)
        row.addWidget(self.arrow)

    def click(self) -> None:
        """Press the button."""
        self.main.click()

    def text(self) -> str:
        """Return what the button says."""
        return self.main.text()

    def setText(self, text: str) -> None:  # noqa: N802 - as Qt's buttons
        """Change what the button says."""
        self.main.setText(text)

    def setToolTip(self, text: str) -> None:  # noqa: N802 - as Qt's buttons
        """Change the tooltip of both buttons."""
        super().setToolTip(text)
        self.main.setToolTip(text)
        self.arrow.setToolTip(text)

    def menu(self) -> QMenu:
        """Return the menu of the arrow."""
        return self._menu

    def _open(self) -> None:
        self._menu.popup(self.arrow.mapToGlobal(QPoint(0, self.arrow.height())))
