"""The interpreter ends while a job runs: it waits for the thread, and does not abort."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys, time
import napari
from qtpy.QtWidgets import QApplication
from napari_mri7t.engine.progress import Progress
from napari_mri7t.widgets.shared.worker import Job

def endless(report):
    step = 0
    while True:
        time.sleep(0.05)
        step += 1
        report(Progress(step, 0, "working"))

viewer = napari.Viewer(show=False)
job = Job("Endless", endless, quiet=True)
job.start()
deadline = time.monotonic() + 120
while job.last is None and time.monotonic() < deadline:
    QApplication.processEvents()
assert job.last is not None, "the job never began"
viewer.close()
"""


@pytest.mark.gui
def test_fault_35_interpreter_that_ends_in_mid_job_exits_cleanly():
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "deleted" not in ended.stderr
