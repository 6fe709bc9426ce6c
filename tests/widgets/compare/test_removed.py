"""A layer is removed while a grid shows it: napari draws on, in a real window."""

import subprocess
import sys

import pytest

#: A driver that uses what is deleted kills the process: it needs one of its own.
SCRIPT = """
import faulthandler, os, sys, tempfile, time
faulthandler.enable()
os.environ["NAPARI_CONFIG"] = tempfile.mkdtemp() + "/settings.yaml"
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp()
import napari
import numpy as np
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication

from napari_mri7t.widgets.compare.views import CompareViews

def settle(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)

viewer = napari.Viewer()
viewer.window.resize(900, 600)
views = CompareViews(viewer)
viewer.layers.events.removed.connect(lambda event: views.leave())
for turn in range(int(sys.argv[1])):
    for view in ("Side by side", "Three planes"):
        for is_hidden in (False, True):
            for removed in (0, 1):
                viewer.layers.clear()
                pair = [viewer.add_image(np.random.rand(40, 48, 40)) for n in range(2)]
                settle(0.1)
                views.show(view, *pair)
                settle(0.2)
                if is_hidden and view == "Side by side":
                    pair[removed].visible = False
                    settle(0.1)
                viewer.layers.remove(pair[removed])
                for n in range(2):
                    viewer.dims.set_current_step(0, n)
                    settle(0.1)
                assert views.view == "Single view"
print("drawn to the end")
os._exit(0)
"""


@pytest.mark.gui
def test_layer_removed_from_a_grid_does_not_end_napari():
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, "1"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.stdout.strip().endswith("drawn to the end"), ended.stderr
    assert ended.returncode == 0
