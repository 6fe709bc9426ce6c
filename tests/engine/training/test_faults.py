"""Faults that a training survives: killed workers, a foreign checkpoint, a fold done twice."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.training import run
from napari_mri7t.engine.training.checkpoint import CURRENT
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.run import run_fold
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import StudySettings

TINY = TrainConfig(
    n_steps=6, batch_size=2, patch_size=16, checkpoint_steps=2, warmup_steps=0, precision="float32"
)
SETTINGS = StudySettings(
    "slice_unet", "best", TINY, {"widths": (8, 8), "n_blocks": 1, "n_slices": 3}
)


@pytest.fixture
def study(dataset, tmp_path):
    return start_training(dataset, tmp_path / "run", SETTINGS, [])[0]


def test_fault_31_worker_killed_for_memory_is_told_with_that_word(study, monkeypatch):
    """The scheduler's own error speaks of "a worker that died"; a person needs the likely cause."""
    scheduler = pytest.importorskip("distributed.scheduler", reason="needs napari-mri7t[cluster]")
    from napari_mri7t.engine.workflows import tasks
    from napari_mri7t.engine.workflows.cluster import Place

    error = scheduler.KilledWorker("fold 0", None, 3)
    results = {study.label(0): error}
    monkeypatch.setattr(tasks, "run_tasks", lambda *_, **__: results)
    with pytest.raises(StateError, match=r"1 of 1 folds failed: .*killed.*memory") as caught:
        tasks.run_folds(study, [0], None, Place(cluster="local:1", device="cpu"))
    assert study.label(0) in str(caught.value)


@pytest.mark.parametrize("content", [b"\x80\x04\x95", b"PK\x03\x04archive/data.pkl"])
def test_fault_21_checkpoint_that_is_a_pickle_is_never_opened(study, content):
    fold = study.fold_folder(0)
    fold.mkdir(parents=True)
    (fold / CURRENT).write_bytes(content * 100)
    with pytest.raises(StateError, match=r"state\.safetensors: .*delete the fold's folder"):
        run_fold(study, 0, "cpu")


@pytest.mark.parametrize("stage", ["estimate_held_out", "save_model"])
def test_fault_40_fold_killed_after_its_training_is_ended_as_if_it_had_not_been(
    study, tmp_path, stage
):
    """Between the training's end and the card, which is written last, everything is done again."""

    class Killed(BaseException):
        pass

    def killed(*_, **__):
        raise Killed

    whole = replace(study, folder=tmp_path / "whole")
    run_fold(whole, 0, "cpu")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run, stage, killed)
        with pytest.raises(Killed):
            run_fold(study, 0, "cpu")
    assert not study.is_done(0)
    card = run_fold(study, 0, "cpu")
    assert study.is_done(0)
    first, second = study.fold_folder(0), whole.fold_folder(0)
    one, other = (load_file(folder / "weights.safetensors") for folder in (first, second))
    assert [key for key in one if not torch.equal(one[key], other[key])] == []
    assert (first / "estimate.nii.gz").read_bytes() == (second / "estimate.nii.gz").read_bytes()
    figures = [json.loads((folder / "metrics.json").read_text()) for folder in (first, second)]
    assert figures[0]["estimate"] == figures[1]["estimate"]
    assert run_fold(study, 0, "cpu") == card  # a fold that is done is not done again
