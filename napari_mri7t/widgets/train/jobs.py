"""Background work of the widget "Train": reading the data, training, previewing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mri7t.engine.datasets.folds import leave_one_out
from napari_mri7t.engine.datasets.subjects import (
    Subject,
    check_headers,
    find_subjects,
)
from napari_mri7t.engine.errors import Mri7tError, in_words
from napari_mri7t.engine.progress import Progress, Report, part
from napari_mri7t.engine.training.config import FINAL, TrainConfig, changed_settings
from napari_mri7t.widgets.shared.job_panel import duration
from napari_mri7t.widgets.shared.worker import Job

if TYPE_CHECKING:
    from napari_mri7t.engine.training.loop import TrainProgress
    from napari_mri7t.engine.training.pairs import TrainingSubject
    from napari_mri7t.engine.training.run import Preview
    from napari_mri7t.engine.training.study import Study, StudySettings

MOST_ERRORS = 5  # shown for one dataset
MEMORY_STEPS = 50  # training steps between two readings of the GPU's memory


@dataclass(frozen=True)
class Request:
    """The user's request."""

    dataset: Path
    run: Path
    network: str
    preset: str
    config: TrainConfig
    folds: tuple[int, ...]
    device: str
    start: Path | None = None  # a model's folder; None: random weights
    network_config: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class TrainingState:
    """Progress of a training; written by its thread, read by any widget that finds the job."""

    request: Request
    study: Study | None = None
    pairs: list[TrainingSubject] = field(default_factory=list)
    fold: int | None = None
    curves: dict[int, list[tuple[int, float, float]]] = field(default_factory=dict)
    held_out: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    memory: tuple[int, int] | None = None
    last: TrainProgress | None = None

    def note(self, now: TrainProgress) -> None:
        """Keep a training step for the widgets."""
        self.last = now
        if now.loss == now.loss:  # NaN in the first steps
            self.curves[now.fold].append((int(now.done), now.loss, now.learning_rate))
        steps = self.request.config.checkpoint_steps
        is_checkpoint = now.done % steps == 0 or now.done == self.request.config.n_steps
        if is_checkpoint and now.held_out_psnr == now.held_out_psnr:
            self.held_out[now.fold].append((int(now.done), now.held_out_psnr))


def new_training(request: Request) -> Job:
    """Make the job of a training."""
    state = TrainingState(request)
    work = partial(train_folds, state)
    return Job(f"Train {request.network}", work, state=state)


def train_folds(state: TrainingState, report: Report) -> int:
    """Train the requested folds one after the other; return how many are done."""
    report(Progress(0, 0, "loading torch"))
    from napari_mri7t.engine.devices import memory_in_use
    from napari_mri7t.engine.training.loop import TrainProgress
    from napari_mri7t.engine.training.run import prepare_study, run_fold
    from napari_mri7t.engine.training.start import start_training

    def report_step(whole: Report, now: Progress) -> None:
        if isinstance(now, TrainProgress):
            state.note(now)
            if now.done % MEMORY_STEPS == 0:
                state.memory = memory_in_use(request.device)
            of_all = "" if len(wanted) == 1 else f"; {len(wanted)} folds in all"
            now = replace(now, message=f"{now.label}{of_all}")  # the figures have their own place
        whole(now)

    request = state.request
    report(Progress(0, 0, "reading the dataset"))
    preparing = part(report, 0, len(request.folds), share=0)
    state.study, folds = start_training(
        request.dataset, request.run, _settings(request), request.folds, report=preparing
    )
    wanted = [k for k in folds if not state.study.is_done(k)]
    if wanted:
        state.pairs = prepare_study(state.study, report=preparing)
    for n, k in enumerate(wanted):
        state.fold = k
        state.curves[k], state.held_out[k] = [], []
        here = partial(report_step, part(report, n, len(wanted)))
        run_fold(state.study, k, request.device, state.pairs, report=here)
    return sum(state.study.is_done(k) for k in folds)


def _settings(request: Request) -> StudySettings:
    """Return the request; a study that has begun sets what has no field."""
    from napari_mri7t.engine.training.study import StudySettings

    known = open_run(request.run)
    if known is not None and known.settings.network == request.network:
        asked = {"preset": request.preset, "config": request.config}
        return replace(known.settings, **asked, network_config=request.network_config)
    start = "" if request.start is None else str(request.start)
    return StudySettings(
        request.network, request.preset, request.config, request.network_config, start_from=start
    )


def pace_of(request: Request) -> tuple[Request, float]:
    """Measure the seconds that a patch takes on this machine; this imports torch."""
    from napari_mri7t.engine.training.pace import seconds_per_patch

    names = request.network, request.network_config
    return request, seconds_per_patch(*names, request.config, request.device)


def without_amounts(request: Request) -> Request:
    """Return a request of one step and no folds: two that are then equal have one pace."""
    config = replace(request.config, n_steps=1, batch_size=min(2, request.config.batch_size))
    return replace(request, config=config, folds=(), dataset=Path(), run=Path())


