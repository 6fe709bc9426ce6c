"""Faults where a window is: no memory, a viewer closed in mid-job, errors and warnings in a job."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest
import torch

from napari_mri7t.engine.errors import Mri7tWarning, VolumeError
from napari_mri7t.widgets.worker import Job, Step, running_jobs

CPU_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 GB")


def outcome_of(qtbot, make):
    """Run a job; gives what it told, in order."""
    told = []
    job = Job("Synthesis", make)
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
    def make():
        yield Step(1, 2, "slices")
        raise error

    ((kind, text),) = outcome_of(qtbot, make)
    assert kind == "failed"
    assert "memory" in text


@pytest.mark.parametrize(
    "error", [VolumeError("a.nii: is empty: copy it again"), RuntimeError("?")]
)
def test_fault_36_error_inside_a_worker_is_told_once(qtbot, error):
    def make():
        yield Step(1, 2, "slices")
        raise error

    ((kind, text),) = outcome_of(qtbot, make)
    assert kind == "failed"
    assert str(error) in text


def test_fault_36_warning_inside_a_worker_is_told_and_the_work_goes_on(qtbot):
    def make():
        warnings.warn("voxels of 3 mm", Mri7tWarning, stacklevel=1)
        yield Step(1, 1, "slices")
        return "done"

    assert outcome_of(qtbot, make) == [("warned", "voxels of 3 mm"), ("succeeded", "done")]


CLOSED_IN_MID_JOB = """
import sys, time
from pathlib import Path
import napari
from qtpy.QtCore import QTimer
from napari_mri7t.engine.volume import load_volume
from napari_mri7t.widgets.layers import volume_to_layer
path, model, wait_ms = sys.argv[1:]
viewer = napari.Viewer(show=True)
data, meta, _ = volume_to_layer(load_volume(path))
viewer.add_image(data, **meta)
_, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
widget.model_chooser.add(Path(model))
widget.start()
QTimer.singleShot(int(wait_ms), viewer.close)
napari.run()
deadline = time.monotonic() + 20
from napari_mri7t.widgets.worker import running_jobs
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
