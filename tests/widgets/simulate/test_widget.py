"""The widget "Simulate 3T" in a real viewer: a layer, a folder, the preview."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from napari.utils import progress

from napari_mri7t.engine.datasets.subjects import find_subjects
from napari_mri7t.engine.simulation import pace
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
from napari_mri7t.engine.volumes.volume import load_volume, save_volume
from napari_mri7t.widgets.layers.layers import KEY, layer_to_volume, volume_to_layer
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR
from napari_mri7t.widgets.simulate.widget import FOLDER, ONE_LAYER, PREVIEW_NAME

pytestmark = pytest.mark.gui
PREVIEW = f"phantom {PREVIEW_NAME}"


@pytest.fixture
def viewer(make_napari_viewer, phantom):
    viewer = make_napari_viewer()
    data, meta, _ = volume_to_layer(phantom)
    viewer.add_image(data, **meta)
    return viewer


@pytest.fixture
def widget(viewer, wait_idle):
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Simulate 3T")
    yield widget
    wait_idle()


def test_layer_becomes_the_pseudo_3t_of_the_engine(widget, viewer, phantom, wait_idle):
    widget.variance_box.setValue(0.01)
    widget.seed_box.setValue(7)
    widget.start()
    wait_idle()
    expected, _ = simulate_3t(phantom, config=SimulationConfig(variance=0.01, seed=7))
    layer = viewer.layers["phantom_pseudo-3T"]
    np.testing.assert_array_equal(layer.data, expected.array.T)
    np.testing.assert_array_equal(layer_to_volume(layer).affine, phantom.affine)
    facts = layer.metadata[KEY]["provenance"]
    assert facts["Seed"] == 7
    assert facts["Settings"]["noise"]["variance"] == 0.01
    assert len(viewer.layers) == 2


def test_a_7t_on_another_scale_comes_beside_its_pseudo_3t(widget, viewer, wait_idle):
    """To compare an estimate of the pseudo-3T with."""
    viewer.layers["phantom"].data = viewer.layers["phantom"].data * 255
    widget.start()
    wait_idle()
    assert viewer.layers["phantom_7T"].data.max() == 1
    assert viewer.layers[-1].name == "phantom_pseudo-3T"  # in sight
    viewer.layers.selection.active = None
    assert widget.save_button.chosen == viewer.layers["phantom_pseudo-3T"]


def test_the_last_words_name_the_layers_as_napari_does(widget, viewer, wait_idle):
    for name in ("phantom_pseudo-3T", "phantom_pseudo-3T [1]"):
        widget.layer_chooser.layer = viewer.layers["phantom"]
        widget.start()
        wait_idle()
        assert viewer.layers[-1].name == name
        assert widget.panel.status.text().replace("\u200b", "") == f"Done: {name}"


def test_realistic_preset_is_that_of_the_engine(widget, viewer, phantom, wait_idle):
    assert widget.variance_box.isEnabled()
    widget.preset_box.setCurrentText("Realistic")
    assert not widget.variance_box.isEnabled()  # it draws its own noise
    widget.seed_box.setValue(7)
    widget.start()
    wait_idle()
    expected, _ = simulate_3t(phantom, config=SimulationConfig(seed=7, preset="realistic"))
    layer = viewer.layers["phantom_pseudo-3T"]
    np.testing.assert_array_equal(layer.data, expected.array.T)
    facts = layer.metadata[KEY]["provenance"]
    assert facts["Settings"]["noise"]["preset"] == "realistic"


def test_reference_gives_source_and_target_its_histogram(widget, viewer, phantom, wait_idle):
    darker = phantom.with_array(phantom.array**3, name="darker")
    data, meta, _ = volume_to_layer(darker)
    viewer.add_image(data, **meta)
    widget.layer_chooser.layer = viewer.layers["phantom"]
    widget.reference_chooser.layer = viewer.layers["darker"]
    widget.start()
    wait_idle()
    source, target = simulate_3t(phantom, reference=darker)
    np.testing.assert_array_equal(viewer.layers["phantom_pseudo-3T"].data, source.array.T)
    np.testing.assert_array_equal(viewer.layers["phantom_7T"].data, target.array.T)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_preview_lies_in_the_slice_that_is_shown(widget, viewer, phantom, wait_idle, order):
    viewer.dims.order = order
    point = viewer.layers[0].data_to_world((10, 20, 15))
    viewer.dims.point = point
    widget.preview_button.click()
    wait_idle()
    preview, layer = viewer.layers[PREVIEW], viewer.layers["phantom"]
    shape = list(layer.data.shape)
    shape[order[0]] = 1
    assert preview.data.shape == tuple(shape)
    assert preview.extent.world[0][order[0]] == point[order[0]]
    clean = np.take(layer.data, [(10, 20, 15)[order[0]]], order[0])
    assert np.corrcoef(preview.data.ravel(), clean.ravel())[0, 1] > 0.9
    widget.preview_button.click()
    wait_idle()
    assert len(viewer.layers) == 2
    widget.start()
    wait_idle()
    assert PREVIEW not in viewer.layers


def test_folder_becomes_pairs_that_a_training_takes(widget, phantom, tmp_path, wait_idle):
    (tmp_path / "in").mkdir()
    for name in ("sub-01", "sub-02"):
        save_volume(phantom, tmp_path / "in" / f"{name}.nii.gz")
    widget.mode_box.setCurrentText(FOLDER)
    assert not widget.panel.start_button.isEnabled()
    widget.folder_field.folder = tmp_path / "in"
    widget.output_field.folder = tmp_path / "pairs"
    assert widget.panel.start_button.isEnabled()
    widget.start()
    wait_idle()
    assert widget.panel.status.text().startswith("Done: 2 pairs in")
    subjects = find_subjects(tmp_path / "pairs")
    assert [s.name for s in subjects] == ["sub-01", "sub-02"]
    first, second = (load_volume(s.source).array for s in subjects)
    assert not np.array_equal(first, second)


def test_time_is_told_before_the_start_and_measured_again_for_another_degradation(
    widget, folder, qtbot, wait_idle, monkeypatch
):
    asked = []

    def seconds_per_voxel(config, **kind):
        asked.append((config.preset, kind))
        return 100 / load_volume(widget.folder_field.folder / "sub-01.nii.gz").array.size

    monkeypatch.setattr(pace, "seconds_per_voxel", seconds_per_voxel)
    widget.mode_box.setCurrentText(ONE_LAYER)
    wait_idle()
    assert widget.time_label.text() == "1 volume: about 2 min, timed on a part of a brain."
    widget.mode_box.setCurrentText(FOLDER)
    wait_idle()
    assert widget.time_label.text() == "3 volumes: about 5 min, timed on a part of a brain."
    assert asked[-1] == ("report", {"has_reference": False, "saves": True})
    widget.seed_box.setValue(8)
    wait_idle()
    n_asked = len(asked)
    widget.preset_box.setCurrentText("Realistic")
    wait_idle()
    assert [preset for preset, _ in asked[n_asked:]] == ["realistic"]
    widget.folder_field.folder = "nowhere"
    assert widget.time_label.text() == ""


def test_existing_pairs_are_replaced_only_with_overwrite(widget, folder, tmp_path, wait_idle):
    widget.start()
    wait_idle()
    before = load_volume(tmp_path / "pairs/3T_images/sub-01.nii.gz").array
    widget.seed_box.setValue(9)
    widget.start()
    wait_idle()
    assert "already exists" in widget.panel.notices.texts(ERROR_COLOUR)[0]
    widget.overwrite_box.click()
    assert widget.panel.notices.texts(ERROR_COLOUR) == []
    widget.start()
    wait_idle()
    assert widget.panel.status.text().startswith("Done: 3 pairs in")
    assert not np.array_equal(load_volume(tmp_path / "pairs/3T_images/sub-01.nii.gz").array, before)


@pytest.fixture
def folder(widget, phantom, tmp_path):
    """Three 7T volumes, chosen in the widget."""
    (tmp_path / "in").mkdir()
    for name in ("sub-01", "sub-02", "sub-03"):
        save_volume(phantom, tmp_path / "in" / f"{name}.nii.gz")
    widget.mode_box.setCurrentText(FOLDER)
    widget.folder_field.folder = tmp_path / "in"
    widget.output_field.folder = tmp_path / "pairs"


def test_progress_shows_in_the_widget_and_in_the_activity_dock(widget, folder, wait_idle):
    seen, panel = [], widget.panel
    widget.start()
    panel.job.progressed.connect(
        lambda record: seen.append((panel.bar.value(), panel.bar.maximum(), panel.status.text()))
    )
    assert [bar.desc for bar in progress._all_instances] == ["Simulate a dataset"]
    assert panel.cancel_button.isEnabled()
    wait_idle()
    counted = [value for value, most, _ in seen if most == 100]
    assert counted == sorted(counted)
    assert {0, 33, 66, 100} <= set(counted)  # a third for each subject
    told = [text.replace("\u200b", "").partition(",")[0] for *_, text in seen]
    assert {"Simulating sub-01", "Simulating sub-02: 33\u00a0%"} <= set(told)
    assert not progress._all_instances


def test_cancelled_folder_keeps_whole_pairs_only(
    widget, folder, qtbot, monkeypatch, tmp_path, wait_idle
):
    is_in_second, may_go_on = threading.Event(), threading.Event()

    def simulate(target, **settings):
        if target.name == "sub-02.nii.gz":
            is_in_second.set()
            assert may_go_on.wait(60)
        return simulate_3t(target, **settings)

    monkeypatch.setattr("napari_mri7t.engine.workflows.simulate.simulate_3t", simulate)
    widget.start()
    qtbot.waitUntil(is_in_second.is_set)
    widget.panel.cancel_button.click()
    assert widget.panel.status.text() == "Stopping"
    may_go_on.set()
    wait_idle()
    assert "complete pairs only" in widget.panel.status.text()
    assert [s.name for s in find_subjects(tmp_path / "pairs")] == ["sub-01"]
    files = [path for path in (tmp_path / "pairs").rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == 2 * ["sub-01.json"] + 2 * ["sub-01.nii.gz"]
    assert widget.panel.start_button.isEnabled()


def test_cancelled_layer_leaves_no_layer(widget, viewer, qtbot, monkeypatch, wait_idle):
    has_begun, may_go_on = threading.Event(), threading.Event()

    def read(layer):
        has_begun.set()
        assert may_go_on.wait(60)
        return layer_to_volume(layer)

    monkeypatch.setattr("napari_mri7t.widgets.simulate.jobs.layer_to_volume", read)
    widget.start()
    qtbot.waitUntil(lambda: has_begun.is_set() and widget.panel.status.text() != "Starting")
    assert widget.panel.status.text() == "Preparing the volume"
    widget.panel.cancel_button.click()
    may_go_on.set()
    wait_idle()
    assert [layer.name for layer in viewer.layers] == ["phantom"]
    assert widget.panel.status.text().startswith("Cancelled")


def test_preview_follows_the_noise_that_is_chosen(widget, viewer, wait_idle):
    widget.variance_box.setValue(0.001)
    wait_idle()
    assert PREVIEW not in viewer.layers, "none was asked for"
    widget.preview_button.click()
    wait_idle()
    little = viewer.layers[PREVIEW].data.copy()
    widget.variance_box.setValue(0.02)
    wait_idle()
    much = viewer.layers[PREVIEW].data
    assert np.abs(np.diff(much)).mean() > 1.5 * np.abs(np.diff(little)).mean()


def test_canvas_says_whether_the_preview_or_the_7t_is_shown(widget, viewer, wait_idle):
    def words() -> str:
        return getattr(viewer.canvas.overlays.get("mri7t-preview-of-7T"), "text", "")

    assert words() == ""
    widget.preview_button.click()
    wait_idle()
    assert words() == "preview"
    viewer.dims.set_current_step(0, viewer.dims.current_step[0] + 2)
    assert words() == "7T (the preview is of another slice)"
    viewer.layers[PREVIEW].visible = False
    assert words() == ""
    viewer.layers[PREVIEW].visible = True
    widget.start()
    wait_idle()
    assert words() == "", "the preview has given way to the result"


def test_preview_of_a_folder_opens_its_first_volume(widget, viewer, phantom, tmp_path, wait_idle):
    viewer.layers.clear()
    for name, power in (("sub-02", 3), ("sub-01", 1)):
        save_volume(phantom.with_array(phantom.array**power), tmp_path / f"{name}.nii.gz")
    widget.mode_box.setCurrentText(FOLDER)
    assert not widget.preview_button.isEnabled()
    widget.folder_field.folder = tmp_path
    for _ in range(2):  # the second time it is there
        widget.preview_button.click()
        wait_idle()
        wait_idle()
        assert [layer.name for layer in viewer.layers] == ["sub-01", f"sub-01 {PREVIEW_NAME}"]
    np.testing.assert_allclose(viewer.layers["sub-01"].data, phantom.array.T)
    assert viewer.layers[-1].data.shape[0] == 1
    viewer.layers.remove("sub-01")
    widget.preview_button.click()
    wait_idle()
    wait_idle()
    assert "sub-01" in viewer.layers


def test_preview_of_a_folder_without_volumes_is_explained(widget, tmp_path, wait_idle):
    widget.mode_box.setCurrentText(FOLDER)
    widget.folder_field.folder = tmp_path
    widget.preview_button.click()
    wait_idle()
    assert "holds no volume" in widget.panel.notices.texts(ERROR_COLOUR)[0]


def test_folder_without_volumes_is_explained(widget, tmp_path, wait_idle):
    widget.mode_box.setCurrentText(FOLDER)
    widget.folder_field.folder = tmp_path
    widget.output_field.folder = tmp_path / "pairs"
    widget.start()
    wait_idle()
    (text,) = widget.panel.notices.texts(ERROR_COLOUR)
    assert "holds no volume" in text
    assert not (tmp_path / "pairs").exists()


def test_preview_in_three_dimensions_is_explained(widget, viewer):
    viewer.dims.ndisplay = 3
    assert not widget.preview_button.isEnabled()
    assert "switch to 2-D" in widget.preview_button.toolTip()
    viewer.dims.ndisplay = 2
    assert widget.preview_button.isEnabled()


def test_without_a_layer_the_widget_says_what_is_missing(widget, viewer):
    viewer.layers.clear()
    assert not widget.panel.start_button.isEnabled()
    assert widget.panel.status.text() == "Open a 7T volume first."
    assert "Open a 7T volume" in widget.preview_button.toolTip()


def test_dock_closed_in_mid_job_ends_it(viewer, wait_idle):
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Simulate 3T")
    widget.start()
    dock.destroyOnClose()
    wait_idle()
    assert len(viewer.layers) == 1
    widget.deleteLater()


def test_widget_fits_350_pixels(widget):
    widget.mode_box.setCurrentText(FOLDER)
    assert widget.minimumSizeHint().width() <= 350


def test_preview_takes_the_failure_of_the_one_before_away(widget, viewer, wait_idle):
    inside = viewer.dims.point
    viewer.dims.ndisplay = 3
    widget.preview()
    assert widget.panel.notices.texts(ERROR_COLOUR)
    viewer.dims.ndisplay = 2
    viewer.dims.point = inside
    widget.preview()
    wait_idle()
    assert widget.panel.notices.texts() == []
    assert PREVIEW in viewer.layers


def test_preview_is_that_of_the_layer_that_is_chosen(widget, viewer, phantom, wait_idle):
    data, meta, _ = volume_to_layer(phantom.with_array(phantom.array**2, name="darker"))
    viewer.add_image(data, **meta)
    widget.preview()
    wait_idle()
    widget.layer_chooser.layer = viewer.layers["darker"]
    wait_idle()
    assert PREVIEW not in viewer.layers
    assert f"darker {PREVIEW_NAME}" in viewer.layers
