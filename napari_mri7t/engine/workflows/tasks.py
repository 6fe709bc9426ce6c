"""Folds and batches as Dask tasks: the same run folders and the same calls as in one process.

All state is on disk, which every worker must see under the same path: a killed worker costs only
what its fold has done since the last checkpoint, or one scan.
"""

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mri7t.engine.datasets.bids import Scan
from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.models.card import ModelCard, find_model, read_card
from napari_mri7t.engine.progress import Cancelled, Progress, Report, ignore
from napari_mri7t.engine.regular import read_regular
from napari_mri7t.engine.training.checkpoint import HISTORY, LARGEST_HISTORY
from napari_mri7t.engine.training.config import FINAL
from napari_mri7t.engine.training.run import run_fold
from napari_mri7t.engine.training.study import Study, open_study
from napari_mri7t.engine.workflows.batch import synthesize_batch
from napari_mri7t.engine.workflows.cluster import Place
from napari_mri7t.engine.workflows.job import BatchJob
from napari_mri7t.engine.workflows.stages import BatchProgress
from napari_mri7t.engine.workflows.summary import BatchSummary, Note

if TYPE_CHECKING:
    from distributed import Client, Future

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Task:
    """A call on a worker, with arguments that can be pickled.

    `name`: what a failure is recorded under; the label by default.
    """

    label: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    name: str = ""


def run_folds(
    study: Study,
    folds: Sequence[int],
    client: "Client",
    place: Place,
    report: Report = ignore,
) -> dict[int, ModelCard]:
    """Train folds on a cluster, each by `run_fold`; `FINAL` comes after the others.

    Parameters
    ----------
    study : Study
        On a disk that all workers see.
    folds : sequence of int
    client : distributed.Client
    place : Place
        Sets the device, and what a task takes of a worker.
    report : callable
        Progress in steps of all folds; a cancel stops the tasks at their next step.

    Raises
    ------
    StateError
        If a fold failed, once all others have ended.
    """
    folder = str(study.folder.resolve())
    total = len(folds) * study.settings.config.n_steps

    def count(_: object) -> None:
        n_ended = sum(study.is_done(k) for k in folds)
        done = sum(_steps_done(study, k) for k in folds)
        report(Progress(done, total, f"{n_ended} of {len(folds)} folds done"))

    for group in ([k for k in folds if k != FINAL], [k for k in folds if k == FINAL]):
        tasks = [Task(study.label(k), train_task, (folder, k, place.device)) for k in group]
        results = run_tasks(tasks, client, place.resources, count)
        failed = {name: why for name, why in results.items() if isinstance(why, BaseException)}
        if failed:
            why = "; ".join(f"{name}: {in_words(error)}" for name, error in failed.items())
            raise StateError(f"{len(failed)} of {len(group)} folds failed: {why}")
    return {k: read_card(study.fold_folder(k)) for k in folds}


def run_batch(  # noqa: PLR0913 - as `synthesize_batch`, with where it runs
    scans: Sequence[Scan],
    job: BatchJob,
    client: "Client",
    place: Place,
    report: Report = ignore,
    note: Note = lambda _: None,
) -> BatchSummary:
    """Synthesise scans on a cluster, one in a task, as `synthesize_batch` does them.

    Parameters
    ----------
    scans : sequence of Scan
        On a disk that all workers see, as are the output and the model.
    job : BatchJob
    client : distributed.Client
    place : Place
        Sets what a task takes of a worker.
    report : callable
        Progress in scans; a cancel stops the tasks.
    note : callable
        Gets the outcome of each scan once it has ended, also of those that end before a cancel
        reaches them.
    """
    there = _everywhere(job)
    tasks = [Task(scan.output, batch_task, (anywhere(scan), there), scan.name) for scan in scans]

    def count(n_ended: int) -> None:
        report(BatchProgress(n_ended, len(scans), f"{n_ended} of {len(scans)} scans"))

    return run_and_summarize(tasks, client, place, count, note)


def anywhere(scan: Scan) -> Scan:
    """Return a scan whose paths mean the same in every process."""
    dicom = scan.dicom
    if dicom is not None:
        dicom = replace(dicom, files=tuple(path.absolute() for path in dicom.files))
    return replace(scan, path=scan.path.absolute(), dicom=dicom)


