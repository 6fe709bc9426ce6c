"""Viewers closed at random moments of a job: no thread, no half-written file, a sound end.

`make closings` closes 50; MRI7T_CLOSINGS says how many.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from napari_mri7t.engine.volumes.volume import load_volume

#: From the close of a viewer to the end of its last thread; most of it is room for a busy machine.
MOST_SECONDS = 120

PROGRAM = """
import json, sys, threading, time
from collections import Counter
from pathlib import Path
import napari
import numpy as np
from qtpy.QtCore import QThreadPool
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from napari_mri7t.engine.volumes.volume import Volume, load_volume
from napari_mri7t.widgets.evaluate.fields import TWO_LAYERS
from napari_mri7t.widgets.layers.layers import volume_to_layer
from napari_mri7t.widgets.shared.worker import running_jobs
from napari_mri7t.widgets.simulate.widget import FOLDER
from napari_mri7t.widgets.synthesize import fields as synthesis_fields
source, model, output = map(Path, sys.argv[1:4])
n_viewers, most_seconds = map(int, sys.argv[4:6])
scan = load_volume(next(source.iterdir()))
large = Volume(np.tile(scan.array, (2, 2, 3)), scan.affine)  # to be caught in the middle
rng, in_mid_job, slowest = np.random.default_rng(0), Counter(), 0.0
NUMBERS = {"n_steps": "100000", "batch_size": "2", "patch_size": "16", "precision": "float32"}

def wait(is_over, seconds, what):
    end = time.monotonic() + seconds
    while not is_over():
        assert time.monotonic() < end, f"{what}: {our_threads()}"
        QApplication.processEvents()
        time.sleep(0.005)

def our_threads():
    pool = QThreadPool.globalInstance().activeThreadCount()
    named = [t.name for t in threading.enumerate() if t.name.startswith("mri7t-")]
    timers = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    return named + [str(t) for t in timers] + ["of the pool"] * pool

def dock(viewer, name):
    return viewer.window.add_plugin_dock_widget("napari-mri7t", name)[1]

def add(viewer, volume, name):
    data, meta, _ = volume_to_layer(volume, name=name)
    viewer.add_image(data, **meta)

def synthesize_a_layer(viewer, folder):
    widget = dock(viewer, "Synthesize 7T")
    widget.model_chooser.add(model)
    add(viewer, scan, "scan")
    return widget

def synthesize_a_folder(viewer, folder):
    widget = dock(viewer, "Synthesize 7T")
    widget.model_chooser.add(model)
    widget.source.mode_box.setCurrentText(synthesis_fields.FOLDER)
    widget.source.folder_field.folder = source
    widget.source.output_field.folder = folder
    return widget

def simulate_a_layer(viewer, folder):
    widget = dock(viewer, "Simulate 3T")
    add(viewer, large, "scan")
    return widget

def simulate_a_folder(viewer, folder):
    widget = dock(viewer, "Simulate 3T")
    widget.mode_box.setCurrentText(FOLDER)
    widget.folder_field.folder = source
    widget.output_field.folder = folder
    return widget

def evaluate_layers(viewer, folder):
    widget = dock(viewer, "Evaluate")
    for name, array in (("estimate", 0.9 * large.array), ("7T", large.array)):
        add(viewer, large.with_array(array), name)
    widget.asked.of_box.setCurrentText(TWO_LAYERS)
    return widget

def train(viewer, folder):
    widget = dock(viewer, "Train")
    widget.dataset_field.folder = source
    widget.run_field.folder = folder
    wait(widget.folds.count, 120, "the dataset was not read")
    wait(lambda: not running_jobs(), 120, "the dataset was not read")
    widget.recipe.network_box.setCurrentText("basic_cnn")
    for name, text in NUMBERS.items():
        widget.recipe.set_setting(name, text)
    widget.folds.choose([0])
    return widget

KINDS = (synthesize_a_layer, synthesize_a_folder, simulate_a_layer, simulate_a_folder,
         evaluate_layers, train)
for n in range(n_viewers):
    kind = KINDS[n % len(KINDS)]
    viewer = napari.Viewer(show=True)
    widget = kind(viewer, output / f"{kind.__name__}-{n}")
    assert widget.panel.start_button.isEnabled(), (kind.__name__, widget.panel.status.text())
    widget.start()
    QTest.qWait(int(rng.integers(0, 1500)))
    in_mid_job[kind.__name__] += bool(running_jobs())
    closed = time.monotonic()
    viewer.close()
    wait(lambda: not running_jobs() and not our_threads(), most_seconds, kind.__name__)
    slowest = max(slowest, time.monotonic() - closed)
print("CLOSED", json.dumps({"in_mid_job": in_mid_job, "slowest_s": slowest}))
"""


def close_often(n_viewers, source, model, folder) -> dict:
    """Run the program; tell how many viewers were closed while a job ran, and the slowest end."""
    program = [sys.executable, "-c", PROGRAM, source, model, folder / "out", n_viewers]
    home = {"HOME": str(folder / "home"), "XDG_CONFIG_HOME": str(folder / "home")}
    ran = subprocess.run(
        [str(word) for word in (*program, MOST_SECONDS)],
        capture_output=True,
        text=True,
        env=os.environ | home,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout.split("CLOSED")[1])


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
    told = close_often(n_viewers, source, quick_model, tmp_path)
    n_in_mid_job = sum(told["in_mid_job"].values())
    assert n_in_mid_job > 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path for path in files if ".mri7t-" in path.name] == []
    images = [path for path in files if path.name.endswith(".nii.gz")]
    for image in images:
        assert load_volume(image).shape == (40, 48, 32)
        assert image.with_name(image.name.replace(".nii.gz", ".json")) in files
    with capsys.disabled():
        text = f"{n_viewers} viewers closed, {n_in_mid_job} in mid-job {told['in_mid_job']}"
        end = f"{told['slowest_s']:.1f} s to the end of the last thread"
        sys.stdout.write(f"\n{text}; {len(images)} whole images; at most {end}\n")
