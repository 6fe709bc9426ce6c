"""The widget "Train" on a small dataset."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_mri7t.engine.training import pace
from napari_mri7t.widgets.shared.worker import running_jobs


@pytest.fixture(autouse=True)
def _quick_to_measure(monkeypatch):
    """Measure the pace of a small network: a step of the default one takes seconds here."""
    measure = pace.seconds_per_patch

    def measured(network, network_config, config, device="auto"):
        small = replace(config, patch_size=16, batch_size=1)
        return measure("basic_cnn", {}, small, device)

    monkeypatch.setattr(pace, "seconds_per_patch", measured)


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
