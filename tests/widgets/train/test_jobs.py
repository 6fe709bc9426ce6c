"""What the widget "Train" says about a running training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.loop import TrainProgress
from napari_mri7t.widgets.train.jobs import Request, TrainingState, describe_step

FOLDS = (0, 1, 2)


def said_at(step: int, is_over=False) -> list[str]:
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
    return describe_step(state, now, is_over)


def test_time_left_counts_this_fold_and_those_to_come():
    assert said_at(30) == [
        "Loss 0.25000, learning rate 1.0e-03",
        "4.0 patches/s; about 60 s left in this fold",
        "2 more folds: about 5 min left in total",
    ]


def test_a_stopped_training_tells_where_and_no_time_left():
    assert said_at(30, is_over=True) == [
        "Loss 0.25000, learning rate 1.0e-03",
        "4.0 patches/s; stopped at step 30 of 60",
    ]


def test_folds_to_come_take_their_time_also_while_a_held_out_brain_is_estimated():
    assert said_at(60)[1:] == [
        "4.0 patches/s; all steps done",
        "2 more folds: about 4 min left in total",
    ]
