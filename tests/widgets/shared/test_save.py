"""Saving from the widget: a proposed name, image and sidecar; nothing unnamed is replaced."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from napari.utils.history import get_save_history, update_save_history
from qtpy.QtWidgets import QFileDialog

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.volumes.provenance import read_sidecar
from napari_mri7t.engine.volumes.volume import save_volume
from napari_mri7t.widgets.io.writer import write_image
from napari_mri7t.widgets.layers.layers import KEY
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR
from napari_mri7t.widgets.shared.save import ResultLine

pytestmark = pytest.mark.gui
PLUGIN = "napari-mri7t"


@pytest.fixture
def open_file(make_napari_viewer, phantom, tmp_path):
    """Open a small scan of a name in the real window; return widget and viewer."""

    def opened(*names):
        viewer = make_napari_viewer()
        for name in names:
            part = type(phantom)(phantom.array[8:32, 8:40, 10:20], phantom.affine)
            path = save_volume(part, tmp_path / f"{name}.nii.gz")
            viewer.open(path, plugin=PLUGIN)
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Synthesize 7T")
        return widget, viewer

    return opened


@pytest.fixture
def made(open_file, quick_model, wait_idle):
    """A result in the viewer, of a scan of a name."""

    def synthesized(name="brain"):
        widget, viewer = open_file(name)
        widget.model_chooser.add(quick_model)
        widget.panel.start_button.click()
        wait_idle()
        return widget, viewer.layers[-1]

    return synthesized


def answer(monkeypatch, name=None):
    """Accept the dialog's proposal, or another name beside it; return what it was given."""
    seen = []

    def dialog(parent, title, proposed, kinds):
        seen.append(Path(proposed))
        return str(proposed if name is None else Path(proposed).with_name(name)), kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", dialog)
    return seen


def test_save_is_offered_once_there_is_a_result(made, open_file):
    widget, _ = open_file("alone")
    assert not widget.save_button.isEnabled()
    assert "no result yet" in widget.save_button.toolTip()


def test_buttons_name_the_result_they_are_about(open_file, quick_model, wait_idle):
    widget, viewer = open_file("anna", "ben")
    widget.model_chooser.add(quick_model)
    line = widget.findChild(ResultLine)
    made = []
    for name in ("anna", "ben"):
        assert not line.isVisibleTo(widget), "one result needs no name"
        widget.source.choose(viewer.layers[name])
        wait_idle()
        widget.start()
        wait_idle()
        made.append(viewer.layers[-1])
    first, second = made
    assert line.isVisibleTo(widget)
    assert line.text().replace("\u200b", "") == f"Save... and Before/after: {second.name}"
    viewer.layers.selection.active = first
    told = [f"Save...: {first.name}", f"Before/after: {second.name}"]
    assert line.text().replace("\u200b", "").splitlines() == told
    assert f"Save {first.name} as NIfTI" in widget.save_button.toolTip()
    assert f"Compare {second.name} with its scan" in widget.before_after.button.toolTip()
    first.name, second.name = "one", "two"
    assert line.text().replace("\u200b", "") == "Save...: one\nBefore/after: two"
    viewer.layers.remove(second)
    assert not line.isVisibleTo(widget)


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("brain", "brain_desc-synth7T.nii.gz"),
        ("sub-01_ses-2_T1w", "sub-01_ses-2_desc-synth7T_T1w.nii.gz"),
    ],
)
def test_save_proposes_a_name_beside_the_scan_and_writes_image_and_sidecar(
    made, monkeypatch, wait_idle, tmp_path, name, proposed
):
    seen = answer(monkeypatch)
    widget, layer = made(name)
    widget.save_button.click()
    wait_idle()
    image = tmp_path / proposed
    assert seen == [image]
    np.testing.assert_array_equal(nibabel.load(image).get_fdata(dtype=np.float32), layer.data.T)
    assert read_sidecar(image)["Model"] == layer.metadata[KEY]["provenance"]["Model"]
    assert widget.panel.status.text().replace("\u200b", "") == f"Saved: {image}"
    widget.save_button.click()  # the next proposal is free
    wait_idle()
    assert seen[1].name == proposed.replace("synth7T", "synth7T2")


