"""A whole dataset into a BIDS derivative; resumes when run again.

One thread reads and prepares the next scan and one writes the last estimate while the present one
is in the network: neither the cores nor a GPU are idle. Two prepared scans are in memory at most,
and the one that is being written.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

import torch

from napari_mri7t.engine.atomic import check_folder, remove_leftovers
from napari_mri7t.engine.datasets.bids import Scan, bids_sidecar, source_uri, start_derivative
from napari_mri7t.engine.devices import resolve_device
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.preparation.prepare import prepare
from napari_mri7t.engine.progress import Progress, Report, ignore
from napari_mri7t.engine.synthesis.scan import (
    ReadyScan,
    check_ends,
    prepare_planned,
    synthesize_prepared,
)
from napari_mri7t.engine.synthesis.synthesize import Synthesis
from napari_mri7t.engine.volumes.volume import save_volume
from napari_mri7t.engine.workflows.claims import ClaimedError, Claims, lock_derivative
from napari_mri7t.engine.workflows.job import BatchJob
from napari_mri7t.engine.workflows.outlook import (
    BY_THE_SCAN,
    LOGGER,
    REQUESTED,
    REQUESTED_MODEL,
    examine,
    reason_of,
)
from napari_mri7t.engine.workflows.stages import WAITING, BatchProgress, Course
from napari_mri7t.engine.workflows.summary import BatchSummary, Note

POLL_SECONDS = 0.1  # how long a cancel may wait for a thread
PAGE_SECONDS = 30.0  # from one page of a running batch to the next
PAGE_SHARE = 20  # and at least so many times what it took
Result = TypeVar("Result")


def synthesize_batch(
    scans: Sequence[Scan],
    job: BatchJob,
    report: Report = ignore,
    note: Note = lambda _: None,
) -> BatchSummary:
    """Prepare and synthesise scans into a derivative, each as `synthesize` does.

    A failure is recorded, and the batch continues. What `synthesize` refuses, such as voxels above
    2 mm, is a failure. A scan whose estimate another process is at comes last, and waits for it.

    Parameters
    ----------
    scans : sequence of Scan
    job : BatchJob
    report : callable
        Gets `BatchProgress` in scans, at least every tenth of a second while waiting. A cancel
        keeps what is finished, and leaves nothing half-written.
    note : callable
        Gets the outcome of each scan once it is known, also of those that end after a cancel.

    Raises
    ------
    DeviceError
        If this machine has no such device.
    ModelError
        If the model cannot be loaded.
    Mri7tError
        If a derivative cannot be written into.
    """
    resolve_device(job.config.device)
    check_folder(job.output)
    if isinstance(job.preparation.keep, Path):
        start_derivative(job.preparation.keep)
    report(BatchProgress(0, 0, "loading the model"))
    start, model = time.perf_counter(), load_model(job.model) if job.model else None
    with Claims(job.output) as claims:
        account = _Account(scans, job, claims, report, note)
        try:
            _synthesize_all(job, model, account)
        except BaseException:
            account.settle()
            raise
    report(BatchProgress(len(scans), len(scans), "done"))
    return replace(account.summary, seconds=time.perf_counter() - start)


def _synthesize_all(job: BatchJob, model: Model | None, account: "_Account") -> None:
    page = _Page(job.output)
    with (
        # The thread takes over torch's number of threads before a network changes it.
        ThreadPoolExecutor(1, "mri7t-prepare", torch.get_num_threads) as preparing,
        ThreadPoolExecutor(1, "mri7t-write") as writing,
        account.stopping(),
    ):

        def begin_next() -> tuple[Scan, Course, Future[ReadyScan | None]] | None:
            begun = account.begin_next()
            if begun is None:
                return None
            return *begun, preparing.submit(_prepare, *begun, job, account.claims)

        ahead = begin_next()
        while ahead is not None:
            scan, course, present = ahead
            ahead = begin_next()
            try:
                ready = account.wait(present)
                if ready is None:
                    account.end(scan, BatchSummary(known=(scan.name,)))
                    continue
                course.begin("synthesising")
                made = synthesize_prepared(
                    ready, model, job.config, job.grid, account.report_of(course)
                )
            except ClaimedError:
                account.defer(scan)
                ahead = ahead or begin_next()
                continue
            except Exception as error:
                account.fail(scan, error)
                continue
            account.close()
            done = _Made(scan, ready, made, account.pass_on(course))
            account.behind = scan, writing.submit(_write, done, job, page)
            del ready, made, done, present
        account.close()


@dataclass(frozen=True, eq=False)
class _Made:
    """An estimate that is to be written; `seconds` of its preparation and synthesis."""

    scan: Scan
    ready: ReadyScan
    synthesis: Synthesis
    seconds: float


class _Account:
    """Progress of a batch, and the outcome of its scans so far."""

    def __init__(
        self, scans: Sequence[Scan], job: BatchJob, claims: Claims, report: Report, note: Note
    ) -> None:
        self.n_scans, self.claims, self._report, self.note = len(scans), claims, report, note
        self.output_of = job.output_of
        self._left = deque(scans)
        self._deferred: set[str] = set()  # estimates that another process was at
        self.summary = BatchSummary()
        self.behind: tuple[Scan, Future[tuple[str, ...]]] | None = None  # is being written
        self._courses: dict[str, Course] = {}  # of the scans that are under way
        self._n_passed = 0  # that have failed, are known, or were passed on for writing
        self._stopped = threading.Event()

    @contextlib.contextmanager
    def stopping(self) -> Iterator[None]:
        """Have a preparation end where the batch ends early."""
        try:
            yield
        except BaseException:
            self._stopped.set()
            raise

    def begin_next(self) -> tuple[Scan, Course] | None:
        """Follow the next scan."""
        if not self._left:
            return None
        scan = self._left.popleft()
        self._courses[scan.name] = course = Course(scan.name, self._stopped)
        course.waits = scan.output in self._deferred
        return scan, course

    def pass_on(self, course: Course) -> float:
        """Pass a scan on for writing; return the seconds that it took."""
        self._n_passed += 1
        course.begin("writing")
        return course.seconds

    def defer(self, scan: Scan) -> None:
        """Put a scan last."""
        del self._courses[scan.name]
        self._left.append(scan)
        self._deferred.add(scan.output)

    def end(self, scan: Scan, outcome: BatchSummary) -> None:
        """Record the outcome of a scan, which other processes may have from now on."""
        course = self._courses.pop(scan.name)
        self._n_passed += course.stage != "writing"
        self.claims.release(scan.output)
        self.summary = self.summary.with_other(outcome)
        self.note(outcome)

    def report_of(self, course: Course) -> Report:
        """Return the report of a scan's estimate."""

        def report(progress: Progress) -> None:
            course.report(progress)
            self.report()

        return report

    def report(self) -> None:
        """Record the estimate that was written meanwhile; report how far the batch is."""
        self.settle()
        under_way = tuple(self._courses.values())
        first = next((course for course in under_way if course.stage != "writing"), None)
        done = self._n_passed + sum(each.part for each in under_way if each.stage != "writing")
        if first is None:
            message = "writing the last estimate"
        else:
            number = f"scan {self._n_passed + 1} of {self.n_scans}"
            name = PurePosixPath(first.name).name
            message = f"{number} ({name}): {first.step or first.stage}"
        shown = tuple(course.shown() for course in under_way)
        self._report(BatchProgress(done, self.n_scans, message, shown))

    def wait(self, future: Future[Result]) -> Result:
        """Wait for a thread, reporting often enough that the batch can be stopped."""
        self.report()
        while not future.done():
            wait([future], timeout=POLL_SECONDS)
            self.report()
        return future.result()

    def close(self) -> None:
        """Wait for the estimate that is being written, and record its outcome."""
        while self.behind is not None:
            wait([self.behind[1]], timeout=POLL_SECONDS)
            self.report()

    def settle(self) -> None:
        """Record the outcome of a writing that has ended, also where the batch was stopped."""
        if self.behind is None or not self.behind[1].done():
            return
        (scan, future), self.behind = self.behind, None
        try:
            notes = future.result()
        except Exception as error:
            self.fail(scan, error)
            return
        self.end(scan, BatchSummary((scan.name,), warnings={scan.name: notes} if notes else {}))

    def fail(self, scan: Scan, error: Exception) -> None:
        """Record why a scan has no estimate; the traceback of an unexpected error is logged."""
        argument = getattr(error, "argument", "")
        helps = {scan.name: argument} if argument else {}
        failed, lacks = {scan.name: reason_of(scan, error)}, {scan.name: self.output_of(scan)}
        self.end(scan, BatchSummary(failed=failed, arguments=helps, outputs=lacks))


