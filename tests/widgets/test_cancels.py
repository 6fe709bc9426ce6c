"""Cancels in a real viewer at random moments: a soon end, no layer, no part of a file, no thread.

The full number runs under `make cancels`; MRI7T_CANCELS says how many.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import numpy as np
import pytest

from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume
from napari_mri7t.widgets.layers.layers import volume_to_layer
from napari_mri7t.widgets.synthesize.fields import FOLDER
from napari_mri7t.widgets.synthesize.widget import SynthesizeWidget

pytestmark = pytest.mark.gui

MOST_SECONDS = 2.0  # a promise of the manual, measured by hand: `make cancels`
LATEST_MS = 100  # far below what the shortest of these jobs takes on an idle machine
N_SCANS = 40  # of a folder: more than are done by then


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def widget(viewer) -> SynthesizeWidget:
    return viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")[1]


@pytest.fixture
def cancel_often(widget, qtbot, wait_idle):
    """Start and cancel a number of times: gives the seconds from each click to the end.

    A job that had ended before the click counts for nothing.
    """

    def cancel(n_cancels, check) -> list[float]:
        rng, seconds = np.random.default_rng(0), []
        before = {thread.name for thread in threading.enumerate()}

        def left() -> list[str]:
            now = {thread.name for thread in threading.enumerate()} - before
            return [name for name in now if name.startswith("mri7t-")]

        for _ in range(n_cancels):
            widget.start()
            assert widget.panel.job is not None, widget.panel.status.text()
            qtbot.wait(int(rng.integers(0, LATEST_MS)))
            if widget.panel.job is not None:
                clicked = time.monotonic()
                widget.panel.cancel_button.click()
                qtbot.waitUntil(lambda: widget.panel.job is None)
                seconds.append(time.monotonic() - clicked)
                assert widget.panel.status.text().startswith("Cancelled")
            wait_idle()
            qtbot.waitUntil(lambda: not left())  # the end of an import that was cancelled
            check()
        return seconds

    return cancel


@pytest.fixture
def cancel_layers(widget, viewer, phantom, slow_model, cancel_often):
    """Cancel syntheses of a layer of 80 x 96 x 96 voxels, unprepared, longer than any waits."""
    volume = Volume(np.tile(phantom.array, (2, 2, 3)), phantom.affine, name="large")
    data, meta, _ = volume_to_layer(volume)
    viewer.add_image(data, **meta)
    widget.model_chooser.add(slow_model)
    modes = widget.preparation.mode_box
    modes.setCurrentIndex(modes.findData("none"))

    def check():
        assert [layer.name for layer in viewer.layers] == ["large"]

    return lambda n_cancels: cancel_often(n_cancels, check)


@pytest.fixture
def cancel_folders(widget, viewer, phantom, quick_model, cancel_often, tmp_path):
    """Cancel batches, each of which goes on where the last one was cancelled, or begins anew."""
    small = Volume(phantom.array[8:32, 8:40, 10:20], phantom.affine)
    source = tmp_path / "in"
    source.mkdir()
    for n in range(N_SCANS):
        save_volume(small, source / f"{n:02}.nii.gz")
    widget.model_chooser.add(quick_model)
    widget.source.mode_box.setCurrentText(FOLDER)
    widget.source.folder_field.folder = source
    widget.source.output_field.folder = tmp_path / "out0"
    outputs = [tmp_path / "out0"]

    def check():
        files = [path for path in outputs[-1].rglob("*") if path.is_file()]
        assert [path for path in files if ".mri7t-" in path.name] == []
        images = [path for path in files if path.name.endswith(".nii.gz")]
        for image in images:
            assert load_volume(image).shape == small.shape
            assert image.with_name(image.name.replace(".nii.gz", ".json")) in files
        assert not viewer.layers
        if len(images) > N_SCANS // 2:
            outputs.append(tmp_path / f"out{len(outputs)}")
            widget.source.output_field.folder = outputs[-1]

    return lambda n_cancels: cancel_often(n_cancels, check)


def test_cancelled_layer_leaves_nothing(cancel_layers):
    assert cancel_layers(4)


def test_cancelled_folder_leaves_whole_files(cancel_folders):
    assert cancel_folders(4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", ["layers", "folders"])
def test_cancels_in_a_viewer_end_their_jobs(what, request, capsys):
    n_cancels = int(os.environ.get("MRI7T_CANCELS", "20")) // 2
    seconds = request.getfixturevalue(f"cancel_{what}")(n_cancels)
    with capsys.disabled():
        text = f"median {np.median(seconds):.2f} s, longest {max(seconds):.2f} s"
        sys.stdout.write(f"\n{len(seconds)} cancels of {what} in a viewer: {text}\n")
    assert len(seconds) > n_cancels / 2
    assert max(seconds) < MOST_SECONDS
