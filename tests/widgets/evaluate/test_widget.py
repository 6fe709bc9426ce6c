"""The widget "Evaluate" in a real viewer, on a study trained for the purpose."""

from __future__ import annotations

import shutil

import nibabel
import numpy as np
import pytest
from napari.utils import progress
from napari.utils.theme import get_theme

from napari_mri7t.engine.evaluation.robustness import Lesion, LesionResult, RobustnessPoint
from napari_mri7t.engine.evaluation.stress import Stress
from napari_mri7t.engine.metrics import pace
from napari_mri7t.engine.metrics.scoring import flatten, score
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.engine.workflows.studies import Studies
from napari_mri7t.widgets.evaluate import widget as evaluate
from napari_mri7t.widgets.evaluate.fields import COLUMNS, REGIONS
from napari_mri7t.widgets.evaluate.jobs import load_subject, on_background
from napari_mri7t.widgets.layers.layers import KEY, volume_to_layer
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR, WARNING_COLOUR

pytestmark = pytest.mark.gui

CONFIG = TrainConfig(
    n_steps=1,
    batch_size=1,
    patch_size=16,
    warmup_steps=0,
    precision="float32",
    inference=SynthesisConfig(step=3),
)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """Two folds of three subjects, trained for one step."""
    from napari_mri7t.engine.training.run import prepare_study, run_fold
    from napari_mri7t.engine.training.start import start_training
    from napari_mri7t.engine.training.study import StudySettings

    place = tmp_path_factory.mktemp("study")
    (place / "dataset").mkdir()
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 28, 16)), indexing="ij")
    ball = np.clip(1.2 - np.sqrt(sum(axis**2 for axis in axes)), 0, 1)
    for name, power in (("sub-A", 1.0), ("sub-B", 1.3), ("sub-C", 0.8)):
        image = nibabel.Nifti1Image((255 * ball**power).astype(np.uint8), np.eye(4))
        nibabel.save(image, place / "dataset" / f"{name}.nii.gz")
    network = {"widths": [8, 8], "n_blocks": 1, "n_slices": 3}
    settings = StudySettings("slice_unet", "best", CONFIG, network)
    study = start_training(place / "dataset", place / "run", settings, [])[0]
    pairs = prepare_study(study)
    for k in (0, 1):
        run_fold(study, k, "cpu", pairs)
    return place / "run"


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def widget(viewer, run_folder, wait_idle):
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Evaluate")
    widget.asked.run_field.folder = run_folder
    yield widget
    wait_idle()


@pytest.fixture
def evaluated(widget, wait_idle):
    widget.start()
    wait_idle()
    assert widget.panel.notices.texts(ERROR_COLOUR) == []
    return widget


def test_table_holds_every_subject_by_every_method(evaluated):
    table = evaluated.table
    assert table.item(0, 0).text() == "A", "what tells the subjects apart is in sight"
    assert table.as_text().splitlines()[1].startswith("sub-A\t")
    rows = {(table.subject(n), table.item(n, 1).text()) for n in range(table.rowCount())}
    assert rows == {
        (name, method) for name in ("sub-A", "sub-B") for method in ("3T as is", "SliceUNet")
    }
    assert "3T as is: PSNR" in evaluated.summary_label.text()
    assert not evaluated.picture.pixmap().isNull()
    assert evaluated.picture.pixmap().width() <= 300


def test_a_copy_that_fails_leaves_the_result_in_sight(evaluated, monkeypatch):
    def lines():
        raise ValueError("estimate: was not opened from a file")

    monkeypatch.setattr(evaluated.command_button, "_lines", lines)
    evaluated.command_button.click()
    assert evaluated.panel.notices.texts(ERROR_COLOUR) == ["estimate: was not opened from a file"]
    assert evaluated.panel.status.text() == "Evaluated 2 of 3 subjects"
    evaluated.asked.baselines_box.click()
    assert evaluated.panel.notices.texts() == [], "the error goes with what it is about"


def test_progress_shows_in_the_widget_and_in_the_activity_dock(widget, wait_idle):
    seen, panel = [], widget.panel
    widget.start()
    panel.job.progressed.connect(
        lambda record: seen.append((panel.bar.value(), panel.bar.maximum(), panel.status.text()))
    )
    assert [bar.desc for bar in progress._all_instances] == ["Evaluate run"]
    assert panel.cancel_button.isEnabled()
    wait_idle()
    counted = dict.fromkeys((value, most) for value, most, _ in seen if most)
    assert list(counted) == [(n, 100) for n in (0, 25, 50, 75, 100)]  # two subjects, two methods
    told = [text.replace("\u200b", "") for *_, text in seen]
    assert told[0] == "Loading torch"
    assert any(text.startswith("sub-B: ") and ": 75\u00a0%" in text for text in told)
    assert not progress._all_instances


