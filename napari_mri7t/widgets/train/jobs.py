"""What the widget "Train folds" has done away from Qt's thread, and the state it is found by.

What the widget "Train folds" says: of the folders it is given, and of a training that runs.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QApplication

from napari_mri7t.engine.datasets.subjects import (
    Subject,
    check_headers,
    find_subjects,
    leave_one_out,
)
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.widgets.shared.job_panel import duration
from napari_mri7t.widgets.shared.worker import Job, Step, running_jobs

if TYPE_CHECKING:
    from napari_mri7t.engine.training.pairs import TrainingSubject
    from napari_mri7t.engine.training.run import FoldProgress, Preview
    from napari_mri7t.engine.training.study import Study, StudySettings

FAILURE = "mri7t_training_failure"  # property of the application, which outlives every widget
MOST_ERRORS = 5  # shown of one dataset


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    dataset: Path
    run: Path
    network: str
    preset: str
    config: TrainConfig
    folds: tuple[int, ...]
    device: str
    start: Path | None = None  # a model's folder; None: fresh weights
    network_config: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class TrainingState:
    """How far a training is; written by its thread, read by any widget that finds the job."""

    request: Request
    study: Study | None = None
    pairs: list[TrainingSubject] = field(default_factory=list)
    fold: int | None = None
    curves: dict[int, list[tuple[int, float, float]]] = field(default_factory=dict)
    memory: tuple[int, int] | None = None
    last: FoldProgress | None = None

    def folds_left(self) -> int:
        """Count the folds that were asked for and come after the present one."""
        if self.study is None or self.fold not in self.request.folds:
            return len(self.request.folds)
        later = self.request.folds[self.request.folds.index(self.fold) + 1 :]
        return sum(not self.study.is_done(k) for k in later)


def find_training() -> Job | None:
    """Find the training that runs, whoever started it."""
    return next((job for job in running_jobs() if isinstance(job.state, TrainingState)), None)


def new_training(request: Request) -> Job:
    """Make the job of a training; if it fails, the sentence is kept until a widget has shown it."""
    state = TrainingState(request)
    job = Job(f"Train {request.network}", lambda: training_steps(state), state=state)
    job.failed.connect(lambda text: QApplication.instance().setProperty(FAILURE, text))
    return job


def take_failure() -> str:
    """Give the sentence by which the last training failed, once; empty where none did."""
    application = QApplication.instance()
    text = application.property(FAILURE)
    application.setProperty(FAILURE, None)
    return text or ""


def training_steps(state: TrainingState) -> Generator[Any, None, int]:
    """Train the folds asked for, one after the other; returns how many are done now."""
    yield Step(0, 0, "Loading torch")
    from napari_mri7t.engine.devices import memory_in_use
    from napari_mri7t.engine.training.run import prepare_study, run_fold
    from napari_mri7t.engine.training.start import check_start
    from napari_mri7t.engine.training.study import create_study, discard_on_error

    request = state.request
    yield Step(0, 0, "Reading the dataset")
    with discard_on_error(request.run):
        state.study = create_study(request.dataset, request.run, _settings(request))
        wanted = [k for k in request.folds if not state.study.is_done(k)]
        for k in wanted:
            check_start(state.study, k)  # before hours go into the folds before it
    if wanted:
        state.pairs = yield from prepare_study(state.study)
    for k in wanted:
        state.fold = k
        state.curves[k] = []
        steps = run_fold(state.study, k, request.device, state.pairs)
        try:
            for record in steps:
                _note(state, record)
                if record.done % 50 == 0:
                    state.memory = memory_in_use(request.device)
                yield record
        finally:
            steps.close()
    return sum(state.study.is_done(k) for k in request.folds)


def _settings(request: Request) -> StudySettings:
    """Give what was asked for; what the widget has no field for, a study that has begun decides."""
    from napari_mri7t.engine.training.study import StudySettings

    known = look_at(request.run)
    if known is not None and known.settings.network == request.network:
        asked = {"preset": request.preset, "config": request.config}
        return replace(known.settings, **asked, network_config=request.network_config)
    start = "" if request.start is None else str(request.start)
    return StudySettings(
        request.network, request.preset, request.config, request.network_config, start_from=start
    )


def _note(state: TrainingState, record: FoldProgress) -> None:
    state.last = record
    now = record.training
    if now is not None and now.loss == now.loss:  # no loss is known in the first steps
        state.curves[record.fold].append((now.step, now.loss, now.learning_rate))


def network_names() -> tuple[list[str], list[str]]:
    """List the networks, and what is wrong with others; this imports torch."""
    from napari_mri7t.engine.networks import available_networks

    found, complaints = available_networks()
    return list(found), complaints


def look_at(run: Path) -> Study | None:
    """Open a run folder if there is a study in it; this imports torch."""
    from napari_mri7t.engine.training.study import STUDY_FILE, open_study

    return open_study(run) if (run / STUDY_FILE).exists() else None


def preview_of(state: TrainingState, k: int) -> tuple[str, Preview] | None:
    """Estimate the middle slice of fold k's held-out subject by its last checkpoint; name it."""
    from napari_mri7t.engine.training.run import preview_slice

    if state.study is None or not state.pairs:
        return None
    pair = state.pairs[max(k, 0)]  # all subjects: the first one, which is no fair look
    preview = preview_slice(state.study, k, pair, len(pair.target) // 2)
    name = pair.name if k >= 0 else f"{pair.name} (trained on)"
    return None if preview is None else (name, preview)


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
