"""The frame of every widget, in napari's window: tabs, bar of actions, texts, names, focus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.settings import get_settings
from npe2 import PluginManifest
from qtpy.QtCore import QEvent, QObject, QPoint, QPointF, QRect, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

import napari_mri7t
from napari_mri7t.engine.volumes.provenance import NOTICE
from napari_mri7t.widgets.shared.accessibility import controls_in, name_controls, spoken_name
from napari_mri7t.widgets.shared.base import DISCLAIMER, EngineWidget
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR
from napari_mri7t.widgets.shared.docks import dock_of, join_tabs
from napari_mri7t.widgets.shared.job_panel import JobPanel
from napari_mri7t.widgets.shared.labels import FOLDED_LINES, FoldedText, TextLabel
from napari_mri7t.widgets.shared.rows import DONE, Row
from napari_mri7t.widgets.shared.settings import OF_EVALUATION, OF_SYNTHESIS, Memory

pytestmark = pytest.mark.gui

SMALL = (1280, 720)
LONG = "A sentence about a scan that takes more than a line of a narrow widget. " * 6
MANIFEST = PluginManifest.from_file(Path(napari_mri7t.__file__).parent / "napari.yaml")
NAMES = [entry.display_name for entry in MANIFEST.contributions.widgets]


@pytest.fixture
def window(make_napari_viewer, qtbot):
    """A small window on the screen, which opens the plugin's widgets."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(*SMALL)

    def opened(name: str) -> EngineWidget:
        _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", name)
        qtbot.waitUntil(widget.isVisible)
        qtbot.wait(100)
        return widget

    opened.viewer = viewer
    return opened


def test_tab_in_front_has_what_another_widget_left_in_the_memory(window, quick_model, qtbot):
    synthesis, evaluation = window("Synthesize 7T"), window("Evaluate")
    assert len(main_window(evaluation).tabifiedDockWidgets(dock_of(evaluation))) == 1
    Memory().keep(OF_SYNTHESIS, {"chosen_model": str(quick_model)})
    Memory().keep(OF_EVALUATION, {"run": str(quick_model.parent)})
    box = synthesis.model_chooser.box
    for widget in (synthesis, evaluation):
        dock_of(widget).raise_()
        qtbot.wait(100)
    assert quick_model in [box.itemData(n) for n in range(box.count())]
    assert evaluation.asked.run_field.folder == quick_model.parent


def main_window(widget: QWidget) -> QWidget:
    return dock_of(widget).parentWidget()


def cut_off(widget: QWidget) -> list[str]:
    """Return the texts that are less high than their lines."""
    labels = [label for label in widget.findChildren(TextLabel) if label.isVisible()]
    return [x.text() for x in labels if x.wordWrap() and x.height() < x.minimumSizeHint().height()]


def is_in_sight(part: QWidget, widget: EngineWidget) -> bool:
    """Whether a part of the pinned bar is shown whole, below what scrolls."""
    place = QRect(part.mapTo(widget, QPoint(0, 0)), part.size())
    return part.isVisible() and widget.rect().contains(place)


def test_widgets_of_the_plugin_open_as_tabs_of_one_place(window, qtbot, wait_idle):
    widgets = [window(name) for name in NAMES]
    dock, place = dock_of(widgets[-1]), main_window(widgets[-1])
    assert len(place.tabifiedDockWidgets(dock)) == len(NAMES) - 1
    assert widgets[-1].isVisible(), "the last one opened is on top"
    # Qt moves the docks of other tabs out of the window and calls them visible.
    qtbot.waitUntil(lambda: widgets[0].visibleRegion().isEmpty())
    assert not widgets[-1].visibleRegion().isEmpty()
    assert place.height() == SMALL[1], "not even for a moment are two too high together"
    wait_idle()


def test_six_tabs_have_room_for_their_titles_in_a_small_window(window, qtbot, wait_idle):
    widgets = [window(name) for name in NAMES]
    place = main_window(widgets[-1])
    docks = [dock_of(widget) for widget in widgets]
    (bar,) = [bar for bar in place.findChildren(QTabBar) if bar.count() == len(NAMES)]
    last = bar.tabRect(len(NAMES) - 1)
    qtbot.waitUntil(lambda: last.right() < bar.width())
    titles = [bar.tabText(n) for n in range(bar.count())]
    assert titles == ["Synthesize", "Compare", "Simulate", "Pairs", "Train", "Evaluate"]
    assert [dock.toggleViewAction().text() for dock in docks] == NAMES, "the menu has whole names"
    dock_of(widgets[0]).raise_()
    assert "Synthesize 7T" in docks[0].name
    wait_idle()


