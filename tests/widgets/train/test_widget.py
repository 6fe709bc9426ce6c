"""The widget "Train" in a real viewer, on studies that train in seconds."""

from __future__ import annotations

import inspect
import json
import shutil

import pytest
from qtpy.QtCore import QThreadPool

from napari_mri7t.cli.train import train
from napari_mri7t.engine.models.card import REPORT_MODEL, find_model, read_card
from napari_mri7t.engine.training import run
from napari_mri7t.engine.training.config import FINAL, PRESETS
from napari_mri7t.engine.training.loop import TrainProgress
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import StudySettings
from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR, INFORMATION_COLOUR
from napari_mri7t.widgets.shared.worker import find_job, running_jobs
from napari_mri7t.widgets.train.fields import DEFAULT_NETWORK
from napari_mri7t.widgets.train.jobs import TrainingState
from napari_mri7t.widgets.train.widget import TrainWidget

pytestmark = pytest.mark.gui

TINY = {
    "n_steps": "4",
    "batch_size": "2",
    "patch_size": "16",
    "checkpoint_steps": "2",
    "precision": "float32",
    "inference.step": "3",
}


def docked(viewer) -> TrainWidget:
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Train")
    return widget


@pytest.fixture
def widget(on_dataset):
    on_dataset.recipe.network_box.setCurrentText("basic_cnn")
    for name, text in TINY.items():
        on_dataset.recipe.set_setting(name, text)
    return on_dataset


def set_long(widget) -> None:
    """Make a training that can be caught in the middle."""
    widget.recipe.set_setting("n_steps", "100000")


def wait_step(widget, qtbot, step: int) -> None:
    def reached() -> bool:
        job = find_job(TrainingState)
        last = None if job is None else job.state.last
        return last is not None and last.done >= step

    qtbot.waitUntil(reached, timeout=120_000)


def test_dataset_is_checked_as_it_is_chosen(viewer, dataset, tmp_path, wait_idle):
    widget = docked(viewer)
    wait_idle()
    assert not widget.panel.start_button.isEnabled()
    assert widget.panel.status.text().startswith("Choose a dataset")
    widget.dataset_field.folder = dataset
    wait_idle()
    assert widget.data_notices.texts(INFORMATION_COLOUR) == [
        "3 subjects: 7T volumes; their 3T is simulated"
    ]
    assert "sub-B: 3T simulated, 7T sub-B.nii.gz" in widget.data_notices.toolTip()
    assert widget.folds.chosen() == (0, 1, 2)
    assert "sub-B" in widget.folds.item(1).text()
    widget.dataset_field.folder = tmp_path / "nowhere"
    wait_idle()
    (text,) = widget.data_notices.texts(ERROR_COLOUR)
    assert "no such folder" in text
    assert widget.folds.count() == 0
    assert not widget.panel.start_button.isEnabled()


def test_folds_of_other_subjects_are_all_ticked_again(viewer, dataset, tmp_path, wait_idle):
    others = tmp_path / "others"
    shutil.copytree(dataset, others)
    (others / "sub-C.nii.gz").rename(others / "sub-D.nii.gz")
    widget = docked(viewer)
    chosen = []
    for folder, folds in ((dataset, [1]), (dataset, None), (others, None)):
        widget.dataset_field.folder = folder
        wait_idle()
        if folds is not None:
            widget.folds.choose(folds)
        chosen.append(widget.folds.chosen())
    assert chosen == [(1,), (1,), (0, 1, 2)]


def test_every_setting_of_the_preset_can_be_seen_and_changed(widget):
    assert widget.recipe.config().n_steps == 4
    widget.recipe.preset_box.setCurrentText("report")
    assert widget.recipe.config() == PRESETS["report"]
    widget.recipe.set_setting("learning_rate", "2e-3")
    assert widget.recipe.config().learning_rate == 2e-3
    widget.recipe.set_setting("planes", "axial, coronal")
    assert widget.recipe.config().planes == ("axial", "coronal")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("n_steps", "many", "Steps: 'many'"),
        ("patch_size", "20", "Patch size must be a multiple of 8"),
        ("checkpoint_steps", "0", "Checkpoint every, steps must be at least 1"),
        ("inference.step", "x", "Held-out: slab step, slices: 'x'"),
    ],
)
def test_setting_that_cannot_be_is_explained_before_the_start(widget, name, text, words):
    widget.recipe.set_setting(name, text)
    assert not widget.panel.start_button.isEnabled()
    assert words in widget.panel.status.text().replace("\u200b", "")


