"""What the widget "Train" says about a running training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.loop import TrainProgress
from napari_mri7t.widgets.train.jobs import Request, TrainingState, describe_step

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
