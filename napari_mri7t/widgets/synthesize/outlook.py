"""What a start would do, and how long it takes: told before anything runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from napari_mri7t.engine.models.card import DEFAULT_MODEL, REPORT_MODEL
from napari_mri7t.widgets.shared.controls import WARNING_COLOUR, Notices, wrap_anywhere
from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.model_chooser import EXAMINING
from napari_mri7t.widgets.shared.settings import Memory
from napari_mri7t.widgets.synthesize.choices import Choices
from napari_mri7t.widgets.synthesize.jobs import Planned, ScanCheck
from napari_mri7t.widgets.synthesize.pace import Pace

ON_TOP = " Preparation takes additional time."


class Outlook(QObject):
    """The labels of the plan; the widget gives each its place.

    Attributes
    ----------
    preparation : TextLabel
        What is done with the scans before they go through the model.
    passes : TextLabel
        What goes through the model, and how long that takes.
    notices : Notices
        Warnings about the scans that the last run has not said.
    """

    timed = Signal()

    def __init__(self, memory: Memory, said: Notices, parent: QObject) -> None:
        super().__init__(parent)
        self._said = said
        self._is_prepared = False  # a scan, before it goes through the model
        self.pace = Pace(memory, self)
        self.pace.timed.connect(self.timed)
        self.preparation, self.passes = TextLabel(), TextLabel()
        for label in (self.preparation, self.passes):
            label.setWordWrap(True)
        self.notices = Notices()
        said.added.connect(self._warn_once)

    def clear(self, *, in_place: bool = False) -> None:
        """Tell nothing; `in_place`: of the same scans until the next answer, which has its room."""
        if in_place:
            self.preparation.blank()
            self.passes.blank()
            return
        self._is_prepared = False
        self.notices.clear()
        self.tell_preparation("")
        self._tell_passes("")

    def tell_preparation(self, text: str) -> None:
        """Show what is done before."""
        self.preparation.show_or_hide(wrap_anywhere(text))

    def tell_plan(self, planned: Planned) -> None:
        """Show the plan that is carried out."""
        self.tell_preparation(f"{planned.title}{planned.plan.describe()}")

    def tell_checks(self, checks: Sequence[ScanCheck]) -> None:
        """Show the plan of every preparation and its time, and the warnings."""
        self.notices.clear()
        for text in dict.fromkeys(text for check in checks for text in check.warnings):
            self.notices.add(text, WARNING_COLOUR)
        self._warn_once()
        planned = [(check.title, check.plan) for check in checks if check.plan is not None]
        sentences = [f"{title}{plan.describe()}" for title, plan in planned]
        self._is_prepared = any(plan.steps for _, plan in planned)
        how_long = self.pace.of_preparation([step for _, plan in planned for step in plan.steps])
        self.tell_preparation(" ".join([*sentences, how_long]).strip())

    def tell_layers(self, layers: Sequence[Layer], choices: Choices, may_time: bool) -> None:
        """Show how long the layers take; `may_time`: time a few slices where it is unknown."""
        shapes = [layer.data.shape[-3:][::-1] for layer in layers]
        size = " × ".join(map(str, shapes[0]))
        what = f"{size} voxels" if len(layers) == 1 else f"{len(layers)} layers"
        if choices.model_chooser.is_undecided:
            self._tell_passes(f"{what}. {EXAMINING.capitalize()} the scan...")
            return
        passes = choices.passes(shapes[0], sum(map(math.prod, shapes)))
        more = ON_TOP if self._is_prepared else ""
        text = f"{what} through {passes.card.name}{self.pace.of(passes, may_time)}{more}"
        self._tell_passes(text)

    def tell_scans(
        self, to_do: tuple[int, int, Iterable[str]], choices: Choices, may_time: bool
    ) -> None:
        """Show how long the scans of a folder take: how many they are, their voxels, the steps."""
        n_scans, n_voxels, steps = to_do
        if not n_scans:
            self._tell_passes("")
            return
        edge = max(1, round((n_voxels / n_scans) ** (1 / 3)))
        passes = choices.passes((edge, edge, edge), n_voxels)
        what = "1 scan" if n_scans == 1 else f"{n_scans} scans"
        model = passes.card.name
        if choices.model_chooser.choice is None:
            model = f"{DEFAULT_MODEL}, or {REPORT_MODEL} for the report's pseudo-3T,"
        what = f"{what} through {model} into a BIDS derivative"
        text = f"{what}{self.pace.of(passes, may_time)} {self.pace.of_preparation(list(steps))}"
        self._tell_passes(text.strip())

    def _tell_passes(self, text: str) -> None:
        self.passes.show_or_hide(wrap_anywhere(text))

    def _warn_once(self) -> None:
        for text in self._said.texts():
            self.notices.drop(text)
