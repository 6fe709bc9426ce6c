"""The table that the folder of scans and the pairs share."""

from __future__ import annotations

import time

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_mri7t.widgets.shared.rows import (
    DONE,
    FAILED,
    REFUSED,
    RUNNING,
    SKIPPED,
    WAITING,
    WRITTEN,
    Row,
)
from napari_mri7t.widgets.shared.table import (
    ICON_WIDTH,
    PADDING,
    STATE,
    THUMBNAIL,
    TITLE,
    RowTable,
)

pytestmark = pytest.mark.gui
STATES = (FAILED, REFUSED, RUNNING, WAITING, WRITTEN, DONE, SKIPPED)


@pytest.fixture
def table(qtbot) -> RowTable:
    table = RowTable("Scan", "Select a scan.", {"Overlap": ".2f"})
    qtbot.addWidget(table)
    table.resize(350, 400)
    with qtbot.waitExposed(table):
        table.show()
    return table


def text(table, row: int, column: int, role=Qt.ItemDataRole.DisplayRole) -> str:
    model = table.view.model()
    return model.data(model.index(row, column), role)


def plain(label) -> str:
    return label.text().replace("\u200b", "")


def test_row_says_what_it_is_how_far_and_how_many_warnings(table):
    table.show_rows([Row("a/b.nii", "b.nii", WAITING, "bias field", notes=("x", "y"))])
    assert text(table, 0, 0) == "b.nii\nbias field"
    assert text(table, 0, 1) == "waiting\n2 notes"
    assert text(table, 0, 2) == ""
    table.change("a/b.nii", state=RUNNING, doing="registration", notes=(), figures=(0.937,))
    assert text(table, 0, 1) == "registration"
    assert text(table, 0, 2) == "0.94"


def test_chosen_row_tells_everything_below_the_table(table):
    table.show_rows([Row("a", "a", FAILED, reason="not a scan"), Row("b", "b", WAITING)])
    assert table.details.text() == "Select a scan."
    table.choose("a")
    assert plain(table.details) == "a: failed: not a scan"
    table.change("a", notes=("mind the gap",))
    assert plain(table.details) == "a: failed: not a scan\nmind the gap"
    tooltip = text(table, 0, 0, Qt.ItemDataRole.ToolTipRole)
    assert tooltip == "<p>a: failed: not a scan<br>mind the gap</p>"


def test_heading_of_the_state_brings_what_is_urgent_to_the_top(table):
    table.show_rows([Row(state.word, state.word, state) for state in reversed(STATES)])
    assert table.shown_keys() == [state.word for state in reversed(STATES)], "as given"
    table.view.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    assert table.shown_keys() == [state.word for state in STATES]
    table.change("failed", state=WRITTEN)
    assert table.shown_keys()[0] == "failed", "no row moves by itself"


def test_every_state_has_a_word_and_states_that_differ_look_different_without_colour(table):
    table.show_rows([Row(state.word, state.word, state) for state in STATES])
    seen = {}
    for n, state in enumerate(STATES):
        assert text(table, n, 1) == state.word
        image = text(table, n, 1, Qt.ItemDataRole.DecorationRole).pixmap(32, 32).toImage()
        shape = image.convertToFormat(image.Format.Format_Alpha8)
        seen.setdefault(bytes(shape.constBits().asarray(shape.sizeInBytes())), []).append(state)
    assert sorted(len(states) for states in seen.values()) == [1, 1, 1, 2, 2]


def test_double_click_and_enter_open_a_row(table, qtbot):
    table.show_rows([Row("a", "a", WAITING), Row("b", "b", WAITING)])
    opened = []
    table.opened.connect(opened.append)
    table.view.doubleClicked.emit(table.view.model().index(1, 0))
    table.choose("a")
    qtbot.keyClick(table.view, Qt.Key.Key_Return)
    assert opened == ["b", "a"]


def test_name_with_html_or_control_characters_is_shown_as_it_is(table):
    table.show_rows([Row("<b>a</b>\x1b", "<b>a</b>\x1b", WAITING)])
    table.choose("<b>a</b>\x1b")
    assert plain(table.details) == "<b>a</b>\\u001b: waiting"
    assert text(table, 0, 0) == "<b>a</b>\\u001b"
    assert "<b>" not in text(table, 0, 0, Qt.ItemDataRole.ToolTipRole)


def test_several_hundred_rows_with_pictures_stay_quick(table):
    """Four times the rows take some four times as long, on any machine; a square law takes 16."""
    picture = np.zeros((110, 92), np.uint8)

    def seconds(n_rows):
        begin = time.perf_counter()
        table.show_rows([Row(f"{n}", f"sub-{n}", WAITING) for n in range(n_rows)])
        for n in range(n_rows):
            table.change(f"{n}", state=DONE, picture=picture, notes=("a",))
        table.view.grab()
        table.view.sortByColumn(1, Qt.SortOrder.DescendingOrder)
        return time.perf_counter() - begin

    few, many = (min(seconds(n) for _ in range(3)) for n in (200, 800))
    assert many < 10 * few


