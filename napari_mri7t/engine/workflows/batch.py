"""A whole dataset through one model: a BIDS derivative, made in parts, gone on with, accounted for.

One thread reads the next scan and one writes the last estimate while the present one is computed:
the device is never idle, and two scans and two estimates are in memory at most.

What became of a batch: kept in its derivative, printed at its end.
"""

import json
import logging
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from napari_mri7t.engine.atomic import read_json, write_atomically
from napari_mri7t.engine.datasets.bids import SOURCE_LINK, Scan, bids_sidecar, load_scan
from napari_mri7t.engine.errors import Mri7tError, is_out_of_memory
from napari_mri7t.engine.models.model import Model
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import (
    Synthesis,
    SynthesisProgress,
    estimate,
    synthesis_sidecar,
)
from napari_mri7t.engine.volumes.files.reading import files_of
from napari_mri7t.engine.volumes.files.streams import sidecar_of
from napari_mri7t.engine.volumes.provenance import NAME, file_digest
from napari_mri7t.engine.volumes.volume import Volume, save_volume

LOG_FOLDER = "logs"
SUMMARY_FILE = "batch.json"
IGNORE_FILE = ".bidsignore"
LOGGER = logging.getLogger(__name__)
PARTS_PER_SCAN = 1000  # of the progress
POLL_SECONDS = 0.1  # how long a cancel may wait for a thread
NO_MATTER = ("device", "memory_mb")  # settings that do not decide the voxels
EXPECTED = (Mri7tError, OSError)  # errors whose text is a sentence for the user
LACK_OF_MEMORY = (
    "not enough memory beside the scan that was read ahead and the estimate that was being "
    "written: run `mri7t synthesize` on it alone, or take fewer processes (--cluster local:N)"
)
Result = TypeVar("Result")


@dataclass(frozen=True)
class BatchSummary:
    """What became of a batch; names are paths within the input folder.

    Parameters
    ----------
    written : tuple of str
        Made in this run.
    known : tuple of str
        Made before, from the same scan, model and settings.
    failed : dict of str to str
        Why there is no estimate.
    warnings : dict of str to tuple of str
        What was odd about those written.
    seconds : float
        Of this run.
    """

    written: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0

    def with_other(self, other: "BatchSummary") -> "BatchSummary":
        """Add what became of other scans at the same time."""
        return BatchSummary(
            (*self.written, *other.written),
            (*self.known, *other.known),
            self.failed | other.failed,
            self.warnings | other.warnings,
            max(self.seconds, other.seconds),
        )


