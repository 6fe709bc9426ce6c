"""The widget "Synthesize 7T", driven in a real viewer: start, progress, cancel, error, close."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from napari.utils import progress
from qtpy.QtCore import QThreadPool

from napari_mri7t.engine.errors import DeviceError
from napari_mri7t.engine.models import model
from napari_mri7t.engine.models.card import (
    DEFAULT_MODEL,
    REPORT_MODEL,
    ModelCard,
    find_model,
    models,
    read_card,
)
from napari_mri7t.engine.networks.unet import SliceUNet
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.synthesis import scan, synthesize
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, save_volume
from napari_mri7t.widgets.layers.layers import KEY, layer_to_volume, volume_to_layer
from napari_mri7t.widgets.shared import fields
from napari_mri7t.widgets.shared.controls import (
    ERROR_COLOUR,
    INFORMATION_COLOUR,
    WARNING_COLOUR,
)
from napari_mri7t.widgets.shared.model_chooser import summary
from napari_mri7t.widgets.shared.worker import running_jobs
from napari_mri7t.widgets.synthesize import jobs
from napari_mri7t.widgets.synthesize import pace as widget_pace
from napari_mri7t.widgets.synthesize import widget as widget_module
from napari_mri7t.widgets.synthesize.fields import FOLDER, SELECTED_LAYERS
from napari_mri7t.widgets.synthesize.widget import SynthesizeWidget

pytestmark = pytest.mark.gui


@pytest.fixture
def brain(phantom) -> Volume:
    """A part of the phantom, few slices: quick."""
    return Volume(phantom.array[8:32, 8:40, 10:20], phantom.affine, name="phantom")


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


def docked(viewer) -> SynthesizeWidget:
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    return widget


def add(viewer, volume: Volume, **settings):
    data, meta, _ = volume_to_layer(volume, **settings)
    return viewer.add_image(data, **meta)


def large(phantom: Volume) -> Volume:
    """Enough slices for a job that can be caught in the middle."""
    return Volume(np.tile(phantom.array, (2, 2, 3)), phantom.affine, name="large")


def test_nothing_can_start_without_a_layer_and_the_widget_says_why(viewer, quick_model):
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    assert not widget.panel.start_button.isEnabled()
    assert widget.panel.status.text().startswith("Open a T1w volume first")
    viewer.add_image(np.zeros((5, 6)))
    assert not widget.panel.start_button.isEnabled()


def test_estimate_is_a_new_layer_on_the_grid_of_its_source(viewer, brain, quick_model, wait_idle):
    source = add(viewer, brain, contrast_limits=(0.1, 0.8))
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.start()
    assert not widget.panel.start_button.isEnabled()
    assert widget.panel.cancel_button.isEnabled()
    wait_idle()
    assert [layer.name for layer in viewer.layers] == ["phantom", "phantom synthetic-7T quick"]
    viewer.layers[-1].name = "renamed"
    assert widget.panel.status.text().replace("\u200b", "").endswith(": layer renamed")
    viewer.layers[-1].name = "phantom synthetic-7T quick"
    estimate = viewer.layers[1]
    assert estimate.data.shape == source.data.shape
    np.testing.assert_array_equal(estimate.scale, source.scale)
    np.testing.assert_array_equal(estimate.translate, source.translate)
    assert estimate.units == source.units
    assert estimate.axis_labels == ("S", "A", "R")
    assert estimate.contrast_limits == [0.1, 0.8]
    assert not np.array_equal(estimate.data, source.data)
    np.testing.assert_array_equal(layer_to_volume(estimate).affine, brain.affine)


def test_estimate_of_an_estimate_is_warned_of_before_it_is_made(
    viewer, brain, quick_model, wait_idle, qtbot
):
    source = add(viewer, brain)
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.start()
    wait_idle()
    viewer.layers.remove(source)  # which leaves the estimate as the only choice
    qtbot.waitUntil(
        lambda: any("synthetic already" in t for t in widget.outlook.notices.texts(WARNING_COLOUR))
    )
    scan = widget.source.parentWidget()
    assert widget.outlook.notices.parentWidget() is scan  # in sight without scrolling


def test_estimate_remembers_what_made_it(viewer, brain, quick_model, wait_idle):
    add(viewer, brain)
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.computation.step_box.setCurrentIndex(widget.computation.step_box.findData(3))
    widget.computation.device_box.setCurrentIndex(widget.computation.device_box.findData("cpu"))
    widget.computation.end_slices_box.setValue(4)
    widget.start()
    wait_idle()
    facts = viewer.layers[-1].metadata[KEY]["provenance"]
    assert facts["Synthetic"] is True
    assert facts["Model"]["Name"] == "quick"
    assert facts["Device"] == "cpu"
    assert facts["Settings"]["step"] == 3
    assert facts["Settings"]["end_slices"] == 4
    np.testing.assert_array_equal(viewer.layers[-1].data[:4], brain.array.T[:4])
    assert widget.panel.notices.texts(INFORMATION_COLOUR) == [], "the foot says it is synthetic"


def test_progress_shows_in_the_widget_and_in_the_activity_dock(
    viewer, qtbot, phantom, slow_model, wait_idle
):
    add(viewer, large(phantom))
    widget = docked(viewer)
    widget.model_chooser.add(slow_model)
    widget.start()
    qtbot.waitUntil(lambda: widget.panel.bar.value() > 2, timeout=120_000)
    assert widget.panel.bar.maximum() > 10
    assert [bar.desc for bar in progress._all_instances] == ["Synthesize large"]
    qtbot.waitUntil(lambda: "left" in widget.panel.status.text(), timeout=10_000)
    widget.panel.cancel()
    wait_idle()
    assert not progress._all_instances


def test_cancel_stops_in_mid_work_and_leaves_no_layer(
    viewer, qtbot, phantom, slow_model, wait_idle
):
    add(viewer, large(phantom))
    widget = docked(viewer)
    widget.model_chooser.add(slow_model)
    widget.start()
    job = widget.panel.job
    reported = []
    job.progressed.connect(reported.append)
    qtbot.waitUntil(lambda: widget.panel.bar.value() > 0, timeout=120_000)
    widget.panel.cancel_button.click()
    qtbot.waitUntil(lambda: widget.panel.job is None)
    assert 0 < reported[-1].done < reported[-1].total
    wait_idle()
    assert [layer.name for layer in viewer.layers] == ["large"]
    assert widget.panel.start_button.isEnabled()
    assert widget.panel.status.text().startswith("Cancelled")
    widget.start()
    qtbot.waitUntil(lambda: widget.panel.bar.value() > 0, timeout=120_000)
    widget.panel.cancel()


def test_window_answers_while_a_job_runs(viewer, brain, quick_model, wait_idle, monkeypatch):
    """Whatever takes time runs in another thread than the window's."""
    threads: dict[str, set[int]] = {}

    def watch(owner, name):
        function = getattr(owner, name)

        def watched(*arguments, **settings):
            threads.setdefault(name, set()).add(threading.get_ident())
            return function(*arguments, **settings)

        monkeypatch.setattr(owner, name, watched)

    for name in ("data_to_volume", "plan_preparation", "check_ahead"):
        watch(jobs, name)
    watch(model, "load_model")
    watch(scan, "synthesize")
    watch(SliceUNet, "forward")
    watch(synthesize.Synthesis, "sidecar")
    add(viewer, brain)
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.start()
    wait_idle()
    assert len(threads) == 7
    assert threading.get_ident() not in set.union(*threads.values())


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((20, 20, 20)), "no voxel is above the background"),
        (np.random.default_rng(0).random((20, 20, 2)), "slices"),
    ],
)
def test_error_is_one_sentence_in_the_widget(viewer, quick_model, wait_idle, array, words):
    add(viewer, Volume(array, np.eye(4), name="odd"))
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.start()
    wait_idle()
    (text,) = widget.panel.notices.texts(ERROR_COLOUR)
    assert words in text
    assert "\n" not in text
    assert [layer.name for layer in viewer.layers] == ["odd"]
    assert widget.panel.start_button.isEnabled()


