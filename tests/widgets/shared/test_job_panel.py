"""The bar of actions: what it says goes with what it is about."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtTest import QTest

from napari_mri7t.widgets.shared import job_panel
from napari_mri7t.widgets.shared.job_panel import FAILED, JobPanel
from napari_mri7t.widgets.shared.worker import Job

pytestmark = pytest.mark.gui


class Action(QObject):
    done = Signal(str)
    failed = Signal(str)


@pytest.fixture
def panel(qtbot):
    panel = JobPanel("Synthesize", "Make it")
    qtbot.addWidget(panel)
    return panel


def test_the_success_of_an_action_takes_its_own_failures_away(panel):
    save, copy = Action(), Action()
    for action in (save, copy):
        panel.hear(action.done, action.failed)
    save.failed.emit("the folder does not exist")
    copy.failed.emit("the layer is in no file")
    assert panel.notices.texts() == ["the folder does not exist", "the layer is in no file"]
    save.done.emit("Saved: brain.nii.gz")
    assert panel.notices.texts() == ["the layer is in no file"]
    assert panel.status.text().replace("\u200b", "") == "Saved: brain.nii.gz"


def test_a_failure_leaves_no_earlier_success_on_the_line_in_sight(panel):
    save = Action()
    panel.hear(save.done, save.failed)
    save.done.emit("Saved: brain.nii.gz")
    save.failed.emit("the folder does not exist")
    assert panel.status.text() == FAILED
    panel.notices.clear()
    panel.set_ready(None)
    assert panel.status.text() == "", "it goes with the reason"


def test_a_success_may_be_shown_as_a_note(panel):
    export = Action()
    panel.hear(export.done, export.failed, panel.inform)
    export.done.emit("Exported: model")
    assert panel.notices.texts() == ["Exported: model"]
    assert panel.status.text() == ""


def test_a_layer_that_the_line_names_keeps_its_name_there(panel):
    from napari.layers import Image

    first, second = (Image(np.eye(2), name=name) for name in ("first", "second"))
    panel.conclude("Done: layer ", first)
    first.name = "better"
    assert panel.status.text().replace("\u200b", "") == "Done: layer better"
    panel.conclude("Done: layer ", second)
    first.name = "best"
    assert panel.status.text().replace("\u200b", "") == "Done: layer second"
    panel.conclude("Cancelled")
    second.name = "other"
    assert panel.status.text() == "Cancelled"


def test_a_released_panel_follows_no_layer(panel):
    from napari.layers import Image

    layer = Image(np.eye(2), name="first")
    panel.conclude("Done: layer ", layer)
    panel.release()
    layer.name = "second"
    assert panel.status.text().replace("\u200b", "") == "Done: layer first"


def test_no_time_is_told_while_nothing_moves(panel, monkeypatch):
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr(job_panel.time, "monotonic", lambda: next(now))
    told = [panel._time_left(done, 100) for done in (0, 0, 10, 20, 20, 20, 30)]
    assert told == ["", "", "", ", about 80 s left", "", "", ", about 2 min left"]


def test_time_left_does_not_count_the_slow_start(panel, monkeypatch):
    now = iter((0, 60, 61, 62))  # the first slice takes a minute, the others a second
    monkeypatch.setattr(job_panel.time, "monotonic", lambda: next(now))
    told = [panel._time_left(done, 32) for done in (0, 1, 2, 3)]
    assert told == ["", "", ", about 30 s left", ", about 29 s left"]


def test_line_under_the_buttons_takes_the_same_room_empty_and_in_three_lines(panel, qtbot):
    panel.setStyleSheet("QLabel { padding: 2px }")  # napari's themes have one
    panel.resize(340, 300)
    panel.show()
    qtbot.wait(20)
    heights = {panel.sizeHint().height()}
    for text in ("", "short", "one\ntwo\nthree"):
        panel.show_status(text)
        qtbot.wait(20)
        heights.add(panel.sizeHint().height())
    assert len(heights) == 1, heights


def test_the_space_bar_does_not_cancel_what_it_has_started(panel, qtbot, wait_idle):
    held = threading.Event()
    panel.show()
    panel.activateWindow()
    panel.set_ready(None)
    panel.start_button.setFocus()
    qtbot.waitUntil(panel.start_button.hasFocus)
    panel.follow(job := Job("work", lambda report: held.wait(20), quiet=True))
    job.start()
    qtbot.waitUntil(panel.hasFocus)
    QTest.keyClick(panel, Qt.Key.Key_Space)
    assert not job.is_cancelling
    panel.cancel_button.setFocus()
    QTest.keyClick(panel.cancel_button, Qt.Key.Key_Space)
    assert job.is_cancelling
    assert panel.hasFocus(), "and on no button that would do something else"
    held.set()
    wait_idle()
    qtbot.waitUntil(panel.start_button.hasFocus)


def test_a_line_is_amended_only_while_it_stands(panel):
    panel.conclude("one")
    panel.amend("one", "two")
    assert panel.status.text().replace("\u200b", "") == "two"
    panel.amend("one", "three")
    assert panel.status.text().replace("\u200b", "") == "two"
