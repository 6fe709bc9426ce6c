"""Faults of data, checkpoints and run folders, as the widget "Train" shows them."""

from __future__ import annotations

import shutil
import threading

import nibabel
import numpy as np
import pytest
import torch
from filelock import FileLock

from napari_mri7t.engine.training import loop
from napari_mri7t.engine.training.checkpoint import CURRENT
from napari_mri7t.engine.training.study import LOCK_FILE
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR, INFORMATION_COLOUR
from napari_mri7t.widgets.shared.worker import find_job
from napari_mri7t.widgets.train.jobs import TrainingState

pytestmark = pytest.mark.gui

TINY = {
    "n_steps": "4",
    "batch_size": "1",
    "patch_size": "16",
    "checkpoint_steps": "1",
    "precision": "float32",
    "inference.step": "3",
}


@pytest.fixture
def dataset(phantom, tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    part = phantom.array[8:32, 8:40, 8:24]
    for name, power in (("sub-A", 1.0), ("sub-B", 1.3), ("sub-C", 0.8)):
        save(folder / f"{name}.nii.gz", (255 * part**power).astype(np.uint8))
    return folder


def save(path, array, shift=0.0):
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) + shift * np.eye(4, k=3)), path)


@pytest.fixture
def widget(on_dataset):
    choose(on_dataset)
    return on_dataset


def choose(widget, network="basic_cnn", **changed):
    widget.recipe.network_box.setCurrentText(network)
    for name, text in {**TINY, **changed}.items():
        widget.recipe.set_setting(name, text)
    widget.folds.choose([0])


def run(widget, wait_idle):
    """Start, wait for the end, and give the errors that are shown."""
    widget.start()
    wait_idle()
    return widget.panel.notices.texts(ERROR_COLOUR)


def test_fault_17_nan_in_training_data_is_told(widget, dataset, wait_idle):
    array = np.random.default_rng(0).random((24, 32, 16), np.float32)
    array[3, 3, 3] = np.nan
    save(dataset / "sub-B.nii.gz", array)
    (text,) = run(widget, wait_idle)
    assert "sub-B" in text
    assert "NaN" in text
    assert widget.panel.start_button.isEnabled()


def test_fault_18_pair_on_two_grids_is_told_with_the_registration(
    widget, phantom, tmp_path, wait_idle
):
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for name in ("sub-A", "sub-B"):
        for kind in ("3T", "7T"):
            shift = 2.0 if (name, kind) == ("sub-B", "7T") else 0.0
            save(pairs / f"{name}_{kind}.nii.gz", phantom.array, shift)
    widget.dataset_field.folder = pairs
    wait_idle()
    (text,) = widget.data_notices.texts(ERROR_COLOUR)
    assert text.startswith("sub-B")
    assert "register" in text
    assert "sub-B: 3T sub-B_3T.nii.gz, 7T sub-B_7T.nii.gz" in widget.data_notices.toolTip()
    assert not widget.panel.start_button.isEnabled()


def test_one_subject_alone_is_refused_as_the_folder_is_chosen(widget, dataset, wait_idle):
    for name in ("sub-B", "sub-C"):
        (dataset / f"{name}.nii.gz").unlink()
    widget.dataset_field.folder = f"{dataset}/"
    wait_idle()
    assert widget.data_notices.texts(INFORMATION_COLOUR) == [
        "1 subject: 7T volumes; their 3T is simulated"
    ]
    (text,) = widget.data_notices.texts(ERROR_COLOUR)
    assert text.startswith("leave-one-out needs at least 2 subjects, but sub-A is the only one")
    assert not widget.panel.start_button.isEnabled()


def test_fault_19_subject_that_stands_twice_is_told_as_the_folder_is_chosen(
    widget, dataset, wait_idle
):
    shutil.copy(dataset / "sub-B.nii.gz", dataset / "sub-B_7T.nii.gz")
    widget.dataset_field.folder = f"{dataset}/"
    wait_idle()
    (text,) = widget.data_notices.texts(ERROR_COLOUR)
    assert "sub-B" in text
    assert not widget.panel.start_button.isEnabled()


@pytest.fixture
def stopped(widget, qtbot, wait_idle, tmp_path):
    """A training that was stopped after its third step; gives the file of its state."""
    choose(widget, n_steps="100000")
    widget.start()

    def reached() -> bool:
        job = find_job(TrainingState)
        last = None if job is None else job.state.last
        return last is not None and last.done >= 3

    qtbot.waitUntil(reached, timeout=120_000)
    widget.panel.cancel()
    wait_idle()
    return tmp_path / "run" / "fold-00" / CURRENT


def test_fault_20_truncated_checkpoint_goes_on_from_the_one_before(stopped, widget, qtbot):
    stopped.write_bytes(stopped.read_bytes()[:-1000])
    widget.folds.choose([0])
    widget.start()

    def goes_on() -> bool:
        job = find_job(TrainingState)
        return job is not None and bool(job.state.curves.get(0))

    qtbot.waitUntil(goes_on, timeout=120_000)
    assert find_job(TrainingState).state.curves[0][0][0] > 1
    assert widget.panel.notices.texts(ERROR_COLOUR) == []


def test_fault_21_checkpoint_that_is_a_pickle_is_told_and_not_opened(stopped, widget, wait_idle):
    stopped.with_name("state.previous.safetensors").unlink()
    stopped.write_bytes(b"\x80\x04\x95" * 100)
    widget.folds.choose([0])
    (text,) = run(widget, wait_idle)
    assert str(stopped) in text
    assert "delete the fold's folder" in text


def test_fault_39_fold_that_another_process_trains_is_told(widget, tmp_path, wait_idle):
    loop = tmp_path / "run" / "fold-00"
    loop.mkdir(parents=True)
    with FileLock(loop / LOCK_FILE):
        (text,) = run(widget, wait_idle)
    assert text.startswith(f"{loop}: another process is training this fold")


def test_fault_30_lack_of_memory_names_a_setting_that_can_be_set(widget, tmp_path, wait_idle):
    choose(widget, batch_size="2")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "take_step", full)
        (text,) = run(widget, wait_idle)
    assert "set batch_size to 1, in a new run folder" in text
    assert not widget.recipe.preset_box.isEnabled()
    widget.run_field.folder = tmp_path / "new"
    wait_idle()
    assert widget.recipe.preset_box.isEnabled()
    choose(widget, batch_size="1")
    assert run(widget, wait_idle) == []
    assert widget.folds.done() == [0]


def full(*arguments):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB.")


def test_failure_while_the_widget_is_closed_is_told_by_the_next_one(
    widget, qtbot, monkeypatch, wait_idle
):
    is_closed = threading.Event()

    def full_when_closed(*arguments):
        is_closed.wait(60)
        full()

    monkeypatch.setattr(loop, "take_step", full_when_closed)
    widget.start()
    widget.parent().destroyOnClose()
    qtbot.wait(200)
    assert find_job(TrainingState) is not None
    is_closed.set()
    wait_idle()
    for expected in (1, 0):  # told once
        _, again = widget.viewer.window.add_plugin_dock_widget("napari-mri7t", "Train")
        texts = again.panel.notices.texts(ERROR_COLOUR)
        assert len(texts) == expected
        assert all("while this widget was closed: cpu: out of memory" in text for text in texts)
        again.parent().destroyOnClose()
        wait_idle()
