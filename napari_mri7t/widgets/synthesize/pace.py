"""How long a synthesis and its preparation take on this computer: from earlier runs, or timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.widgets.shared.job_panel import duration
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.settings import Memory
from napari_mri7t.widgets.synthesize.jobs import time_slices

if TYPE_CHECKING:
    from napari_mri7t.widgets.synthesize.jobs import Finished

PACE = "pace"  # section of the memory
LEAST_PACE_S = 1.0
NO_TIMING = "no timing on this computer yet"
TIMING = "timing a few slices..."


@dataclass(frozen=True)
class Passes:
    """Volumes that are to go through a model.

    `shape`: of one volume, (I, J, K).
    """

    card: ModelCard
    folder: Path
    config: SynthesisConfig
    shape: tuple[int, int, int]
    n_voxels: int

    @property
    def key(self) -> str:
        """What decides the pace."""
        return pace_of(self.card, self.config)


class Pace(QObject):
    """Seconds a voxel by model and computation, and seconds a step of a preparation.

    Signal: `timed`, once the pace of what was asked about last is known.
    """

    timed = Signal()

    def __init__(self, memory: Memory, parent: QObject) -> None:
        super().__init__(parent)
        self._memory = memory
        self._timed: dict[str, float | None] = {}  # in this session; None: it cannot be timed
        self._asked = ""
        self._latest = Latest("Time a few slices", parent)
        self._latest.answered.connect(self._on_timed)
        self._latest.failed.connect(lambda text: self._on_timed((self._asked, None)))

    def of(self, passes: Passes, may_time: bool) -> str:
        """Return how long the passes take, as the end of a sentence.

        `may_time`: time a few slices where it is unknown.
        """
        pace = self._memory.recall(PACE).get(passes.key)
        if isinstance(pace, float):
            return f": {duration(pace * passes.n_voxels)}, based on earlier runs."
        if passes.key not in self._timed:
            if self._asked != passes.key and may_time:
                self._asked = passes.key
                self._latest.follow(
                    time_slices, passes.key, passes.folder, passes.config, passes.shape
                )
            return f": {TIMING}"
        pace = self._timed[passes.key]
        if pace is None:
            return f": {NO_TIMING}."
        return f": {duration(pace * passes.n_voxels)}, timed on a few slices."

    def of_preparation(self, steps: Sequence[str]) -> str:
        """Return how long steps take, in sentences; empty without steps."""
        pace = self._memory.recall(PACE)
        paces = {step: pace.get(f"prepare: {step}") for step in steps}
        unknown = [step for step, seconds in paces.items() if not isinstance(seconds, float)]
        known = sum(paces[step] for step in steps if step not in unknown)
        sentences = []
        if len(unknown) < len(paces):
            sentences.append(f"{duration(known).capitalize()}, based on earlier runs.")
        if unknown:
            names = " and ".join(filter(None, [", ".join(unknown[:-1]), unknown[-1]]))
            sentences.append(f"Not timed on this computer yet: {names}.")
        return " ".join(sentences)

    def keep(self, key: str, finished: Finished) -> None:
        """Store how long each step took here; a step that took no time was reused."""
        synthesis = finished.synthesis
        self._memory.keep(PACE, {key: synthesis.seconds / synthesis.volume.array.size})
        self.keep_steps(finished.seconds)

    def keep_steps(self, seconds: Mapping[str, float]) -> None:
        """Store how long each step of a preparation took here."""
        taken = {name: value for name, value in seconds.items() if value > LEAST_PACE_S}
        self._memory.keep(PACE, {f"prepare: {name}": taken[name] for name in taken})

    def rest(self) -> None:
        """Time nothing now: the processor has other work."""
        self._latest.drop()
        self._asked = ""

    def _on_timed(self, answer: tuple[str, float | None]) -> None:
        key, pace = answer
        self._timed[key] = pace
        self.timed.emit()


def pace_of(card: ModelCard, config: SynthesisConfig) -> str:
    """Return what decides the pace, as a name in the memory."""
    planes = len(config.of_model(card).planes)
    return f"{card.sha256[:16]} {config.device} step {config.step}, {planes} planes"
