"""The line that says how long work takes: each kind is measured once."""

from __future__ import annotations

import pytest

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.widgets.shared.time_label import TimeLabel

pytestmark = pytest.mark.gui


@pytest.fixture
def measured() -> list[str]:
    return []


@pytest.fixture
def label(qtbot, measured) -> TimeLabel:
    def measure(kind: str) -> tuple[str, float]:
        measured.append(kind)
        if kind == "broken":
            raise Mri7tError("cannot be measured")
        return kind, 2.0

    label = TimeLabel("Measure", measure)
    qtbot.addWidget(label)
    return label


def test_kind_that_is_asked_about_again_is_not_measured_again(label, measured, wait_idle):
    for count in (1, 2, 3):
        label.tell("slices", lambda pace, count=count: f"{count * pace:g} s")
    wait_idle()
    assert (label.text(), measured) == ("6 s", ["slices"])
    label.tell("slices", lambda pace: f"{10 * pace:g} s")
    assert label.text() == "20 s"
    label.tell(None)
    assert label.isHidden()


def test_kind_that_cannot_be_measured_has_no_line_and_another_one_has(label, measured, wait_idle):
    for _ in range(2):
        label.tell("broken")
        wait_idle()
    assert (label.text(), measured) == ("", ["broken"])
    label.tell("slices")
    wait_idle()
    assert label.text() == "2.0"
