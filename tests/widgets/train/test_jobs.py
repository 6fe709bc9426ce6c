"""What the widget "Train" says about a running training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_mri7t.engine.datasets.subjects import Subject
from napari_mri7t.engine.errors import SubjectError
from napari_mri7t.engine.training import run
from napari_mri7t.engine.training.config import FINAL, TrainConfig
from napari_mri7t.engine.training.loop import TrainProgress
from napari_mri7t.engine.training.study import StudySettings
from napari_mri7t.widgets.train import jobs
from napari_mri7t.widgets.train.jobs import (
    MOST_ERRORS,
    Request,
    TrainingState,
    describe_step,
    look_into,
    preview_of,
    without_amounts,
)

FOLDS = (0, 1, 2)


def said_at(step: int) -> list[str]:
    """Return what is said in the first of three folds of 60 steps, two seconds each."""
    config = TrainConfig(n_steps=60, batch_size=8)
    request = Request(Path(), Path(), "basic_cnn", "best", config, FOLDS, "cpu")
    state = TrainingState(request, SimpleNamespace(is_done=lambda k: False), fold=0)
    now = TrainProgress(
        step,
        61,  # the estimate is one more step
        "",
        fold=0,
        label="",
        loss=0.25,
        learning_rate=1e-3,
        patches_per_second=4.0,
        seconds_left=2.0 * (60 - step),
    )
    return describe_step(state, now)


def test_a_step_tells_how_far_and_how_fast():
    assert said_at(30) == [
        "Step 30 of 60, 4.0 patches/s",
        "Loss 0.25000, learning rate 1.0e-03",
    ]


def test_the_estimate_of_the_held_out_brain_is_no_step():
    assert said_at(61)[0] == "Step 60 of 60, 4.0 patches/s"


def asked_for(**settings) -> Request:
    config = TrainConfig(n_steps=50, checkpoint_steps=20, **settings)
    return Request(Path(), Path("run"), "basic_cnn", "best", config, FOLDS, "cpu")


def test_held_out_brain_is_followed_at_each_checkpoint_and_at_the_end():
    state = TrainingState(asked_for(), fold=0)
    state.curves[0], state.held_out[0] = [], []
    for step in (10, 20, 30, 40, 50):
        figures = {"loss": 0.5, "learning_rate": 1e-3, "held_out_psnr": 20.0 + step}
        figures |= {"patches_per_second": 4.0, "seconds_left": 1.0}
        state.note(TrainProgress(step, 50, "", fold=0, label="", **figures))
    assert state.held_out[0] == [(20, 40.0), (40, 60.0), (50, 70.0)]
    assert [step for step, _, _ in state.curves[0]] == [10, 20, 30, 40, 50]


def test_preview_of_a_brain_that_is_trained_on_says_so(monkeypatch):
    monkeypatch.setattr(run, "preview_slice", lambda *_: "preview")
    pairs = [SimpleNamespace(name=name, target="slices") for name in ("sub-A", "sub-B")]
    state = TrainingState(asked_for(), study=SimpleNamespace(), pairs=pairs)
    assert preview_of(state, 1) == ("sub-B", "preview")
    assert preview_of(state, FINAL) == ("sub-A (training subject)", "preview")


@pytest.mark.parametrize(("n_wrong", "n_told"), [(MOST_ERRORS, MOST_ERRORS), (8, MOST_ERRORS + 1)])
def test_dataset_in_which_all_is_wrong_is_told_in_a_few_lines(monkeypatch, n_wrong, n_told):
    def check(subject):
        raise SubjectError(f"{subject.name}: is wrong")

    subjects = [Subject(f"sub-{n}", Path(f"{n}.nii")) for n in range(n_wrong)]
    monkeypatch.setattr(jobs, "find_subjects", lambda _: subjects)
    monkeypatch.setattr(jobs, "check_headers", check)
    found = look_into(Path(), None)
    assert len(found.errors) == n_told
    assert found.subjects == []
    if n_told > MOST_ERRORS:
        assert found.errors[-1] == "and 3 more errors like these"


def test_pace_of_a_batch_is_not_that_of_single_patches():
    of_eight, of_two, of_one = (without_amounts(asked_for(batch_size=n)) for n in (8, 2, 1))
    assert of_eight == of_two != of_one


def test_study_that_has_begun_keeps_what_has_no_field_and_takes_the_fields(monkeypatch):
    begun = StudySettings(
        "basic_cnn", "best", TrainConfig(), {"width": 4}, reference="sub-B", start_from="model"
    )
    monkeypatch.setattr(jobs, "open_run", lambda _: SimpleNamespace(settings=begun))
    asked = replace(asked_for(), network_config={"width": 8}, preset="report")
    settings = jobs._settings(asked)
    assert (settings.reference, settings.start_from) == ("sub-B", "model")
    assert (settings.preset, settings.config) == ("report", asked.config)
    assert settings.network_config == {"width": 8}
    other = jobs._settings(replace(asked, network="watnet"))
    assert (other.network, other.reference, other.start_from) == ("watnet", "", "")