class _Page:
    """The page of a batch, drawn anew now and then while it runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._due = time.perf_counter() + PAGE_SECONDS

    def refresh(self) -> None:
        """Write the page if it is due; what prevents that is told at the end of the batch."""
        from napari_mri7t.engine.report.batch_page import write_batch_page

        start = time.perf_counter()
        if start < self._due:
            return
        with contextlib.suppress(Mri7tError, OSError), lock_derivative(self._folder):
            write_batch_page(self._folder)
        now = time.perf_counter()
        self._due = now + max(PAGE_SECONDS, PAGE_SHARE * (now - start))


def _prepare(scan: Scan, course: Course, job: BatchJob, claims: Claims) -> ReadyScan | None:
    """Claim, read, check and prepare a scan; None if its estimate already exists."""
    _claim(scan, course, claims)
    course.begin("reading")
    found = examine(scan, job)
    if found is None:
        remove_leftovers(job.image_of(scan).parent)  # of a batch that was killed as it ended
        return None
    volume, course.plan = found
    check_ends(volume, job.config, job.grid)
    course.begin("preparing")
    ready = prepare_planned(volume, course.plan, course.report)
    course.begin("prepared")
    return ready


def _claim(scan: Scan, course: Course, claims: Claims) -> None:
    """Claim a scan's estimate; of one that waits, once another process lets go of it."""
    while True:
        course.report(Progress(0, 0, ""))
        try:
            claims.take(scan.output)
        except ClaimedError:
            if not course.waits:
                raise
            course.begin(WAITING)
            course.stopped.wait(POLL_SECONDS)
        else:
            return