def test_device_whose_driver_is_there_but_no_more_is_explained(
    viewer, brain, quick_model, wait_idle, monkeypatch
):
    from napari_mri7t.engine.devices import available_devices

    missing = "mps" if "mps" not in available_devices() else "cuda"
    monkeypatch.setattr(fields, "why_absent", lambda device: None)
    add(viewer, brain)
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.computation.device_box.choose(missing)
    assert widget.computation.values()["device"] == missing
    widget.start()
    wait_idle()
    (text,) = widget.panel.notices.texts(ERROR_COLOUR)
    assert missing in text
    assert "cpu" in text


def test_fault_27_scan_unlike_the_training_data_warns_in_the_widget_and_in_the_sidecar(
    viewer, brain, quick_model, wait_idle
):
    coarse = Volume(brain.array, np.diag([2.0, 2, 2, 1]), name="coarse")
    add(viewer, coarse)
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.start()
    wait_idle()
    shown = widget.panel.notices.texts(WARNING_COLOUR)
    assert any("2 x 2 x 2 mm" in text for text in shown)
    assert shown == viewer.layers[-1].metadata[KEY]["provenance"]["Warnings"]


def test_fault_12_one_volume_of_a_series_is_taken(viewer, brain, quick_model, wait_idle, tmp_path):
    values = np.stack([brain.array, brain.array / 2], axis=-1)
    nibabel.save(nibabel.Nifti1Image(values, brain.affine), tmp_path / "series.nii.gz")
    viewer.open(tmp_path / "series.nii.gz", plugin="napari-mri7t")
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    assert not widget.source.index_box.isHidden()
    assert widget.source.index_box.maximum() == 1
    widget.source.index_box.setValue(1)
    widget.start()
    wait_idle()
    estimate = viewer.layers[-1]
    assert estimate.ndim == 3
    assert [str(unit) for unit in estimate.units] == ["millimeter"] * 3
    assert estimate.metadata[KEY]["provenance"]["Sources"][0]["Index"] == 1
    add(viewer, brain)
    widget.source.layer_chooser.layer = viewer.layers[-1]
    assert widget.source.index_box.isHidden()


