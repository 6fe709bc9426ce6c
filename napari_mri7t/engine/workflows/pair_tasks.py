"""Pairs as Dask tasks: one person a task, with the same calls as in one process."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_mri7t.engine.datasets.bids import Scan
from napari_mri7t.engine.datasets.raw_pairs import PairFiles
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.workflows.cluster import Place
from napari_mri7t.engine.workflows.pairs import PairJob, PairProgress, make_pairs
from napari_mri7t.engine.workflows.summary import BatchSummary, Note
from napari_mri7t.engine.workflows.tasks import Task, in_words, report_on_worker, run_tasks

if TYPE_CHECKING:
    from distributed import Client


def run_pairs(  # noqa: PLR0913 - as `make_pairs`, with where it runs
    pairs: Sequence[PairFiles],
    job: PairJob,
    client: "Client",
    place: Place,
    report: Report = ignore,
    note: Note = lambda _: None,
) -> BatchSummary:
    """Make pairs on a cluster, one in a task, as `make_pairs` makes them.

    Parameters
    ----------
    pairs : sequence of PairFiles
        On a disk that all workers see, as is the output.
    job : PairJob
    client : distributed.Client
    place : Place
        Sets what a task takes of a worker.
    report : callable
        Progress in pairs; a cancel stops the tasks.
    note : callable
        Gets the outcome of each pair once its task has ended.
    """
    start, summary = time.perf_counter(), BatchSummary()
    keep = job.keep and job.keep.absolute()
    there = replace(job, output=job.output.resolve(), keep=keep)
    tasks = [Task(files.name, pair_task, (_absolute(files), there)) for files in pairs]
    known: set[str] = set()

    def count(ended: dict[str, Any]) -> None:
        nonlocal summary
        for name in [name for name in ended if name not in known]:
            known.add(name)
            found = ended[name]
            is_outcome = isinstance(found, BatchSummary)
            outcome = found if is_outcome else BatchSummary(failed={name: in_words(found)})
            summary = summary.with_other(outcome)
            note(outcome)
        report(PairProgress(len(ended), len(pairs), f"{len(ended)} of {len(pairs)} pairs"))

    run_tasks(tasks, client, place.resources, count)
    return replace(summary, seconds=time.perf_counter() - start)


def pair_task(files: PairFiles, job: PairJob) -> BatchSummary:
    """Make a pair on a worker."""
    return make_pairs([files], job, report=report_on_worker())


def _absolute(files: PairFiles) -> PairFiles:
    own: dict[str, Any] = {name: path.absolute() for name, path in files.own.items()}
    source, target, *inversions = (_there(scan) for scan in files.scans)
    return replace(files, source=source, target=target, inversions=tuple(inversions), **own)


def _there(scan: Scan) -> Scan:
    return replace(scan, path=scan.path.absolute())
