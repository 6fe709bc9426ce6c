"""What the user may choose of a preparation, what is told before it runs, what is refused."""

from __future__ import annotations

import gc
import warnings

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_mri7t.engine.preparation.optional import INSTALL
from napari_mri7t.engine.preparation.registration import save_transform
from napari_mri7t.engine.synthesis.config import OutputConfig
from napari_mri7t.engine.volumes.volume import Volume, save_volume
from napari_mri7t.widgets.layers.layers import KEY, volume_to_layer
from napari_mri7t.widgets.shared.controls import WARNING_COLOUR
from napari_mri7t.widgets.synthesize import preparation
from napari_mri7t.widgets.synthesize.widget import SynthesizeWidget

pytestmark = pytest.mark.gui


def show(widget, volume, **settings):
    data, meta, _ = volume_to_layer(volume, **settings)
    return widget.viewer.add_image(data, **meta)


def choose(box, value) -> None:
    box.setCurrentIndex(box.findData(value))


def plain(label) -> str:
    return label.text().replace("\u200b", "")


def facts_of_last(widget) -> dict:
    return widget.viewer.layers[-1].metadata[KEY]["provenance"]


def _plan(widget, wait_idle) -> str:
    wait_idle()
    return plain(widget.outlook.preparation)


def test_what_will_happen_is_told_before_and_how_long_after_the_first_run(
    ready, calls, wait_idle, monkeypatch
):
    monkeypatch.setattr("napari_mri7t.widgets.synthesize.pace.LEAST_PACE_S", 0.0)
    told = _plan(ready, wait_idle)
    assert "Preparation: brain extraction, bias field correction, registration" in told
    steps = "brain extraction, bias field correction and registration"
    assert told.endswith(f"Not timed on this computer yet: {steps}.")
    assert plain(ready.outlook.passes).endswith(" Preparation takes additional time.")
    assert calls == []
    choose(ready.preparation.mode_box, "full")
    ready.start()
    wait_idle()
    ready.preparation.release()  # what was kept is gone: all must be computed again
    ready.source.layer_chooser.layer = ready.viewer.layers["head"]
    ready.preparation.changed.emit()
    assert "based on earlier runs" in _plan(ready, wait_idle)
    choose(ready.preparation.mode_box, "none")
    assert _plan(ready, wait_idle) == "The scan goes to the model as is."
    assert "additional time" not in plain(ready.outlook.passes)


