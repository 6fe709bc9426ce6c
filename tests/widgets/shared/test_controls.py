"""The controls that every widget shares, in a real viewer."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QApplication, QPushButton

from napari_mri7t import widgets
from napari_mri7t.widgets.layers.layers import is_volume
from napari_mri7t.widgets.shared.base import EngineWidget
from napari_mri7t.widgets.shared.controls import (
    ERROR_COLOUR,
    WARNING_COLOUR,
    LayerChooser,
    Notice,
    Notices,
    set_enabled,
    set_tooltip,
    wrap_anywhere,
)
from napari_mri7t.widgets.shared.labels import FOLDED_LINES, TextLabel

pytestmark = pytest.mark.gui

CUBE = np.zeros((4, 5, 6), dtype=np.float32)


class Example(EngineWidget):
    """The least widget there can be."""

    n_releases = 0

    def __init__(self, viewer):
        super().__init__(viewer)
        self.chooser = LayerChooser(viewer, is_volume, "A volume")
        self.group("Image").addRow("Layer", self.chooser)

    def release(self):
        self.n_releases += 1
        super().release()


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def example(viewer):
    widget = Example(viewer)
    viewer.window.add_dock_widget(widget, name="Example")
    return widget


def test_chooser_follows_the_viewer_s_layers(viewer, example):
    assert example.chooser.layer is None
    first = viewer.add_image(CUBE, name="first")
    assert example.chooser.layer is first
    second = viewer.add_image(CUBE, name="second")
    viewer.add_points(np.zeros((1, 3)))
    assert [example.chooser.itemText(n) for n in range(2)] == ["second", "first"]
    assert example.chooser.layer is first
    first.name = "renamed"
    assert example.chooser.layer is first
    assert example.chooser.currentText() == "renamed"
    viewer.layers.remove(first)
    assert example.chooser.layer is second
    viewer.layers.clear()
    assert example.chooser.layer is None


def test_chooser_announces_a_change_of_layer(viewer, example):
    announced = []
    example.chooser.layer_changed.connect(announced.append)
    layer = viewer.add_image(CUBE)
    viewer.layers.clear()
    assert announced[0] is layer
    assert announced[-1] is None


def test_optional_chooser_offers_no_layer_first(viewer, qtbot):
    chooser = LayerChooser(viewer, is_volume, "A volume", optional="none")
    qtbot.addWidget(chooser)
    layer = viewer.add_image(CUBE)
    assert chooser.layer is None
    chooser.layer = layer
    assert chooser.layer is layer
    chooser.release()


def test_widget_taken_out_of_its_dock_lets_go_once(viewer, example):
    viewer.window.remove_dock_widget(example)
    assert example.n_releases == 1
    viewer.add_image(CUBE)
    assert example.chooser.layer is None
    example.deleteLater()


def test_widget_lets_go_when_the_window_closes(viewer, qtbot):
    widget = Example(viewer)
    viewer.window.add_dock_widget(widget, name="Example")
    viewer.window.show()
    qtbot.waitUntil(widget.isVisible)
    releases = []
    widget.release = lambda: releases.append(1)
    viewer.close()
    assert releases == [1]


def test_hidden_dock_keeps_its_widget_at_work(viewer, qtbot):
    widget = Example(viewer)
    dock = viewer.window.add_dock_widget(widget, name="Example")
    viewer.window.show()
    qtbot.waitUntil(widget.isVisible)
    dock.hide()
    assert widget.n_releases == 0
    dock.setVisible(True)
    dock.setFloating(True)
    assert widget.n_releases == 0
    dock.setFloating(False)


def test_layers_come_and_go_after_a_widget_is_deleted(viewer):
    widget = Example(viewer)
    dock = viewer.window.add_dock_widget(widget, name="Example")
    dock.destroyOnClose()
    widget.deleteLater()
    QApplication.processEvents()
    del widget, dock
    gc.collect()
    viewer.add_image(CUBE)
    viewer.layers.clear()


def test_notices_show_each_sentence_once_and_can_be_cleared(qtbot):
    notices = Notices()
    qtbot.addWidget(notices)
    notices.add("no room", ERROR_COLOUR)
    notices.add("no room", ERROR_COLOUR)
    notices.add("no skull", WARNING_COLOUR)
    assert notices.texts() == ["no room", "no skull"]
    assert notices.texts(ERROR_COLOUR) == ["no room"]
    with qtbot.waitSignal(notices.added, timeout=0):
        notices.add("no room", ERROR_COLOUR)
    assert notices.newest.plain_text == "no room", "what failed again is shown again"
    notices.clear()
    assert notices.texts() == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the scan is empty", "The scan is empty"),
        ("scan: is empty", "scan: is empty"),
        ("sub-01 is empty", "sub-01 is empty"),
    ],
)
def test_notice_begins_with_a_capital_unless_with_a_name(qtbot, text, shown):
    notice = Notice(text, ERROR_COLOUR)
    qtbot.addWidget(notice)
    assert notice.text().replace("\u200b", "") == shown
    assert notice.plain_text == text


def test_long_path_does_not_widen_a_notice(qtbot):
    notices = Notices()
    qtbot.addWidget(notices)
    notices.add("/data/" + "/".join(f"very_long_folder_name_{n}" for n in range(20)), ERROR_COLOUR)
    assert notices.minimumSizeHint().width() < 350


def test_long_name_without_a_mark_does_not_widen_a_notice(qtbot):
    notices = Notices()
    qtbot.addWidget(notices)
    notices.add(f"{'scan' * 40}: is no brain", ERROR_COLOUR)
    assert notices.minimumSizeHint().width() < 350


def test_folded_notice_shows_whole_lines_alone(qtbot):
    """Nothing below the last line has room for the top of the next one."""
    notice = Notice("word " * 100, WARNING_COLOUR)
    qtbot.addWidget(notice)
    notice.resize(200, 300)
    with qtbot.waitExposed(notice):
        notice.show()
    assert notice.button.isVisible()
    assert notice.label.sizeHint().height() == FOLDED_LINES * notice.label.line_height()


@pytest.mark.parametrize("text", ["/a/b_c.nii", "scan" * 40, "a" * 24, "a" * 25])
def test_text_that_wraps_anywhere_reads_the_same(text):
    wrapped = wrap_anywhere(text)
    assert wrapped.replace("\u200b", "") == text
    assert max(map(len, wrapped.split("\u200b"))) <= 24


def test_disabled_control_says_why(qtbot):
    button = QPushButton("Go")
    qtbot.addWidget(button)
    set_enabled(button, "there is no layer", "Go there")
    assert not button.isEnabled()
    assert button.toolTip() == "Go there\nUnavailable: there is no layer"
    set_enabled(button, None, "Go there")
    assert button.isEnabled()
    assert button.toolTip() == "Go there"


def test_name_with_markup_and_escapes_is_plain_text(qtbot):
    """Qt takes text for HTML if it looks like it, and would load the image."""
    name = "<img src='x'>\x1b[2J\u202e\udcff"
    label = TextLabel()
    qtbot.addWidget(label)
    label.setText(wrap_anywhere(name))
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert label.text() == "<img src='x'>\\\u200bu001b[2J\\\u200bu202e\\\u200budcff"
    set_tooltip(label, f"first\n{name}")
    assert "<img" not in label.toolTip()
    assert "&lt;img src=&#x27;x&#x27;&gt;" in label.toolTip()
    set_tooltip(label, "first\nsecond")
    assert label.toolTip() == "first\nsecond"


def test_no_widget_shows_changing_text_in_a_label_that_reads_html():
    folder = Path(widgets.__file__).parent
    allowed = {"picture", "swipe_label", "_cells"}  # a picture, a constant and figures
    for path in folder.rglob("*.py"):
        for name in re.findall(r"self\.(\w+)(?:\[[^\]]*\])? = QLabel\(", path.read_text()):
            assert name in allowed | {"hint_label"}, f"{path.name}: {name}"


class Windows(QObject):
    """Counts the notices that are shown as windows of their own."""

    n_shown = 0

    def eventFilter(self, watched, event):  # noqa: N802
        if event.type() == QEvent.Type.Show and isinstance(watched, Notice):
            self.n_shown += watched.isWindow()
        return False


def test_notice_that_goes_at_once_never_shows_as_a_window_of_its_own(qtbot):
    notices, windows = Notices(), Windows()
    qtbot.addWidget(notices)
    notices.resize(200, 100)
    with qtbot.waitExposed(notices):
        notices.show()
    QApplication.instance().installEventFilter(windows)
    notices.add("a warning", WARNING_COLOUR)
    held = notices.findChildren(Notice)  # PyQt would delete it at once, PySide does not
    notices.clear()
    qtbot.wait(50)
    assert len(held) == 1
    QApplication.instance().removeEventFilter(windows)
    assert windows.n_shown == 0
