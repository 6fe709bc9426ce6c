"""The table of "Evaluate": every subject by every method."""

from __future__ import annotations

import math

from qtpy.QtCore import Qt
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QAbstractItemView, QApplication, QTableWidget, QTableWidgetItem

from napari_mri7t.engine.evaluation.methods import label_of
from napari_mri7t.engine.evaluation.results import SubjectResult
from napari_mri7t.engine.evaluation.scoring import METRICS
from napari_mri7t.engine.evaluation.study_tables import heading
from napari_mri7t.engine.evaluation.table import number

COLUMNS = ("brain_psnr", "brain_ssim", "brain_mae", "whole_psnr", "whole_ssim", "whole_mae")
HEIGHT = 220


class ResultTable(QTableWidget):
    """Every subject by every method; a click on a heading sorts, a right click copies."""

    def __init__(self) -> None:
        super().__init__(0, 2 + len(COLUMNS))
        names = [heading(METRICS[key]) for key in COLUMNS]
        self.setHorizontalHeaderLabels(["Subject", "Method", *names])
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.verticalHeader().setVisible(False)
        self.setFixedHeight(HEIGHT)
        self.setToolTip("Click on a heading to sort; right click to copy the table")
        copy = QAction("Copy the table", self)
        copy.triggered.connect(lambda: QApplication.clipboard().setText(self.as_text()))
        self.addAction(copy)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)

    def show_results(self, results: list[SubjectResult]) -> None:
        """Fill the table."""
        self.setSortingEnabled(False)
        self.setRowCount(len(results))
        for row, result in enumerate(results):
            self.setItem(row, 0, QTableWidgetItem(result.subject))
            self.setItem(row, 1, QTableWidgetItem(label_of(result.method)))
            for column, key in enumerate(COLUMNS, start=2):
                value = result.metrics.get(key, float("nan"))
                self.setItem(row, column, _Figure(value, METRICS[key].digits))
        self.resizeColumnsToContents()
        self.setSortingEnabled(True)
        self.sortItems(0, Qt.SortOrder.AscendingOrder)

    def as_text(self) -> str:
        """Give the table as it is sorted, with tabs, as spreadsheets take it."""
        columns = range(self.columnCount())
        lines = ["\t".join(self.horizontalHeaderItem(c).text() for c in columns)]
        lines += [
            "\t".join(self.item(row, column).text() for column in columns)
            for row in range(self.rowCount())
        ]
        return "\n".join(lines)


class _Figure(QTableWidgetItem):
    """A figure that sorts by its value, not by its letters; one that is missing comes last."""

    def __init__(self, value: float, digits: int) -> None:
        super().__init__(number(value, digits))
        self.value = value
        self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        theirs = getattr(other, "value", math.nan)
        is_missing, is_other_missing = math.isnan(self.value), math.isnan(theirs)
        if not (is_missing or is_other_missing):
            return self.value < theirs
        # Where the largest comes first, Qt asks the other way round.
        header = self.tableWidget().horizontalHeader()
        is_falling = header.sortIndicatorOrder() == Qt.SortOrder.DescendingOrder
        return not (is_other_missing if is_falling else is_missing)
