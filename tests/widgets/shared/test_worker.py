"""Jobs: every way in which the engine's work can end, in a real Qt application."""

from __future__ import annotations

import random
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from napari.utils import progress
from qtpy.QtCore import QThreadPool

from napari_mri7t.engine.errors import Mri7tWarning, VolumeError
from napari_mri7t.engine.progress import Progress, Report
from napari_mri7t.widgets.shared.stopping import PATIENCE_S
from napari_mri7t.widgets.shared.worker import Job, find_job, running_jobs, take_failure


class Record:
    """Everything a job reports, in order."""

    def __init__(
        self, work: Callable[[Report], Any], *, breakable: bool = False, state: object = None
    ) -> None:
        self.events: list[tuple[str, Any]] = []
        self.job = Job("Test", work, breakable=breakable, state=state)
        for name in ("progressed", "warned", "succeeded", "failed"):
            getattr(self.job, name).connect(lambda value, n=name: self.events.append((n, value)))
        for name in ("cancelled", "ended"):
            getattr(self.job, name).connect(lambda n=name: self.events.append((n, None)))
        self.job.start()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def wait(self, qtbot: Any) -> None:
        qtbot.waitUntil(lambda: "ended" in self.names, timeout=5000)


def counting(
    n_steps: int, closed: list[str] | None = None, pause_s: float = 0.01
) -> Callable[[Report], str]:
    def work(report: Report) -> str:
        try:
            for n in range(n_steps):
                time.sleep(pause_s)
                report(Progress(n + 1, n_steps, "working"))
            return "done"
        finally:
            if closed is not None:
                closed.append(threading.current_thread().name)

    return work


def test_job_gives_every_progress_then_the_result(qtbot):
    record = Record(counting(3))
    record.wait(qtbot)
    assert record.names == ["progressed"] * 3 + ["succeeded", "ended"]
    assert [value.done for _, value in record.events[:3]] == [1, 2, 3]
    assert record.events[3][1] == "done"


def test_work_runs_in_another_thread(qtbot):
    threads: list[int] = []

    def work(report: Report) -> None:
        threads.append(threading.get_ident())
        report(Progress(1, 1, "working"))

    Record(work).wait(qtbot)
    assert threads[0] != threading.get_ident()


def test_runtime_error_is_reported_in_one_sentence(qtbot):
    """superqt alone swallows it: neither `errored` nor `finished` would fire."""

    def work(report: Report) -> None:
        report(Progress(1, 2, "working"))
        raise RuntimeError("CUDA out of memory")

    record = Record(work)
    record.wait(qtbot)
    assert record.names == ["progressed", "failed", "ended"]
    assert record.events[1][1] == "Test failed: CUDA out of memory"


def test_runtime_error_before_the_first_report_is_reported(qtbot):
    def work(report: Report) -> None:
        raise RuntimeError("no model")

    record = Record(work)
    record.wait(qtbot)
    assert record.names == ["failed", "ended"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (VolumeError("a.nii: is empty: copy it again"), "a.nii: is empty: copy it again"),
        (ValueError("step must be 1 or 3"), "step must be 1 or 3"),
        (VolumeError("a: lower it", argument="end_slices"), "a: lower it (Skip end slices)"),
        (PermissionError(13, "Permission denied", "in/scan.nii"), "in/scan.nii: Permission denied"),
        (ZeroDivisionError("x"), "Unexpected error: ZeroDivisionError: x. "),
    ],
)
def test_errors_keep_their_own_words(qtbot, error, expected):
    def work(report: Report) -> None:
        report(Progress(1, 2, "working"))
        raise error

    record = Record(work)
    record.wait(qtbot)
    assert record.events[-2][0] == "failed"
    assert record.events[-2][1].startswith(expected)


def test_cancel_ends_the_work_in_its_own_thread(qtbot):
    closed: list[str] = []
    record = Record(counting(10_000, closed))
    qtbot.waitUntil(lambda: "progressed" in record.names)
    record.job.cancel()
    record.wait(qtbot)  # 100 seconds of work
    assert record.names[-2:] == ["cancelled", "ended"]
    assert "succeeded" not in record.names
    assert closed
    assert closed[0] != threading.main_thread().name


def stuck(closed: list[str]) -> Callable[[Report], None]:
    """One step that takes forever, as a slab of slices does on a busy processor."""

    def work(report: Report) -> None:
        try:
            report(Progress(0, 10, "working"))
            while True:
                sum(range(100_000))
        finally:
            closed.append("closed")

    return work