def _everywhere(job: BatchJob) -> BatchJob:
    """Return a job whose paths mean the same in every process."""
    keep = job.preparation.keep
    preparation = replace(job.preparation, keep=keep.resolve() if isinstance(keep, Path) else None)
    return replace(
        job,
        output=job.output.resolve(),
        model=str(find_model(job.model).resolve()) if job.model else None,
        preparation=preparation,
        derivatives=tuple(folder.resolve() for folder in job.derivatives),
    )


def run_and_summarize(
    tasks: Sequence[Task],
    client: "Client",
    place: Place,
    count: Callable[[int], None],
    note: Note,
) -> BatchSummary:
    """Run tasks whose results are summaries, and return that of all, in the tasks' order.

    `count` gets the number of those that have ended, every half second, and stops the rest by
    raising. `note` gets each outcome once, also of those that end before a stop reaches them.
    """
    start = time.perf_counter()
    outcomes: dict[str, BatchSummary] = {}

    def take(ended: dict[str, Any]) -> None:
        for task in tasks:
            if task.label in ended and task.label not in outcomes:
                result = ended[task.label]
                if not isinstance(result, BatchSummary):
                    result = BatchSummary(failed={task.name or task.label: in_words(result)})
                outcomes[task.label] = result
                note(result)

    def on_ended(ended: dict[str, Any]) -> None:
        take(ended)
        count(len(outcomes))

    run_tasks(tasks, client, place.resources, on_ended, take)
    summary = BatchSummary()
    for task in tasks:
        summary = summary.with_other(outcomes[task.label])
    return replace(summary, seconds=time.perf_counter() - start)


def run_tasks(
    tasks: Sequence[Task],
    client: "Client",
    resources: dict[str, float],
    on_ended: Callable[[dict[str, Any]], None],
    on_stopped: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Run tasks, and return result or error by label.

    A task whose worker is killed is given to another one, `distributed.scheduler.allowed-failures`
    times. `on_ended` gets what has ended every half second; if it raises, the rest is cancelled,
    and `on_stopped` gets what has ended by then.
    """
    import distributed

    futures: dict[str, Future[Any]] = {
        task.label: client.submit(task.call, *task.arguments, pure=False, resources=resources)
        for task in tasks
    }
    try:
        while pending := [future for future in futures.values() if not future.done()]:
            on_ended(_ended(futures))
            try:
                distributed.wait(pending, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
            except (TimeoutError, distributed.TimeoutError):
                continue
        results = _ended(futures)
        on_ended(results)
        return results
    except BaseException:
        on_stopped(_ended(futures))
        raise
    finally:
        client.cancel([future for future in futures.values() if not future.done()])


def train_task(folder: str, k: int, device: str) -> None:
    """Train a fold on a worker; the result is in the run folder."""
    run_fold(open_study(folder), k, device, report=report_on_worker())


def batch_task(scan: Scan, job: BatchJob) -> BatchSummary:
    """Synthesise a scan on a worker."""
    return synthesize_batch([scan], job, report=report_on_worker())


def report_on_worker() -> Report:
    """Return a report that ends the work once its task is cancelled."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def report(_: Progress) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise Cancelled

    return report


def _ended(futures: "dict[str, Future[Any]]") -> dict[str, Any]:
    found = {}
    for label, future in futures.items():
        if future.done():
            found[label] = future.result() if future.status == "finished" else future.exception()
    return found


def in_words(error: BaseException) -> str:
    """Return why a task has no result, as a sentence for the user."""
    if type(error).__name__ == "KilledWorker":
        return (
            "its workers were killed repeatedly, most likely for lack of memory: use fewer workers "
            "or more memory"
        )
    if isinstance(error, (Mri7tError, OSError, ValueError)):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _steps_done(study: Study, k: int) -> int:
    """Return the steps that a fold has done by its last checkpoint's history."""
    if study.is_done(k):
        return study.settings.config.n_steps
    try:
        lines = read_regular(study.fold_folder(k) / HISTORY, LARGEST_HISTORY).decode().splitlines()
        rows = list(csv.reader(lines))
        return int(float(rows[-1][0])) if len(rows) > 1 else 0
    except (OSError, ValueError, IndexError, OverflowError, csv.Error):
        return 0
