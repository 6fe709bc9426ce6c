"""Uncertainty in the widget: off by default, a layer over the estimate, a reason where not."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from napari_mri7t.engine.models.card import find_model
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.widgets.layers.layers import KEY, is_volume, volume_to_layer
from napari_mri7t.widgets.layers.likely import likely_pair
from napari_mri7t.widgets.synthesize.fields import FOLDER
from napari_mri7t.widgets.synthesize.widget import SynthesizeWidget

pytestmark = pytest.mark.gui


@pytest.fixture
def calibrated(quick_model: Path, tmp_path: Path) -> Path:
    folder = Path(copytree(quick_model, tmp_path / "calibrated"))
    values = json.loads((folder / "card.json").read_text())
    settings = {"step": 1, "planes": ["axial"], "flips": False}
    values["uncertainty"] = {
        "settings": settings, "interval": 0.9, "intensity": [0.5], "factor": [4.0],
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(values))
    return folder


@pytest.fixture
def widget(make_napari_viewer, phantom: Volume) -> SynthesizeWidget:
    viewer = make_napari_viewer()
    brain = Volume(phantom.array[8:32, 8:40, 10:20], phantom.affine, name="phantom")
    data, meta, _ = volume_to_layer(brain)
    viewer.add_image(data, **meta)
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    return widget


def test_uncertainty_is_off_by_default_and_the_default_step_allows_it(widget) -> None:
    widget.model_chooser.add(find_model("slice_unet"))

    assert not widget.computation.uncertainty_box.isChecked()
    assert widget.computation.uncertainty_box.isEnabled()
    assert not widget.computation.config().uncertainty


def test_uncertainty_becomes_a_layer_over_the_estimate(widget, calibrated, qtbot) -> None:
    widget.model_chooser.add(calibrated)
    widget.computation.uncertainty_box.setChecked(True)
    qtbot.waitUntil(widget.panel.start_button.isEnabled)

    widget.start()
    qtbot.waitUntil(lambda: len(widget.viewer.layers) == 3)

    _, estimate, layer = widget.viewer.layers
    assert layer.name == f"{estimate.name} uncertainty (± intensity)"
    chosen = widget.viewer.layers.selection.active
    assert chosen.name == estimate.name, "what Save... proposes"
    outside, most = layer.colormap.map([0, 1])
    assert outside[3] == 0, "the background of the estimate stays as it is"
    assert most[3] == 1, "as opaque as the layer is"
    assert layer.blending == "translucent"
    assert layer.colorbar.visible
    np.testing.assert_array_equal(layer.scale, estimate.scale)
    assert layer.data.max() > 0
    facts = layer.metadata[KEY]["provenance"]
    assert facts["GeneratedBy"][0]["Description"] == "uncertainty"
    assert facts["Units"] == "arbitrary"


def test_uncertainty_is_offered_nowhere_as_a_scan_and_looks_the_same_reopened(
    widget, calibrated, qtbot, wait_idle, tmp_path
) -> None:
    widget.model_chooser.add(calibrated)
    widget.computation.uncertainty_box.setChecked(True)
    qtbot.waitUntil(widget.panel.start_button.isEnabled)
    widget.start()
    qtbot.waitUntil(lambda: len(widget.viewer.layers) == 3)
    wait_idle()
    scan, estimate, layer = widget.viewer.layers
    path = tmp_path / "uncertainty.nii.gz"
    layer.save(str(path), plugin="napari-mri7t")
    (again,) = widget.viewer.open(path, plugin="napari-mri7t")
    assert again.colormap.name == layer.colormap.name
    assert (again.blending, again.opacity) == (layer.blending, layer.opacity)
    assert not any(is_volume(each) for each in (layer, again))
    assert likely_pair(widget.viewer.layers) == (scan, estimate)
    widget.viewer.layers.remove(scan)
    widget.viewer.layers.remove(estimate)
    assert widget.source.layers() == []


def test_an_uncalibrated_model_says_why_there_is_no_uncertainty(widget, quick_model) -> None:
    box = widget.computation.uncertainty_box
    box.setChecked(True)

    widget.model_chooser.add(quick_model)

    assert not box.isEnabled()
    assert "never calibrated" in box.toolTip()
    assert not widget.computation.config().uncertainty


def test_another_step_or_a_folder_cannot_have_it(widget, calibrated) -> None:
    widget.model_chooser.add(calibrated)
    box = widget.computation.uncertainty_box
    box.setChecked(True)

    widget.computation.step_box.setCurrentIndex(widget.computation.step_box.findData(3))
    assert "only with the quality Averaged" in box.toolTip()
    widget.computation.step_box.setCurrentIndex(widget.computation.step_box.findData(1))
    assert widget.computation.config().uncertainty
    widget.source.mode_box.setCurrentText(FOLDER)
    assert "not for a folder" in box.toolTip()
    assert not widget.computation.config().uncertainty