def test_patches_larger_than_a_volume_are_refused_before_the_start(widget, dataset):
    shortest = min(load_volume(dataset / "sub-A.nii.gz").shape)
    widget.recipe.set_setting("patch_size", str(8 * (shortest // 8 + 1)))
    assert not widget.panel.start_button.isEnabled()
    told = widget.panel.status.text().replace("\u200b", "")
    assert told.startswith("sub-A: patches of ")
    assert f"whose shortest side is {shortest}" in told
    widget.recipe.set_setting("patch_size", "16")
    assert widget.panel.start_button.isEnabled()


def test_networks_of_the_engine_are_offered(widget):
    names = [widget.recipe.network_box.itemText(n) for n in range(4)]
    assert {"basic_cnn", "watnet", "watnet_qu2020", "slice_unet"} == set(names)


def test_window_and_command_line_train_the_network_of_the_best_model():
    default = read_card(find_model(REPORT_MODEL)).network
    assert default == DEFAULT_NETWORK
    assert default == inspect.signature(train).parameters["network"].default


def test_chosen_folds_are_trained_and_ticked(widget, wait_idle, tmp_path):
    widget.folds.choose([1])
    widget.start()
    wait_idle()
    assert widget.panel.notices.texts(ERROR_COLOUR) == []
    assert (tmp_path / "run/fold-01/card.json").exists()
    assert not (tmp_path / "run/fold-00").exists()
    assert widget.folds.done() == [1]
    assert "done" in widget.folds.item(1).text()
    assert any("1 of 3 folds done" in text for text in widget.data_notices.texts())
    assert not widget.recipe.network_box.isEnabled()
    assert "Loss" in widget.figures_label.text()
    steps, _ = widget.plot.loss.getData()
    assert steps[-1] == 4
    (told,) = widget.panel.notices.texts(INFORMATION_COLOUR)
    assert "Evaluate" in told
    assert widget.panel.status.text() == "Select folds to train."
    widget.folds.choose([FINAL])
    assert widget.folds.chosen() == (FINAL,)
    assert widget.panel.status.text() == ""


def test_network_is_built_as_the_window_says_and_shown_again(widget, wait_idle, tmp_path):
    widget.recipe.choose_network("slice_unet")
    widget.recipe.network_line.setText("widths=[8, 16]; n_blocks=1")
    widget.folds.choose([0])
    widget.start()
    wait_idle()
    assert widget.panel.notices.texts(ERROR_COLOUR) == []
    card = read_card(tmp_path / "run/fold-00")
    assert card.network_config == {"widths": [8, 16], "n_blocks": 1}
    widget.recipe.network_line.clear()
    widget.run_field.folder = tmp_path / "another"
    wait_idle()
    widget.run_field.folder = tmp_path / "run"
    wait_idle()
    assert widget.recipe.network_config() == card.network_config


def test_argument_that_the_network_does_not_know_is_told(widget, wait_idle, tmp_path):
    widget.recipe.network_line.setText("wideness=9")
    widget.folds.choose([0])
    widget.start()
    wait_idle()
    (text,) = widget.panel.notices.texts(ERROR_COLOUR)
    assert "wideness" in text
    assert not (tmp_path / "run").exists()


def test_folders_that_cannot_be_looked_into_are_told(widget, wait_idle, monkeypatch):
    def fail(*folders):
        raise OSError("the disk has gone")

    monkeypatch.setattr("napari_mri7t.widgets.train.widget.look_into", fail)
    widget._ask_of_data()
    wait_idle()
    (text,) = widget.data_notices.texts(ERROR_COLOUR)
    assert "the disk has gone" in text


def test_training_pauses_goes_on_and_stops_with_what_it_learnt(widget, qtbot, wait_idle, tmp_path):
    set_long(widget)
    widget.folds.choose([0])
    widget.start()
    wait_step(widget, qtbot, 3)
    state = find_job(TrainingState).state
    widget.panel.pause_button.click()
    held = state.last.done + 1  # the step that it was in
    qtbot.wait(600)
    assert state.last.done <= held
    assert widget.panel.status.text() == "Paused"
    widget.panel.pause_button.click()
    wait_step(widget, qtbot, held + 2)
    widget.panel.pause_button.click()
    widget.panel.cancel_button.click()
    wait_idle()
    assert widget.panel.status.text().startswith("Stopped. Progress is saved")
    assert widget.panel.pause_button.text() == "Pause"
    assert widget.figures_label.text().startswith("Step ")
    assert "left" not in widget.figures_label.text()
    reached = state.last.done
    assert (tmp_path / "run/fold-00/state.safetensors").exists()
    widget.folds.choose([0])
    widget.start()
    wait_step(widget, qtbot, reached + 1)
    assert find_job(TrainingState).state.curves[0][0][0] > held


def test_training_goes_on_without_its_widget_and_is_found_again(viewer, widget, qtbot, wait_idle):
    set_long(widget)
    widget.folds.choose([2])
    widget.device_box.setCurrentIndex(widget.device_box.findData("cpu"))
    widget.start()
    wait_step(widget, qtbot, 2)
    widget.panel.pause()
    dock = widget.parent()
    dock.destroyOnClose()
    qtbot.wait(200)
    job = find_job(TrainingState)
    assert job is not None
    widget.memory.keep("training", {"device": "auto"})
    again = docked(viewer)
    assert again.panel.job is job
    assert not again.panel.start_button.isEnabled()
    assert again.panel.status.text() == "Paused"
    assert again.panel.bar.maximum() == 100
    assert again.device_box.currentData() == "cpu"
    assert "Loss" in again.figures_label.text()
    qtbot.waitUntil(lambda: again.folds.chosen() == (2,))
    step = job.state.last.done
    again.panel.pause()
    wait_step(again, qtbot, step + 2)
    again.panel.cancel()
    wait_idle()


def test_closing_the_viewer_ends_the_training_and_keeps_what_it_learnt(
    viewer, widget, qtbot, tmp_path
):
    set_long(widget)
    widget.recipe.set_setting("checkpoint_steps", "100000")
    widget.folds.choose([0])
    widget.start()
    wait_step(widget, qtbot, 2)
    viewer.close()
    qtbot.waitUntil(lambda: not running_jobs(), timeout=10_000)
    assert QThreadPool.globalInstance().waitForDone(10_000)
    assert (tmp_path / "run/fold-00/state.safetensors").exists()


def test_slice_of_the_held_out_brain_is_shown_after_a_checkpoint(viewer, widget, qtbot, wait_idle):
    set_long(widget)
    widget.folds.choose([1])
    widget.preview_box.setChecked(True)
    widget.start()
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=120_000)
    layer = viewer.layers[0]
    assert layer.name.startswith("sub-B: 3T | step ")
    assert layer.data.shape == (32, 3 * 24)
    first = layer.name
    qtbot.waitUntil(lambda: layer.name != first, timeout=120_000)
    assert len(viewer.layers) == 1


def test_study_of_the_command_line_goes_on_in_the_window(widget, dataset, tmp_path, wait_idle):
    built = {"widths": [8, 8], "n_blocks": 1}
    asked = StudySettings("slice_unet", "best", widget.recipe.config(), built, "sub-B")
    start_training(dataset, tmp_path / "run", asked, [])[0]
    widget.panel.idle.emit()  # looks into the run folder again
    wait_idle()
    widget.folds.choose([0])
    widget.start()
    wait_idle()
    assert widget.panel.notices.texts(ERROR_COLOUR) == []
    assert read_card(tmp_path / "run/fold-00").network_config == built


@pytest.fixture
def held_at_step_2(widget, monkeypatch):
    """Have every fold pause by itself at its second step."""
    run_fold = run.run_fold

    def pausing(*arguments, report):
        def report_step(now):
            if isinstance(now, TrainProgress) and now.done == 2:
                widget.panel.job.pause()
            report(now)

        return run_fold(*arguments, report=report_step)

    monkeypatch.setattr(run, "run_fold", pausing)


def test_second_fold_has_its_slice_too_and_the_first_is_ticked_meanwhile(
    viewer, widget, held_at_step_2, qtbot, wait_idle
):
    widget.folds.choose([0, 1])
    widget.preview_box.setChecked(True)
    widget.start()
    for name, done in (("sub-A", []), ("sub-B", [0])):
        title = f"{name}: 3T | step 2 | 7T"
        qtbot.waitUntil(lambda title=title: title in viewer.layers, timeout=120_000)
        qtbot.waitUntil(lambda done=done: widget.folds.done() == done)
        assert widget.panel.job is not None
        widget.panel.pause()
    wait_idle()
    assert widget.folds.done() == [0, 1]


def test_run_folder_of_other_subjects_is_refused_in_words(widget, wait_idle, dataset):
    widget.folds.choose([0])
    widget.start()
    wait_idle()
    (dataset / "sub-C.nii.gz").unlink()
    widget.dataset_field.folder = str(dataset) + "/"
    wait_idle()
    widget.start()
    wait_idle()
    (text,) = widget.panel.notices.texts(ERROR_COLOUR)
    assert "subjects" in text


def test_widget_fits_350_pixels(widget):
    widget.recipe.advanced.unfold()
    assert widget.minimumSizeHint().width() <= 350


@pytest.fixture
def other_people_s_model(quick_model, tmp_path):
    """Return a model that knows nobody of the dataset."""
    return copy_with_subjects(quick_model, tmp_path / "others", ["sub-X"])


def copy_with_subjects(model, folder, names):
    shutil.copytree(model, folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"training": {"subjects": names}}))
    return folder


