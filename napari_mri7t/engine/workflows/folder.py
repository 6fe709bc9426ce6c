"""What a user calls a batch: a folder of scans into a derivative, from search to summary."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from napari_mri7t.engine.datasets.bids import Scan, check_not_input
from napari_mri7t.engine.datasets.scans import ScanFilter
from napari_mri7t.engine.devices import resolve_device
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.preparation.choice import possible_models
from napari_mri7t.engine.progress import Report, ignore
from napari_mri7t.engine.workflows.batch import synthesize_batch
from napari_mri7t.engine.workflows.intake import begin_batch, plan_batch
from napari_mri7t.engine.workflows.job import BatchJob
from napari_mri7t.engine.workflows.summary import BatchSummary, Note, write_summary

Run = Callable[[Sequence[Scan], BatchJob, Report, Note], BatchSummary]


def synthesize_folder(  # noqa: PLR0913 - all with defaults
    source: Path,
    job: BatchJob,
    wanted: ScanFilter = ScanFilter(),  # noqa: B008 - frozen
    report: Report = ignore,
    note: Note = lambda _: None,
    run: Run = synthesize_batch,
) -> BatchSummary:
    """Synthesise the scans of a folder into a derivative, and write the summary of its batch.

    Parameters
    ----------
    source : Path
        A folder of volumes, or a BIDS dataset.
    job : BatchJob
    wanted : ScanFilter
    report : callable
        As for `synthesize_batch`.
    note : callable
        Gets what the search left out, then the outcome of each scan; where the batch is stopped,
        at last a summary that says so.
    run : callable
        What synthesises the scans; `run_batch` on a cluster.

    Returns
    -------
    BatchSummary
        Also of what was left out. It is written too where the batch is stopped.

    Raises
    ------
    FileNotFoundError, Mri7tError
        As `plan_batch`, `begin_batch`, `possible_models` and `synthesize_batch`, or if the folder
        for intermediate results is the source.
    """
    if isinstance(job.preparation.keep, Path):
        check_not_input(job.preparation.keep, source)
    found = plan_batch(source, job.output, wanted)
    possible_models(job.model)  # or nothing is begun
    if run is synthesize_batch:  # the workers of a cluster have devices of their own
        resolve_device(job.config.device)
    begin_batch(source, job.output, found)
    is_part = bool(wanted.participants or wanted.sessions)
    left_out = BatchSummary(failed=found.failed, skipped=found.skipped, arguments=found.arguments)
    so_far = BatchSummary()

    def take(outcome: BatchSummary) -> None:
        nonlocal so_far
        so_far = so_far.with_other(outcome)
        note(outcome)

    take(left_out)
    try:
        summary = left_out.with_other(run(found.scans, job, report, take))
    except BaseException as error:
        take(BatchSummary(stopped=True))
        if isinstance(error, Mri7tError):  # which may be why nothing can be written
            with contextlib.suppress(Mri7tError):
                write_summary(source, job.output, so_far, is_part=is_part)
        else:
            write_summary(source, job.output, so_far, is_part=is_part)
        raise
    write_summary(source, job.output, summary, is_part=is_part)
    return summary
