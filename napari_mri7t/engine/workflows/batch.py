"""A whole dataset through one model into a BIDS derivative; resumes when run again.

One thread reads the next scan and one writes the last estimate while the present one is computed:
the device is never idle, and two scans and two estimates are in memory at most.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import quote

from napari_mri7t.engine.atomic import check_folder, read_json, write_json
from napari_mri7t.engine.datasets.bids import SOURCE_LINK, Scan, bids_sidecar, load_scan
from napari_mri7t.engine.datasets.files import read_ignored
from napari_mri7t.engine.errors import Mri7tError, is_out_of_memory
from napari_mri7t.engine.models.card import find_model, read_card
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.preparation.checks import check_handedness
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.synthesis.synthesize import Synthesis
from napari_mri7t.engine.texts import as_read
from napari_mri7t.engine.volumes.files.reading import files_of
from napari_mri7t.engine.volumes.files.sidecars import NAME, OF_VERSION_0_1, check_sidecar_target
from napari_mri7t.engine.volumes.provenance import file_digest, read_sidecar, why_not_believed
from napari_mri7t.engine.volumes.volume import Volume, save_volume
from napari_mri7t.engine.workflows.claims import Claims, lock_derivative

SUMMARY_FILE = "batch.json"
LOGGER = logging.getLogger(__name__)
POLL_SECONDS = 0.1  # how long a cancel may wait for a thread
AS_IT_IS = PreparationConfig(prepare="none")
EXPECTED = (Mri7tError, OSError)  # errors whose text is a sentence for the user
LACK_OF_MEMORY = (
    "not enough memory while the next scan was being read and the last estimate written: "
    "synthesise this scan alone, or use fewer processes"
)
Result = TypeVar("Result")
Note = Callable[["BatchSummary"], object]


@dataclass(frozen=True)
class BatchSummary:
    """The outcome of a batch; names are paths within the input folder.

    Parameters
    ----------
    written : tuple of str
        Made in this run.
    known : tuple of str
        Made before, from the same scan, model and settings.
    failed : dict of str to str
        Why there is no estimate.
    warnings : dict of str to tuple of str
        What was unusual about those written.
    seconds : float
        Of this run.
    arguments : dict of str to str
        Argument that would help a failed scan, such as "index", where there is one.
    skipped : dict of str to str
        Why there is none, and need not be one, as for a map.
    stopped : bool
        Whether it ended before its last scan.
    """

    written: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    arguments: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    stopped: bool = False

    def with_other(self, other: "BatchSummary") -> "BatchSummary":
        """Return the summary of both; the two ran at the same time."""
        return BatchSummary(
            (*self.written, *other.written),
            (*self.known, *other.known),
            self.failed | other.failed,
            self.warnings | other.warnings,
            max(self.seconds, other.seconds),
            self.arguments | other.arguments,
            self.skipped | other.skipped,
            self.stopped or other.stopped,
        )


def write_summary(source: Path, folder: Path, summary: BatchSummary) -> Path:
    """Write a batch's summary into its derivative, where the BIDS validator ignores it.

    What the file says of the scans of other batches stays: several may share a derivative. Only
    what failed or was skipped goes once it is renamed, removed, filled or listed in `.bidsignore`.

    Parameters
    ----------
    source : Path
        The input folder.
    folder : Path
        Of the derivative.
    summary : BatchSummary

    Returns
    -------
    Path
        The file.
    """
    with lock_derivative(folder) as logs:
        path = logs / SUMMARY_FILE
        return write_json(path, _with_others(asdict(summary), path, source))


def _with_others(facts: dict[str, Any], path: Path, source: Path) -> dict[str, Any]:
    """Add what a summary, if it can be read, says of other scans."""
    try:
        earlier = read_json(path)
    except (OSError, ValueError):
        return facts
    if not isinstance(earlier, dict):
        return facts
    own = {*facts["written"], *facts["known"], *facts["failed"], *facts["skipped"]}
    folders = {str(folder) for name in own for folder in PurePosixPath(name).parents}
    ignored = read_ignored(source)
    for key in ("failed", "skipped", "arguments"):
        if isinstance(earlier.get(key), dict):
            gone = {name for name in earlier[key] if not _is_there(source / name)}
            left_out = {n for n in earlier[key] if key != "skipped" and ignored.match_file(n)}
            own |= gone | left_out | (folders & earlier[key].keys())
    for key, value in facts.items():
        other = earlier.get(key)
        if isinstance(value, tuple) and isinstance(other, list):
            facts[key] = [name for name in other if name not in own and isinstance(name, str)]
            facts[key] += value
        elif isinstance(value, dict) and isinstance(other, dict):
            facts[key] = {name: entry for name, entry in other.items() if name not in own} | value
    return facts


def _is_there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # no name that a file can have
        return False


@dataclass(frozen=True)
class BatchJob:
    """The settings that all scans of a batch share.

    Parameters
    ----------
    output : Path
        Folder of the derivative.
    model : str
        Name or folder, as `load_model` takes it; loaded where it is used.
    config : SynthesisConfig
    overwrite : bool
        Replace estimates that were made from another scan, model or settings.
    index : int or None
        Which volume of a 4-D scan, from 0.
    """

    output: Path
    model: str
    config: SynthesisConfig
    overwrite: bool = False
    index: int | None = None


def synthesize_batch(
    scans: Sequence[Scan],
    job: BatchJob,
    report: Report = ignore,
    note: Note = lambda _: None,
) -> BatchSummary:
    """Synthesise scans into a derivative; a failure is recorded, and the batch continues.

    The scans are not prepared. What `synthesize` refuses, such as voxels above 2 mm, is a failure,
    and so is a scan whose estimate another process is at.

    Parameters
    ----------
    scans : sequence of Scan
    job : BatchJob
    report : callable
        Progress in scans, at least every tenth of a second while waiting. A cancel keeps what is
        finished, and leaves nothing half-written.
    note : callable
        Gets the outcome of each scan once it is known, also of those that end after a cancel.

    Raises
    ------
    ModelError
        If the model cannot be loaded.
    Mri7tError
        If the derivative cannot be written into.
    """
    check_folder(job.output)
    report(Progress(0, 0, "loading the model"))
    start, model = time.perf_counter(), load_model(job.model)
    with Claims(job.output) as claims:
        account = _Account(len(scans), claims, report, note)
        try:
            _synthesize_all(scans, job, model, account)
        except BaseException:
            account.settle()
            raise
    report(Progress(len(scans), len(scans), "done"))
    return replace(account.summary, seconds=time.perf_counter() - start)


def _synthesize_all(
    scans: Sequence[Scan], job: BatchJob, model: Model, account: "_Account"
) -> None:
    with (
        ThreadPoolExecutor(1, "mri7t-read") as reader,
        ThreadPoolExecutor(1, "mri7t-write") as writer,
    ):
        ahead = [reader.submit(_read, scan, job, account.claims) for scan in scans[:1]]
        for n, scan in enumerate(scans):
            present = ahead.pop()
            if n + 1 < len(scans):
                ahead.append(reader.submit(_read, scans[n + 1], job, account.claims))
            own = account.begin(n, scan)
            try:
                source = account.wait(present)
                if source is None:
                    account.end(scan, BatchSummary(known=(scan.name,)))
                    continue
                result = synthesize(source, model, job.config, AS_IT_IS, report=own)
            except Exception as error:
                account.fail(scan, error)
                continue
            account.close()
            account.behind = scan, writer.submit(_write, scan, result, job)
            del source, result, present
        account.close()


class _Account:
    """Progress of a batch, and the outcome of its scans so far."""

    def __init__(self, n_scans: int, claims: Claims, report: Report, note: Note) -> None:
        self.n_scans, self.claims, self.report, self.note = n_scans, claims, report, note
        self.now = Progress(0, n_scans, "")
        self.summary = BatchSummary()
        self.behind: tuple[Scan, Future[tuple[str, ...]]] | None = None  # is being written

    def end(self, scan: Scan, outcome: BatchSummary) -> None:
        """Record the outcome of a scan, which other processes may have from now on."""
        self.claims.release(scan.output)
        self.summary = self.summary.with_other(outcome)
        self.note(outcome)

    def begin(self, n: int, scan: Scan) -> Report:
        """Report that a scan begins, and return the report of its estimate."""
        message = f"scan {n + 1} of {self.n_scans} ({scan.path.name})"
        self._report(Progress(n, self.n_scans, message))
        return part(self._report, n, self.n_scans, message)

    def _report(self, progress: Progress) -> None:
        self.now = progress
        self.report(progress)

    def wait(self, future: Future[Result]) -> Result:
        """Wait for a thread, reporting often enough that the batch can be stopped."""
        while not future.done():
            wait([future], timeout=POLL_SECONDS)
            self.report(self.now)
        return future.result()

    def close(self) -> None:
        """Wait for the estimate that is being written, and record its outcome."""
        if self.behind is None:
            return
        scan, future = self.behind
        try:
            self.wait(future)
        except Exception as error:
            if not future.done():  # a cancel
                raise
            self.behind = None
            self.fail(scan, error)
            return
        self.settle()

    def settle(self) -> None:
        """Record the estimate whose writing has ended, also where the batch was stopped."""
        if self.behind is None or not self.behind[1].done() or self.behind[1].exception():
            return
        (scan, future), self.behind = self.behind, None
        warnings = {scan.name: future.result()} if future.result() else {}
        self.end(scan, BatchSummary((scan.name,), warnings=warnings))

    def fail(self, scan: Scan, error: Exception) -> None:
        """Record why a scan has no estimate; the traceback of an unexpected error is logged."""
        if is_out_of_memory(error):
            text = LACK_OF_MEMORY
        elif isinstance(error, EXPECTED):
            text = str(error)
        else:
            LOGGER.error("%s", scan.name, exc_info=error)
            text = f"{type(error).__name__}: {error}: a bug in {NAME}: please report it"
        argument = getattr(error, "argument", "")
        helps = {scan.name: argument} if argument else {}
        outcome = BatchSummary(failed={scan.name: " ".join(text.split())}, arguments=helps)
        self.end(scan, outcome)


def is_made(scan: Scan, job: BatchJob) -> bool:
    """Return whether a scan has its estimate: from the same bytes, weights and settings.

    Returns
    -------
    bool
        False also where the image is not the one that its sidecar describes.
    """
    facts = read_sidecar(job.output / scan.output)
    if facts is None:
        return False
    try:
        digests = [entry["SHA256"] for entry in facts["SourceFiles"]]
        indices = {entry.get("Index") for entry in facts["SourceFiles"]}
        weights, settings = facts["Model"]["SHA256"], dict(facts["Settings"])
    except (LookupError, ValueError, TypeError, AttributeError):
        return False
    asked = as_read(job.config.decisive())
    return (
        indices <= {None, job.index}
        and digests == [file_digest(path) for path in dict.fromkeys(files_of(scan.path))]
        and weights == read_card(find_model(job.model)).sha256
        and all(settings.get(key) == value for key, value in asked.items())
    )


def _read(scan: Scan, job: BatchJob, claims: Claims) -> Volume | None:
    """Claim, load and check a scan; None if its estimate already exists."""
    claims.take(scan.output)
    if is_made(scan, job):
        return None
    _check_image(job.output / scan.output, job)
    volume = load_scan(scan.path, job.index)
    check_handedness(volume)
    return volume


def _check_image(image: Path, job: BatchJob) -> None:
    """Refuse to replace an estimate unasked, and the JSON of another program at all."""
    check_sidecar_target(image)
    if not image.exists() or job.overwrite:
        return
    if why_not_believed(image) == OF_VERSION_0_1:
        why = OF_VERSION_0_1
    elif read_sidecar(image) is None:
        why = "is not the image that its sidecar describes: it was changed, or a batch was killed"
    else:
        why = "was made from another scan, model or settings"
    raise Mri7tError(
        f"{image}: {why}: use another folder, or allow overwriting", argument="overwrite"
    )


def _write(scan: Scan, result: Synthesis, job: BatchJob) -> tuple[str, ...]:
    """Write an estimate with its sidecar; return its warnings."""
    image = job.output / scan.output
    image.parent.mkdir(parents=True, exist_ok=True)
    uri = f"bids:{SOURCE_LINK}:{quote(scan.name, errors='surrogateescape')}"
    facts = bids_sidecar(result.sidecar(), result.volume, uri)
    save_volume(result.volume, image, overwrite=True, sidecar=facts)
    return tuple(facts["Warnings"])
