"""What the widget "Synthesize 7T" takes over by itself: a scan that is opened, and its model."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import napari
from napari.layers import Layer
from napari.utils.events import Event
from qtpy.QtCore import QObject

from napari_mri7t.engine.preparation.choice import model_for_all
from napari_mri7t.widgets.layers.likely import is_opened_scan
from napari_mri7t.widgets.shared.model_chooser import BY_SCAN, EXAMINING, ModelChooser
from napari_mri7t.widgets.synthesize.fields import ONE_LAYER, SourceFields


class OpenedScans(QObject):
    """Chooses a scan that the user opens, where one layer is chosen and `is_free()`.

    What the plugin adds, masks and estimates change nothing.
    """

    def __init__(
        self, viewer: napari.Viewer, source: SourceFields, is_free: Callable[[], bool]
    ) -> None:
        super().__init__(source)
        self._viewer, self._source, self._is_free = viewer, source, is_free
        viewer.layers.events.inserted.connect(self._on_inserted)

    def release(self) -> None:
        """Stop listening to the viewer."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)

    def _on_inserted(self, event: Event) -> None:
        is_asked_for = self._source.mode == ONE_LAYER and self._is_free()
        if is_asked_for and is_opened_scan(event.value):
            self._source.choose(event.value)


class AutomaticModel:
    """The name that "(auto)" stands for, shown once the scan has been examined."""

    def __init__(self, chooser: ModelChooser) -> None:
        self._chooser = chooser
        self._examined: list[Layer] = []  # those that the name is for

    def examine(self, layers: list[Layer]) -> None:
        """Name no model until other layers than the last have been examined."""
        if layers and self._chooser.choice is None and layers != self._examined:
            self._chooser.leave_open(EXAMINING)

    def decide(self, layers: list[Layer], names: Iterable[str]) -> None:
        """Name the model for layers, each of which is for one of `names`."""
        self._examined = layers if self._chooser.choice is None else []
        self._chooser.suggest(model_for_all(filter(None, names)))

    def give_up(self, why: str = "") -> None:
        """Name none: the scan is not examined beforehand, but by the run."""
        if self._chooser.is_undecided:
            self._chooser.leave_open(BY_SCAN)

    def forget(self) -> None:
        """Name the default: there is no scan to examine."""
        self._examined = []
        if self._chooser.is_undecided:
            self._chooser.suggest(model_for_all(()))
