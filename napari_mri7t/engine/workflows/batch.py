"""A whole dataset through one model into a BIDS derivative; resumes when run again.

One thread reads the next scan and one writes the last estimate while the present one is computed:
the device is never idle, and two scans and two estimates are in memory at most.
"""

import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from napari_mri7t.engine.atomic import read_json, write_content, write_json
from napari_mri7t.engine.datasets.bids import SOURCE_LINK, Scan, bids_sidecar, load_scan
from napari_mri7t.engine.errors import Mri7tError, is_out_of_memory
from napari_mri7t.engine.models.card import find_model, read_card
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.preparation.checks import check_handedness
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.synthesis.synthesize import Synthesis
from napari_mri7t.engine.volumes.files.reading import files_of
from napari_mri7t.engine.volumes.files.streams import sidecar_of
from napari_mri7t.engine.volumes.provenance import NAME, file_digest
from napari_mri7t.engine.volumes.volume import Volume, save_volume

LOG_FOLDER = "logs"
SUMMARY_FILE = "batch.json"
IGNORE_FILE = ".bidsignore"
LOGGER = logging.getLogger(__name__)
POLL_SECONDS = 0.1  # how long a cancel may wait for a thread
AS_IT_IS = PreparationConfig(prepare="none")
EXPECTED = (Mri7tError, OSError)  # errors whose text is a sentence for the user
LACK_OF_MEMORY = (
    "not enough memory while the next scan was being read and the last estimate written: "
    "synthesise this scan alone, or use fewer processes"
)
Result = TypeVar("Result")


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
    """

    written: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    arguments: dict[str, str] = field(default_factory=dict)

    def with_other(self, other: "BatchSummary") -> "BatchSummary":
        """Return the summary of both; the two ran at the same time."""
        return BatchSummary(
            (*self.written, *other.written),
            (*self.known, *other.known),
            self.failed | other.failed,
            self.warnings | other.warnings,
            max(self.seconds, other.seconds),
            self.arguments | other.arguments,
        )


def write_summary(folder: Path, summary: BatchSummary) -> Path:
    """Write a batch's summary into its derivative, where the BIDS validator ignores it.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    summary : BatchSummary

    Returns
    -------
    Path
        The file.
    """
    path = folder / LOG_FOLDER / SUMMARY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (folder / IGNORE_FILE).exists():
        write_content(folder / IGNORE_FILE, f"{LOG_FOLDER}/\n")
    return write_json(path, asdict(summary))


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


def synthesize_batch(scans: Sequence[Scan], job: BatchJob, report: Report = ignore) -> BatchSummary:
    """Synthesise scans into a derivative; a failure is recorded, and the batch continues.

    The scans are not prepared. What `synthesize` refuses, such as voxels above 2 mm, is a failure.

    Parameters
    ----------
    scans : sequence of Scan
    job : BatchJob
    report : callable
        Progress in scans, at least every tenth of a second while waiting. A cancel keeps what is
        finished, and leaves nothing half-written.

    Raises
    ------
    ModelError
        If the model cannot be loaded.
    """
    report(Progress(0, 0, "loading the model"))
    start, model = time.perf_counter(), load_model(job.model)
    account = _Account(len(scans), report)
    with (
        ThreadPoolExecutor(1, "mri7t-read") as reader,
        ThreadPoolExecutor(1, "mri7t-write") as writer,
    ):
        ahead = [reader.submit(_read, scan, job) for scan in scans[:1]]
        behind: tuple[Scan, Future[tuple[str, ...]]] | None = None
        for n, scan in enumerate(scans):
            present = ahead.pop()
            if n + 1 < len(scans):
                ahead.append(reader.submit(_read, scans[n + 1], job))
            own = account.begin(n, scan)
            try:
                source = account.wait(present)
                if source is None:
                    account.add(BatchSummary(known=(scan.name,)))
                    continue
                result = synthesize(source, model, job.config, AS_IT_IS, report=own)
            except Exception as error:
                account.fail(scan, error)
                continue
            account.close(behind)
            behind = scan, writer.submit(_write, scan, result, job)
            del source, result, present
        account.close(behind)
    report(Progress(len(scans), len(scans), "done"))
    return replace(account.summary, seconds=time.perf_counter() - start)


class _Account:
    """Progress of a batch, and the outcome of its scans so far."""

    def __init__(self, n_scans: int, report: Report) -> None:
        self.n_scans, self.report = n_scans, report
        self.now = Progress(0, n_scans, "")
        self.summary = BatchSummary()

    def add(self, outcome: BatchSummary) -> None:
        self.summary = self.summary.with_other(outcome)

    def begin(self, n: int, scan: Scan) -> Report:
        """Report that a scan begins, and return the report of its estimate."""
        message = f"scan {n + 1} of {self.n_scans} ({scan.path.name})"
        self._note(Progress(n, self.n_scans, message))
        return part(self._note, n, self.n_scans, message)

    def _note(self, progress: Progress) -> None:
        self.now = progress
        self.report(progress)

    def wait(self, future: Future[Result]) -> Result:
        """Wait for a thread, reporting often enough that the batch can be stopped."""
        while not future.done():
            wait([future], timeout=POLL_SECONDS)
            self.report(self.now)
        return future.result()

    def close(self, behind: tuple[Scan, Future[tuple[str, ...]]] | None) -> None:
        """Record the outcome of the estimate that was being written."""
        if behind is None:
            return
        scan, future = behind
        try:
            warnings = self.wait(future)
        except Exception as error:
            self.fail(scan, error)
            return
        self.add(BatchSummary((scan.name,), warnings={scan.name: warnings} if warnings else {}))

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
        self.add(BatchSummary(failed={scan.name: " ".join(text.split())}, arguments=helps))


def is_made(scan: Scan, job: BatchJob) -> bool:
    """Return whether a scan has its estimate: from the same bytes, weights and settings.

    Returns
    -------
    bool
        False also where there is an image without its sidecar.
    """
    image = job.output / scan.output
    try:
        facts = read_json(sidecar_of(image))
        digests = [entry["SHA256"] for entry in facts["SourceFiles"]]
        indices = {entry.get("Index") for entry in facts["SourceFiles"]}
        weights, settings = facts["Model"]["SHA256"], facts["Settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    asked = json.loads(json.dumps(job.config.decisive()))
    return (
        image.is_file()
        and indices <= {None, job.index}
        and digests == [file_digest(path) for path in dict.fromkeys(files_of(scan.path))]
        and weights == read_card(find_model(job.model)).sha256
        and all(settings.get(key) == value for key, value in asked.items())
    )


def _read(scan: Scan, job: BatchJob) -> Volume | None:
    """Load and check a scan; None if its estimate already exists."""
    image = job.output / scan.output
    if is_made(scan, job):
        return None
    if image.exists() and not job.overwrite:
        raise Mri7tError(
            f"{image}: was made from another scan, model or settings: use another folder, or "
            "allow overwriting",
            argument="overwrite",
        )
    volume = load_scan(scan.path, job.index)
    check_handedness(volume)
    return volume


def _write(scan: Scan, result: Synthesis, job: BatchJob) -> tuple[str, ...]:
    """Write an estimate with its sidecar; return its warnings."""
    image = job.output / scan.output
    image.parent.mkdir(parents=True, exist_ok=True)
    uri = f"bids:{SOURCE_LINK}:{quote(scan.name)}"
    facts = bids_sidecar(result.sidecar(), result.volume, uri)
    save_volume(result.volume, image, overwrite=True, sidecar=facts)
    return tuple(facts["Warnings"])
