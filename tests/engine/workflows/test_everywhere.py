"""What is sent to workers, which run in other folders, and in which order folds are trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.models.card import find_model
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.training.config import FINAL
from napari_mri7t.engine.workflows import tasks
from napari_mri7t.engine.workflows.cluster import Place
from napari_mri7t.engine.workflows.job import BatchJob

PLACE = Place(cluster="local:2", device="cpu")


def test_paths_of_a_job_mean_the_same_in_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    preparation = PreparationConfig(keep=Path("kept"), allow_out_of_domain=True)
    job = BatchJob(
        Path("out"), "basic_cnn", SynthesisConfig(), preparation=preparation,
        derivatives=(Path("a"), Path("b")),
    )  # fmt: skip
    there = tasks._everywhere(job)
    assert there.output == tmp_path.resolve() / "out"
    assert there.preparation.keep == tmp_path.resolve() / "kept"
    assert there.preparation.allow_out_of_domain
    assert there.derivatives == (tmp_path.resolve() / "a", tmp_path.resolve() / "b")
    assert there.model == str(find_model("basic_cnn").resolve())


def run_folds(folds, monkeypatch, fails=()):
    """Return the groups of folds that workers get, one after the other."""
    groups = []

    def run(group, client, resources, on_ended):
        groups.append([task.label for task in group])
        return {t.label: ValueError("broken") if t.label in fails else None for t in group}

    study = SimpleNamespace(
        folder=Path(), label=str, settings=SimpleNamespace(config=SimpleNamespace(n_steps=1)),
        fold_folder=Path, is_done=lambda k: True,
    )  # fmt: skip
    monkeypatch.setattr(tasks, "run_tasks", run)
    monkeypatch.setattr(tasks, "read_card", lambda folder: folder)
    study.fold_folder = lambda k: Path(str(k))
    try:
        tasks.run_folds(study, folds, None, PLACE)
    finally:
        run_folds.groups = groups
    return groups


def test_model_of_all_subjects_is_trained_after_the_folds(monkeypatch):
    assert run_folds([FINAL, 0, 1], monkeypatch) == [["0", "1"], [str(FINAL)]]


def test_fold_that_fails_keeps_the_model_of_all_subjects_from_being_trained(monkeypatch):
    with pytest.raises(StateError, match="1 of 2 folds failed: 1: broken"):
        run_folds([0, 1, FINAL], monkeypatch, fails=("1",))
    assert run_folds.groups == [["0", "1"]]