def test_table_sorts_by_value_and_is_copied_with_tabs(evaluated):
    table = evaluated.table
    table.sortItems(2)
    figures = [float(table.item(n, 2).text()) for n in range(table.rowCount())]
    assert figures == sorted(figures)
    lines = table.as_text().split("\n")
    assert len(lines) == 5
    assert lines[0].split("\t")[:2] == ["Subject", "Method"]
    assert lines[1].split("\t")[2] == table.item(0, 2).text()


def test_double_click_loads_the_subject_s_volumes(evaluated, viewer, wait_idle, run_folder):
    evaluated.table.sortItems(0)
    evaluated.table.cellDoubleClicked.emit(0, 0)
    wait_idle()
    names = [layer.name for layer in viewer.layers]
    assert names == ["sub-A: 3T as is", "sub-A: SliceUNet", "sub-A: 7T"]
    estimate = load_volume(run_folder / "fold-00/estimate.nii.gz")
    np.testing.assert_array_equal(viewer.layers[1].data, estimate.array.T)
    assert viewer.layers[1].metadata[KEY]["provenance"]["Synthetic"] is True
    evaluated.load("sub-A")
    wait_idle()
    assert len(viewer.layers) == 3


def test_double_click_shows_the_run_that_was_evaluated_last(
    evaluated, viewer, wait_idle, run_folder, tmp_path, monkeypatch
):
    for subject in ("sub-A", "sub-B"):
        evaluated.load(subject)
        wait_idle()
    own = viewer.add_image(np.zeros((4, 4, 4)), name="sub-A: SliceUNet of mine")
    other = tmp_path / "other"
    shutil.copytree(run_folder, other)
    evaluated.asked.run_field.folder = other
    wait_idle()
    evaluated.start()
    wait_idle()
    subject, volumes = load_subject(other, "sub-A")
    darker = {name: volume.with_array(volume.array / 2) for name, volume in volumes.items()}
    monkeypatch.setattr(evaluate, "load_subject", lambda run, name: (subject, darker))
    evaluated.load("sub-A")
    wait_idle()
    names = ["sub-A: 3T as is", "sub-A: SliceUNet", "sub-A: 7T"]
    assert sorted(layer.name for layer in viewer.layers) == sorted([own.name, *names])
    for name, volume in zip(names, darker.values(), strict=True):
        np.testing.assert_array_equal(viewer.layers[name].data, volume.array.T)


def test_tables_are_exported(evaluated, wait_idle, tmp_path):
    evaluated.export_tables(tmp_path / "tables")
    wait_idle()
    assert list((tmp_path / "tables").glob("*.csv"))


def test_report_has_figures_and_what_was_measured_on_the_command_line(
    evaluated, wait_idle, run_folder, monkeypatch
):
    noise = (0.001, 0.01)
    scores = {"brain_psnr": 20.0}, {"brain_psnr": 24.0}
    points = tuple(RobustnessPoint("noise", variance, *scores) for variance in noise)
    lesions = (LesionResult(Lesion((1, 1, 1), 4.0, 0.2), 0.2, 1.0, 0.5),)
    known = {"slice_unet": Stress(points, lesions)}
    monkeypatch.setattr(Studies, "stress", lambda studies, report: known)
    assert not evaluated.open_button.isEnabled()
    evaluated.report_button.click()
    wait_idle()
    assert evaluated.panel.notices.texts(ERROR_COLOUR) == []
    page = (run_folder / "report.html").read_text()
    assert "<h2>Robustness</h2>" in page
    assert "<h2>Lesions</h2>" in page
    assert list((run_folder / "results/figures").iterdir())
    assert evaluated.open_button.isEnabled()
    (run_folder / "report.html").unlink()


def test_folder_without_a_study_is_explained(widget, tmp_path, wait_idle):
    widget.asked.run_field.folder = tmp_path
    widget.start()
    wait_idle()
    (text,) = widget.panel.notices.texts(ERROR_COLOUR)
    assert "no study in this folder" in text
    assert not widget.report_button.isEnabled()
    assert "evaluate first" in widget.report_button.toolTip()


