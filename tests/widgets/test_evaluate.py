"""The widget "Evaluate" in a real viewer, on a study trained for the purpose."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.training.presets import TrainConfig
from napari_mri7t.engine.volume import load_volume
from napari_mri7t.widgets.controls import ERROR_COLOUR
from napari_mri7t.widgets.layers import KEY

pytestmark = pytest.mark.gui

CONFIG = TrainConfig(
    n_steps=1, batch_size=1, patch_size=16, warmup_steps=0, precision="float32", inference_step=3
)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """Two folds of three subjects, trained for one step."""
    from napari_mri7t.engine.progress import run_to_end
    from napari_mri7t.engine.training.run import prepare_study, run_fold
    from napari_mri7t.engine.training.study import StudySettings, create_study

    place = tmp_path_factory.mktemp("study")
    (place / "dataset").mkdir()
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 28, 16)), indexing="ij")
    ball = np.clip(1.2 - np.sqrt(sum(axis**2 for axis in axes)), 0, 1)
    for name, power in (("sub-A", 1.0), ("sub-B", 1.3), ("sub-C", 0.8)):
        image = nibabel.Nifti1Image((255 * ball**power).astype(np.uint8), np.eye(4))
        nibabel.save(image, place / "dataset" / f"{name}.nii.gz")
    network = {"widths": [8, 8], "n_blocks": 1, "n_slices": 3}
    settings = StudySettings("slice_unet", "best", CONFIG, network)
    study = create_study(place / "dataset", place / "run", settings)
    pairs = run_to_end(prepare_study(study))
    for k in (0, 1):
        run_to_end(run_fold(study, k, "cpu", pairs))
    return place / "run"


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def widget(viewer, run_folder, wait_idle):
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Evaluate")
    widget.run_field.folder = run_folder
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
    rows = {(table.item(n, 0).text(), table.item(n, 1).text()) for n in range(table.rowCount())}
    assert rows == {
        (name, method) for name in ("sub-A", "sub-B") for method in ("3T as is", "Residual U-Net")
    }
    assert "3T as is: PSNR" in evaluated.summary_label.text()
    assert not evaluated.picture.pixmap().isNull()
    assert evaluated.picture.pixmap().width() <= 300


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
    assert names == ["sub-A: 3T as is", "sub-A: Residual U-Net", "sub-A: 7T"]
    estimate = load_volume(run_folder / "fold-00/estimate.nii.gz")
    np.testing.assert_array_equal(viewer.layers[1].data, estimate.array.T)
    assert viewer.layers[1].metadata[KEY]["provenance"]["Synthetic"] is True
    evaluated.load("sub-A")
    wait_idle()
    assert len(viewer.layers) == 3


def test_tables_and_report_are_exported(evaluated, wait_idle, tmp_path, run_folder):
    assert not evaluated.open_button.isEnabled()
    evaluated.export_tables(tmp_path / "tables")
    wait_idle()
    assert list((tmp_path / "tables").glob("*.csv"))
    evaluated.report_button.click()
    wait_idle()
    assert evaluated.panel.notices.texts(ERROR_COLOUR) == []
    assert (run_folder / "report.html").exists()
    assert list((run_folder / "results/figures").iterdir())
    assert evaluated.open_button.isEnabled()
    (run_folder / "report.html").unlink()


def test_folder_without_a_study_is_explained(widget, tmp_path, wait_idle):
    widget.run_field.folder = tmp_path
    widget.start()
    wait_idle()
    (text,) = widget.panel.notices.texts(ERROR_COLOUR)
    assert "no study here" in text
    assert not widget.report_button.isEnabled()
    assert "evaluate a run folder first" in widget.report_button.toolTip()


def test_run_folder_is_remembered(evaluated, viewer, run_folder):
    evaluated.parent().destroyOnClose()
    _, again = viewer.window.add_plugin_dock_widget("napari-mri7t", "Evaluate")
    assert again.run_field.folder == run_folder


def test_dock_closed_in_mid_job_ends_it(viewer, widget, wait_idle):
    widget.start()
    widget.parent().destroyOnClose()
    wait_idle()
    widget.deleteLater()


def test_widget_fits_350_pixels(evaluated):
    assert evaluated.minimumSizeHint().width() <= 350
