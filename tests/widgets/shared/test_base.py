"""What every widget has in common: what scrolls, and what stays in sight."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

import napari_mri7t
from napari_mri7t.widgets.evaluate.widget import EvaluateWidget
from napari_mri7t.widgets.simulate.widget import SimulateWidget
from napari_mri7t.widgets.synthesize.widget import SynthesizeWidget
from napari_mri7t.widgets.train.widget import TrainWidget

pytestmark = pytest.mark.gui


@pytest.mark.parametrize("kind", [EvaluateWidget, SimulateWidget, SynthesizeWidget, TrainWidget])
def test_start_cancel_and_errors_are_in_sight_of_a_low_window(
    make_napari_viewer, qtbot, wait_idle, kind
):
    widget = kind(make_napari_viewer())
    qtbot.addWidget(widget)
    widget.resize(widget.minimumSizeHint())
    with qtbot.waitExposed(widget):
        widget.show()
    panel = widget.panel
    assert widget.body.height() > widget.height(), "the fields scroll"
    for part in (panel.start_button, panel.cancel_button):
        assert part.visibleRegion().boundingRect() == part.rect()
    for number in range(3):
        panel.notices.add(f"warning {number}: " + "many words that need several lines " * 5, "#888")
    panel.fail("the scan is empty")
    error = panel.notices.newest
    assert error.plain_text == "the scan is empty"
    qtbot.waitUntil(lambda: error.visibleRegion().boundingRect() == error.rect())
    wait_idle()


ENDS, GOES_ON = "{} closed, run cancelled.", "{} closed, training continues."
OF_NAMES = {  # Compare runs nothing
    "Synthesize 7T": ENDS,
    "Simulate 3T": ENDS,
    "Prepare pairs": ENDS,
    "Evaluate": ENDS,
    "Train": GOES_ON,
}


def texts_of_closing(dock) -> list[str]:
    """Click on the x of a dock in the real window; return what napari tells the user."""
    notification_manager.records.clear()
    QTest.mouseClick(dock.title.close_button, Qt.MouseButton.LeftButton)
    return [record.message for record in notification_manager.records]


@pytest.mark.parametrize("name", OF_NAMES)
def test_a_widget_that_is_closed_says_what_becomes_of_its_run(
    make_napari_viewer, run_until, wait_idle, name
):
    viewer = make_napari_viewer(show=True)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", name)
    wait_idle()
    job, may_end = run_until(widget)
    assert texts_of_closing(dock) == [OF_NAMES[name].format(name)]
    assert job.is_cancelling == (OF_NAMES[name] is ENDS)
    may_end.set()
    wait_idle()


@pytest.mark.parametrize("name", ["Evaluate", "Compare"])
def test_a_widget_that_is_closed_without_a_run_says_nothing(make_napari_viewer, wait_idle, name):
    viewer = make_napari_viewer(show=True)
    dock, _ = viewer.window.add_plugin_dock_widget("napari-mri7t", name)
    wait_idle()
    assert texts_of_closing(dock) == []


def test_messages_of_progress_begin_in_lower_case():
    """The panel begins its line with a capital; on the command line they stand behind a title."""
    capital = re.compile(r'Progress\([^()"]*f?"[A-Z][a-z]')
    sources = Path(napari_mri7t.__file__).parent.rglob("*.py")
    found = {path.name: capital.findall(path.read_text(encoding="utf-8")) for path in sources}
    assert {name: messages for name, messages in found.items() if messages} == {}
