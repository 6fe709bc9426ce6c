"""The brain mask that was found is corrected in the viewer, and the next run uses it."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels

from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.widgets.layers.layers import KEY, VIEW_KEY, data_to_volume, volume_to_layer
from napari_mri7t.widgets.shared.controls import WARNING_COLOUR
from napari_mri7t.widgets.synthesize.fields import SELECTED_LAYERS

pytestmark = pytest.mark.gui


def plain(label) -> str:
    return label.text().replace("\u200b", "")


def facts_of_last(widget) -> dict:
    layers = [layer for layer in widget.viewer.layers if not isinstance(layer, Labels)]
    return layers[-1].metadata[KEY]["provenance"]["Settings"]["preparation"]


@pytest.fixture
def prepared(ready, calls, wait_idle):
    """A run of every step is done, and its quality is shown."""
    box = ready.preparation.mode_box
    box.setCurrentIndex(box.findData("full"))
    ready.start()
    wait_idle()
    assert not ready.quality.use_button.isEnabled()
    ready.quality.button.click()
    wait_idle()
    calls.clear()
    return ready


def corrected(mask) -> Labels:
    """Erase a part of the brain with the brush of napari."""
    centre = np.argwhere(mask.data > 0).mean(axis=0)
    mask.brush_size = 11
    mask.mode = "erase"
    mask.paint(centre + [0, 0, 8], 0)
    return mask


def test_mask_that_was_found_can_be_painted_and_is_used_by_the_next_run(
    prepared, head, calls, wait_idle
):
    mask = prepared.viewer.layers["head quality: brain mask"]
    assert mask.editable
    assert (mask.selected_label, mask.n_edit_dimensions) == (1, 3)
    corrected(mask)
    n_voxels = int((mask.data > 0).sum())
    assert 0 < n_voxels < head[1].sum()
    prepared.quality.use_button.click()
    assert "with head brain mask, corrected" in plain(prepared.panel.status)
    assert mask.mode == "pan_zoom", "the brush is put away"
    wait_idle()
    told = plain(prepared.outlook.preparation)
    assert "brain extraction replaced by your mask" in told
    assert told.count("reused (estimated with the brain mask found before yours)") == 2
    assert prepared.preparation.mask_chooser.layer == mask
    assert prepared.source.layers() == [prepared.viewer.layers["head"]]
    prepared.start()
    wait_idle()
    assert calls == []  # no extraction, no bias field, no registration
    facts = facts_of_last(prepared)
    assert facts["found_mask_for"] == ["bias field correction", "registration"]
    assert facts["mask"]["Name"] == "head brain mask, corrected"
    assert facts["brain_extraction"] == "mask provided"
    estimate = data_to_volume(*prepared.viewer.layers[-1].as_layer_data_tuple())
    differs = estimate.array != head[0].array
    assert not differs[mask.data.T == 0].any()


def test_mask_in_use_is_the_users_and_stays_when_the_quality_goes(prepared, wait_idle):
    mask = prepared.quality._mask
    prepared.quality.use_button.click()
    assert not prepared.quality.use_button.isEnabled()
    prepared.quality.button.click()
    assert mask in prepared.viewer.layers
    assert not [layer for layer in prepared.viewer.layers if "quality" in layer.name]


def test_mask_that_was_corrected_but_not_used_stays_when_the_quality_goes(prepared):
    mask = corrected(prepared.quality._mask)
    prepared.quality.button.click()
    assert mask in prepared.viewer.layers
    assert (mask.name, mask.mode) == ("head brain mask, corrected", "pan_zoom")
    assert not [layer for layer in prepared.viewer.layers if "quality" in layer.name]
    assert prepared.preparation.mask_chooser.layer is None, "it was not asked for"


@pytest.mark.parametrize("way", ["another run", "another scan"])
def test_mask_that_was_corrected_but_not_used_is_told_and_offered(prepared, way, wait_idle):
    mask = corrected(prepared.quality._mask)
    if way == "another run":
        prepared.start()
        wait_idle()
    else:
        prepared.viewer.add_image(np.ones((9, 9, 9), np.float32), name="other")
        prepared.source.choose(prepared.viewer.layers["other"])
    assert mask.name == "head brain mask, corrected"
    (told,) = [t for t in prepared.panel.notices.texts(WARNING_COLOUR) if "correction" in t]
    assert "was not used" in told.replace("\u200b", "")
    assert mask.name in told.replace("\u200b", "")
    assert mask in prepared.preparation.mask_chooser._layers, "it is offered as Mask layer"
    assert prepared.preparation.mask_chooser.layer is None, "it was not asked for"


def test_mask_as_it_was_found_is_no_correction(prepared, wait_idle):
    mask = prepared.quality._mask
    prepared.start()
    wait_idle()
    assert "quality" in mask.name
    assert not [t for t in prepared.panel.notices.texts() if "correction" in t]


def test_mask_that_was_corrected_is_the_users_once_the_widget_is_closed(prepared):
    mask = corrected(prepared.quality._mask)
    prepared.release()
    assert mask.name == "head brain mask, corrected"
    assert VIEW_KEY not in mask.metadata


def test_mask_saved_from_napari_is_what_a_repetition_takes(prepared, head, wait_idle, tmp_path):
    mask = corrected(prepared.quality._mask)
    prepared.quality.use_button.click()
    wait_idle()
    prepared.start()
    wait_idle()
    mask.save(str(tmp_path / "own.nii.gz"), plugin="napari-mri7t")
    (path,) = tmp_path.glob("own*.nii.gz")
    on_scan = head[0].with_array(load_volume(path).array > 0)
    assert int(on_scan.array.sum()) == int((mask.data > 0).sum())


def test_result_in_mni_space_has_its_mask_on_the_scans_grid(ready, head, calls, wait_idle):
    box = ready.preparation.space_box
    box.setCurrentIndex(box.findData("mni"))
    ready.start()
    wait_idle()
    ready.quality.button.click()
    wait_idle()
    assert not ready.viewer.layers["head quality: brain mask"].editable
    mask = ready.viewer.layers["head quality: brain mask on the scan"]
    np.testing.assert_array_equal(mask.data.T > 0, head[1])
    seen = {layer.name for layer in ready.viewer.layers if layer.visible}
    assert seen == {"head", mask.name}, "nothing covers the scan on which it is corrected"
    ready.quality.use_button.click()
    wait_idle()
    assert "replaced by your mask" in plain(ready.outlook.preparation)
    assert ready.panel.start_button.isEnabled()


def test_promise_to_take_a_mask_goes_with_the_mask(prepared, wait_idle):
    mask = corrected(prepared.quality._mask)
    prepared.quality.use_button.click()
    wait_idle()
    assert plain(prepared.panel.status) == f"Press Synthesize for a run with {mask.name}."
    prepared.viewer.layers.remove(mask)
    wait_idle()
    assert mask.name not in plain(prepared.panel.status)


def test_mask_of_one_of_several_scans_is_for_that_scan(ready, head, calls, wait_idle):
    data, meta, _ = volume_to_layer(head[0].with_array(head[0].array * 2, name="other"))
    ready.viewer.add_image(data, **meta)
    ready.source.mode_box.setCurrentText(SELECTED_LAYERS)
    scans = [ready.viewer.layers[name] for name in ("head", "other")]
    ready.viewer.layers.selection = set(scans)
    ready.start()
    wait_idle()
    ready.quality.button.click()
    wait_idle()
    ready.quality.use_button.click()
    assert ready.source.layers() == [scans[1]]


def test_mask_that_is_removed_can_no_longer_be_used(prepared):
    prepared.viewer.layers.remove(prepared.quality._mask)
    assert not prepared.quality.use_button.isEnabled()
    prepared.quality.use_mask()
    assert prepared.preparation.mask_chooser.layer is None