def test_states_and_headings_are_wide_enough(qtbot):
    table = RowTable("Person", "hint", {"MI": ".2f", "other": ".2f", "mm": ".2f"})
    qtbot.addWidget(table)
    metrics, header = table.view.fontMetrics(), table.view.horizontalHeader()
    words = [state.word for state in (FAILED, DONE, WAITING)] + ["synthesising"]
    for column, texts in enumerate((words, ["MI"], ["other"], ["mm"]), STATE):
        room = ICON_WIDTH if column == STATE else 0
        widest = max(metrics.horizontalAdvance(text) for text in texts)
        assert header.sectionSize(column) >= widest + room + 8
    table.resize(350, 400)
    with qtbot.waitExposed(table):
        table.show()
    assert header.length() <= 350, "all columns are in sight of a narrow dock"
    name = THUMBNAIL + metrics.horizontalAdvance("sub-01")
    assert header.sectionSize(TITLE) >= name + 8


def test_first_row_that_failed_is_chosen_unless_the_user_chose_one(table):
    table.show_rows([Row("a", "a", DONE), Row("b", "b", FAILED, reason="it is empty")])
    table.choose_failed()
    assert table.current == "b"
    table.choose("a")
    table.choose_failed()
    assert table.current == "a"


@pytest.mark.parametrize("n_rows", [1, 30])
@pytest.mark.parametrize("width", [230, 300, 400, 600])
def test_table_is_never_too_narrow_for_names_and_figures(qtbot, width, n_rows):
    table = RowTable("Person", "Select.", {"MI": ".2f", "other": ".2f", "mm": ".2f"})
    qtbot.addWidget(table)
    table.resize(width, 400)
    with qtbot.waitExposed(table):
        table.show()
    names = [f"sub-{n:03d}" for n in range(1, n_rows + 1)]
    table.show_rows([Row(name, name, RUNNING, doing="under way") for name in names])
    table.resize(width, 400)
    name = THUMBNAIL + table.view.fontMetrics().horizontalAdvance("sub-001")
    assert table.view.columnWidth(TITLE) >= name + 8
    header = table.view.horizontalHeader()
    assert not any(table.view.isColumnHidden(n) for n in range(2, 5))
    assert header.length() <= table.view.viewport().width(), "no column lies beyond the edge"
    assert table.view.sizeHint().width() < 600


def is_whole(table, row: int, column: int) -> bool:
    """Return whether the first line of a cell has room for all its letters."""
    view, index = table.view, table.view.model().index(row, column)
    beside = view.model().data(index, Qt.ItemDataRole.DecorationRole)
    picture = ICON_WIDTH if column == STATE else 0 if beside is None else beside.width()
    words = text(table, row, column).split("\n")[0]
    wanted = picture + view.fontMetrics().horizontalAdvance(words) + 8
    return view.columnWidth(column) >= wanted


def test_long_names_get_the_room_that_short_states_leave(qtbot):
    """As Prepare pairs stands in a window of 1280 x 720."""
    table = RowTable("Person", "Select.", {"MI": ".2f", "other": ".2f", "mm": ".2f"})
    qtbot.addWidget(table)
    table.resize(365, 400)
    with qtbot.waitExposed(table):
        table.show()
    table.show_rows([Row(key, "sub-TELL0101", WAITING) for key in ("a", "b")])
    assert all(is_whole(table, row, column) for row in (0, 1) for column in (TITLE, STATE))
    table.change("a", state=RUNNING, doing="under way")
    table.change("b", picture=np.zeros((110, 92), np.uint8), state=WRITTEN, notes=("a", "b"))
    assert all(is_whole(table, row, column) for row in (0, 1) for column in (TITLE, STATE))
    table.change("a", doing="brain extraction and what follows")
    assert table.view.columnWidth(TITLE) >= THUMBNAIL + 8


def test_a_long_state_takes_no_room_from_names_that_fit(qtbot):
    """As Synthesize 7T stands in a window of 1280 x 720."""
    table = RowTable("Scan", "Select.")
    qtbot.addWidget(table)
    with qtbot.waitExposed(table):
        table.show()
    picture = np.zeros((110, 92), np.uint8)
    table.show_rows([Row(key, "sub-01_T1w.nii.gz", WAITING, picture=picture) for key in "ab"])
    width = table.view.fontMetrics().horizontalAdvance
    names, states = width("sub-01_T1w.nii.gz") + THUMBNAIL, width(DONE.word) + ICON_WIDTH
    table.resize(names + states + 2 * PADDING + 4, 400)
    table.change("a", state=RUNNING, doing="bias field correction")
    assert table.view.columnWidth(TITLE) >= names + PADDING