def test_estimate_saves_with_its_sidecar_on_the_grid_of_the_file(
    viewer, phantom_file, quick_model, wait_idle, tmp_path
):
    viewer.open(phantom_file, plugin="napari-mri7t")
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.start()
    wait_idle()
    viewer.layers[-1].save(tmp_path / "out.nii.gz", plugin="napari-mri7t")
    source, made = nibabel.load(phantom_file), nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(made.affine, source.affine)
    assert made.shape == source.shape
    sidecar = json.loads((tmp_path / "out.json").read_text())
    assert sidecar["Sources"][0]["File"] == "phantom.nii.gz"
    assert sidecar["Synthetic"] is True


def test_selected_layers_are_done_one_after_the_other(viewer, brain, quick_model, wait_idle):
    for name in ("a", "b", "c"):
        add(viewer, brain, name=name)
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.source.mode_box.setCurrentText(SELECTED_LAYERS)
    viewer.layers.selection.clear()
    assert not widget.panel.start_button.isEnabled()
    assert widget.panel.status.text() == "Select volumes in the layer list."
    viewer.layers.selection = {viewer.layers["a"], viewer.layers["c"]}
    assert widget.source.selection_label.text() == "a, c"
    widget.start()
    wait_idle()
    names = [layer.name for layer in viewer.layers]
    assert widget.panel.status.text(), "the result is still told, though it is selected now"
    assert names == ["a", "b", "c", "a synthetic-7T quick", "c synthetic-7T quick"]
    assert {layer.name for layer in viewer.layers.selection} == {"a", "c"}, "for the next run"
    assert widget.source.selection_label.text() == "a, c"


def test_label_map_is_refused_before_the_start(viewer, brain, quick_model, wait_idle):
    inside = brain.array > 0
    levels = np.digitize(brain.array, np.quantile(brain.array[inside], [0.3, 0.6])) + 1.0
    add(viewer, brain.with_array(np.where(inside, levels, 0)), name="labels")
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    wait_idle()
    assert not widget.panel.start_button.isEnabled()
    assert "looks like a mask or label map" in widget.panel.status.text()


