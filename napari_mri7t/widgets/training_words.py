"""What the widget "Train folds" says: of the folders it is given, and of a training that runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.subjects import (
    Subject,
    check_headers,
    find_subjects,
    leave_one_out,
)
from napari_mri7t.widgets.job_panel import duration
from napari_mri7t.widgets.training_jobs import TrainingState, look_at

if TYPE_CHECKING:
    from napari_mri7t.engine.training.run import FoldProgress
    from napari_mri7t.engine.training.study import Study

MOST_ERRORS = 5  # shown of one dataset


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


@dataclass(frozen=True, eq=False)
class Found:
    """What a dataset and a run folder hold.

    `subjects` are empty where nobody can be trained on; `pairs`: one line per subject.
    """

    subjects: list[Subject] = field(default_factory=list)
    study: Study | None = None
    pairs: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def look_into(dataset: Path | None, run: Path | None) -> Found:
    """Look into both folders: subjects, study, what they hold and what is wrong, in words."""
    found = Found()
    if dataset is not None:
        try:
            subjects = find_subjects(dataset)
        except (Mri7tError, OSError) as error:
            found.errors.append(str(error))
        else:
            _check(subjects, found)
    if run is None:
        return found
    try:
        study = look_at(run)
    except (Mri7tError, OSError) as error:
        found.errors.append(str(error))
        return found
    if study is not None:
        found.facts.append(_of_study(study))
    return replace(found, study=study)


def _check(subjects: list[Subject], found: Found) -> None:
    """Hold the headers of every subject against each other, and say who there is."""
    found.pairs.extend(_of_files(subject) for subject in subjects)
    has_pairs = any(subject.source is not None for subject in subjects)
    kind = "pairs of 3T and 7T" if has_pairs else "7T volumes; their 3T is simulated"
    found.facts.append(f"{len(subjects)} subject{'s' * (len(subjects) != 1)}: {kind}")
    wrong = []
    for check, checked in [(leave_one_out, subjects), *((check_headers, s) for s in subjects)]:
        try:
            check(checked)
        except (Mri7tError, OSError) as error:
            wrong.append(str(error))
    found.errors.extend(wrong[:MOST_ERRORS])
    if len(wrong) > MOST_ERRORS:
        found.errors.append(f"and {len(wrong) - MOST_ERRORS} more of this kind")
    if not wrong:
        found.subjects.extend(subjects)


def _of_files(subject: Subject) -> str:
    source = "simulated" if subject.source is None else subject.source.name
    return f"{subject.name}: 3T {source}, 7T {subject.target.name}"


def _of_study(study: Study) -> str:
    done = sum(study.is_done(k) for k in range(len(study.subjects)))
    return (
        f"The run folder has a study of {study.settings.network} ({study.settings.preset}): "
        f"{done} of {len(study.subjects)} folds done"
    )
