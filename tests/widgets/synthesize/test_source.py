"""The scan to synthesise, as it is on the screen: its volume, its voxels, its place."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.volumes.volume import save_volume
from napari_mri7t.widgets.layers.layers import volume_to_layer
from napari_mri7t.widgets.synthesize.fields import FOLDER, ONE_LAYER, SELECTED_LAYERS, SourceFields

pytestmark = pytest.mark.gui
TOLERANCE = 2e-3  # as in test_preview.py


@pytest.fixture
def series(widget, phantom, tmp_path, wait_idle):
    """A file of three volumes."""
    values = np.stack([phantom.array / n for n in (1, 2, 4)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(values, phantom.affine), tmp_path / "series.nii.gz")
    (layer,) = widget.viewer.open(tmp_path / "series.nii.gz", plugin="napari-mri7t")
    widget.computation.step_box.setCurrentIndex(0)
    wait_idle()
    return layer


@pytest.fixture
def live(widget, phantom, qtbot, wait_idle):
    """The phantom, previewed live, and what shows its preview."""
    data, meta, _ = volume_to_layer(phantom)
    widget.viewer.add_image(data, **meta)
    widget.computation.step_box.setCurrentIndex(0)
    wait_idle()
    widget.preview.live_box.setChecked(True)
    wait_idle()
    return lambda: preview_of(widget)


def preview_of(widget):
    (layer,) = [layer for layer in widget.viewer.layers if "preview" in layer.name]
    return layer


def test_volume_of_a_series_is_named_by_its_number_in_before_and_after(widget, series, wait_idle):
    widget.source.index_box.setValue(1)
    wait_idle()
    widget.start()
    wait_idle()
    widget.before_after.button.click()
    wait_idle()
    assert widget.viewer.canvas.overlays["mri7t-left"].text == "before\nseries volume 1"


def test_volume_and_slider_of_a_series_follow_each_other(widget, series, qtbot):
    box, dims = widget.source.index_box, widget.viewer.dims
    dims.set_point(0, 1)
    assert box.value() == 1
    box.setValue(2)
    assert dims.point[0] == 2
    assert box.value() == 2
    series.data = series.data[:2]
    qtbot.waitUntil(lambda: (box.maximum(), box.value()) == (1, 1))


def test_volume_on_the_screen_is_previewed_and_named_as_the_slider_counts(
    widget, series, phantom, quick_model, wait_idle
):
    widget.viewer.dims.set_point((0, 1), (1, phantom.affine[2, 3] + 15))
    widget.preview.button.click()
    wait_idle()
    half = phantom.with_array(phantom.array / 2)
    expected = synthesize(half, load_model(quick_model)).volume.array.T[15:16]
    np.testing.assert_allclose(preview_of(widget).data, expected, atol=TOLERANCE)
    assert preview_of(widget).name == "series volume 1 preview quick"
    widget.start()
    wait_idle()
    assert widget.viewer.layers[-1].name == "series volume 1 synthetic-7T quick"


def test_other_voxels_of_the_scan_are_checked_and_previewed(widget, live, qtbot, wait_idle):
    before, asked = live().data.copy(), []
    widget._latest.ask = lambda *arguments: asked.append(arguments)
    scan = widget.viewer.layers["phantom"]
    scan.data = scan.data / 2
    qtbot.waitUntil(lambda: not np.array_equal(live().data, before))
    assert asked
    wait_idle()


def test_preview_follows_a_scan_that_is_moved_or_turned(widget, live, qtbot, wait_idle):
    scan = widget.viewer.layers["phantom"]
    scan.translate = np.add(scan.translate, (0, 5, 0))
    qtbot.waitUntil(lambda: live().translate[1] == scan.translate[1])
    wait_idle()
    scan.affine = np.diag((1, 2, 1, 1))
    qtbot.waitUntil(lambda: np.array_equal(live().affine.affine_matrix, scan.affine.affine_matrix))
    wait_idle()


def test_preview_goes_with_its_scan(widget, live, wait_idle):
    assert live()
    widget.viewer.layers.remove("phantom")
    assert len(widget.viewer.layers) == 0
    wait_idle()


def test_next_preview_is_over_the_result_and_below_what_is_drawn(widget, live, wait_idle):
    layers = widget.viewer.layers
    drawn = widget.viewer.add_labels(np.zeros((3, 3, 3), np.uint8), name="drawn")
    widget.preview.live_box.setChecked(False)
    widget.start()
    wait_idle()
    layers.move(layers.index(drawn), len(layers))
    assert [x.name for x in layers][1:] == [
        "phantom preview quick",
        "phantom synthetic-7T quick",
        "drawn",
    ]
    widget.viewer.dims.set_point(0, widget.viewer.dims.point[0] + 3)
    widget.preview.button.click()
    wait_idle()
    assert [x.name for x in layers][1:] == [
        "phantom synthetic-7T quick",
        "phantom preview quick",
        "drawn",
    ]


@pytest.mark.parametrize(("is_open", "mode"), [(False, FOLDER), (True, ONE_LAYER)])
def test_folder_of_the_last_session_gives_way_to_what_is_open(
    make_napari_viewer, qtbot, phantom_file, is_open, mode
):
    viewer = make_napari_viewer()
    if is_open:
        viewer.open(phantom_file, plugin="napari-mri7t")
    fields = SourceFields(viewer, {"from": FOLDER, "folder": "/of/yesterday"})
    qtbot.addWidget(fields)
    assert fields.mode == mode
    fields.layer_chooser.release()
    fields.release()


@pytest.fixture
def open_file(widget, phantom, tmp_path):
    """Open a volume as the user does: of the phantom's values, or of others."""

    def open_as(name: str, array=None):
        given = phantom.array if array is None else array
        path = save_volume(phantom.with_array(given), tmp_path / f"{name}.nii.gz")
        return widget.viewer.open(path, plugin="napari-mri7t")[0]

    return open_as