def test_failure_goes_once_what_it_is_about_is_changed(viewer, brain, quick_model, wait_idle):
    add(viewer, brain)
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.computation.end_slices_box.setValue(400)
    wait_idle()
    widget.start()
    wait_idle()
    (error,) = widget.panel.notices.texts(ERROR_COLOUR)
    assert "choose fewer (Skip end slices)" in error
    widget.computation.end_slices_box.setValue(0)
    assert widget.panel.notices.texts(ERROR_COLOUR) == []
    assert widget.panel.status.text() == ""


def test_folder_that_is_not_there_is_told_before_the_start(viewer, quick_model, tmp_path):
    widget = docked(viewer)
    widget.source.mode_box.setCurrentText(FOLDER)
    widget.source.output_field.folder = tmp_path / "out"
    widget.source.folder_field.folder = tmp_path / "in"
    assert not widget.panel.start_button.isEnabled()
    assert "does not exist" in widget.panel.status.text()
    (tmp_path / "in").mkdir()
    widget.source.folder_field.folder = f"{tmp_path / 'in'}/"
    assert widget.panel.start_button.isEnabled()


def test_folder_of_the_last_session_is_there_again(viewer, brain, quick_model, wait_idle, tmp_path):
    save_volume(brain, tmp_path / "a.nii.gz")
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    widget.model_chooser.add(quick_model)
    widget.source.mode_box.setCurrentText(FOLDER)
    widget.source.folder_field.folder = tmp_path
    widget.source.output_field.folder = tmp_path / "out"
    widget.start()
    wait_idle()
    dock.destroyOnClose()
    widget.deleteLater()
    again = docked(viewer)
    assert again.source.values() == widget.source.values()
    assert again.source.mode == FOLDER


def test_choices_are_remembered_in_the_next_session(viewer, brain, quick_model, wait_idle):
    add(viewer, brain)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    widget.model_chooser.add(quick_model)
    widget.computation.step_box.setCurrentIndex(1)
    widget.computation.end_slices_box.setValue(2)
    widget.computation.device_box.setCurrentIndex(1)
    widget.start()
    wait_idle()
    assert "based on earlier runs" in widget.outlook.passes.text()
    dock.destroyOnClose()
    widget.deleteLater()
    again = docked(viewer)
    assert again.model_chooser.choice is None, "the scan decides first"
    again.model_chooser.box.setCurrentIndex(again.model_chooser.box.findText("quick"))
    kept = {"device": "cpu", "step": 3, "end_slices": 0}  # what is left out is chosen each time
    assert kept.items() <= again.computation.values().items()
    assert "based on earlier runs" in again.outlook.passes.text()


def test_time_before_the_first_run_is_measured_on_this_computer(
    viewer, brain, quick_model, wait_idle
):
    add(viewer, brain)
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    assert widget.outlook.passes.text().endswith("through quick: timing a few slices...")
    wait_idle()
    assert widget.outlook.passes.text().endswith("timed on a few slices.")
    widget.start()
    wait_idle()
    assert "based on earlier runs" in widget.outlook.passes.text()


def test_model_that_cannot_be_timed_is_offered_without_a_time(
    viewer, brain, quick_model, wait_idle, monkeypatch
):
    def fail(*_):
        raise DeviceError("no such device")

    monkeypatch.setattr(widget_pace, "time_slices", fail)
    add(viewer, brain)
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    wait_idle()
    assert widget.outlook.passes.text().endswith("no timing on this computer yet.")
    assert widget.panel.start_button.isEnabled()


def test_nothing_said_of_a_run_outlives_the_choice_of_its_scan(
    viewer, brain, quick_model, wait_idle
):
    coarse = Volume(brain.array, np.diag([2.0, 2, 2, 1]), name="coarse")
    scan, other = add(viewer, coarse), add(viewer, brain)
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.source.layer_chooser.layer = scan
    widget.start()
    wait_idle()
    result = viewer.layers[-1]
    assert "coarse" in widget.panel.status.text()
    assert any("2 x 2 x 2 mm" in text for text in widget.panel.notices.texts())
    assert widget.outlook.notices.texts() == [], "each warning stands once"
    widget.source.layer_chooser.layer = result
    assert "coarse" in widget.panel.status.text(), "the result is chosen: it is about that"
    widget.source.layer_chooser.layer = other
    wait_idle()
    assert widget.panel.status.text() == ""
    assert widget.panel.notices.texts() == []
    assert not any("2 x 2 x 2 mm" in text for text in widget.outlook.notices.texts())


