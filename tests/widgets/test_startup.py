"""What opening a widget for the first time does in the window's thread: nothing that takes long."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

#: Each takes a second or more to import, or to compute with.
HEAVY = {"torch", "deepbet", "SimpleITK", "nilearn", "skimage", "dask", "distributed", "monai"}
LARGE = (".nii", ".gz", ".mgz", ".safetensors", ".pt", ".npy", ".npz")  # volumes, weights

PROGRAM = """
import json, os, sys, threading, traceback
import napari
from npe2 import PluginManager
viewer = napari.Viewer(show=False)
manifest = PluginManager.instance().get_manifest("napari-mri7t")
main, imported, opened, watching = threading.get_ident(), set(), set(), True

def watch(event, arguments):
    if not watching or threading.get_ident() != main:
        return
    if event == "import":
        imported.add(arguments[0])
    elif event == "open" and isinstance(arguments[0], str):
        opened.add(arguments[0])

sys.addaudithook(watch)
names = []
for widget in manifest.contributions.widgets:
    viewer.window.add_plugin_dock_widget("napari-mri7t", widget.display_name)
    napari.qt.get_qapp().processEvents()
    names.append(widget.display_name)
watching = False
print("FOUND", json.dumps([names, sorted(imported), sorted(opened)]), flush=True)
os._exit(0)  # what the widgets load in threads is not waited for
"""


@pytest.mark.gui
@pytest.mark.skipif(
    sys.platform == "linux" and not os.environ.get("DISPLAY"), reason="needs a display"
)
def test_opening_a_widget_loads_nothing_heavy_in_the_window_s_thread():
    """In a fresh process: nothing is imported yet."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("FOUND")]
    names, imported, opened = json.loads(line.removeprefix("FOUND"))
    assert len(names) >= 5
    assert {name.partition(".")[0] for name in imported} & HEAVY == set()
    assert [path for path in opened if path.endswith(LARGE)] == []
    assert any(path.endswith("card.json") for path in opened), "the watch sees what is opened"
