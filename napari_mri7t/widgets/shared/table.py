"""A table of scans or people: what each is, how far it is, what was found about it.

Only what changes is drawn again, so that several hundred rows stay quick. What a row has to say at
length stands below the table, for the row that is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSize, QSortFilterProxyModel, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QKeyEvent, QPixmap, QResizeEvent, QShowEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QVBoxLayout, QWidget

from napari_mri7t.engine.texts import visible_lines
from napari_mri7t.widgets.shared.controls import paragraph, wrap_anywhere
from napari_mri7t.widgets.shared.icons import icon
from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.rows import DONE, FAILED, Row

THUMBNAIL = 36  # pixels
ROW_HEIGHT = THUMBNAIL + 6
FEWEST_ROWS, MOST_ROWS = 3, 7  # in sight
FIGURE_WIDTH = 38  # pixels
PADDING, ICON_WIDTH = 14, 22  # pixels beside a text
USUAL_NAME, SCROLL_BAR = "sub-001", 16  # that has room beside the states; pixels
LONGEST = "brain extraction"  # of what a state says
TITLE, STATE = 0, 1  # columns
SORTED_BY = Qt.ItemDataRole.UserRole
HORIZONTAL = Qt.Orientation.Horizontal


class _Rows(QAbstractTableModel):
    """The rows, by their keys."""

    def __init__(self, headings: Sequence[str], forms: Sequence[str]) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.places: dict[str, int] = {}
        self._headings = headings
        self._forms = forms
        self.has_pictures = False  # else they take no room beside the names
        self._pictures: dict[str, QPixmap] = {}
        self._icons: dict[str, QIcon] = {}

    def show(self, rows: Iterable[Row]) -> None:
        self.beginResetModel()
        self.rows = list(rows)
        self.places = {row.key: n for n, row in enumerate(self.rows)}
        self.has_pictures = any(row.picture is not None for row in self.rows)
        self._pictures.clear()
        self.endResetModel()

    def change(self, key: str, **changes: Any) -> None:
        place = self.places[key]
        self.rows[place] = replace(self.rows[place], **changes)
        if "picture" in changes:
            self._pictures.pop(key, None)
            self.has_pictures = self.has_pictures or changes["picture"] is not None
        self.dataChanged.emit(self.index(place, 0), self.index(place, self.columnCount() - 1))

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else len(self._headings)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # noqa: N802
        is_heading = orientation == HORIZONTAL
        if is_heading and role == Qt.ItemDataRole.DisplayRole:
            return self._headings[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.ToolTipRole:
            return paragraph(row.describe())
        if role == Qt.ItemDataRole.AccessibleDescriptionRole:
            return visible_lines(row.describe())
        if column == TITLE:
            return self._of_title(row, role)
        if column == STATE:
            return self._of_state(row, role)
        return self._of_figure(row, column - STATE - 1, role)

    def _of_title(self, row: Row, role: int) -> Any:
        if role == Qt.ItemDataRole.DecorationRole:
            return self._picture(row) if self.has_pictures else None
        if role == SORTED_BY:
            return row.key.casefold()
        return _two_lines(row.title, row.about) if _is_text(role) else None

    def _of_state(self, row: Row, role: int) -> Any:
        if role == Qt.ItemDataRole.DecorationRole:
            name = row.state.icon
            return self._icons.setdefault(name, icon(name))
        if role == SORTED_BY:
            return row.state.rank * 1000 - min(999, len(row.notes))
        return _two_lines(*_words_of(row)) if _is_text(role) else None

    def _of_figure(self, row: Row, n: int, role: int) -> Any:
        value = row.figures[n] if n < len(row.figures) else None
        if role == SORTED_BY:
            return math.inf if value is None else value
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return ("" if value is None else f"{value:{self._forms[n]}}") if _is_text(role) else None

    def _picture(self, row: Row) -> QPixmap:
        if row.key not in self._pictures:
            self._pictures[row.key] = _pixmap(row.picture)
        return self._pictures[row.key]


def _is_text(role: int) -> bool:
    return role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole)


def _words_of(row: Row) -> tuple[str, str]:
    """Return the two lines of a row's state."""
    return row.doing or row.state.word, row.warnings


def _two_lines(first: str, second: str) -> str:
    return "\n".join(visible_lines(text) for text in (first, second) if text)


