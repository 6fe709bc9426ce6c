"""The preview of a synthesis: the slice shown, or a cube around it, before anything is started."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import napari
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication, QCheckBox

from napari_mri7t.engine.progress import Progress
from napari_mri7t.widgets.compare.line import LINE_COLOUR
from napari_mri7t.widgets.layers.layers import VIEW_KEY, raise_layer, remove_layer
from napari_mri7t.widgets.layers.planes import (
    Box,
    box_to_layer,
    central_box,
    is_parallel,
    plane_box,
    shown_plane,
)
from napari_mri7t.widgets.shared.controls import set_enabled
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.menu_button import MenuButton
from napari_mri7t.widgets.shared.preview_label import PreviewLabel
from napari_mri7t.widgets.synthesize.preview_session import Made, PreviewSession, Request

SLICE, REGION, STOP = "Preview slice", "Preview region", "Stop preview"
REGION_MM = 40
LEAST_S = 0.5  # of what comes before a preview, and is worth a word
VIEW = "preview"
TOOLTIP = (
    "Synthesise only the slice that is shown.\n"
    "The arrow: a cube of 40 mm around the middle of the view"
)
NO_SLICE = "No slice of the scan is shown: switch to 2D, and move the slider into the scan"


class PreviewBar(QObject):
    """The button and the tick of a preview; `request` returns what they are of, or None.

    Signals: `progressed` (a line, while the scan is prepared), `prepared` (seconds of each step),
    `done` (a line), `failed`.
    """

    progressed = Signal(str)
    prepared = Signal(object)
    done = Signal(str)
    failed = Signal(str)

    def __init__(
        self, viewer: napari.Viewer, request: Callable[[], Request | None], parent: QObject
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._request = request
        self._session = PreviewSession()
        self._opening: tuple[Any, ...] | None = None  # the scan that is prepared now
        self._pressed_at = 0.0  # to start the opening
        self._kind = SLICE
        self._label = PreviewLabel(viewer, "scan")
        self._layer: Image | None = None
        self._source: Layer | None = None  # of the layer
        self._shown: tuple[Any, ...] | None = None  # what the layer shows
        self._latest = Latest("Preview", self)
        self.button = MenuButton(
            SLICE, {kind: partial(self.show, kind) for kind in (SLICE, REGION)}
        )
        self.button.clicked.connect(self._on_clicked)
        self.live_box = QCheckBox("Live")
        self.live_box.setToolTip("Preview every slice that is shown, as the slider moves")
        self.live_box.toggled.connect(self._on_live)
        for event in self._events():
            event.connect(self._on_moved)
        viewer.layers.events.removed.connect(self._on_removed)
        self._latest.progressed.connect(self._on_progressed)
        self._latest.answered.connect(self._on_answered)
        self._latest.failed.connect(self._on_failed)
        self._name_button()

    @property
    def is_preparing(self) -> bool:
        """Whether a scan is prepared for a preview."""
        return self._opening is not None

    def _events(self) -> tuple[Any, ...]:
        events = self._viewer.dims.events
        return events.current_step, events.order, events.ndisplay

    def release(self) -> None:
        """Stop listening to the viewer and drop what is pending; the layer goes with the widget."""
        for event in self._events():
            event.disconnect(self._on_moved)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self.stop()
        self.remove()
        self._label.release()

    def set_ready(self, why_not: str | None) -> None:
        """Allow previews, or forbid them and say why; what is chosen may have changed."""
        set_enabled(self.button, why_not, TOOLTIP)
        self.live_box.setEnabled(why_not is None)
        if why_not is not None:
            self.stop()
        elif self.live_box.isChecked():
            self._on_moved()

    def show(self, kind: str) -> None:
        """Synthesise the slice that is shown, or the region around its middle."""
        self._kind = kind
        self._ask(kind)

    def stop(self) -> None:
        """Drop what is computed."""
        self._latest.drop()
        self._opening = None
        self._name_button()

    def remove(self) -> None:
        """Remove the layer."""
        remove_layer(self._viewer, self._layer, self._source)
        self._layer = None
        self._tell_where()

    def _on_clicked(self) -> None:
        now = time.monotonic()
        if self.is_preparing and now - self._pressed_at < QApplication.doubleClickInterval() / 1000:
            return  # the second press of a double click
        self._pressed_at = now
        if self.is_preparing:
            self.live_box.setChecked(False)
            self.stop()
            self.done.emit("")
        else:
            self.show(SLICE)

    def _on_removed(self, event: Any) -> None:
        """Let the preview of a scan go with it."""
        if event.value == self._source:  # napari hands out proxies
            self.remove()

    def _on_live(self, is_on: bool) -> None:
        if is_on:
            self.show(SLICE)

    def _on_moved(self, event: object = None) -> None:
        if self.live_box.isChecked() and self.live_box.isEnabled():
            self.show(SLICE)

    def _tell_where(self) -> None:
        """Say on the canvas whether the preview is what is shown."""
        self._label.tell(self._layer, self._source, () if self._shown is None else self._shown[1])

    def _ask(self, kind: str) -> None:
        request = self._request()
        if request is None:
            return
        box = self._box(kind, request.source.layer)
        if box is None:
            self.done.emit(NO_SLICE)
            return
        key = request.key()
        is_there = self._layer in self._viewer.layers and self._shown == (key, box)
        if is_there or key == self._opening:
            return  # after the opening, what is shown by then is asked for again
        if key == self._session.key:
            self._latest.ask(self._session.part, request, key, box)
            return
        self._opening = key
        self._name_button()
        self._latest.follow(self._session.part, request, key, box)

    def _box(self, kind: str, layer: Layer) -> Box | None:
        if kind == REGION:
            return central_box(self._viewer, layer, REGION_MM)
        plane = shown_plane(self._viewer, layer)
        return None if plane is None else plane_box(layer, plane)

    def _on_progressed(self, progress: Progress) -> None:
        if self._opening is not None and progress.message:
            self.progressed.emit(f"Preview: {progress.message}")

    def _on_answered(self, made: Made) -> None:
        was_opening, self._opening = self._opening is not None, None
        self._name_button()
        if made.source not in self._viewer.layers:
            return
        self._show(made)
        self._shown = (made.key, made.box)
        self._tell_where()
        what = "Slice" if 1 in made.values.shape else "Region"
        took = f"{max(made.seconds, 0.01):.2f} s"
        of_what = "preparation" if made.steps else "loading"
        before = f", after {made.before:.0f} s of {of_what}" if made.before >= LEAST_S else ""
        self.done.emit(f"{what} previewed on {made.computed_on} in {took}{before}{made.note}")
        if made.steps:
            self.prepared.emit(made.steps)
        is_live = self.live_box.isChecked()
        if (was_opening or is_live) and self._box(self._kind, made.source) != made.box:
            self._ask(self._kind)

    def _on_failed(self, text: str) -> None:
        self._opening = None
        self.live_box.setChecked(False)
        self._name_button()
        self.failed.emit(text)

    def _name_button(self) -> None:
        self.button.setText(SLICE if self._opening is None else STOP)

    def _show(self, made: Made) -> None:
        settings = {
            "name": f"{made.title} preview {made.model}",
            "contrast_limits": tuple(made.source.contrast_limits),
            "metadata": {VIEW_KEY: VIEW},
        }
        data, meta, _ = box_to_layer(made.values, made.box, made.source, **settings)
        layer = self._layer
        is_of_scan = layer in self._viewer.layers and self._source == made.source
        if is_of_scan and is_parallel(layer, meta):
            with layer.events.set_data.blocker():
                layer.translate = meta["translate"]
            layer.data = data
            layer.name = meta["name"]
            layer.visible = True
            raise_layer(self._viewer, layer)
        else:
            self.remove()
            self._source = made.source
            layer = self._layer = self._viewer.add_image(data, **meta)
            layer.bounding_box.line_color, layer.bounding_box.points = LINE_COLOUR, False
        layer.bounding_box.visible = 1 not in data.shape  # shows where a region ends