def test_training_starts_from_a_chosen_model(
    widget, tmp_path, quick_model, other_people_s_model, wait_idle
):
    chooser = widget.recipe.start_chooser
    chooser.add(other_people_s_model)
    assert widget.recipe.network_box.currentText() == read_card(quick_model).network
    assert not widget.recipe.network_box.isEnabled()
    widget.folds.choose([0])
    widget.start()
    wait_idle()
    assert widget.panel.notices.texts(ERROR_COLOUR) == []
    started = read_card(tmp_path / "run/fold-00").training["started_from"]
    assert started["sha256"] == read_card(quick_model).sha256


def test_model_that_knows_a_held_out_subject_is_refused_before_the_click(
    widget, quick_model, tmp_path
):
    folder = copy_with_subjects(quick_model, tmp_path / "knowing", ["sub-B"])
    chooser = widget.recipe.start_chooser
    chooser.add(folder)
    assert chooser.card_label.isVisibleTo(widget)
    assert "was trained on sub-B, which fold 1 holds out" in widget.panel.start_button.toolTip()
    assert not widget.panel.start_button.isEnabled()
    widget.folds.choose([0, 2])
    assert widget.panel.start_button.isEnabled()
    widget.folds.choose([1])
    chooser.box.setCurrentIndex(0)  # random weights
    assert widget.panel.start_button.isEnabled()
    assert widget.recipe.network_box.isEnabled()
    assert not chooser.card_label.isVisibleTo(widget)