def _pixmap(picture: np.ndarray | None) -> QPixmap:
    """Return a thumbnail; an empty one keeps the texts aligned."""
    if picture is None:
        pixmap = QPixmap(5 * THUMBNAIL // 6, THUMBNAIL)  # as wide as that of a brain
        pixmap.fill(Qt.GlobalColor.transparent)
        return pixmap
    grey = np.ascontiguousarray(picture)
    height, width = grey.shape
    image = QImage(grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
    return QPixmap.fromImage(image).scaled(
        THUMBNAIL,
        THUMBNAIL,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )


class _View(QTableView):
    """A table that opens the row under Enter, too."""

    wanted_width = 0  # of all columns

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the width that all columns need."""
        return QSize(self.wanted_width + SCROLL_BAR, super().sizeHint().height())

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Take Enter for a double click."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.doubleClicked.emit(self.currentIndex())
        else:
            super().keyPressEvent(event)


class RowTable(QWidget):
    """The table, and below it what the chosen row has to say at length.

    Signals: `opened` (key of a row that was double-clicked), `chosen` (key, empty without one).
    """

    opened = Signal(str)
    chosen = Signal(str)

    def __init__(self, what: str, hint: str, figures: Mapping[str, str] = {}) -> None:
        """Make an empty table.

        Parameters
        ----------
        what : str
            Heading of the first column.
        hint : str
            Shown below while no row is chosen.
        figures : mapping of str to str
            Headings of further columns, and how their numbers are formatted.
        """
        super().__init__()
        self._hint = hint
        self._words: set[str] = set()  # of the states that were shown
        self._model = _Rows([what, "State", *figures], list(figures.values()))
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self._model)
        self._sorted.setSortRole(SORTED_BY)
        self._sorted.setDynamicSortFilter(False)  # rows stay in place while their states change
        self.view = _View()
        self.view.setModel(self._sorted)
        self.view.setAccessibleName(f"{what} table")
        self._set_up_view()
        self._fit()
        self.details = TextLabel()
        self.details.setWordWrap(True)
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.view)
        column.addWidget(self.details)
        self.view.doubleClicked.connect(lambda index: self.opened.emit(self._key_at(index)))
        self.view.selectionModel().currentRowChanged.connect(self._on_chosen)
        self.show_rows([])

    def _set_up_view(self) -> None:
        view = self.view
        view.setSortingEnabled(True)
        view.sortByColumn(-1, Qt.SortOrder.AscendingOrder)  # as found, until a heading is clicked
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        view.setTabKeyNavigation(False)
        view.setWordWrap(False)
        view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        view.setShowGrid(False)
        view.verticalHeader().setVisible(False)
        view.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        view.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        header = view.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(FIGURE_WIDTH - 10)
        header.setSectionResizeMode(TITLE, QHeaderView.ResizeMode.Stretch)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Fit the columns to the font in which they are shown: napari sets it."""
        super().showEvent(event)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Fit the columns to the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Give the names what the words of the states leave, and these what the names leave.

        The table is never too narrow for a usual name, a short state and all figures.
        """
        width = self.view.fontMetrics().horizontalAdvance
        words = DONE.word, LONGEST, max(self._words, key=width, default=LONGEST)
        least, most, said = (ICON_WIDTH + PADDING + width(word) for word in words)
        name, figures = THUMBNAIL + PADDING + width(USUAL_NAME), 0
        for n in range(STATE + 1, self._model.columnCount()):
            heading = width(str(self._model.headerData(n, HORIZONTAL))) + PADDING
            figure = max(FIGURE_WIDTH, heading)
            self.view.setColumnWidth(n, figure)
            figures += figure
        beside = 2 * self.view.frameWidth() + (SCROLL_BAR if len(self.rows) > MOST_ROWS else 0)
        self.view.setMinimumWidth(name + least + figures + beside)
        rest = self.view.width() - beside - figures
        longest = max((width(row.title) for row in self.rows), default=0)
        names = max(name, longest + PADDING + (THUMBNAIL if self._model.has_pictures else 0))
        if (states := rest - names) < least:  # no room for whole names
            states = min(max(states, said), max(rest - name, least))
        self.view.setColumnWidth(STATE, min(states, most))
        wanted = name + most + figures
        if wanted != self.view.wanted_width:
            self.view.wanted_width = wanted
            self.view.updateGeometry()

    def show_rows(self, rows: Iterable[Row]) -> None:
        """Show these rows and no others, in this order."""
        self._model.show(rows)
        self._words = {word for row in self.rows for word in _words_of(row)}
        rows = ROW_HEIGHT * min(MOST_ROWS, max(FEWEST_ROWS, len(self.rows)))
        self.view.setFixedHeight(self.view.horizontalHeader().sizeHint().height() + 4 + rows)
        self._fit()
        self._show_details()

    def change(self, key: str, **changes: Any) -> None:
        """Change fields of one row."""
        before = self._words, self._model.has_pictures
        self._model.change(key, **changes)
        self._words = self._words.union(_words_of(self.row(key)))
        if before != (self._words, self._model.has_pictures):
            self._fit()
            self.view.viewport().update()
        if key == self.current:
            self._show_details()

    @property
    def rows(self) -> list[Row]:
        """All rows, in the order in which they were given."""
        return self._model.rows

    def row(self, key: str) -> Row | None:
        """Return the row with this key, if there is one."""
        place = self._model.places.get(key)
        return None if place is None else self.rows[place]

    @property
    def current(self) -> str:
        """Key of the chosen row; empty without one."""
        return self._key_at(self.view.currentIndex())

    def choose(self, key: str) -> None:
        """Choose a row and bring it into sight."""
        place = self._model.places.get(key)
        if place is not None:
            index = self._sorted.mapFromSource(self._model.index(place, TITLE))
            self.view.setCurrentIndex(index)
            self.view.scrollTo(index)

    def choose_failed(self) -> None:
        """Choose the first row that failed, so that the reason is read, unless one is chosen."""
        failed = [row.key for row in self.rows if row.state is FAILED]
        if failed and not self.current:
            self.choose(failed[0])

    def reveal(self, key: str) -> None:
        """Bring a row into sight, unless the user has chosen one."""
        place = self._model.places.get(key)
        if place is not None and not self.current:
            self.view.scrollTo(self._sorted.mapFromSource(self._model.index(place, TITLE)))

    def shown_keys(self) -> list[str]:
        """Return the keys from top to bottom, as they are sorted."""
        return [self._key_at(self._sorted.index(n, 0)) for n in range(self._sorted.rowCount())]

    def _key_at(self, index: QModelIndex) -> str:
        return self.rows[self._sorted.mapToSource(index).row()].key if index.isValid() else ""

    def _on_chosen(self, *_: object) -> None:
        self._show_details()
        self.chosen.emit(self.current)

    def _show_details(self) -> None:
        row = self.row(self.current)
        self.details.setText(wrap_anywhere(self._hint if row is None else row.describe()))