def test_scan_that_is_opened_is_chosen(widget, open_file, wait_idle):
    first = open_file("first")
    assert widget.source.layers() == [first]
    wait_idle()
    second = open_file("second")
    assert widget.source.layers() == [second]
    assert widget.source.layer_chooser.currentText() == "second"
    wait_idle()


def test_mask_estimate_and_what_the_plugin_adds_change_no_choice(
    widget, phantom, open_file, wait_idle
):
    scan = open_file("scan")
    wait_idle()
    open_file("brain", (phantom.array > 0).astype(np.uint8))
    open_file("scan_desc-synth7T")
    widget.viewer.add_labels((phantom.array.T > 0).astype(int), name="painted")
    widget.viewer.add_image(phantom.array.T, name="computed")
    widget.preview.button.click()
    widget.start()
    wait_idle()
    for view in ("Swipe", "Difference", "Three planes", "Single view"):
        widget.before_after.show(view)
        wait_idle()
    assert widget.source.layers() == [scan]


def test_scan_that_is_opened_during_a_run_is_not_chosen(widget, open_file, run_until, wait_idle):
    scan = open_file("scan")
    wait_idle()
    _, may_end = run_until(widget)
    open_file("second")
    assert widget.source.layers() == [scan]
    may_end.set()
    wait_idle()
    assert widget.source.layers() == [scan]


def test_scan_that_is_opened_beside_a_chosen_mask_is_not_chosen(
    widget, phantom, open_file, wait_idle
):
    scan = open_file("scan")
    mask = open_file("mask", (phantom.array > 0).astype(np.uint8))
    widget.preparation.use_mask(mask)
    open_file("second")
    assert widget.source.layers() == [scan], "the mask belongs to it"
    wait_idle()


@pytest.mark.parametrize("mode", [FOLDER, SELECTED_LAYERS])
def test_scan_that_is_opened_leaves_folder_and_selection_alone(widget, open_file, wait_idle, mode):
    open_file("scan")
    widget.source.mode_box.setCurrentText(mode)
    opened = open_file("second")
    assert widget.source.mode == mode
    assert widget.source.layers() == ([] if mode == FOLDER else [opened])  # napari selects it
    wait_idle()
