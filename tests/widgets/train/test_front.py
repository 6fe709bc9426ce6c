"""What stands in front in the widget "Train", its curve, its export and its line for the shell."""

from __future__ import annotations

import math
import shlex

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QCheckBox, QComboBox, QFileDialog

from napari_mri7t.engine.models.card import read_card
from napari_mri7t.engine.training.config import CHOICES, PRESETS, TrainConfig, settings_of
from napari_mri7t.engine.training.study import open_study
from napari_mri7t.widgets.shared.job_panel import duration
from napari_mri7t.widgets.train.settings import IN_FRONT, PlanesField
from napari_mri7t.widgets.train.widget import TrainWidget

pytestmark = pytest.mark.gui
TINY = {
    "n_steps": "4", "batch_size": "1", "patch_size": "16", "warmup_steps": "0",
    "checkpoint_steps": "2", "precision": "float32",
}  # fmt: skip

FORM_WIDTH = 240  # of labels and fields in a window of 1280 x 720, pixels
BESIDE_WORDS = 38  # of a list: its arrow and margins


@pytest.fixture
def widget(on_dataset, wait_idle):
    on_dataset.recipe.network_box.setCurrentText("basic_cnn")
    for name, text in TINY.items():
        on_dataset.recipe.set_setting(name, text)
    wait_idle()
    return on_dataset


def fields(widget: TrainWidget):
    return widget.recipe.settings._fields


def copied(widget) -> str:
    QApplication.clipboard().clear()
    widget.command_button.click()
    return QApplication.clipboard().text()


def test_the_numbers_that_matter_are_in_front_and_the_others_folded(widget):
    assert set(IN_FRONT) == {"n_steps", "batch_size", "patch_size"}
    is_seen = {name: field.isVisibleTo(widget) for name, field in fields(widget).items()}
    assert {name for name, seen in is_seen.items() if seen} == set(IN_FRONT)
    widget.recipe.advanced.unfold()
    assert all(field.isVisibleTo(widget) for field in fields(widget).values())


def test_settings_have_plain_labels_and_their_names_in_the_tooltips(widget):
    form = widget.recipe.advanced.form
    labels = {}
    for name in widget.recipe.settings.advanced():
        label = form.labelForField(fields(widget)[name])
        labels[name] = label.text().replace("\n", " ")
        assert f"--set {name}=" in label.toolTip()
        assert f"--set {name}=" in fields(widget)[name].toolTip()
    assert not [text for text in labels.values() if "_" in text or "." in text]
    assert len(set(labels.values())) == len(labels), "each label is of one setting"
    assert labels["checkpoint_steps"] == "Checkpoint every, steps"
    assert labels["weight_decay"] == "Weight decay"
    assert labels["inference.end_slices"] == "Held-out: skip end slices"


def test_choices_have_room_beside_the_labels_in_a_narrow_dock(widget):
    form = widget.recipe.advanced.form
    names = widget.recipe.settings.advanced()
    labels = max(form.labelForField(fields(widget)[name]).sizeHint().width() for name in names)
    for box in widget.recipe.advanced.contents.findChildren(QComboBox):
        words = box.fontMetrics().horizontalAdvance(box.currentText())
        assert FORM_WIDTH - labels >= words + BESIDE_WORDS, box.currentText()


def test_choices_are_lists_and_switches_are_boxes(widget):
    for name, value in settings_of(TrainConfig()).items():
        field = fields(widget)[name]
        if name in CHOICES:
            assert isinstance(field, QComboBox)
            assert tuple(field.itemText(n) for n in range(field.count())) == CHOICES[name]
        assert isinstance(field, QCheckBox) == isinstance(value, bool)
        assert isinstance(field, PlanesField) == name.endswith("planes")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_shown_and_read_back_as_it_is(widget, preset):
    for name in ("gan" if preset == "report" else "report", preset):
        widget.recipe.preset_box.setCurrentText(name)
    assert widget.recipe.config() == PRESETS[preset]
    assert widget.recipe.changes() == {}


def test_time_is_that_of_a_step_measured_here_times_all_steps(widget, wait_idle):
    _, seconds_per_patch = widget.time_label.pace
    assert seconds_per_patch > 0
    how_long = duration(3 * 4 * seconds_per_patch)
    assert widget.time_label.text().startswith(f"3 folds of 4 steps: {how_long} here")
    widget.recipe.set_setting("n_steps", "100000000")
    wait_idle()
    assert " h here" in widget.time_label.text()
    assert widget.time_label.pace[1] == seconds_per_patch, "more steps need no other measurement"
    widget.run_field.folder = ""
    wait_idle()
    assert not widget.time_label.isVisible()


