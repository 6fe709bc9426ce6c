"""Folds and batches as Dask tasks: the same run folders and the same calls as in one process.

All state is on disk, which every worker must see under the same path: a task says only what to do,
and a worker that is killed costs what its fold has done since the last checkpoint, or one scan.
"""

import csv
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mri7t.engine.datasets.bids import Scan
from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.models.card import ModelCard, read_card
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.training.checkpoint import HISTORY
from napari_mri7t.engine.training.run import FoldProgress, run_fold
from napari_mri7t.engine.training.study import FINAL, Study, open_study
from napari_mri7t.engine.workflows.batch import (
    BatchJob,
    BatchProgress,
    BatchSummary,
    synthesize_batch,
)

if TYPE_CHECKING:
    from distributed import Client, Future

POLL_SECONDS = 0.5
SCANS_PER_TASK = 4  # enough that reading and writing overlap the computing


@dataclass(frozen=True)
class Task:
    """A call with plain arguments: what it is called, and what runs on the worker."""

    label: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]


def run_folds(
    study: Study, folds: Sequence[int], client: "Client", device: str, resources: dict[str, float]
) -> Generator[FoldProgress, None, dict[int, ModelCard]]:
    """Train folds on a cluster, as `run_fold` does each; `FINAL` comes after the others.

    Parameters
    ----------
    study : Study
        On a disk that all workers see.
    folds : sequence of int
    client : distributed.Client
    device : str
        As `SynthesisConfig.device`.
    resources : dict
        What a task takes of a worker, from `Place.resources`.

    Yields
    ------
    FoldProgress
        In steps of all folds; closing the generator stops the tasks at their next step.

    Returns
    -------
    dict of int to ModelCard

    Raises
    ------
    StateError
        If a fold failed, once all others have ended.
    """
    folder = str(study.folder.resolve())
    total = len(folds) * study.settings.config.n_steps
    for group in ([k for k in folds if k != FINAL], [k for k in folds if k == FINAL]):
        tasks = [Task(study.label(k), train_task, (folder, k, device)) for k in group]
        for results in run_tasks(tasks, client, resources):
            n_ended = sum(study.is_done(k) for k in folds)
            done = sum(_steps_done(study, k) for k in folds)
            message = f"{n_ended} of {len(folds)} folds done"
            yield FoldProgress(FINAL, done, total, message)
            failed = {name: why for name, why in results.items() if isinstance(why, BaseException)}
        if group and failed:
            why = "; ".join(f"{name}: {_in_words(error)}" for name, error in failed.items())
            raise StateError(f"{len(failed)} of {len(group)} folds failed: {why}")
    return {k: read_card(study.fold_folder(k)) for k in folds}


def run_batch(
    scans: Sequence[Scan], job: "ClusterBatch", client: "Client", resources: dict[str, float]
) -> Generator[BatchProgress, None, BatchSummary]:
    """Synthesise scans on a cluster, a few in a task, as `synthesize_batch` does them.

    Parameters
    ----------
    scans : sequence of Scan
        On a disk that all workers see, as is the output.
    job : ClusterBatch
    client : distributed.Client
    resources : dict
        What a task takes of a worker, from `Place.resources`.

    Yields
    ------
    BatchProgress
        In scans; closing the generator stops the tasks.

    Returns
    -------
    BatchSummary
    """
    parts = [scans[n : n + SCANS_PER_TASK] for n in range(0, len(scans), SCANS_PER_TASK)]
    tasks = [
        Task(f"part {n}", batch_task, ([_plain(scan) for scan in part], asdict(job)))
        for n, part in enumerate(parts)
    ]
    start, results = time.perf_counter(), dict[str, Any]()
    for results in run_tasks(tasks, client, resources):
        done = sum(len(part) for n, part in enumerate(parts) if f"part {n}" in results)
        yield BatchProgress(done, len(scans), f"{done} of {len(scans)} scans")
    summary = BatchSummary()
    for n, part in enumerate(parts):
        found = results[f"part {n}"]
        if isinstance(found, BaseException):
            found = BatchSummary(failed={scan.name: _in_words(found) for scan in part})
        summary = summary.with_other(found)
    return replace(summary, seconds=time.perf_counter() - start)


@dataclass(frozen=True)
class ClusterBatch:
    """What all scans of a batch have in common, in words that travel.

    Parameters
    ----------
    output : str
        Folder of the derivative, absolute.
    model : str
        Name, or absolute folder.
    settings : dict
        Of `SynthesisConfig`.
    overwrite : bool
    index : int or None
        Which volume of a 4-D scan, from 0.
    """

    output: str
    model: str
    settings: dict[str, Any]
    overwrite: bool = False
    index: int | None = None


def run_tasks(
    tasks: Sequence[Task], client: "Client", resources: dict[str, float]
) -> Generator[dict[str, Any], None, None]:
    """Run tasks, and give what has ended, result or error by label, at every half second.

    A task whose worker is killed is given to another one, `distributed.scheduler.allowed-failures`
    times. Closing the generator cancels what has not ended.
    """
    import distributed

    futures: dict[str, Future[Any]] = {
        task.label: client.submit(task.call, *task.arguments, pure=False, resources=resources)
        for task in tasks
    }
    try:
        while pending := [future for future in futures.values() if not future.done()]:
            yield _ended(futures)
            try:
                distributed.wait(pending, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
            except (TimeoutError, distributed.TimeoutError):
                continue
        yield _ended(futures)
    finally:
        client.cancel([future for future in futures.values() if not future.done()])


def train_task(folder: str, k: int, device: str) -> None:
    """Train a fold on a worker; what comes of it lies in the run folder."""
    _drive(run_fold(open_study(folder), k, device))


def batch_task(scans: list[dict[str, str]], facts: dict[str, Any]) -> BatchSummary:
    """Synthesise scans on a worker."""
    found = [Scan(Path(scan["path"]), scan["name"], scan["output"]) for scan in scans]
    summary: BatchSummary = _drive(synthesize_batch(found, load_job(ClusterBatch(**facts))))
    return summary


def load_job(batch: ClusterBatch) -> BatchJob:
    """Load what a batch needs where it is computed.

    Parameters
    ----------
    batch : ClusterBatch

    Returns
    -------
    BatchJob

    Raises
    ------
    ModelError
        If the model cannot be loaded.
    """
    config = SynthesisConfig(**batch.settings | {"planes": tuple(batch.settings["planes"])})
    model = load_model(batch.model)
    return BatchJob(Path(batch.output), model, config, batch.overwrite, batch.index)


def _drive(steps: Generator[object, None, Any]) -> Any:
    """Run to the end, or until the task is cancelled."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    try:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                raise StateError("stopped")
    finally:
        steps.close()


def _ended(futures: "dict[str, Future[Any]]") -> dict[str, Any]:
    found = {}
    for label, future in futures.items():
        if future.done():
            found[label] = future.result() if future.status == "finished" else future.exception()
    return found


def _in_words(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return (
            "its workers were killed again and again, most likely for memory: take fewer workers "
            "or more memory"
        )
    if isinstance(error, (Mri7tError, OSError, ValueError)):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _steps_done(study: Study, k: int) -> int:
    """Read from its folder how far a fold is: the last checkpoint's history."""
    if study.is_done(k):
        return study.settings.config.n_steps
    try:
        with (study.fold_folder(k) / HISTORY).open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        return int(float(rows[-1][0])) if len(rows) > 1 else 0
    except (OSError, ValueError, IndexError):
        return 0


def _plain(scan: Scan) -> dict[str, str]:
    return {"path": str(scan.path.resolve()), "name": scan.name, "output": scan.output}