def describe_amount(request: Request, seconds_per_patch: float) -> str:
    """Return how much is to be trained, and how long that takes at a pace."""
    config, n_folds = request.config, len(request.folds)
    seconds = seconds_per_patch * config.batch_size * config.n_steps * n_folds
    folds = "1 fold" if n_folds == 1 else f"{n_folds} folds"
    return f"{folds} of {config.n_steps} steps: {duration(seconds)} here, from one measured step"


def export(run: Path, fold: int, folder: Path) -> tuple[Path, str]:
    """Copy the model of a trained fold into a folder of its own; return it, and that as text."""
    from napari_mri7t.engine.training.export import export_model

    card = export_model(run, folder, fold="final" if fold == FINAL else fold)
    return folder, f"Exported: {folder}: {card.title}. Synthesize 7T now lists it."


def network_names() -> tuple[list[str], list[str]]:
    """List the networks, and what is wrong with others; this imports torch."""
    from napari_mri7t.engine.networks import available_networks

    found, complaints = available_networks()
    return list(found), complaints


def open_run(run: Path) -> Study | None:
    """Open a run folder if there is a study in it; this imports torch."""
    from napari_mri7t.engine.evaluation.results import STUDY_FILE
    from napari_mri7t.engine.training.study import open_study

    return open_study(run) if (run / STUDY_FILE).exists() else None


def preview_of(state: TrainingState, k: int) -> tuple[str, Preview] | None:
    """Estimate the middle slice of fold k's held-out subject by its last checkpoint; name it."""
    from napari_mri7t.engine.training.run import preview_slice

    if state.study is None or not state.pairs:
        return None
    pair = state.pairs[max(k, 0)]  # all subjects: the first one, although it is trained on
    preview = preview_slice(state.study, k, pair, len(pair.target) // 2)
    name = pair.name if k >= 0 else f"{pair.name} (training subject)"
    return None if preview is None else (name, preview)


def describe_step(state: TrainingState, now: TrainProgress) -> list[str]:
    """Return step, pace, loss and memory at a training step, as lines of text."""
    done = min(int(now.done), n_steps := state.request.config.n_steps)  # the estimate is one more
    lines = [
        f"Step {done} of {n_steps}, {now.patches_per_second:.1f} patches/s",
        f"Loss {now.loss:.5f}, learning rate {now.learning_rate:.1e}",
    ]
    if now.held_out_psnr == now.held_out_psnr:
        lines.append(f"Held-out brain: PSNR {now.held_out_psnr:.2f} dB in a few slices")
    if state.memory is not None:
        used, total = (part / 2**30 for part in state.memory)
        lines.append(f"GPU memory: {used:.1f} of {total:.1f} GiB")
    return lines


@dataclass(eq=False)
class Found:
    """What a dataset and a run folder hold.

    `subjects` is empty if none can be trained on; `pairs` has one line per subject. `shapes`: of
    the subjects' volumes, by name.
    """

    subjects: list[Subject] = field(default_factory=list)
    study: Study | None = None
    pairs: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def look_into(dataset: Path | None, run: Path | None) -> Found:
    """Inspect both folders: subjects, study, and errors as text."""
    found = Found()
    for look, folder in ((_look_into_dataset, dataset), (_look_into_run, run)):
        if folder is not None:
            try:
                look(folder, found)
            except (Mri7tError, OSError) as error:
                found.errors.append(in_words(error))
    return found


def _look_into_dataset(dataset: Path, found: Found) -> None:
    """List the subjects, and compare the headers of each."""
    subjects = find_subjects(dataset)
    found.pairs.extend(_describe_files(subject) for subject in subjects)
    has_pairs = any(subject.source is not None for subject in subjects)
    kind = "pairs of 3T and 7T" if has_pairs else "7T volumes; their 3T is simulated"
    found.facts.append(f"{len(subjects)} subject{'s' * (len(subjects) != 1)}: {kind}")
    wrong = []
    try:
        leave_one_out(subjects)
    except Mri7tError as error:
        wrong.append(in_words(error))
    for subject in subjects:
        try:
            found.shapes[subject.name] = check_headers(subject)
        except (Mri7tError, OSError) as error:
            wrong.append(in_words(error))
    found.errors.extend(wrong[:MOST_ERRORS])
    if len(wrong) > MOST_ERRORS:
        found.errors.append(f"and {len(wrong) - MOST_ERRORS} more errors like these")
    if not wrong:
        found.subjects.extend(subjects)


def _look_into_run(run: Path, found: Found) -> None:
    study = found.study = open_run(run)
    if study is not None:
        done = sum(study.is_done(k) for k in range(len(study.subjects)))
        preset, config = study.settings.preset, study.settings.config
        changed = ", changed" if changed_settings(preset, config) else ""
        found.facts.append(
            f"The run folder has a study of {study.settings.network} ({preset}{changed}): "
            f"{done} of {len(study.subjects)} folds done"
        )


def _describe_files(subject: Subject) -> str:
    source = "simulated" if subject.source is None else subject.source.name
    return f"{subject.name}: 3T {source}, 7T {subject.target.name}"
