"""Background work of the widget "Prepare pairs": what is there, making pairs, opening one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_mri7t.engine.datasets.scans import ScanFilter
from napari_mri7t.engine.preparation.pair import PairConfig
from napari_mri7t.engine.preparation.pair_grid import grid_in_words
from napari_mri7t.engine.preparation.quality import pair_checkerboard
from napari_mri7t.engine.progress import Progress, Report
from napari_mri7t.engine.volumes.thumbnails import thumbnail
from napari_mri7t.engine.volumes.volume import Volume, load_volume
from napari_mri7t.widgets.shared.command import changed, command_line
from napari_mri7t.widgets.shared.job_panel import duration
from napari_mri7t.widgets.shared.selection import selection_options
from napari_mri7t.widgets.shared.settings import Memory

if TYPE_CHECKING:
    from napari_mri7t.engine.datasets.pair_files import FoundPairs
    from napari_mri7t.engine.report.pair_page import PairRecord
    from napari_mri7t.engine.workflows.pair_dataset import PairResult
    from napari_mri7t.engine.workflows.pairs import PairJob, PairState
    from napari_mri7t.engine.workflows.summary import BatchSummary


PACE = "pace of pairs"  # section of the memory


@dataclass(frozen=True)
class PairRequest:
    """What the user asks; two that are equal ask for the same."""

    dataset: Path
    output: Path
    config: PairConfig
    overwrite: bool = False
    keep: Path | None = None
    wanted: ScanFilter = ScanFilter()  # noqa: RUF009 - frozen
    index: int | None = None

    def job(self) -> PairJob:
        """Return the settings of all pairs."""
        from napari_mri7t.engine.workflows.pairs import PairJob

        return PairJob(self.output, self.config, self.overwrite, self.index, self.keep)

    @property
    def kind(self) -> str:
        """What decides the pace."""
        config = self.config
        return f"grid {config.grid}, registration {config.registration}, prepare {config.prepare}"

    def pairs(self) -> FoundPairs:
        """Find the raw scans of the people that are asked for."""
        from napari_mri7t.engine.workflows.pairs import find_pairs

        return find_pairs(self.dataset, self.wanted.participants, self.wanted.series)

    def line(self) -> str:
        """Return the line of `mri7t` that does the same."""
        return command_line(
            "pair",
            self.dataset.absolute(),
            self.output.absolute(),
            **changed(self.config, "registration", "grid", "prepare", "allow_out_of_domain"),
            keep=self.keep,
            **selection_options(self.wanted, self.index),
            overwrite=self.overwrite,
        )

    def describe(self) -> str:
        """Return what will be done with every pair."""
        registered = f"{self.config.registration} registration of the 3T to the 7T"
        return f"Each pair: {registered}, {grid_in_words(self.config.grid)}."


def time_of(request: PairRequest, n_pairs: int, memory: Memory) -> str:
    """Return how long pairs take, as earlier runs took here; empty without any to make."""
    if not n_pairs:
        return ""
    what = "1 pair" if n_pairs == 1 else f"{n_pairs} pairs"
    pace = memory.recall(PACE).get(request.kind)
    if isinstance(pace, float):
        return f"{what}: {duration(pace * n_pairs)}, based on earlier runs."
    return f"{what}: no timing on this computer yet; the time left shows while they are made."


def keep_time(request: PairRequest, made: PairResult, memory: Memory) -> None:
    """Store how long a pair took here."""
    if made.summary.written:
        pace = made.summary.seconds / len(made.summary.written)
        memory.keep(PACE, {request.kind: pace})


@dataclass(frozen=True, eq=False)
class PairsListed(Progress):
    """The people are known; nothing has been prepared.

    `failed`, `skipped`: what is left out, and why.
    """

    states: tuple[PairState, ...]
    failed: dict[str, str]
    skipped: dict[str, str]


@dataclass(frozen=True, eq=False)
class PairSeen(Progress):
    """A made pair as it is on disk, with a picture of its 7T."""

    record: PairRecord
    picture: np.ndarray


def look_through(request: PairRequest, report: Report) -> None:
    """Report the people as `PairsListed`, then each made pair as `PairSeen`; writes nothing."""
    report(Progress(0, 0, "looking for pairs"))
    from napari_mri7t.engine.workflows.pairs import plan_pairs

    found = request.pairs()
    states = tuple(plan_pairs(found, request.job(), report))
    report(PairsListed(0, 0, "pairs listed", states, found.failed, found.skipped))
    look_at_made(request.output, report)


def look_at_made(output: Path, report: Report) -> None:
    """Report each made pair as `PairSeen`."""
    from napari_mri7t.engine.workflows.pair_review import list_pairs

    records = list_pairs(output)
    for n, record in enumerate(records):
        picture = thumbnail(load_volume(record.target))
        report(PairSeen(n + 1, len(records), f"{record.name} was read", record, picture))


def make_all(
    request: PairRequest, note: Callable[[BatchSummary], object], report: Report
) -> PairResult:
    """Make every pair, and compare the people."""
    report(Progress(0, 0, "loading the libraries"))
    from napari_mri7t.engine.workflows.pair_dataset import make_dataset

    return make_dataset(request.dataset, request.pairs(), request.job(), report, note)


@dataclass(frozen=True, eq=False)
class OpenedPair:
    """The images of a made pair, and a checkerboard of both."""

    name: str
    source: Volume
    target: Volume
    board: Volume


def open_pair(record: PairRecord) -> OpenedPair:
    """Read the images of a made pair."""
    source, target = load_volume(record.source), load_volume(record.target)
    return OpenedPair(record.name, source, target, pair_checkerboard(source, target))


def judge(output: Path, name: str, verdict: str) -> PairRecord:
    """Keep what somebody thinks of a pair."""
    from napari_mri7t.engine.workflows.pair_review import judge_pair

    return judge_pair(output, name, verdict)