def test_nothing_said_of_a_volume_outlives_it_beside_a_picture(
    viewer, brain, quick_model, wait_idle
):
    add(viewer, Volume(brain.array, np.diag([2.0, 2, 2, 1]), name="coarse"))
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.start()
    wait_idle()
    viewer.layers.clear()
    viewer.add_image(np.zeros((9, 9)), name="flat")
    viewer.add_image(np.zeros((9, 9, 3), np.uint8), rgb=True, name="picture")
    wait_idle()
    assert widget.panel.status.text().startswith("Open a T1w volume first")
    for label in (widget.outlook.passes, widget.outlook.preparation, widget.quality):
        assert label.isHidden()
    assert widget.panel.notices.texts() == widget.outlook.notices.texts() == []


def test_nothing_said_of_a_layer_outlives_the_choice_of_a_folder(
    viewer, brain, quick_model, wait_idle, tmp_path
):
    add(viewer, Volume(brain.array, np.diag([2.0, 2, 2, 1]), name="coarse"))
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    wait_idle()
    assert widget.outlook.notices.texts()
    assert not widget.outlook.preparation.isHidden()
    widget.source.mode_box.setCurrentText(FOLDER)
    widget.source.folder_field.folder = tmp_path
    widget.source.output_field.folder = tmp_path / "out"
    wait_idle()
    assert widget.outlook.notices.texts() == []
    assert widget.outlook.preparation.isHidden()
    assert widget.outlook.passes.isHidden(), "the folder is empty"


def test_scan_unlike_the_training_data_is_told_before_anything_runs(
    viewer, phantom, quick_model, wait_idle
):
    add(viewer, Volume(phantom.array, np.diag([2.0, 2, 2, 1]), name="coarse"))
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    wait_idle()
    assert any("2 x 2 x 2 mm" in text for text in widget.outlook.notices.texts(WARNING_COLOUR))


def test_model_folder_that_is_none_is_explained_beside_the_list(viewer, tmp_path):
    widget = docked(viewer)
    before = widget.model_chooser.folder
    assert not widget.model_chooser.add(tmp_path)
    assert "a model is a folder with" in widget.model_chooser.notices.texts()[0]
    assert widget.model_chooser.folder == before


def test_card_shows_figures_and_use(viewer, quick_model):
    chooser = docked(viewer).model_chooser
    chooser.add(quick_model)
    n_models = chooser.box.count()
    chooser.add(Path(str(quick_model)))
    assert chooser.box.count() == n_models, "the same folder again"
    text = chooser.card_label.text().replace("\u200b", "")
    assert "On 3 brains not used in training: PSNR 26.7 ± 1.5 dB (3T: 21.8)" in text
    assert "SSIM 0.951 ± 0.010 (3T: 0.850)" in text
    assert "Leave-one-out" not in text
    final = summary(replace(chooser.card, training={"held_out": None}))
    assert "Leave-one-out on 3 brains: PSNR 26.7 ± 1.5 dB (3T: 21.8)" in final
    assert "not used in training" not in final
    assert "Tests." in text
    assert "Not for: Diagnosis" in chooser.card_label.toolTip()


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({}, "No held-out scores."),
        ({"scans": {}}, "No held-out scores."),
        ({"scans": {"a": {"what": "a second scan"}}}, "No held-out scores."),
        (
            {"scans": {"a": {"what": "a second scan", "gain": 0.5}}},
            "On real scans, PSNR: a second scan +0.50 dB",
        ),
        ({"n_held_out": 1, "source": {}, "estimate": {}}, "No held-out scores."),
        (
            {
                "n_held_out": 1,
                "source": {"brain": {"psnr": {"mean": 22.96}, "ssim": {"mean": 0.8488}}},
                "estimate": {
                    "brain": {
                        "psnr": {"mean": 26.66, "std": None},
                        "ssim": {"mean": 0.942, "std": None},
                    }
                },
            },
            "On 1 brain not used in training: PSNR 26.7 dB (3T: 23.0), SSIM 0.942 (3T: 0.849)",
        ),
    ],
)
def test_card_of_one_held_out_brain_or_none_is_read(quick_model, metrics, words):
    assert words in summary(replace(read_card(quick_model), metrics=metrics))