def test_run_folder_is_remembered(evaluated, viewer, run_folder):
    evaluated.parent().destroyOnClose()
    _, again = viewer.window.add_plugin_dock_widget("napari-mri7t", "Evaluate")
    assert again.asked.run_field.folder == run_folder


def test_dock_closed_in_mid_job_ends_it(viewer, widget, wait_idle):
    widget.start()
    widget.parent().destroyOnClose()
    wait_idle()
    widget.deleteLater()


def test_widget_fits_350_pixels(evaluated):
    assert evaluated.minimumSizeHint().width() <= 350


@pytest.fixture
def layers(viewer, phantom):
    """A 7T, an estimate that is nearer to it than its 3T, and both as volumes."""
    noise = np.random.default_rng(0).normal(0, 0.1, phantom.shape).astype(np.float32)
    made = {"7T": phantom.array, "estimate": phantom.array + 0.3 * noise}
    made["3T"] = phantom.array + noise
    for name, array in made.items():
        data, meta, _ = volume_to_layer(phantom.with_array(array), name=name)
        viewer.add_image(data, **meta)
    return {name: phantom.with_array(array) for name, array in made.items()}


def evaluate_layers(widget, viewer, wait_idle, **choices):
    widget.asked.of_box.setCurrentText("Two layers")
    volumes = widget.asked.volumes
    volumes.reference_chooser.layer = viewer.layers[choices.get("reference", "7T")]
    volumes.estimate_chooser.layer = viewer.layers["estimate"]
    widget.asked.source_chooser.layer = viewer.layers["3T"]
    assert widget.panel.start_button.isEnabled()
    widget.panel.start_button.click()
    wait_idle()


def test_two_layers_and_their_3t_are_proposed(widget, layers):
    widget.asked.of_box.setCurrentText("Two layers")
    assert [layer.name for layer in widget.asked.volumes.pair] == ["7T", "estimate"]
    assert widget.asked.source_chooser.layer.name == "3T"


def test_time_of_two_layers_is_told_before_the_start(
    widget, viewer, layers, wait_idle, monkeypatch
):
    n_voxels = layers["7T"].array.size
    monkeypatch.setattr(pace, "seconds_per_voxel", lambda: 30 / n_voxels)
    assert widget.time_label.text() == "", "earlier results of a run folder are reused"
    widget.asked.of_box.setCurrentText("Two layers")
    wait_idle()
    assert widget.time_label.text() == "About 60 s, timed on a part of a brain."
    source = widget.asked.source_chooser
    source.setCurrentIndex(source.findText("none"))
    wait_idle()
    assert widget.time_label.text() == "About 30 s, timed on a part of a brain."
    widget.asked.of_box.setCurrentText("Run folder")
    assert widget.time_label.text() == ""


def test_two_layers_are_scored_like_files(widget, viewer, layers, wait_idle, tmp_path):
    evaluate_layers(widget, viewer, wait_idle)
    assert widget.panel.notices.texts(ERROR_COLOUR) == []
    by_method = {result.method: result.metrics for result in widget.evaluation.results}
    for method, name in (("source", "3T"), ("estimate", "estimate")):
        assert by_method[method] == flatten(score(layers["7T"], layers[name]))
    assert by_method["estimate"]["brain_psnr"] > by_method["source"]["brain_psnr"] + 8
    assert "estimate: PSNR" in widget.summary_label.text()
    assert widget.panel.status.text() == "Evaluated 1 subject"
    assert not widget.picture.isVisibleTo(widget)
    widget.load("7T")  # nothing to load: the layers are there
    widget.export_tables(tmp_path)
    wait_idle()
    assert "estimate" in (tmp_path / "summary.csv").read_text()
    assert len(viewer.layers) == 3


