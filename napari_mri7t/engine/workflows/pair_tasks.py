"""Pairs as Dask tasks: one person a task, with the same calls as in one process."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_mri7t.engine.datasets.pair_files import PairFiles
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.workflows.cluster import Place
from napari_mri7t.engine.workflows.pairs import PairJob, PairProgress, make_pairs
from napari_mri7t.engine.workflows.summary import BatchSummary, Note
from napari_mri7t.engine.workflows.tasks import Task, anywhere, report_on_worker, run_and_summarize

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
    keep = job.keep and job.keep.absolute()
    there = replace(job, output=job.output.resolve(), keep=keep)
    tasks = [Task(files.name, pair_task, (_absolute(files), there)) for files in pairs]

    def count(n_ended: int) -> None:
        report(PairProgress(n_ended, len(pairs), f"{n_ended} of {len(pairs)} pairs"))

    return run_and_summarize(tasks, client, place, count, note)


def pair_task(files: PairFiles, job: PairJob) -> BatchSummary:
    """Make a pair on a worker."""
    return make_pairs([files], job, report=report_on_worker())


def _absolute(files: PairFiles) -> PairFiles:
    own: dict[str, Any] = {name: path.absolute() for name, path in files.own.items()}
    source, target, *inversions = (anywhere(scan) for scan in files.scans)
    return replace(files, source=source, target=target, inversions=tuple(inversions), **own)