def test_folder_of_a_session_is_deleted_with_the_widget(make_napari_viewer, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    viewer = make_napari_viewer(show=True)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    widget.preparation.begin_session()
    assert len(list(tmp_path.glob("napari-mri7t-*"))) == 1
    QTest.mouseClick(dock.title.close_button, Qt.MouseButton.LeftButton)
    assert list(tmp_path.glob("napari-mri7t-*")) == []


def test_folder_of_a_session_goes_also_where_nobody_closes_the_widget(
    make_napari_viewer, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fields = preparation.PreparationFields(make_napari_viewer(), {})
    fields.begin_session()
    fields.mask_chooser.release()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del fields
        gc.collect()
    assert [each.message for each in told if each.category is ResourceWarning] == []
    assert list(tmp_path.glob("napari-mri7t-*")) == []


def test_scan_that_is_too_coarse_is_refused_before_it_runs(widget, head, calls, wait_idle):
    show(widget, head[0])
    wait_idle()
    assert not widget.panel.start_button.isEnabled()
    assert "voxels of 4 x 4 x 4 mm" in plain(widget.panel.status)
    assert not widget.preparation.coarse_box.isHidden()
    widget.preparation.coarse_box.setChecked(True)
    wait_idle()
    assert widget.panel.start_button.isEnabled()


def test_voxels_that_the_model_is_not_for_are_told_of_when_the_scan_is_chosen(
    ready, calls, wait_idle
):
    wait_idle()
    words = "voxels are 4 x 4 x 4 mm; the model is for"
    chosen = [text for text in ready.outlook.notices.texts() if words in text]
    assert len(chosen) == 1
    ready.start()
    wait_idle()
    assert chosen[0] in ready.panel.notices.texts()
    assert chosen[0] not in ready.outlook.notices.texts(), "once"


def test_fields_stay_in_place_while_another_plan_is_made(
    ready, calls, wait_idle, qtbot, monkeypatch
):
    def height_of_next() -> int:
        qtbot.wait(100)
        return ready.computation.mapTo(ready, QPoint(0, 0)).y()

    ready.window().show()
    wait_idle()
    before = height_of_next()
    asked = []
    monkeypatch.setattr(ready._latest, "ask", lambda *question: asked.append(question))
    choose(ready.preparation.mode_box, "full")
    assert (len(asked), plain(ready.outlook.preparation)) == (1, "")
    assert height_of_next() == before
    ready.outlook.clear()
    assert height_of_next() < before, "a scan that is chosen anew keeps no place"


def test_painted_mask_is_taken_and_its_voxels_are_noted(ready, head, calls, wait_idle):
    source = ready.viewer.layers["head"]
    ready.viewer.add_labels(
        head[1].T.astype(np.uint8), name="painted", scale=source.scale, translate=source.translate
    )
    ready.source.layer_chooser.layer = source
    ready.preparation.more_box.setChecked(True)
    ready.preparation.mask_chooser.layer = ready.viewer.layers["painted"]
    assert not ready.preparation.mask_field.isEnabled()
    ready.start()
    wait_idle()
    assert "extraction" not in calls
    facts = facts_of_last(ready)["Settings"]["preparation"]
    assert facts["mask"]["Name"] == "painted"
    assert len(facts["mask"]["VoxelsSHA256"]) == 64
    assert facts["brain_extraction"] == "mask provided"


def test_mask_on_another_grid_is_refused_before_it_runs(ready, head, wait_idle):
    source = ready.viewer.layers["head"]
    ready.viewer.add_labels(np.ones(source.data.shape, np.uint8), name="elsewhere")
    ready.source.layer_chooser.layer = source
    ready.preparation.more_box.setChecked(True)
    ready.preparation.mask_chooser.layer = ready.viewer.layers["elsewhere"]
    wait_idle()
    assert "elsewhere: the mask is not on the grid of head" in plain(ready.panel.status)
    assert not ready.panel.start_button.isEnabled()


def test_processing_anyway_is_offered_only_where_the_scan_is_too_coarse(widget, phantom, wait_idle):
    source = show(widget, phantom)
    widget.viewer.add_labels(np.ones((3, 3, 3), np.uint8), name="elsewhere")
    widget.source.layer_chooser.layer = source
    widget.preparation.more_box.setChecked(True)
    widget.preparation.mask_chooser.layer = widget.viewer.layers["elsewhere"]
    wait_idle()
    assert "not on the grid" in plain(widget.panel.status)
    assert widget.preparation.coarse_box.isHidden()


def test_mask_that_was_opened_is_held_against_the_scan_by_its_affine(
    ready, head, calls, wait_idle, tmp_path
):
    scan, mask = head
    moved = np.eye(4)
    moved[0, 3] = 2.0  # half a voxel, mm
    for name, affine in (("moved", moved @ scan.affine), ("fits", scan.affine)):
        save_volume(Volume(mask, affine), tmp_path / f"{name}.nii.gz")
        ready.viewer.open(tmp_path / f"{name}.nii.gz", plugin="napari-mri7t")
    ready.source.layer_chooser.layer = ready.viewer.layers["head"]
    ready.preparation.more_box.setChecked(True)
    ready.preparation.mask_chooser.layer = ready.viewer.layers["moved"]
    wait_idle()
    assert not ready.panel.start_button.isEnabled()
    assert "one grid" in plain(ready.panel.status)
    ready.preparation.mask_chooser.layer = ready.viewer.layers["fits"]
    wait_idle()
    assert ready.panel.start_button.isEnabled()
    assert "brain extraction replaced by your mask" in plain(ready.outlook.preparation)


def test_own_files_are_taken_and_missing_ones_named(ready, head, calls, wait_idle, tmp_path):
    scan, mask = head
    fields = ready.preparation
    fields.more_box.setChecked(True)
    fields.transform_field.folder = tmp_path / "to-MNI.txt"
    assert ready.panel.status.text() == "The transform file does not exist."
    save_transform(np.eye(4), tmp_path / "to-MNI.txt")
    fields.mask_field.folder = save_volume(scan.with_array(mask), tmp_path / "mask.nii.gz")
    fields.changed.emit()
    choose(fields.mode_box, "full")
    ready.start()
    wait_idle()
    assert calls == ["field"]
    facts = facts_of_last(ready)["Settings"]["preparation"]
    assert facts["mask"]["File"] == "mask.nii.gz"
    assert facts["transform"]["File"] == "to-MNI.txt"


def test_missing_libraries_are_named_with_what_to_install(make_napari_viewer, monkeypatch, phantom):
    monkeypatch.setattr(preparation, "missing_libraries", lambda: ["deepbet"])
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    box = widget.preparation.mode_box
    assert box.currentData() == "none"
    for name in ("auto", "full"):
        item = box.model().item(box.findData(name))
        assert not item.isEnabled()
        assert INSTALL in item.toolTip()
    (text,) = widget.preparation.notices.texts(WARNING_COLOUR)
    assert "deepbet" in text
    assert INSTALL in text


def test_choices_are_remembered_but_no_mask_or_transform(ready, calls, wait_idle, tmp_path):
    fields = ready.preparation
    fields.more_box.setChecked(True)
    fields.keep_field.folder = tmp_path / "kept"
    save_transform(np.eye(4), tmp_path / "to-MNI.txt")
    fields.transform_field.folder = tmp_path / "to-MNI.txt"
    choose(fields.mode_box, "full")
    choose(fields.space_box, "mni")
    choose(fields.via_box, "mni")
    choose(fields.background_box, "zero")
    ready.start()
    wait_idle()
    again = SynthesizeWidget(ready.viewer)
    asked = again.preparation.asked()
    again.release()
    config = asked.preparation
    assert (config.prepare, config.keep) == ("full", tmp_path / "kept")
    assert asked.output == OutputConfig("mni", via="mni", background="zero")
    assert (config.mask, asked.mask_layer, config.transform) == (None, None, None)


def test_widget_with_all_of_its_fields_fits_350_pixels(ready, calls, wait_idle):
    ready.preparation.more_box.setChecked(True)
    ready.start()
    wait_idle()
    ready.quality.toggle()
    wait_idle()
    assert ready.minimumSizeHint().width() <= 350


def test_findings_lie_in_the_folder_of_the_user_and_the_session_leaves_none(
    ready, calls, wait_idle, tmp_path
):
    ready.preparation.begin_session()
    session = ready.preparation.asked().preparation.keep
    assert session.is_dir()
    ready.preparation.more_box.setChecked(True)
    ready.preparation.keep_field.folder = tmp_path / "kept"
    ready.start()
    wait_idle()
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert {"head_mask.nii.gz", "head_bias-field.nii.gz", "head_preparation.json"} <= names
    assert not list(session.iterdir())
    ready.release()
    assert not session.exists()