@pytest.mark.parametrize("has_source", [True, False])
def test_report_of_two_layers_is_one_page_in_a_folder(
    widget, viewer, layers, wait_idle, tmp_path, monkeypatch, has_source
):
    evaluate_layers(widget, viewer, wait_idle)
    if not has_source:
        widget.asked.source_chooser.layer = None
        widget.start()
        wait_idle()
    assert not widget.open_button.isEnabled()
    monkeypatch.setattr(
        evaluate.QFileDialog, "getExistingDirectory", lambda *asked: str(tmp_path / "out")
    )
    widget.report_button.click()
    wait_idle()
    assert widget.panel.notices.texts(ERROR_COLOUR) == []
    page = tmp_path / "out/report.html"
    text = page.read_text()
    assert "7T: estimate and real 7T" in text
    assert "not for diagnosis" in text
    assert "held-out" not in text, "nobody was held out"
    assert ("3T as is" in text) == has_source
    lines = (tmp_path / "out/tables/metrics.csv").read_text().splitlines()
    assert lines[0] == ("Metric,3T as is,estimate" if has_source else "Metric,estimate")
    expected = score(layers["7T"], layers["estimate"])["brain"]["psnr"]
    assert lines[1].endswith(f",{expected:.2f}")
    (details,) = (tmp_path / "out/figures").glob("slice-7T*.png")
    assert details.stat().st_size > 1000
    assert widget.open_button.isEnabled()
    widget.report_button.click()
    wait_idle()
    (refused,) = widget.panel.notices.texts(ERROR_COLOUR)
    assert "already has report.html; choose another folder" in refused
    assert page.read_text() == text


def test_two_layers_of_different_scales_are_warned_of(widget, viewer, layers, wait_idle):
    viewer.layers["7T"].data = 255 * viewer.layers["7T"].data
    evaluate_layers(widget, viewer, wait_idle)
    texts = widget.panel.notices.texts(WARNING_COLOUR)
    assert [text.partition(":")[0] for text in texts] == ["3T", "estimate"]
    assert all("one scale" in text for text in texts)


def test_evaluation_of_layers_can_be_cancelled(widget, viewer, layers, wait_idle):
    widget.asked.of_box.setCurrentText("Two layers")
    widget.start()
    widget.panel.cancel()
    wait_idle()
    assert widget.evaluation is None
    assert "Cancelled" in widget.panel.status.text()


def test_same_layer_twice_is_not_evaluated(widget, viewer, layers):
    widget.asked.of_box.setCurrentText("Two layers")
    for chooser in (widget.asked.volumes.reference_chooser, widget.asked.volumes.estimate_chooser):
        chooser.layer = viewer.layers["7T"]
    assert not widget.panel.start_button.isEnabled()
    assert widget.panel.status.text() == "Choose two different volumes."
    widget.asked.of_box.setCurrentText("Run folder")
    assert widget.panel.start_button.isEnabled()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_box_plots_lie_on_the_theme_s_background(evaluated, viewer, theme):
    viewer.theme = theme
    image = evaluated.picture.pixmap().toImage()
    background = get_theme(theme).background.as_rgb_tuple()[:3]
    assert image.pixelColor(1, 1).getRgb()[:3] == pytest.approx(background, abs=2)
    shades = [image.pixelColor(x, y).lightness() for x in range(250) for y in range(0, 90, 3)]
    ink = max(shades) if theme == "dark" else min(shades)
    assert abs(ink - image.pixelColor(1, 1).lightness()) > 100


def test_colours_keep_their_hue_on_a_dark_background():
    picture = np.array([[[255, 255, 255], [0, 0, 0], [0, 114, 178], [204, 121, 167]]], np.uint8)
    turned = on_background(picture, (0, 0, 0), True)
    assert turned[0, :2].tolist() == [[0, 0, 0], [255, 255, 255]]
    for old, new in zip(picture[0, 2:], turned[0, 2:], strict=True):
        assert np.ptp(old) == np.ptp(new)
        assert np.argmax(old) == np.argmax(new)


def test_every_column_of_a_region_fits_the_widget(evaluated):
    table = evaluated.table
    seen = {}
    for region in REGIONS:
        evaluated.region_box.setCurrentIndex(evaluated.region_box.findData(region))
        shown = [n for n in range(table.columnCount()) if not table.isColumnHidden(n)]
        seen[region] = [COLUMNS[n - 2] for n in shown[2:]]
        widths = [table.columnWidth(n) for n in shown]
        assert sum(widths) <= table.viewport().width()
        assert min(widths) >= 40
        for n in shown[2:]:
            assert table.columnWidth(n) >= table.sizeHintForColumn(n), "no figure is cut off"
    assert seen == {name: [key for key in COLUMNS if key.startswith(name)] for name in REGIONS}


def test_results_go_with_the_choice_that_they_are_of(evaluated, wait_idle, tmp_path):
    assert evaluated.summary_label.text()
    evaluated.asked.run_field.folder = tmp_path
    wait_idle()
    assert evaluated.evaluation is None
    assert evaluated.table.rowCount() == 0
    assert evaluated.summary_label.text() == ""
    assert not evaluated.picture.isVisible()
    assert not evaluated.tables_button.isEnabled()
