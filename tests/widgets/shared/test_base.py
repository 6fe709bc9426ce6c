"""What every widget has in common: what scrolls, and what stays in sight."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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


def test_messages_of_progress_begin_in_lower_case():
    """The panel begins its line with a capital; on the command line they stand behind a title."""
    capital = re.compile(r'Progress\([^()"]*f?"[A-Z][a-z]')
    sources = Path(napari_mri7t.__file__).parent.rglob("*.py")
    found = {path.name: capital.findall(path.read_text(encoding="utf-8")) for path in sources}
    assert {name: messages for name, messages in found.items() if messages} == {}