@pytest.mark.parametrize("plugin", ["napari-mri7t", "Synthesize 7T"])
def test_tab_is_short_however_napari_names_the_plugin(window, plugin):
    """The code opens "Compare (napari-mri7t)", the menu "Compare (Synthesize 7T)"."""
    window("Compare")
    widget = window("Prepare pairs")
    dock = dock_of(widget)
    dock.setWindowTitle(f"Prepare pairs ({plugin})")
    join_tabs(widget, EngineWidget)
    assert dock.windowTitle() == "Pairs"
    assert dock.toggleViewAction().text() == "Prepare pairs"


@pytest.mark.parametrize("n_people", [2, 30])
def test_all_columns_of_the_pairs_are_in_sight_in_a_small_window(window, qtbot, n_people):
    widget = window("Prepare pairs")
    names = [f"sub-{n:03d}" for n in range(n_people)]
    widget.table.show_rows([Row(name, name, DONE, figures=(1.4, 1.3, 0.6)) for name in names])
    view, place = widget.table.view, main_window(widget)
    place.resizeDocks([dock_of(widget)], [100], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: dock_of(widget).width() == dock_of(widget).minimumSizeHint().width())
    qtbot.wait(100)
    columns = range(view.model().columnCount())
    assert not any(view.isColumnHidden(n) for n in columns)
    assert view.horizontalHeader().length() <= view.viewport().width()
    right = view.mapTo(widget, view.rect().topRight()).x()
    assert right < widget.width() < 420, "the canvas keeps its room"


def test_docks_of_others_and_floating_ones_are_left_alone(window, qtbot, wait_idle):
    other = window.viewer.window.add_dock_widget(QPushButton("mine"), name="mine")
    first = window("Compare")
    dock_of(first).setFloating(True)
    second = window("Simulate 3T")
    place = main_window(second)
    assert place.tabifiedDockWidgets(other) == []
    assert place.tabifiedDockWidgets(dock_of(second)) == []
    dock_of(first).setFloating(False)
    wait_idle()