def test_study_shows_what_it_started_from_and_gives_the_choice_back(
    widget, dataset, tmp_path, quick_model, wait_idle
):
    chooser = widget.recipe.start_chooser
    place = tmp_path / "earlier"
    shutil.copytree(quick_model, place / "fold-00")
    built = read_card(quick_model).network_config
    config = widget.recipe.config()
    for run_name, start, network_config in (
        ("named", "slice_unet", {}),
        ("folds", str(place), built),
        ("fresh", "", {}),
    ):
        asked = StudySettings("slice_unet", "best", config, network_config, "sub-B", start)
        start_training(dataset, tmp_path / run_name, asked, [])[0]
    n_offered = chooser.box.count()
    chooser.box.setCurrentText("watnet")
    for run_name, shown in (
        ("named", "slice_unet"),
        ("folds", "earlier, fold by fold"),
        ("none yet", "watnet"),
        ("folds", "earlier, fold by fold"),
        ("fresh", "Random weights"),
        ("none yet", "watnet"),
    ):
        for _ in range(2):  # asked again whenever a fold is done
            widget.run_field.folder = tmp_path / run_name
            widget.panel.idle.emit()
            wait_idle()
        assert chooser.box.currentText() == shown, run_name
        assert chooser.isEnabled() == (run_name == "none yet")
        assert chooser.box.count() == n_offered + (run_name == "folds")
    assert widget.recipe.network_box.currentText() == "watnet"


def test_study_whose_start_has_a_damaged_card_by_now_says_so_and_is_shown(
    widget, dataset, tmp_path, quick_model, wait_idle
):
    start = tmp_path / "start"
    shutil.copytree(quick_model, start)
    built = read_card(start).network_config
    asked = StudySettings(
        "slice_unet", "best", widget.recipe.config(), built, "sub-B", str(start.resolve())
    )
    start_training(dataset, tmp_path / "study", asked, [])[0]
    (start / "card.json").write_text("{")
    widget.run_field.folder = tmp_path / "study"
    wait_idle()
    chooser = widget.recipe.start_chooser
    assert chooser.box.currentText() == "start"
    assert "card.json" in chooser.notices.texts(ERROR_COLOUR)[0]
    widget.run_field.folder = tmp_path / "none yet"
    wait_idle()
    assert chooser.notices.texts(ERROR_COLOUR) == []


def test_dataset_with_fewer_subjects_than_the_study_before(
    widget, dataset, tmp_path, quick_model, wait_idle
):
    settings = StudySettings("slice_unet", "best", widget.recipe.config(), {}, "sub-B")
    start_training(dataset, tmp_path / "run", settings, [])[0]
    widget.panel.idle.emit()
    wait_idle()
    assert widget.folds.count() == 4
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for name in ("sub-A.nii.gz", "sub-B.nii.gz"):
        shutil.copy(dataset / name, fewer / name)
    widget.dataset_field.folder = fewer
    wait_idle()
    assert widget.folds.count() == 3
    assert widget.folds.held_out() == {0: "sub-A", 1: "sub-B"}
