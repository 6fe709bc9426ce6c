"""The widget "Train" on a small dataset."""

from __future__ import annotations

import pytest

from napari_mri7t.widgets.shared.worker import running_jobs


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def on_dataset(viewer, dataset, tmp_path, wait_idle):
    """The widget with a dataset and a new run folder; its trainings are cancelled at the end."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Train")
    widget.dataset_field.folder = dataset
    widget.run_field.folder = tmp_path / "run"
    wait_idle()
    yield widget
    for job in running_jobs():
        job.cancel()
    wait_idle()