def write_summary(folder: Path, summary: BatchSummary) -> Path:
    """Write what became of a batch into the derivative, where the BIDS validator looks away.

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
        write_atomically(folder / IGNORE_FILE, lambda file: file.write(f"{LOG_FOLDER}/\n".encode()))
    text = json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n"
    return write_atomically(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))


@dataclass(frozen=True)
class BatchProgress:
    """How far a batch is: in thousandths of a scan, of how many, and what is being done."""

    done: int
    total: int
    message: str


@dataclass(frozen=True, eq=False)
class BatchJob:
    """What all scans of a batch have in common.

    Parameters
    ----------
    output : Path
        Folder of the derivative.
    model : Model
    config : SynthesisConfig
    overwrite : bool
        Make estimates again that were made from another scan, model or settings.
    index : int or None
        Which volume of a 4-D scan, from 0.
    """

    output: Path
    model: Model
    config: SynthesisConfig
    overwrite: bool = False
    index: int | None = None


def synthesize_batch(
    scans: Sequence[Scan], job: BatchJob
) -> Generator[BatchProgress, None, BatchSummary]:
    """Synthesise scans into a derivative; whatever fails for one is noted, and the others go on.

    Parameters
    ----------
    scans : sequence of Scan
    job : BatchJob

    Yields
    ------
    BatchProgress
        At least every tenth of a second while waiting; closing the generator keeps what is
        finished, and leaves nothing half-written.

    Returns
    -------
    BatchSummary
    """
    start = time.perf_counter()
    account = _Account(len(scans))
    with (
        ThreadPoolExecutor(1, "mri7t-read") as reader,
        ThreadPoolExecutor(1, "mri7t-write") as writer,
    ):
        ahead = [reader.submit(_read, scan, job) for scan in scans[:1]]
        behind: tuple[Scan, Future[dict[str, Any]]] | None = None
        for n, scan in enumerate(scans):
            present = ahead.pop()
            if n + 1 < len(scans):
                ahead.append(reader.submit(_read, scans[n + 1], job))
            account.begin(n, scan)
            try:
                source = yield from account.wait(present)
                if source is None:
                    account.known.append(scan.name)
                    continue
                result = yield from account.scale(source, job)
            except Exception as error:
                account.fail(scan, error)
                continue
            yield from account.close(behind)
            behind = scan, writer.submit(_write, scan, source, result, job)
            del source, result, present
        yield from account.close(behind)
    yield BatchProgress(account.total, account.total, "done")
    return account.summary(time.perf_counter() - start)


@dataclass(eq=False)
class _Account:
    """Where a batch is, and what became of its scans so far."""

    n_scans: int
    done: int = 0
    message: str = ""
    written: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return PARTS_PER_SCAN * self.n_scans

    def begin(self, n: int, scan: Scan) -> None:
        self.done = PARTS_PER_SCAN * n
        self.message = f"{scan.name}, scan {n + 1} of {self.n_scans}"

    def wait(self, future: Future[Result]) -> Generator[BatchProgress, None, Result]:
        """Let a thread finish, in steps between which the batch can be stopped."""
        while not future.done():
            wait([future], timeout=POLL_SECONDS)
            yield BatchProgress(self.done, self.total, self.message)
        return future.result()

    def scale(self, source: Volume, job: BatchJob) -> Generator[BatchProgress, None, Synthesis]:
        """Synthesise, with one scan's progress as a part of the whole."""
        begin = self.done

        def record(now: SynthesisProgress) -> BatchProgress:
            self.done = begin + PARTS_PER_SCAN * now.done // max(now.total, 1)
            return BatchProgress(self.done, self.total, self.message)

        return (yield from with_records(estimate(source, job.model, job.config), record))

    def close(
        self, behind: tuple[Scan, Future[dict[str, Any]]] | None
    ) -> Generator[BatchProgress, None, None]:
        """Note what became of the estimate that was being written."""
        if behind is None:
            return
        scan, future = behind
        try:
            facts = yield from self.wait(future)
        except Exception as error:
            self.fail(scan, error)
            return
        self.written.append(scan.name)
        if facts["Warnings"]:
            self.warnings[scan.name] = tuple(facts["Warnings"])

    def fail(self, scan: Scan, error: Exception) -> None:
        """Note why a scan has no estimate; the traceback of what nobody foresaw is logged."""
        if is_out_of_memory(error):
            text = LACK_OF_MEMORY
        elif isinstance(error, EXPECTED):
            text = str(error)
        else:
            LOGGER.error("%s", scan.name, exc_info=error)
            text = f"{type(error).__name__}: {error}: a fault of {NAME}: please report it"
        self.failed[scan.name] = " ".join(text.split())

    def summary(self, seconds: float) -> BatchSummary:
        return BatchSummary(
            tuple(self.written), tuple(self.known), self.failed, self.warnings, seconds
        )


def is_made(scan: Scan, job: BatchJob) -> bool:
    """Tell whether a scan has its estimate: from the same bytes, weights and settings.

    Parameters
    ----------
    scan : Scan
    job : BatchJob

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
    asked = json.loads(json.dumps(asdict(job.config)))
    return (
        image.is_file()
        and indices <= {None, job.index}
        and digests == [file_digest(path) for path in dict.fromkeys(files_of(scan.path))]
        and weights == job.model.card.sha256
        and all(settings.get(key) == asked[key] for key in asked if key not in NO_MATTER)
    )


def _read(scan: Scan, job: BatchJob) -> Volume | None:
    """Load a scan; None if its estimate is there already."""
    image = job.output / scan.output
    if is_made(scan, job):
        return None
    if image.exists() and not job.overwrite:
        raise Mri7tError(
            f"{image}: was made from another scan, model or settings: give another folder, or "
            "allow overwriting (`mri7t batch --overwrite`)"
        )
    return load_scan(scan.path, job.index)


def _write(scan: Scan, source: Volume, result: Synthesis, job: BatchJob) -> dict[str, Any]:
    image = job.output / scan.output
    image.parent.mkdir(parents=True, exist_ok=True)
    uri = f"bids:{SOURCE_LINK}:{quote(scan.name)}"
    facts = bids_sidecar(synthesis_sidecar(source, job.model, result), result.volume, uri)
    save_volume(result.volume, image, overwrite=True, sidecar=facts)
    return facts
