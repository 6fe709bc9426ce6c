"""What a user calls: a dataset of raw pairs into one to train on, from search to quality page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mri7t.engine.datasets.bids import check_not_input, start_derivative
from napari_mri7t.engine.datasets.pair_files import FoundPairs, PairFiles
from napari_mri7t.engine.datasets.paired import PairPaths, people_table, read_people
from napari_mri7t.engine.errors import SubjectError
from napari_mri7t.engine.preparation.pair import PairConfig
from napari_mri7t.engine.progress import Report, ignore, part
from napari_mri7t.engine.report.pair_page import PairRecord
from napari_mri7t.engine.typed import check_kind
from napari_mri7t.engine.workflows.pair_review import finish_pairs
from napari_mri7t.engine.workflows.pairs import (
    PairJob,
    find_pairs,
    given_files,
    make_pairs,
)
from napari_mri7t.engine.workflows.summary import BatchSummary, Note

Run = Callable[[Sequence[PairFiles], PairJob, Report, Note], BatchSummary]


@dataclass(frozen=True)
class PairResult:
    """A dataset of pairs, and what the last run did.

    Attributes
    ----------
    folder : Path
        Of the dataset.
    pairs : tuple of PairRecord
        All that are there, sorted by name.
    summary : BatchSummary
        Of the run: names of people that were written, known, failed or skipped.
    """

    folder: Path
    pairs: tuple[PairRecord, ...]
    summary: BatchSummary

    @property
    def flagged(self) -> tuple[PairRecord, ...]:
        """The pairs that somebody should look at."""
        return tuple(pair for pair in self.pairs if pair.flags)


def make_dataset(  # noqa: PLR0913 - the last three have defaults
    dataset: str | Path,
    found: FoundPairs,
    job: PairJob,
    report: Report = ignore,
    note: Note = lambda _: None,
    run: Run = make_pairs,
) -> PairResult:
    """Make the pairs of a dataset, and write its summary, table of people and quality page.

    Parameters
    ----------
    dataset : str or Path
        Folder or table of the scans.
    found : FoundPairs
        As `find_pairs` returned it of this dataset.
    job : PairJob
    report : callable
        As for `make_pairs`.
    note : callable
        Gets what the search left out, then the outcome of each pair; where the run is stopped, at
        last a summary that says so.
    run : callable
        What makes the pairs; `run_pairs` on a cluster.

    Raises
    ------
    Mri7tError
        As `start_derivative`, `read_people` and `make_pairs`, or if a file of the input would be
        replaced.
    """
    _begin(Path(dataset), found, job)
    so_far = BatchSummary()

    def take(outcome: BatchSummary) -> None:
        nonlocal so_far
        so_far = so_far.with_other(outcome)
        note(outcome)

    source = Path(dataset) if Path(dataset).is_dir() else None
    left_out = BatchSummary(failed=found.failed, skipped=found.skipped, arguments=found.arguments)
    take(left_out)
    try:
        summary = left_out.with_other(run(found.pairs, job, report, take))
    except BaseException:
        take(BatchSummary(stopped=True))
        finish_pairs(job.output, so_far, is_part=found.is_part, source=source)
        raise
    on_comparison = part(report, 0, 1, share=0)
    records = finish_pairs(job.output, summary, on_comparison, is_part=found.is_part, source=source)
    return PairResult(job.output, tuple(records), summary)


def _begin(dataset: Path, found: FoundPairs, job: PairJob) -> None:
    """Start the derivative, after the checks that need no scan to be read."""
    folder = dataset if dataset.is_dir() else None
    if folder is not None:
        for place in filter(None, (job.output, job.keep)):
            check_not_input(place, folder)
    elif dataset.resolve() == people_table(job.output).resolve():
        raise SubjectError(
            f"{dataset}: is the table of verdicts of the output: move it, or choose another folder"
        )
    given = given_files(found.pairs)
    for files in found.pairs:
        PairPaths(job.output, files.name).check_apart(given)
    read_people(job.output)
    start_derivative(job.output, folder)


def pair(  # noqa: PLR0913 - offered to Python users, by keyword
    dataset: str | Path,
    output: str | Path,
    config: PairConfig = PairConfig(),  # noqa: B008 - frozen
    *,
    participants: Sequence[str] = (),
    overwrite: bool = False,
    keep: str | Path | None = None,
    index: int | None = None,
    series: str | int | None = None,
    report: Report = ignore,
) -> PairResult:
    """Turn raw 3T and 7T scans of the same people into a dataset to train on.

    Both brains are extracted, corrected for the bias field, registered and resampled once to one
    grid. Called again, it resumes. A pair with a flag is left out of a training until it is
    accepted.

    Parameters
    ----------
    dataset : str or Path
        Folder, BIDS dataset or table of paths; see `find_pairs`.
    output : str or Path
        A BIDS derivative that `train` takes.
    config : PairConfig
        Grid, registration and preparation.
    participants : sequence of str
        Labels; all by default.
    overwrite : bool
        Replace pairs that were made from other scans, masks or settings.
    keep : str or Path, optional
        Folder that gets masks, bias fields and transforms, which the next run uses.
    index : int, optional
        Which volume of a 4-D scan, from 0.
    series : str or int, optional
        Number of the DICOM series of each study; the only T1w by default.
    report : callable

    Returns
    -------
    PairResult

    Raises
    ------
    FileNotFoundError
        If there is no such dataset.
    Mri7tError
        If it holds no pair, or the output cannot be written into. A pair that cannot be made is in
        `summary.failed`.

    Examples
    --------
    >>> import napari_mri7t as mri7t
    >>> try:
    ...     mri7t.pair("no_such_folder", "pairs")
    ... except FileNotFoundError as error:
    ...     print(error)
    no_such_folder: no such folder or table: choose a folder of 3T and 7T scans
    """
    check_kind(config=(config, PairConfig))
    place = None if keep is None else Path(keep)
    job = PairJob(Path(output), config, overwrite, index, place)
    found = find_pairs(dataset, participants, "" if series is None else str(series))
    return make_dataset(dataset, found, job, report)
