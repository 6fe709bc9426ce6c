"""How long a synthesis and its preparation take on this computer, from earlier runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.widgets.shared.job_panel import duration
from napari_mri7t.widgets.shared.settings import Memory

if TYPE_CHECKING:
    from napari_mri7t.widgets.synthesize.jobs import Finished

PACE = "pace"  # section of the memory
LEAST_PACE_S = 1.0
NO_TIMING = "No timing on this computer yet"
PREPARATION_ELSEWHERE = "40 s on two cores"


class Pace:
    """Seconds a voxel by model and computation, and seconds a step of a preparation."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def key(self, card: ModelCard, computation: Mapping[str, Any]) -> str:
        """Return what decides the pace of a synthesis."""
        return f"{card.sha256[:16]} {computation['device']} step {computation['step']}"

    def of(self, card: ModelCard, computation: Mapping[str, Any], n_voxels: int) -> str:
        """Return how long so many voxels take, as the end of a sentence."""
        pace = self._memory.recall(PACE).get(self.key(card, computation))
        if not isinstance(pace, float):
            return f". {NO_TIMING}{_elsewhere(card)}."
        return f": {duration(pace * n_voxels)}, based on earlier runs."

    def of_preparation(self, steps: Sequence[str]) -> str:
        """Return how long steps take, as a sentence; empty without steps."""
        pace = self._memory.recall(PACE)
        paces = [pace.get(f"prepare: {step}") for step in steps]
        known = [seconds for seconds in paces if isinstance(seconds, float)]
        if not paces:
            return ""
        if len(known) < len(paces):
            return f"{NO_TIMING} ({PREPARATION_ELSEWHERE})."
        return f"{duration(sum(known)).capitalize()}, based on earlier runs."

    def keep(self, key: str, finished: Finished) -> None:
        """Store how long each step took here; a step that took no time was reused."""
        synthesis = finished.synthesis
        paces = {key: synthesis.seconds / synthesis.volume.array.size}
        taken = {name: value for name, value in finished.seconds.items() if value > LEAST_PACE_S}
        self._memory.keep(PACE, paces | {f"prepare: {name}": taken[name] for name in taken})


def _elsewhere(card: ModelCard) -> str:
    """Return how long the model took where it was evaluated, if its card records it."""
    seconds, hardware = card.metrics.get("seconds"), card.metrics.get("hardware")
    if not isinstance(seconds, int | float) or not hardware:
        return ""
    return f" ({duration(seconds).removeprefix('about ')} on {hardware})"