def test_every_bundled_model_is_offered_with_its_card(viewer):
    chooser = docked(viewer).model_chooser
    names = [chooser.box.itemText(n) for n in range(chooser.box.count())]
    assert names == [f"{DEFAULT_MODEL} (auto)", *(card.name for card in models())]
    assert chooser.card.name == DEFAULT_MODEL


@pytest.fixture(scope="module")
def brains():
    """Ten slices of a clean brain, and of the report's pseudo-3T of it."""
    template = load_template()
    pseudo = simulate_3t(template, seed=1).source
    box = np.s_[10:190, 20:210, 80:90]
    return [
        Volume(np.ascontiguousarray(volume.array[box]), template.affine, name)
        for volume, name in ((template, "clean"), (pseudo, "pseudo"))
    ]


def test_model_follows_the_scan_until_the_user_chooses(viewer, brains, wait_idle):
    clean, pseudo = (add(viewer, brain) for brain in brains)
    widget = docked(viewer)
    chooser = widget.model_chooser
    for layer, name in ((pseudo, REPORT_MODEL), (clean, DEFAULT_MODEL)):
        widget.source.choose(layer)
        wait_idle()
        assert (chooser.card.name, chooser.choice) == (name, None)
        assert chooser.box.currentText() == f"{name} (auto)"
    chooser.add(find_model(REPORT_MODEL))
    for layer in (pseudo, clean):
        widget.source.choose(layer)
        wait_idle()
        assert chooser.choice == find_model(REPORT_MODEL), "chosen, whatever the scan is for"
    chooser.box.setCurrentIndex(0)
    wait_idle()
    assert chooser.card.name == DEFAULT_MODEL


def test_no_model_is_named_while_the_scan_is_examined(
    viewer, brains, wait_idle, monkeypatch, qtbot
):
    asked, may_answer, check = threading.Event(), threading.Event(), jobs.check_layers

    def slow(*arguments):
        asked.set()
        assert may_answer.wait(60)
        return check(*arguments)

    monkeypatch.setattr(widget_module, "check_layers", slow)
    pseudo = add(viewer, brains[1])
    widget = docked(viewer)
    widget.source.choose(pseudo)
    chooser = widget.model_chooser
    qtbot.waitUntil(asked.is_set)
    assert chooser.box.currentText() == "examining (auto)"
    assert chooser.card_label.text().startswith("The scan is examined first")
    assert not chooser.card_button.isEnabled()
    assert widget.outlook.passes.text().endswith("Examining the scan...")
    may_answer.set()
    wait_idle()
    assert chooser.box.currentText() == f"{REPORT_MODEL} (auto)"
    assert REPORT_MODEL in widget.outlook.passes.text().replace("\u200b", "")
    assert chooser.card_button.isEnabled()
    named = []
    monkeypatch.setattr(chooser.box, "setItemText", lambda n, text: named.append(text))
    widget.computation.end_slices_box.setValue(1)
    wait_idle()
    assert named == [], "the same scan is not examined anew"


def test_model_is_named_where_the_scan_cannot_be_examined(viewer, brains, wait_idle, monkeypatch):
    def fail(*arguments):
        raise ValueError("no such file")

    monkeypatch.setattr(widget_module, "check_layers", fail)
    add(viewer, brains[0])
    widget = docked(viewer)
    wait_idle()
    assert widget.model_chooser.box.currentText() == "by scan (auto)"
    viewer.layers.clear()
    assert widget.model_chooser.box.currentText() == f"{DEFAULT_MODEL} (auto)"


def test_noise_can_be_turned_where_the_model_is_told_it(viewer, brains, quick_model, tmp_path):
    save_volume(brains[0], tmp_path / "clean.nii.gz")
    viewer.open(tmp_path / "clean.nii.gz", plugin="napari-mri7t")
    widget = docked(viewer)
    box = widget.computation.noise_box
    assert box.isEnabled()
    box.setValue(1.5)
    assert widget.computation.config().noise_factor == 1.5
    assert "--noise-factor 1.5" in widget.choices.lines()[0]
    widget.model_chooser.add(quick_model)
    assert not box.isEnabled()
    assert "does not use it" in box.toolTip()
    assert widget.computation.config().noise_factor == 1


