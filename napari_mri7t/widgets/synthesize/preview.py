"""The preview of a synthesis: the slice shown, or a cube around it, before anything is started."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QCheckBox

from napari_mri7t.engine.progress import Progress, Report
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.widgets.compare.line import LINE_COLOUR
from napari_mri7t.widgets.layers.layers import (
    VIEW_KEY,
    data_to_volume,
    raise_layer,
    remove_layer,
)
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
from napari_mri7t.widgets.synthesize.jobs import (
    Asked,
    Source,
    load_libraries,
    wait_for_cancelled_work,
)

if TYPE_CHECKING:
    from napari_mri7t.engine.synthesis.preview import Preview

SLICE, REGION, STOP = "Preview slice", "Preview region", "Stop preview"
REGION_MM = 40
VIEW = "preview"
TOOLTIP = (
    "Synthesise only the slice that is shown.\n"
    "The arrow: a cube of 40 mm around the middle of the view"
)
IN_MNI = ". The preview is computed on the scan's own grid, the full run in MNI space."
NO_SLICE = "No slice of the scan is shown: switch to 2D, and move the slider into the scan"
IN_ONE_PLANE = ", in one plane; the full run averages several"


@dataclass(frozen=True, eq=False)
class Request:
    """What a preview is of; a layer's data are read in the thread."""

    source: Source
    model: Path | None
    config: SynthesisConfig
    asked: Asked

    def key(self) -> tuple[Any, ...]:
        """Return what decides the voxels, to be compared."""
        data, meta, _ = self.source.data
        where = tuple(str(meta.get(name)) for name in ("scale", "translate", "rotate", "affine"))
        mask = self.asked.mask_layer
        painted = None if mask is None else zlib.crc32(np.ascontiguousarray(mask[0]))
        return (
            (id(data), self.source.index, where, painted),
            (self.model, self.config, self.asked.preparation, self.asked.output.background),
        )


@dataclass(frozen=True, eq=False)
class Made:
    """A part that was synthesised."""

    source: Layer
    title: str  # of the scan
    key: tuple[Any, ...]
    box: Box
    values: np.ndarray
    seconds: float
    computed_on: str
    model: str
    note: str


class PreviewBar(QObject):
    """The button and the tick of a preview; `request` returns what they are of, or None.

    Signals: `progressed` (a line, while the scan is prepared), `done` (a line), `failed`.
    """

    progressed = Signal(str)
    done = Signal(str)
    failed = Signal(str)

    def __init__(
        self, viewer: napari.Viewer, request: Callable[[], Request | None], parent: QObject
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._request = request
        self._session = _Session()
        self._opening: tuple[Any, ...] | None = None  # the scan that is prepared now
        self._kind = SLICE
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

    def _on_clicked(self) -> None:
        if self._opening is not None:
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
        what = "Slice" if 1 in made.values.shape else "Region"
        took = f"{max(made.seconds, 0.01):.2f} s"
        self.done.emit(f"{what} previewed on {made.computed_on} in {took}{made.note}")
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


class _Session:
    """The scan that was opened last, ready for any part; only a preview's thread changes it."""

    def __init__(self) -> None:
        self.key: tuple[Any, ...] | None = None
        self._request: Request | None = None  # kept: its data's identity is part of the key
        self._preview: Preview | None = None

    def part(
        self, request: Request, key: tuple[Any, ...], box: Box, report: Report = lambda _: None
    ) -> Made:
        """Synthesise a box (i, j, k) of a scan; prepare the scan first where it is another one."""
        if key != self.key or self._preview is None:
            self.key, self._preview = None, None
            self._preview = self._opened(request, report)
            self._request, self.key = request, key
        start = time.perf_counter()
        values, note = self._values(box, report)
        seconds = time.perf_counter() - start
        output = request.asked.output
        note += "" if output.is_on_own_grid else IN_MNI
        about = (seconds, self._preview.computed_on, self._preview.model.name, note)
        source = request.source
        return Made(source.layer, source.title, key, box, values, *about)

    def _values(self, box: Box, report: Report) -> tuple[np.ndarray, str]:
        """Synthesise a slice, or a region; say if the full run averages other planes into it."""
        thin = [axis for axis, part in enumerate(box) if part.stop - part.start == 1]
        if len(thin) != 1:
            return self._preview.region(box, report), ""
        axis = thin[0]
        made = self._preview.slice(axis, box[axis].start, report, quick=True)
        return np.expand_dims(made, axis), IN_ONE_PLANE if self._preview.averages(axis) else ""

    def _opened(self, request: Request, report: Report) -> Preview:
        report(Progress(0, 0, "loading torch"))
        from napari_mri7t.engine.preparation.prepare import plan_preparation
        from napari_mri7t.engine.synthesis.preview import open_preview

        wait_for_cancelled_work(report)
        report(Progress(0, 1, "reading the layer"))
        source, asked = request.source, request.asked
        volume = data_to_volume(*source.data, source.index)
        report(Progress(0, 0, "planning the preparation"))
        plan = plan_preparation(volume, asked.preparation_of(volume, source.data))
        if plan.is_needed:
            load_libraries(report)
        output = OutputConfig(background=asked.output.background)
        return open_preview(volume, request.model, request.config, plan, output, report)