def test_only_a_file_named_in_the_dialog_is_replaced(made, monkeypatch, wait_idle, tmp_path):
    widget, _ = made()
    (tmp_path / "mine.nii.gz").write_bytes(b"precious")
    answer(monkeypatch, "mine")  # what the dialog asked about is "mine", which is not there
    widget.save_button.click()
    wait_idle()
    assert "exists" in widget.panel.notices.texts(ERROR_COLOUR)[0]
    assert (tmp_path / "mine.nii.gz").read_bytes() == b"precious"
    answer(monkeypatch, "mine.nii.gz")
    widget.save_button.click()
    wait_idle()
    assert read_sidecar(tmp_path / "mine.nii.gz")["Synthetic"] is True


def test_foreign_sidecar_is_never_replaced(made, monkeypatch, wait_idle, tmp_path):
    widget, _ = made()
    (tmp_path / "mine.json").write_text('{"EchoTime": 0.003}')
    answer(monkeypatch, "mine.nii.gz")
    widget.save_button.click()
    wait_idle()
    assert widget.panel.notices.texts(ERROR_COLOUR)
    assert json.loads((tmp_path / "mine.json").read_text()) == {"EchoTime": 0.003}
    assert not (tmp_path / "mine.nii.gz").exists()


@pytest.fixture
def both_made(open_file, quick_model, wait_idle):
    """The widget and the viewer after a synthesis of two selected layers."""
    widget, viewer = open_file("sub-01_T1w", "sub-02_T1w")
    widget.model_chooser.add(quick_model)
    widget.source.mode_box.setCurrentText("Selected layers")
    viewer.layers.selection = set(viewer.layers)
    widget.panel.start_button.click()
    wait_idle()
    return widget, viewer


def test_all_results_become_one_derivative_whose_files_stay(
    both_made, monkeypatch, wait_idle, tmp_path
):
    widget, _ = both_made
    folder = tmp_path / "derivative"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    for _ in range(2):
        widget.save_button.menu().actions()[0].trigger()
        wait_idle()
    names = sorted(path.name for path in folder.rglob("*.nii.gz"))
    assert names == [
        f"sub-0{n}_desc-synth7T{number}_T1w.nii.gz" for n in (1, 2) for number in ("2", "")
    ]
    assert (folder / "dataset_description.json").is_file()
    assert "2 volumes" in widget.panel.status.text()


def test_last_result_is_saved_where_none_is_selected_and_the_folder_is_remembered(
    both_made, monkeypatch, wait_idle, tmp_path
):
    widget, viewer = both_made
    viewer.layers.selection.clear()
    update_save_history(str(tmp_path / "elsewhere/old.nii"))
    seen = answer(monkeypatch)
    widget.save_button.click()
    wait_idle()
    assert seen[0].name.startswith(widget.save_button.results()[-1].name[:6])
    assert seen[0].name.startswith("sub-02")
    assert get_save_history()[0] == str(tmp_path)


def test_released_button_no_longer_listens_to_the_viewer(made):
    widget, layer = made()
    button = widget.save_button
    button.release()
    button.setEnabled(True)
    widget.viewer.layers.remove(layer)
    assert button.isEnabled()
    widget.viewer.layers.events.removed.connect(button._refresh)  # closing releases it once more


def test_deleted_result_is_no_longer_saved(made):
    widget, layer = made()
    widget.viewer.layers.remove(layer)
    assert not widget.save_button.isEnabled()


def test_reopened_widget_saves_what_the_closed_one_made_and_takes_no_estimate_for_a_scan(
    made, monkeypatch
):
    widget, layer = made("sub-01")
    viewer = widget.viewer
    viewer.window.remove_dock_widget("all")
    _, again = viewer.window.add_plugin_dock_widget(PLUGIN, "Synthesize 7T")
    assert again.source.layer_chooser.layer.name == "sub-01"
    assert again.save_button.results() == [layer]
    viewer.layers.selection.active = layer
    seen = answer(monkeypatch)
    again.save_button.click()
    assert seen[0].name.startswith("sub-01_")


def test_name_without_extension_is_saved_as_nifti_and_replaces_nothing(made, tmp_path):
    _, layer = made()
    data, meta, _ = layer.as_layer_data_tuple()
    (saved,) = write_image(str(tmp_path / "brain synthetic-7T basic_cnn"), data, meta)
    assert Path(saved) == tmp_path / "brain synthetic-7T basic_cnn.nii.gz"
    with pytest.raises(Mri7tError, match="already exists"):
        write_image(str(tmp_path / "brain synthetic-7T basic_cnn"), data, meta)
    with pytest.raises(Mri7tError, match="unknown extension"):
        write_image(str(tmp_path / "brain.png"), data, meta)