def test_fast_leaves_out_what_the_model_averages(viewer, brains, quick_model, tmp_path):
    save_volume(brains[0], tmp_path / "clean.nii.gz")
    viewer.open(tmp_path / "clean.nii.gz", plugin="napari-mri7t")
    widget = docked(viewer)
    box = widget.computation.step_box
    assert "--planes" not in widget.choices.lines()[0]
    box.setCurrentIndex(box.findText("Fast"))
    config = widget.computation.config()
    assert (config.step, config.planes) == (1, ("axial",)), "scan_unet averages planes"
    assert "--planes axial" in widget.choices.lines()[0]
    assert "--step" not in widget.choices.lines()[0]
    widget.model_chooser.add(quick_model)
    config = widget.computation.config()
    assert (config.step, config.planes) == (3, ()), "another model averages slabs"
    assert "--step 3" in widget.choices.lines()[0]
    assert "--planes" not in widget.choices.lines()[0]


def test_quality_is_not_offered_where_a_model_estimates_every_voxel_once(
    viewer, brains, quick_model, monkeypatch
):
    monkeypatch.setattr(ModelCard, "is_of_one_slice", True)
    add(viewer, brains[0])
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    box = widget.computation.step_box
    assert not box.isEnabled()
    assert "estimates every voxel once" in box.toolTip()
    box.setCurrentIndex(box.findData(3))
    assert widget.computation.config().step == 1
    assert widget.choices.values()["step"] == 3, "remembered for other models"


def test_run_and_command_leave_the_model_to_the_scan(viewer, brains, wait_idle, tmp_path):
    save_volume(brains[1], tmp_path / "pseudo.nii.gz")
    viewer.open(tmp_path / "pseudo.nii.gz", plugin="napari-mri7t")
    widget = docked(viewer)
    widget.computation.device_box.setCurrentIndex(widget.computation.device_box.findData("cpu"))
    assert "--model" not in widget.choices.lines()[0]
    widget.start()
    wait_idle()
    assert viewer.layers[-1].name == f"pseudo synthetic-7T {REPORT_MODEL}"
    assert "chosen_model" not in widget.choices.values()
    assert widget.panel.status.text().startswith("Done")


def test_widget_fits_350_pixels(viewer, quick_model):
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.panel.fail("/data/" + "x" * 20 + "/sub-01_ses-preop_acq-mprage_T1w.nii.gz: is empty")
    assert widget.minimumSizeHint().width() <= 350


def test_source_removed_in_mid_job_does_no_harm(viewer, brain, quick_model, wait_idle):
    add(viewer, brain)
    widget = docked(viewer)
    widget.model_chooser.add(quick_model)
    widget.start()
    viewer.layers.clear()
    wait_idle()
    assert [layer.name for layer in viewer.layers] == ["phantom synthetic-7T quick"]


def test_dock_closed_in_mid_job_ends_it(viewer, qtbot, phantom, slow_model, wait_idle):
    add(viewer, large(phantom))
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    widget.model_chooser.add(slow_model)
    widget.start()
    qtbot.waitUntil(lambda: widget.panel.bar.value() > 0, timeout=120_000)
    dock.destroyOnClose()
    wait_idle()
    assert [layer.name for layer in viewer.layers] == ["large"]
    widget.deleteLater()


@pytest.mark.parametrize("wait_ms", [0, 30, 300, 1500])
def test_viewer_closed_in_mid_job_leaves_no_thread(
    make_napari_viewer, qtbot, phantom, slow_model, wait_ms
):
    viewer = make_napari_viewer()
    add(viewer, large(phantom))
    widget = docked(viewer)
    widget.model_chooser.add(slow_model)
    widget.start()
    qtbot.wait(wait_ms)
    del widget
    viewer.close()
    qtbot.waitUntil(lambda: not running_jobs(), timeout=5000)
    assert QThreadPool.globalInstance().waitForDone(10_000)
    assert not progress._all_instances