def test_held_out_curve_grows_and_goes_with_its_run_folder(widget, wait_idle, tmp_path):
    assert not widget.held_out_plot.isVisible()
    widget.folds.choose([1])
    widget.panel.start_button.click()
    wait_idle()
    steps, figures = widget.held_out_plot.curve.getData()
    assert list(steps) == [2, 4]
    assert all(map(math.isfinite, figures))
    assert f"Held-out brain: PSNR {figures[-1]:.2f} dB" in widget.figures_label.text()
    widget.run_field.folder = tmp_path / "other"
    wait_idle()
    assert not widget.held_out_plot.isVisible()
    assert widget.figures_label.text() == ""


def test_trained_fold_is_exported_where_the_user_says(widget, wait_idle, tmp_path, monkeypatch):
    assert not widget.export_button.isEnabled()
    widget.folds.choose([2])
    widget.panel.start_button.click()
    wait_idle()
    assert "sub-C" in widget.export_button.toolTip()
    proposed = []

    def dialog(parent, title, path):
        proposed.append(path)
        return str(tmp_path / "mine"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", dialog)
    widget.export_button.click()
    wait_idle()
    assert proposed == [str(tmp_path / "basic_cnn-fold-02")]
    assert read_card(tmp_path / "mine").training["held_out"] == "sub-C"
    assert "Exported" in widget.panel.notices.texts()[-1]


def test_fold_that_is_done_is_clicked_to_be_exported_and_stays_ticked(widget, wait_idle):
    widget.folds.choose([0, 2])
    widget.start()
    wait_idle()
    assert widget.folds.done() == [0, 2]
    folds = widget.folds
    for n, name in ((2, "sub-C"), (0, "sub-A"), (2, "sub-C")):
        place = folds.visualItemRect(folds.item(n))
        for point in (place.center(), place.topLeft() + QPoint(8, place.height() // 2)):
            QTest.mouseClick(folds.viewport(), Qt.MouseButton.LeftButton, pos=point)
        assert name in widget.export_button.toolTip()
        assert folds.item(n).checkState() == Qt.CheckState.Checked
    assert folds.chosen() == ()
    folds.choose([1])
    assert folds.chosen() == (1,)


def test_steps_that_are_typed_count_at_once(widget, wait_idle):
    field = fields(widget)["n_steps"]
    wait_idle()
    shown = widget.time_label.text()
    field.selectAll()
    QTest.keyClicks(field, "40000")
    assert widget.time_label.text() != shown
    field.selectAll()
    QTest.keyClicks(field, "abc")
    assert "Steps: 'abc'" in widget.panel.status.text().replace("\u200b", "")
    assert widget.time_label.text() == ""


def test_a_start_reads_the_fields_as_they_are(widget, wait_idle):
    fields(widget)["n_steps"].setText("abc")  # as before the focus leaves it
    widget.start()
    assert widget.panel.job is None
    assert "Steps: 'abc'" in widget.panel.status.text().replace("\u200b", "")


def test_what_was_trained_is_at_hand_in_the_other_widgets(widget, wait_idle, tmp_path, monkeypatch):
    window = widget.viewer.window
    _, evaluation = window.add_plugin_dock_widget("napari-mri7t", "Evaluate")
    _, synthesis = window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    assert evaluation.asked.run_field.folder is None
    widget.folds.choose([0])
    widget.start()
    wait_idle()
    mine = tmp_path / "mine"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(mine), ""))
    widget.export_button.click()
    wait_idle()
    assert evaluation.asked.run_field.folder == tmp_path / "run"
    box = synthesis.model_chooser.box
    assert mine in [box.itemData(n) for n in range(box.count())]
    assert synthesis.model_chooser.choice is None, "offered, not chosen"
    evaluation.asked.run_field.folder = tmp_path
    evaluation.showEvent(QShowEvent())
    assert evaluation.asked.run_field.folder == tmp_path, "the user's own choice stays"


def test_progress_bar_is_of_all_folds_together(widget, wait_idle):
    seen = []
    widget.start()
    job = widget.panel.job
    job.progressed.connect(seen.append)
    wait_idle()
    assert set(job.state.curves) == {0, 1, 2}
    shares = [now.done / now.total for now in seen if now.total]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert any("; 3 folds in all" in now.message for now in seen)


def test_copied_line_trains_what_the_window_would(widget, wait_idle, run_cli, tmp_path):
    widget.folds.choose([1])
    widget.recipe.set_setting("planes", "axial,coronal")
    widget.recipe.set_setting("flips", "False")
    widget.device_box.choose("cpu")
    asked = widget.recipe.config()
    code, _, error = run_cli(*shlex.split(copied(widget))[1:])
    assert code == 0, error
    study = open_study(tmp_path / "run")
    assert (study.settings.network, study.settings.config) == ("basic_cnn", asked)
    assert [study.is_done(k) for k in range(3)] == [False, True, False]
    widget.run_field.folder = str(tmp_path / "run") + "/"
    wait_idle()
    widget.folds.choose([0])
    code, _, error = run_cli(*shlex.split(copied(widget))[1:])  # of the study, which goes on
    assert code == 0, error
    assert study.is_done(0)
