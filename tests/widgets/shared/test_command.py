"""Copy as command: the line that is copied, run, does what the window does."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.volumes.provenance import read_sidecar
from napari_mri7t.engine.volumes.volume import save_volume
from napari_mri7t.widgets.layers.layers import layer_to_volume
from napari_mri7t.widgets.shared.command import changed, command_line, file_of
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR
from napari_mri7t.widgets.synthesize.command import (
    AskedOfLayers,
    lines_of_folder,
    lines_of_layers,
)
from napari_mri7t.widgets.synthesize.fields import FOLDER
from napari_mri7t.widgets.synthesize.folder_jobs import FolderRequest
from napari_mri7t.widgets.synthesize.jobs import Asked, Source

pytestmark = pytest.mark.gui
PLUGIN = "napari-mri7t"


@pytest.fixture
def scan_file(phantom, tmp_path):
    """A scan whose folder has a space and a quote in its name."""
    folder = tmp_path / "Anna's scans"
    folder.mkdir()
    part = type(phantom)(phantom.array[8:32, 8:40, 10:20], phantom.affine)
    return save_volume(part, folder / "sub-01_T1w.nii.gz")


@pytest.fixture
def window(make_napari_viewer, quick_model):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Synthesize 7T")
    widget.model_chooser.add(quick_model)
    widget.preparation.mode_box.setCurrentIndex(widget.preparation.mode_box.findData("none"))
    return widget, viewer


def copied(widget) -> list[str]:
    QApplication.clipboard().clear()
    widget.command_button.click()
    return QApplication.clipboard().text().splitlines()


def words(line: str) -> list[str]:
    program, *rest = shlex.split(line)
    assert program == "mri7t"
    return rest


def test_line_holds_what_differs_and_quotes_what_needs_it():
    @dataclass(frozen=True)
    class Config:
        step: int = 1
        device: str = "auto"

    options = {**changed(Config(step=3), "step", "device"), "final": True, "keep": None}
    line = command_line("train", "a b", **options, overwrite=False, set=["x=1", "y=2"])
    assert line == "mri7t train 'a b' --step 3 --final --set x=1 --set y=2"


def test_copied_line_of_a_layer_makes_the_window_s_voxels(window, scan_file, wait_idle, run_cli):
    widget, viewer = window
    viewer.open(scan_file, plugin=PLUGIN)
    widget.computation.step_box.setCurrentIndex(widget.computation.step_box.findData(3))
    widget.computation.device_box.choose("cpu")
    widget.computation.end_slices_box.setValue(2)
    (line,) = copied(widget)
    code, _, error = run_cli(*words(line))
    assert code == 0, error
    widget.panel.start_button.click()
    wait_idle()
    image = scan_file.with_name("sub-01_desc-synth7T_T1w.nii.gz")
    made = nibabel.load(image).get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(made, layer_to_volume(viewer.layers[-1]).array)
    assert read_sidecar(image)["Settings"]["step"] == 3


def test_copied_line_has_every_choice_of_the_preparation(window, scan_file, tmp_path):
    widget, viewer = window
    viewer.open(scan_file, plugin=PLUGIN)
    mask = save_volume(layer_to_volume(viewer.layers[0]), tmp_path / "mask.nii.gz")
    fields = widget.preparation
    for box, value in ((fields.via_box, "mni"), (fields.background_box, "zero")):
        box.setCurrentIndex(box.findData(value))
    fields.more_box.setChecked(True)
    viewer.open(mask, plugin=PLUGIN)
    widget.source.layer_chooser.layer = viewer.layers[0]
    fields.mask_chooser.layer = viewer.layers[-1]
    fields.keep_field.folder = tmp_path / "keep"
    (line,) = copied(widget)
    for option in (
        "--prepare none", "--via mni", "--background zero", f"--mask {mask}",
        f"--keep {tmp_path / 'keep'}",
    ):  # fmt: skip
        assert option in line


def test_copied_line_of_a_folder_is_the_batch(window, scan_file, tmp_path, wait_idle, run_cli):
    widget, _ = window
    widget.source.mode_box.setCurrentText(FOLDER)
    widget.source.folder_field.folder = scan_file.parent
    widget.source.output_field.folder = tmp_path / "out"
    widget.source.overwrite_box.setChecked(True)
    (line,) = copied(widget)
    assert line.endswith("--overwrite")
    code, out, error = run_cli(*words(line))
    assert code == 0, out + error
    assert [path.name for path in Path(tmp_path / "out").rglob("*.nii.gz")] == [
        "sub-01_desc-synth7T_T1w.nii.gz"
    ]
    wait_idle()


def test_line_of_a_folder_has_what_was_allowed_and_the_factor_of_the_noise(tmp_path):
    config = SynthesisConfig(noise_factor=2.0)
    preparation = PreparationConfig(allow_out_of_domain=True)
    folders = tmp_path / "raw", tmp_path / "out"
    (line,) = lines_of_folder(FolderRequest(*folders, None, config, preparation, OutputConfig()))
    assert "--allow-out-of-domain" in line
    assert "--noise-factor 2" in line


def test_layer_that_is_no_file_has_no_line_and_the_widget_says_why(window, scan_file):
    widget, viewer = window
    viewer.add_image(np.ones((4, 5, 6)), name="painted")
    assert copied(widget) == []
    assert "painted: was not opened from a file" in widget.panel.notices.texts(ERROR_COLOUR)[0]
    (layer,) = viewer.open(scan_file, plugin=PLUGIN)
    assert file_of(layer).path == scan_file
    layer.translate = (1, 2, 3)
    with pytest.raises(VolumeError, match="was moved in napari: save it"):
        file_of(layer)
    layer.translate = (0, 0, 0)


def test_layer_that_was_edited_has_no_line(window, scan_file):
    _, viewer = window
    (layer,) = viewer.open(scan_file, plugin=PLUGIN)
    assert file_of(layer).path == scan_file
    mask = viewer.add_labels((layer.data > 0.5).astype(int), metadata=dict(layer.metadata))
    mask.scale, mask.translate, mask.units = layer.scale, layer.translate, layer.units
    with pytest.raises(VolumeError, match="was edited in napari: save it, and open the saved file"):
        file_of(mask)
    layer.data = layer.data * 2
    with pytest.raises(VolumeError, match="was edited in napari"):
        file_of(layer)


def test_layers_of_one_file_get_outputs_of_their_own(scan_file, make_napari_viewer):
    viewer = make_napari_viewer()
    layers = [*viewer.open(scan_file, plugin=PLUGIN), *viewer.open(scan_file, plugin=PLUGIN)]
    sources = [Source(layer, layer.as_layer_data_tuple(), None) for layer in layers]
    asked = Asked(PreparationConfig(), OutputConfig())
    config = SynthesisConfig(uncertainty=True)
    lines = lines_of_layers(AskedOfLayers(sources, None, config, asked, None, None))
    outputs = [words(line)[2] for line in lines]
    maps = [words(line)[words(line).index("--uncertainty") + 1] for line in lines]
    assert len({*outputs, *maps}) == 4


def test_volume_of_a_series_is_named_by_its_index(window, phantom, tmp_path):
    widget, viewer = window
    series = np.stack([phantom.array[8:32, 8:40, 10:20]] * 3, -1)
    nibabel.save(nibabel.Nifti1Image(series, phantom.affine), tmp_path / "series.nii.gz")
    viewer.open(tmp_path / "series.nii.gz", plugin=PLUGIN)
    widget.source.index_box.setValue(2)
    (line,) = copied(widget)
    assert "--index 2" in line


def test_copied_line_of_a_simulation_makes_the_window_s_pair(
    make_napari_viewer, scan_file, phantom, wait_idle, run_cli
):
    viewer = make_napari_viewer()
    other = save_volume(phantom, scan_file.with_name("other.nii.gz"))
    viewer.open([other, scan_file], plugin=PLUGIN)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Simulate 3T")
    widget.layer_chooser.layer = viewer.layers["sub-01_T1w"]
    widget.reference_chooser.layer = viewer.layers["other"]
    widget.seed_box.setValue(3)
    widget.variance_box.setValue(0.01)
    code, _, error = run_cli(*words(copied(widget)[0]))
    assert code == 0, error
    widget.panel.start_button.click()
    wait_idle()
    for layer, name in zip(viewer.layers[-2:], ("matched7T", "pseudo3T"), strict=True):
        image = nibabel.load(scan_file.with_name(f"sub-01_desc-{name}_T1w.nii.gz"))
        made = image.get_fdata(dtype=np.float32)
        np.testing.assert_array_equal(made, layer_to_volume(layer).array)


def test_copied_line_of_a_folder_simulates_the_window_s_pairs(
    make_napari_viewer, scan_file, wait_idle, run_cli, tmp_path
):
    viewer = make_napari_viewer()
    (reference,) = viewer.open(scan_file, plugin=PLUGIN)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Simulate 3T")
    widget.mode_box.setCurrentText("A folder of 7T volumes")
    assert copied(widget) == []
    assert "Choose the folder of 7T volumes" in widget.panel.notices.texts(ERROR_COLOUR)[0]
    widget.folder_field.folder = scan_file.parent
    widget.output_field.folder = tmp_path / "by window"
    widget.reference_chooser.layer = reference
    widget.seed_box.setValue(3)
    widget.preset_box.setCurrentText("Realistic")
    widget.panel.start_button.click()
    wait_idle()
    widget.output_field.folder = tmp_path / "by command"
    widget.overwrite_box.setChecked(True)
    (line,) = copied(widget)
    assert line.endswith("--overwrite")
    code, out, error = run_cli(*words(line))
    assert code == 0, error
    assert "1 pair written" in out
    for name in ("3T_images/sub-01_T1w.nii.gz", "7T_images/sub-01_T1w.nii.gz"):
        ours, theirs = (nibabel.load(tmp_path / by / name) for by in ("by window", "by command"))
        np.testing.assert_array_equal(ours.get_fdata(), theirs.get_fdata())


def test_copied_line_of_an_evaluation_scores_the_same(
    make_napari_viewer, scan_file, phantom, wait_idle, run_cli, tmp_path
):
    viewer = make_napari_viewer()
    part = phantom.array[8:32, 8:40, 10:20]
    noisy = part + np.random.default_rng(0).normal(0, 0.02, part.shape).astype(np.float32)
    estimate = save_volume(type(phantom)(noisy, phantom.affine), scan_file.with_name("e.nii.gz"))
    viewer.open([scan_file, estimate], plugin=PLUGIN)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Evaluate")
    widget.asked.of_box.setCurrentText("Two layers")
    widget.asked.volumes.reference_chooser.layer = viewer.layers["sub-01_T1w"]
    widget.asked.volumes.estimate_chooser.layer = viewer.layers["e"]
    widget.asked.volumes.range_box.setValue(2)
    line = copied(widget)[0]
    assert line.endswith("--data-range 2.0")
    code, out, error = run_cli(*words(line))
    assert code == 0, error
    widget.panel.start_button.click()
    wait_idle()
    (result,) = widget.evaluation.results
    assert f"{result.metrics['brain_psnr']:.4f}" in out
    widget.asked.of_box.setCurrentText("Run folder")
    widget.asked.run_field.folder = tmp_path
    assert copied(widget) == [f"mri7t evaluate {tmp_path} --no-baselines"]


def test_copied_line_of_pairs_has_every_choice(make_napari_viewer, tmp_path, run_cli, wait_idle):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Prepare pairs")
    (tmp_path / "raw").mkdir()
    fields = widget.fields
    fields.folder_field.folder, fields.output_field.folder = tmp_path / "raw", tmp_path / "out"
    for box, value in ((fields.registration_box, "affine"), (fields.prepare_box, "none")):
        box.setCurrentIndex(box.findData(value))
    fields.overwrite_box.setChecked(True)
    fields.selection.index_box.setValue(0)
    fields.selection.series.setText("5")
    fields.selection.participants.setText("01, 02")
    wait_idle()
    line = copied(widget)[0]
    selection = "--index 0 --series 5 --participant 01 --participant 02"
    options = f"--registration affine --prepare none {selection} --overwrite"
    assert line == f"mri7t pair {tmp_path / 'raw'} {tmp_path / 'out'} {options}"
    code, _, error = run_cli(*words(line))
    assert code
    assert "raw" in error, "the folder is empty: the options are those of the command"
