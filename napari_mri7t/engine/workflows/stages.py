"""How far each scan of a batch is, reported from the thread of the caller; needs no torch."""

import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from napari_mri7t.engine.preparation.prepare import PreparationPlan
from napari_mri7t.engine.preparation.steps import PreparationProgress
from napari_mri7t.engine.progress import Cancelled, Progress

WAITING: Literal["waiting for another process"] = "waiting for another process"
Stage = Literal[
    "reading", "waiting for another process", "preparing", "prepared", "synthesising", "writing"
]
PREPARATION = 0.5  # part of a scan's progress


@dataclass(frozen=True)
class AtWork:
    """A scan that is under way.

    Parameters
    ----------
    name : str
        Of the scan, its path within the input folder.
    stage : Stage
    step : str
        One of `STEPS` while it is prepared, otherwise empty.
    plan : PreparationPlan or None
        None while it is read.
    """

    name: str
    stage: Stage
    step: str = ""
    plan: PreparationPlan | None = None


@dataclass(frozen=True)
class BatchProgress(Progress):
    """Progress of a batch.

    Parameters
    ----------
    at_work : tuple of AtWork
        The scans that are under way, in their order: three at most.
    """

    at_work: tuple[AtWork, ...] = ()


@dataclass
class Course:
    """How far one scan is; its thread writes it, and the caller's reads it.

    Parameters
    ----------
    name : str
    stopped : threading.Event
        Set once the batch is to end.
    waits : bool
        Whether to wait for another process that is at the estimate.
    """

    name: str
    stopped: threading.Event = field(default_factory=threading.Event)
    waits: bool = False
    stage: Stage = "reading"
    step: str = ""
    plan: PreparationPlan | None = None
    part: float = 0.0
    seconds: float = 0.0
    since: float = 0.0

    def begin(self, stage: Stage) -> None:
        """Begin a stage, and count the seconds of the one before if it computed."""
        now = time.perf_counter()
        if self.stage in ("reading", "preparing", "synthesising") and self.since:
            self.seconds += now - self.since
        self.since = now
        self.stage, self.step = stage, ""
        if stage in ("prepared", "synthesising"):
            self.part = PREPARATION

    def report(self, progress: Progress) -> None:
        """Take the progress of a stage; `Cancelled` ends it if the batch is to end."""
        if self.stopped.is_set():
            raise Cancelled
        self.step = progress.step if isinstance(progress, PreparationProgress) else ""
        if progress.total:
            done = progress.done / progress.total
            is_network = self.stage == "synthesising"
            self.part = max(self.part, PREPARATION * (done + is_network))

    def shown(self) -> AtWork:
        """Return what is shown of it."""
        return AtWork(self.name, self.stage, self.step, self.plan)