def _write(made: _Made, job: BatchJob, page: _Page) -> tuple[str, ...]:
    """Write an estimate with its figures and its sidecar; return its warnings.

    The estimate comes last: what is there has its figures, also after a kill.
    """
    scan, result = made.scan, made.synthesis
    image = job.image_of(scan)
    image.parent.mkdir(parents=True, exist_ok=True)
    notes = _draw(made, job)
    facts = bids_sidecar(result.sidecar(), result.volume, source_uri(scan))
    facts |= {REQUESTED: job.preparation.prepare}
    if job.model is None:  # a name may be a private path, and the sidecar has the model anyway
        facts |= {REQUESTED_MODEL: BY_THE_SCAN}
    save_volume(result.volume, image, overwrite=True, sidecar=facts)
    page.refresh()
    return (*facts["Warnings"], *notes)


def _draw(made: _Made, job: BatchJob) -> tuple[str, ...]:
    """Draw the figures of a scan; return why there are none, which costs no estimate."""
    from napari_mri7t.engine.report.scan_figures import write_scan_figures

    ready, result = made.ready, made.synthesis
    try:
        prepared = ready.prepared or prepare(ready.scan, ready.plan)
        output, card = job.output_of(made.scan), result.model.card
        write_scan_figures(job.output, output, prepared, result.volume, card, made.seconds)
    except Mri7tError as error:
        return (f"no quality page: {error}",)
    except Exception as error:
        LOGGER.error("%s: no quality page", made.scan.name, exc_info=error)
        return (f"no quality page: {type(error).__name__}: {error}",)
    return ()