def turn_wheel(field: QWidget) -> None:
    middle = QPointF(field.rect().center())
    none, no_key = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    turn = QWheelEvent(
        middle, QPointF(field.mapToGlobal(middle.toPoint())), QPoint(), QPoint(0, -120),
        none, no_key, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(field, turn)


@pytest.mark.parametrize("name", NAMES)
def test_wheel_over_a_field_scrolls_and_changes_it_only_once_it_was_clicked(
    window, wait_idle, name
):
    widget = window(name)
    wait_idle()
    widget.setFocus()
    fields = [f for kind in (QComboBox, QAbstractSpinBox) for f in widget.findChildren(kind)]
    assert fields
    before = [value_of(field) for field in fields]
    for field in fields:
        turn_wheel(field)
    assert [value_of(field) for field in fields] == before
    assert not [f for f in fields if f.focusPolicy() == Qt.FocusPolicy.WheelFocus]


def test_wheel_turns_a_field_that_has_the_focus(window, wait_idle, monkeypatch):
    widget = window("Simulate 3T")
    wait_idle()
    box = widget.seed_box
    box.setValue(7)
    monkeypatch.setattr(box, "hasFocus", lambda: True)  # no window manager gives it here
    turn_wheel(box)
    assert box.value() == 6


def value_of(field: QWidget) -> object:
    return field.currentIndex() if isinstance(field, QComboBox) else field.text()


def test_buttons_stay_in_place_while_the_line_under_them_changes(window, qtbot, wait_idle):
    widget = window("Evaluate")
    wait_idle()
    panel = widget.panel
    panel.show_status("")
    places = []
    three_lines = "three lines of words that fit neither one nor two of this window's width" * 2
    shown = (
        ("", False),
        ("short", True),
        (three_lines, True),
        ("short", False),
        (three_lines, False),
    )
    for text, is_busy in shown:
        panel.bar.setVisible(is_busy)
        panel.show_status(text)
        qtbot.wait(100)
        places.append(panel.start_button.mapTo(widget, QPoint(0, 0)).y())
    assert len(set(places)) == 1, places


@pytest.mark.parametrize("name", NAMES)
def test_small_window_shows_the_whole_bar_of_actions_and_no_text_is_cut_off(
    window, qtbot, wait_idle, name
):
    widget = window(name)
    wait_idle()
    assert (main_window(widget).width(), main_window(widget).height()) == SMALL
    panel = widget.findChild(JobPanel)
    if panel is not None:
        panel.warn(LONG)
        panel.set_ready(f"Choose another scan. {LONG}")
        qtbot.waitUntil(panel.status.isVisible)
        parts = [part for part in panel.findChildren(QPushButton) if part.isVisible()]
        assert len(parts) >= 2
        for part in (*parts, panel.status):
            qtbot.waitUntil(lambda part=part: is_in_sight(part, widget))
    qtbot.waitUntil(lambda: is_in_sight(widget.disclaimer, widget))
    qtbot.waitUntil(lambda: cut_off(widget) == [])
    assert main_window(widget).height() == SMALL[1], "no text makes the window higher"


@pytest.mark.parametrize("name", NAMES)
def test_disclaimer_is_one_line_and_stands_once(window, wait_idle, name):
    widget = window(name)
    labels = [part for part in widget.findChildren(QLabel) if "iagnosis" in part.text()]
    is_pair = name == "Prepare pairs"  # its scans are real
    line = "For research, not for diagnosis." if is_pair else DISCLAIMER
    assert [label.text() for label in labels if label.isVisible()] == [line]
    assert is_pair or widget.disclaimer.toolTip() == NOTICE
    assert widget.disclaimer.height() < 2 * widget.disclaimer.fontMetrics().lineSpacing() + 6
    assert widget.disclaimer.sizeHint().width() <= widget.disclaimer.width()
    wait_idle()


@pytest.mark.parametrize("name", NAMES)
def test_every_control_has_a_name_for_a_screen_reader(window, wait_idle, name):
    widget = window(name)
    unnamed = [
        (type(part).__name__, part.toolTip())
        for part in controls_in(widget)
        if not spoken_name(part)
    ]
    assert unnamed == []
    wait_idle()


def test_field_made_of_several_controls_is_named_by_its_label(window, wait_idle):
    field = window("Simulate 3T").output_field
    button = field.findChild(QPushButton)
    assert spoken_name(field.line) == "Output folder"
    assert spoken_name(button) == "Output folder: Browse"
    wait_idle()


def test_names_are_given_once(window, wait_idle):
    widget = window("Simulate 3T")
    before = [spoken_name(part) for part in controls_in(widget)]
    name_controls(widget)
    assert [spoken_name(part) for part in controls_in(widget)] == before
    wait_idle()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("kind", [QComboBox, QLineEdit, QPushButton])
def test_focus_shows(make_napari_viewer, qtbot, kind, theme):
    get_settings().appearance.theme = theme
    viewer = make_napari_viewer(show=True)
    widget, control, other = EngineWidget(viewer), kind(), QPushButton("other")
    for part in (control, other):
        widget.column.addWidget(part)
    viewer.window.add_dock_widget(widget, name="frame")
    qtbot.waitUntil(control.isVisible)
    viewer.window._qt_window.activateWindow()
    other.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.wait(50)
    before = control.grab().toImage()
    control.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(control.hasFocus)
    if isinstance(control, QLineEdit):
        control.setReadOnly(True)  # its cursor blinks
    qtbot.wait(50)
    assert control.grab().toImage() != before


def test_long_text_folds_and_its_button_shows_the_rest(qtbot):
    place = QWidget()
    column = QVBoxLayout(place)
    text = FoldedText(LONG)
    column.addWidget(text)
    column.addStretch()
    qtbot.addWidget(place)
    place.resize(300, 500)
    with qtbot.waitExposed(place):
        place.show()
    line = text.label.line_height()
    qtbot.waitUntil(lambda: text.label.height() < (FOLDED_LINES + 1) * line)
    assert (text.label.whole_height() - text.label.height()) % line == 0, "no line is cut in half"
    assert text.text() == LONG
    assert text.button.isVisible()
    text.button.click()
    qtbot.waitUntil(lambda: text.label.height() == text.label.whole_height())
    assert text.button.text() == "Less"
    text.setText("short")
    qtbot.waitUntil(lambda: not text.button.isVisible())


def test_text_keeps_its_lines_in_forms_of_forms_at_every_width(window, qtbot, wait_idle):
    widget = window("Synthesize 7T")
    chooser, label = widget.model_chooser, widget.model_chooser.card_label
    for model in ("watnet", "slice_unet", "watnet"):
        chooser.box.setCurrentIndex(chooser.box.findText(model))
        for width in (430, 350):
            main_window(widget).resizeDocks([dock_of(widget)], [width], Qt.Orientation.Horizontal)
            qtbot.waitUntil(lambda: label.height() == label.whole_height())
            qtbot.waitUntil(lambda: cut_off(widget) == [])
    wait_idle()


def test_folder_that_is_no_model_is_explained_in_full(window, qtbot, wait_idle, tmp_path):
    chooser = window("Synthesize 7T").model_chooser
    folder = tmp_path / ("a_long_name_of_a_folder_" * 4)
    folder.mkdir()
    chooser.add(folder)
    (text,) = chooser.notices.texts(ERROR_COLOUR)
    assert str(folder) in text
    qtbot.waitUntil(lambda: cut_off(chooser) == [])
    wait_idle()


def test_row_of_actions_gives_the_place_of_hidden_ones_to_the_others(window, qtbot, wait_idle):
    widget = window("Simulate 3T")
    panel = widget.panel
    first, second = QPushButton("Save..."), QPushButton("Copy")
    panel.add_buttons(first, second)
    qtbot.waitUntil(first.isVisible)
    width = first.width()
    second.setVisible(False)
    qtbot.waitUntil(lambda: first.width() > width)
    assert is_in_sight(first, widget)
    wait_idle()


def test_last_words_go_with_what_they_are_about_but_not_while_a_job_runs(qtbot):
    panel = JobPanel("Go", "Go there")
    qtbot.addWidget(panel)
    panel.about("one scan")
    panel.conclude("Done: one scan")
    panel.warn("it is coarse")
    panel.about("one scan")
    assert panel.status.text() == "Done: one scan"
    assert panel.notices.texts() == ["it is coarse"]
    panel.job = object()
    panel.about("another scan")
    assert panel.notices.texts() == ["it is coarse"]
    panel.job = None
    panel.about("a third scan")
    assert panel.status.text() == ""
    assert panel.notices.texts() == []


def test_reason_that_stands_as_an_error_is_not_said_twice(qtbot):
    panel = JobPanel("Go", "Go there")
    qtbot.addWidget(panel)
    panel.fail("the scan is empty")
    panel.set_ready("the scan is empty")
    assert panel.status.text() == ""
    assert "the scan is empty" in panel.start_button.toolTip()


def test_simulate_forgets_what_it_said_of_another_layer(window, wait_idle):
    viewer = window.viewer
    first = viewer.add_image(np.zeros((4, 5, 6), np.float32), name="first")
    viewer.add_image(np.zeros((4, 5, 6), np.float32), name="second")
    widget = window("Simulate 3T")
    widget.panel.conclude("Done: second_pseudo-3T")
    widget.panel.warn("it is empty")
    widget.layer_chooser.layer = first
    assert widget.panel.status.text() == ""
    assert widget.panel.notices.texts() == []
    wait_idle()


class Windows(QObject):
    """Names the widgets that are shown as windows of their own."""

    def __init__(self):
        super().__init__()
        self.shown: list[str] = []

    def eventFilter(self, watched, event):  # noqa: N802
        if event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow():
            self.shown.append(f"{type(watched).__name__} {watched.objectName()}".strip())
        return False


@pytest.mark.parametrize("name", NAMES)
def test_no_part_of_a_widget_flashes_up_as_a_window_of_its_own(window, qtbot, wait_idle, name):
    viewer, windows = window.viewer, Windows()
    QApplication.instance().installEventFilter(windows)
    widget = window(name)
    for n in range(2):
        viewer.add_image(np.zeros((4, 5, 6), np.float32), name=f"volume {n}")
    panel = widget.findChild(JobPanel)
    if panel is not None:
        panel.warn(LONG)
    qtbot.wait(100)
    viewer.layers.clear()
    wait_idle()
    qtbot.wait(100)
    QApplication.instance().removeEventFilter(windows)
    assert windows.shown == []
