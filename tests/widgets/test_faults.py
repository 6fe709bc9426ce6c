"""Faults where a window is: no memory, a viewer closed in mid-job, errors and warnings in a job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from napari_mri7t.engine.errors import Mri7tWarning, VolumeError
from napari_mri7t.engine.networks.unet import SliceUNet
from napari_mri7t.engine.progress import Progress
from napari_mri7t.engine.synthesis import synthesize
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.widgets.layers.layers import KEY, volume_to_layer
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR, WARNING_COLOUR
from napari_mri7t.widgets.shared.worker import Job, running_jobs

CPU_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 GB")


def outcome_of(qtbot, work):
    """Run a job; return its signals, in order."""
    told = []
    job = Job("Synthesis", work)
    job.warned.connect(lambda text: told.append(("warned", text)))
    job.failed.connect(lambda text: told.append(("failed", text)))
    job.succeeded.connect(lambda result: told.append(("succeeded", result)))
    ended = []
    job.ended.connect(lambda: ended.append(True))
    job.start()
    qtbot.waitUntil(lambda: bool(ended), timeout=30_000)
    assert running_jobs() == []
    return told


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), CPU_MEMORY]
)
def test_fault_30_lack_of_memory_in_a_job_is_told(qtbot, error):
    def work(report):
        report(Progress(1, 2, "slices"))
        raise error

    ((kind, text),) = outcome_of(qtbot, work)
    assert kind == "failed"
    assert "memory" in text


@pytest.mark.parametrize(
    "error", [VolumeError("a.nii: is empty: copy it again"), RuntimeError("?")]
)
def test_fault_36_error_inside_a_worker_is_told_once(qtbot, error):
    def work(report):
        report(Progress(1, 2, "slices"))
        raise error

    ((kind, text),) = outcome_of(qtbot, work)
    assert kind == "failed"
    assert str(error) in text


def test_fault_36_warning_inside_a_worker_is_told_and_the_work_goes_on(qtbot):
    def work(report):
        warnings.warn("voxels of 3 mm", Mri7tWarning, stacklevel=1)
        report(Progress(1, 1, "slices"))
        return "done"

    assert outcome_of(qtbot, work) == [("warned", "voxels of 3 mm"), ("succeeded", "done")]


@pytest.fixture
def widget(make_napari_viewer, quick_model):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    widget.model_chooser.add(quick_model)
    return widget


def add(widget, volume):
    data, meta, _ = volume_to_layer(volume)
    return widget.viewer.add_image(data, **meta)


@pytest.fixture
def brain(phantom):
    """A part of the phantom, few slices: quick."""
    return Volume(phantom.array[8:32, 8:40, 10:20], phantom.affine, name="phantom")


@pytest.mark.gui
def test_fault_28_nan_painted_into_a_layer_is_background_and_told(widget, brain, wait_idle):
    layer = add(widget, brain)
    layer.data = np.where(layer.data == layer.data.max(), np.nan, layer.data)
    widget.start()
    wait_idle()
    assert np.isfinite(widget.viewer.layers[-1].data).all()
    assert any("NaN" in text for text in widget.panel.notices.texts(WARNING_COLOUR))


@pytest.mark.gui
def test_fault_29_not_a_number_in_half_precision_never_becomes_a_layer(
    widget, brain, wait_idle, monkeypatch
):
    forward = SliceUNet.forward

    def overflowing(self, x):
        return forward(self, x) * (float("nan") if torch.is_autocast_enabled("cpu") else 1)

    monkeypatch.setattr(SliceUNet, "forward", overflowing)
    monkeypatch.setattr(synthesize, "resolve_precision", lambda *_: torch.bfloat16)
    add(widget, brain)
    widget.start()
    wait_idle()
    estimate = widget.viewer.layers[-1]
    assert np.isfinite(estimate.data).all()
    assert estimate.metadata[KEY]["provenance"]["Precision"] == "float32"
    shown = widget.panel.notices.texts(WARNING_COLOUR)
    assert any("bfloat16 overflowed" in text for text in shown)


@pytest.mark.gui
def test_fault_30_lack_of_memory_is_shown_and_leaves_no_layer(
    widget, brain, wait_idle, monkeypatch
):
    def greedy(*_):
        raise CPU_MEMORY

    monkeypatch.setattr(SliceUNet, "forward", greedy)
    add(widget, brain)
    widget.start()
    wait_idle()
    (text,) = widget.panel.notices.texts(ERROR_COLOUR)
    assert "out of memory on the CPU" in text
    assert [layer.name for layer in widget.viewer.layers] == ["phantom"]
    assert widget.panel.start_button.isEnabled()


OFFLINE = """
import sys
opened = []

def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):  # a name, of X11, is no tuple
        opened.append(arguments[1])

sys.addaudithook(watch)
from pathlib import Path
import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from napari_mri7t.widgets.io.reader import read
from napari_mri7t.widgets.shared.worker import running_jobs
path, model = sys.argv[1:]
viewer = napari.Viewer(show=False)
((data, meta, _),) = read(path)
viewer.add_image(data, **meta)
_, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
widget.model_chooser.add(Path(model))
widget.start()
while running_jobs():
    QApplication.processEvents()
assert len(viewer.layers) == 2, widget.panel.notices.texts()
viewer.close()
assert not opened, opened
"""


@pytest.mark.gui
@pytest.mark.skipif(
    sys.platform == "linux" and not os.environ.get("DISPLAY"), reason="needs a display"
)
def test_fault_38_synthesis_in_a_viewer_needs_no_network(phantom_file, quick_model, tmp_path):
    """The screen's own socket is a file, which a namespace without a network leaves there."""
    alone = ["unshare", "-rn"] if shutil.which("unshare") else []
    if alone and subprocess.run([*alone, "true"], capture_output=True).returncode:
        alone = []  # not permitted: then the count of sockets alone must do
    home = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "home")}
    program = [*alone, sys.executable, "-c", OFFLINE, str(phantom_file), str(quick_model)]
    ran = subprocess.run(
        program, capture_output=True, text=True, timeout=250, env=os.environ | home
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


CLOSED_IN_MID_JOB = """
import sys, time
from pathlib import Path
import napari
from qtpy.QtCore import QTimer
from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.widgets.layers.layers import volume_to_layer
path, model, wait_ms = sys.argv[1:]
viewer = napari.Viewer(show=True)
data, meta, _ = volume_to_layer(load_volume(path))
viewer.add_image(data, **meta)
_, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
widget.model_chooser.add(Path(model))
widget.start()
QTimer.singleShot(int(wait_ms), viewer.close)
napari.run()
deadline = time.monotonic() + 120
from napari_mri7t.widgets.shared.worker import running_jobs
while running_jobs() and time.monotonic() < deadline:
    from qtpy.QtWidgets import QApplication
    QApplication.processEvents()
assert not running_jobs(), running_jobs()
"""


@pytest.mark.gui
@pytest.mark.skipif(
    sys.platform == "linux" and not os.environ.get("DISPLAY"), reason="needs a display"
)
def test_fault_35_viewer_closed_in_mid_job_ends_the_process_soundly(
    phantom_file, slow_model, tmp_path
):
    """A whole process: exit code 0, no file, no thread that holds it."""
    program = [sys.executable, "-c", CLOSED_IN_MID_JOB, str(phantom_file), str(slow_model), "600"]
    home = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "home")}
    ran = subprocess.run(
        program, capture_output=True, text=True, timeout=200, env=os.environ | home
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    left = {name for name in os.listdir(tmp_path) if name != "home"}
    assert left == {phantom_file.name}
