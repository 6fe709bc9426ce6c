"""Viewers closed at random moments of a job: no thread, no half-written file, a sound end.

`make closings` closes 50; MRI7T_CLOSINGS says how many.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from napari_mri7t.engine.volume import load_volume

PROGRAM = """
import sys, threading
from pathlib import Path
import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from napari_mri7t.engine.volume import load_volume
from napari_mri7t.widgets.layers import volume_to_layer
from napari_mri7t.widgets.synthesis_fields import FOLDER
from napari_mri7t.widgets.worker import running_jobs
source, model, output, n_viewers = (*map(Path, sys.argv[1:4]), int(sys.argv[4]))
scan = load_volume(next(source.iterdir()))
rng, in_mid_job = np.random.default_rng(0), 0
for n in range(n_viewers):
    viewer = napari.Viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    widget.model_chooser.add(model)
    if n % 2:  # half of them write files
        widget.source.mode_box.setCurrentText(FOLDER)
        widget.source.folder_field.folder = source
        widget.source.output_field.folder = output / str(n)
    else:
        data, meta, _ = volume_to_layer(scan)
        viewer.add_image(data, **meta)
    widget.start()
    QTest.qWait(int(rng.integers(0, 1500)))
    in_mid_job += bool(running_jobs())
    viewer.close()
    while running_jobs():
        QApplication.processEvents()
print("IN MID-JOB", in_mid_job)
"""


def close_often(n_viewers, source, model, folder) -> int:
    """Run the program; give how many viewers were closed while a job ran."""
    program = [sys.executable, "-c", PROGRAM, source, model, folder / "out", n_viewers]
    home = {"HOME": str(folder / "home"), "XDG_CONFIG_HOME": str(folder / "home")}
    ran = subprocess.run(
        [str(word) for word in program], capture_output=True, text=True, env=os.environ | home
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return int(ran.stdout.split("IN MID-JOB")[1])


@pytest.mark.slow
@pytest.mark.gui
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    sys.platform == "linux" and not os.environ.get("DISPLAY"), reason="needs a display"
)
def test_viewers_closed_in_mid_job_leave_whole_files_only(
    phantom_file, quick_model, tmp_path, capsys
):
    n_viewers = int(os.environ.get("MRI7T_CLOSINGS", "6"))
    source = tmp_path / "scans"
    source.mkdir()
    for name in ("a", "b", "c", "d"):
        (source / f"{name}.nii.gz").write_bytes(phantom_file.read_bytes())
    in_mid_job = close_often(n_viewers, source, quick_model, tmp_path)
    assert in_mid_job > 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path for path in files if ".mri7t-" in path.name] == []
    images = [path for path in files if path.name.endswith(".nii.gz")]
    for image in images:
        assert load_volume(image).shape == (40, 48, 32)
        assert image.with_name(image.name.replace(".nii.gz", ".json")) in files
    with capsys.disabled():
        text = f"{n_viewers} viewers closed, {in_mid_job} in mid-job; {len(images)} whole images"
        sys.stdout.write(f"\n{text}\n")
