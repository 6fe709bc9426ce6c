"""What the widget "Train folds" has done away from Qt's thread, and the state it is found by."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QApplication

from napari_mri7t.engine.training.presets import TrainConfig
from napari_mri7t.widgets.worker import Job, Step, running_jobs

if TYPE_CHECKING:
    from napari_mri7t.engine.training.patches import TrainingSubject
    from napari_mri7t.engine.training.preview import Preview
    from napari_mri7t.engine.training.run import FoldProgress
    from napari_mri7t.engine.training.study import Study, StudySettings

FAILURE = "mri7t_training_failure"  # property of the application, which outlives every widget


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
    from napari_mri7t.engine.device_memory import memory_in_use
    from napari_mri7t.engine.training.pretrained import check_start, free_if_refused
    from napari_mri7t.engine.training.run import prepare_study, run_fold
    from napari_mri7t.engine.training.study import create_study

    request = state.request
    yield Step(0, 0, "Reading the dataset")
    with free_if_refused(request.run):
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
    from napari_mri7t.engine.training.pretrained import STUDY_FILE
    from napari_mri7t.engine.training.study import open_study

    return open_study(run) if (run / STUDY_FILE).exists() else None


def preview_of(state: TrainingState, k: int) -> tuple[str, Preview] | None:
    """Estimate the middle slice of fold k's held-out subject by its last checkpoint; name it."""
    from napari_mri7t.engine.training.preview import preview_slice

    if state.study is None or not state.pairs:
        return None
    pair = state.pairs[max(k, 0)]  # all subjects: the first one, which is no fair look
    preview = preview_slice(state.study, k, pair, len(pair.target) // 2)
    name = pair.name if k >= 0 else f"{pair.name} (trained on)"
    return None if preview is None else (name, preview)