def test_step_that_takes_forever_is_broken_off(qtbot):
    closed: list[str] = []
    record = Record(stuck(closed), breakable=True)
    qtbot.waitUntil(lambda: "progressed" in record.names)
    qtbot.wait(50)
    record.job.cancel()
    record.wait(qtbot)
    assert record.names == ["progressed", "cancelled", "ended"]
    assert closed == ["closed"]
    assert PATIENCE_S < 2, "the cancel's promise, with room for what follows"
    Record(counting(100)).wait(qtbot)  # the pool's thread took no harm


def test_a_job_that_may_not_be_broken_off_is_left_to_end_its_step(qtbot):
    def work(report: Report) -> None:
        report(Progress(0, 10, "working"))
        cancelled.wait()
        until = time.monotonic() + 2 * PATIENCE_S
        while time.monotonic() < until:
            sum(range(1000))
        finished.append(1)
        report(Progress(1, 10, "working"))

    finished: list[int] = []
    cancelled = threading.Event()
    record = Record(work)
    qtbot.waitUntil(lambda: "progressed" in record.names)
    record.job.cancel()
    cancelled.set()
    record.wait(qtbot)
    assert finished == [1]


def test_a_paused_job_goes_on_and_can_be_cancelled(qtbot):
    record = Record(counting(10_000))
    qtbot.waitUntil(lambda: "progressed" in record.names)
    record.job.pause()
    qtbot.wait(100)
    seen = len(record.events) + 1  # the step that it was in
    qtbot.wait(200)
    assert len(record.events) <= seen
    record.job.pause()
    qtbot.waitUntil(lambda: len(record.events) > seen)
    record.job.pause()
    qtbot.wait(50)
    record.job.cancel()
    record.wait(qtbot)
    assert record.names[-2:] == ["cancelled", "ended"]


def test_resume_that_comes_before_the_pause_has_begun_is_not_forgotten(qtbot):
    record = Record(counting(3, pause_s=0.3))
    qtbot.waitUntil(lambda: "progressed" in record.names)
    record.job.pause()
    assert record.job.is_held
    record.job.pause()
    assert not record.job.is_held
    record.wait(qtbot)
    assert record.names[-2:] == ["succeeded", "ended"]


def test_warnings_of_the_engine_arrive_and_foreign_ones_do_not(qtbot):
    def work(report: Report) -> None:
        warnings.warn("the skull is still on", Mri7tWarning, stacklevel=1)
        warnings.warn("old name", DeprecationWarning, stacklevel=1)
        report(Progress(1, 1, "working"))

    record = Record(work)
    record.wait(qtbot)
    assert [value for name, value in record.events if name == "warned"] == ["the skull is still on"]


def test_activity_bar_is_there_while_the_job_runs_and_gone_after(qtbot):
    record = Record(counting(40))
    qtbot.waitUntil(lambda: "progressed" in record.names)
    assert [bar.desc for bar in progress._all_instances] == ["Test"]
    record.wait(qtbot)
    assert not progress._all_instances


def test_running_jobs_are_found_again_and_forgotten_when_they_end(qtbot):
    record = Record(counting(50))
    assert running_jobs() == [record.job]
    record.wait(qtbot)
    assert running_jobs() == []
    assert QThreadPool.globalInstance().activeThreadCount() == 0


def test_job_is_found_by_its_state_and_its_error_is_taken_once(qtbot):
    class State:
        pass

    def work(report: Report) -> None:
        time.sleep(0.2)
        raise ValueError("no data")

    record = Record(work, state=State())
    assert find_job(State) is record.job
    record.wait(qtbot)
    assert find_job(State) is None
    assert [take_failure(State), take_failure(State)] == ["no data", ""]


def test_a_job_that_nobody_holds_runs_to_its_end(qtbot):
    results: list[str] = []

    def start() -> None:
        job = Job("Test", counting(20))
        job.succeeded.connect(results.append)
        job.start()

    start()
    qtbot.waitUntil(lambda: results == ["done"], timeout=5000)


def test_fifty_cancels_at_random_moments_leave_nothing(qtbot):
    rng = random.Random(0)
    for _ in range(50):
        closed: list[str] = []
        record = Record(counting(10_000, closed, 0.002), breakable=True)
        qtbot.wait(rng.randrange(1, 30))
        record.job.cancel()
        record.wait(qtbot)
        assert "succeeded" not in record.names
    assert running_jobs() == []
    assert not progress._all_instances
    QThreadPool.globalInstance().waitForDone(60_000)
    assert QThreadPool.globalInstance().activeThreadCount() == 0
