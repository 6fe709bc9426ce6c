"""The table of "Evaluate": its order."""

from __future__ import annotations

import math

import pytest
from qtpy.QtCore import Qt

from napari_mri7t.engine.evaluation.results import StudyResults, SubjectResult
from napari_mri7t.widgets.evaluate.fields import COLUMNS, ResultTable

ASCENDING, DESCENDING = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder
PSNR = 2  # the column


@pytest.mark.gui
@pytest.mark.parametrize(("order", "expected"), [(ASCENDING, "dbac"), (DESCENDING, "cabd")])
def test_missing_figures_come_last_in_either_order(qtbot, order, expected):
    table = ResultTable()
    qtbot.addWidget(table)
    figures = {"a": 9.5, "e": math.nan, "b": 9.0, "c": 10.5, "d": 2.0, "f": math.nan}
    found = (SubjectResult(k, "source", {"brain_psnr": v}) for k, v in figures.items())
    table.show_results(StudyResults(tuple(found)))
    table.sortItems(PSNR, order)
    names = "".join(table.item(row, 0).text() for row in range(table.rowCount()))
    assert names[:4] == expected
    assert set(names[4:]) == {"e", "f"}


@pytest.mark.gui
def test_names_of_subjects_are_shown_without_what_all_of_them_end_in(qtbot):
    table = ResultTable()
    qtbot.addWidget(table)
    for names, shown in (
        (["sub-T01_T1w_brain", "sub-T02_T1w_brain"], ["01", "02"]),
        (["sub-TELL0109", "sub-TELL0110"], ["0109", "0110"]),
        (["sub-Anna", "sub-Annika"], ["Anna", "Annika"]),
        (["sub-T1", "sub-Tom"], ["T1", "Tom"]),
        (["sub-T01_T1w_brain"], ["T01_T1w_brain"]),
        (["sub-01_a", "sub-01_b"], ["01_a", "01_b"]),
    ):
        table.show_results(StudyResults(tuple(SubjectResult(n, "source", {}) for n in names)))
        assert [table.item(row, 0).text() for row in range(len(names))] == shown
        assert [table.subject(row) for row in range(len(names))] == names


@pytest.mark.gui
def test_names_are_whole_where_there_is_room(qtbot):
    table = ResultTable()
    qtbot.addWidget(table)
    table.show_region("brain")
    figures = dict.fromkeys(COLUMNS, 0.12345) | {"brain_psnr": 23.45}
    for width, names, methods in (
        (table.minimumWidth(), ["sub-1", "sub-2"], ["source", "slice_unet"]),
        (table.sizeHint().width(), ["anna_mprage", "ben_t1w"], ["source", "slice_unet"]),
        (table.sizeHint().width(), ["sub-1", "sub-2"], ["a method with a long name"]),
    ):
        table.resize(width, table.height())
        found = (SubjectResult(n, method, figures) for n in names for method in methods)
        table.show_results(StudyResults(tuple(found)))
        for column in (0, 1):
            assert table.columnWidth(column) >= table.sizeHintForColumn(column), names
        shown = [n for n in range(table.columnCount()) if not table.isColumnHidden(n)]
        assert sum(map(table.columnWidth, shown)) <= table.viewport().width()
    assert "sub-1" in table.item(0, 0).toolTip()
