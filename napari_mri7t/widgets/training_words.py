"""What the widget "Train folds" says: of the folders it is given, and of a training that runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.subjects import Subject, find_subjects
from napari_mri7t.widgets.job_panel import duration
from napari_mri7t.widgets.training_jobs import TrainingState, look_at

if TYPE_CHECKING:
    from napari_mri7t.engine.training.run import FoldProgress
    from napari_mri7t.engine.training.study import Study


def figures_of(state: TrainingState, record: FoldProgress) -> list[str]:
    """Say loss, pace, time left and memory at a training step."""
    now = record.training
    is_trained = now.step == now.n_steps
    left = "all steps done" if is_trained else f"{duration(now.seconds_left)} left in this fold"
    lines = [
        f"Loss {now.loss:.5f}, learning rate {now.learning_rate:.1e}",
        f"{now.patches_per_second:.1f} patches/s; {left}",
    ]
    n_left = state.folds_left()
    if n_left:
        in_all = now.seconds_left + n_left * now.n_steps * now.seconds_per_step
        lines.append(f"{n_left} more to come: {duration(in_all)} left in all")
    if state.memory is not None:
        used, total = (part / 2**30 for part in state.memory)
        lines.append(f"GPU memory: {used:.1f} of {total:.1f} GiB")
    return lines


def look_into(
    dataset: Path | None, run: Path | None
) -> tuple[list[Subject], Study | None, list[str], list[str]]:
    """Look into both folders: subjects, study, what they hold and what is wrong, in words."""
    subjects, study, facts, errors = [], None, [], []
    if dataset is not None:
        try:
            subjects = find_subjects(dataset)
            n_pairs = sum(subject.source is not None for subject in subjects)
            kind = "pairs of 3T and 7T" if n_pairs else "7T volumes; their 3T is simulated"
            facts.append(f"{len(subjects)} subjects: {kind}")
        except (Mri7tError, OSError) as error:
            errors.append(str(error))
    if run is not None:
        try:
            study = look_at(run)
        except (Mri7tError, OSError) as error:
            errors.append(str(error))
    if study is not None:
        done = sum(study.is_done(k) for k in range(len(study.subjects)))
        facts.append(
            f"The run folder has a study of {study.settings.network} ({study.settings.preset}): "
            f"{done} of {len(study.subjects)} folds done"
        )
    return subjects, study, facts, errors
