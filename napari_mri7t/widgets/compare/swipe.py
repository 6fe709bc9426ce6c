"""The swipe: the estimate right of a line that can be dragged on the canvas."""

from __future__ import annotations

from typing import Any

import napari
import numpy as np
from napari.experimental import link_layers, unlink_layers
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_mri7t.widgets.compare.canvas import canvas_of
from napari_mri7t.widgets.compare.line import REACH, SwipeLine
from napari_mri7t.widgets.layers.layers import VIEW_KEY, placement, remove_layer
from napari_mri7t.widgets.layers.planes import shift_along

VIEW = "swipe"
SHARED = ("contrast_limits", "colormap", "gamma")  # by the estimate and its part


class Swipe(QObject):
    """Shows an estimate right of a line; `moved` (0 to 1) when the line was dragged."""

    moved = Signal(float)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._estimate: Layer | None = None
        self.layer: Image | None = None
        self.line: SwipeLine | None = None
        self.part = 0.5
        # Later: napari moves the camera and zooms one after the other.
        self._holding = QTimer(self, singleShot=True, interval=0)
        self._holding.timeout.connect(self._hold_line)

    def enter(self, estimate: Layer) -> None:
        """Put the right part of the estimate over everything else; what is selected stays so."""
        self._estimate = estimate
        selection = self._viewer.layers.selection
        chosen, active = set(selection), selection.active
        self.layer = self._viewer.add_image(
            estimate.data,
            name=f"right of the line: {estimate.name}",
            **placement(estimate),
            **{name: getattr(estimate, name) for name in SHARED},
            blending="opaque",
            metadata={VIEW_KEY: VIEW},
        )
        link_layers([estimate, self.layer], SHARED)
        selection.update(chosen)
        selection.intersection_update(chosen)
        selection.active = active
        estimate.visible = False
        canvas = canvas_of(self._viewer)
        if canvas is not None:
            self.line = SwipeLine(canvas)
            self.line.dragged.connect(self._on_dragged)
        for event, react in self._events():
            event.connect(react)
        self.move_to(self.part)
        self._holding.start()

    def leave(self) -> None:
        """Remove the part and the line."""
        if self.layer is None:
            return
        self._holding.stop()
        for event, react in self._events():
            event.disconnect(react)
        unlink_layers([self._estimate, self.layer], SHARED)
        remove_layer(self._viewer, self.layer, self._estimate)
        if self.line is not None:
            self.line.hide()
            self.line.deleteLater()
        self.layer, self.line, self._estimate = None, None, None

    def move_to(self, part: float) -> None:
        """Move the line, 0 to 1: reference on its left, estimate on its right."""
        self.part = min(max(part, 0.0), 1.0)
        if self.layer is None or self._estimate is None:
            return
        estimate, axis = self._estimate, self._axis
        first, end = self._columns()
        self.layer.data = estimate.data[(slice(None),) * axis + (slice(first, end),)]  # no copy
        self.layer.translate = estimate.translate + shift_along(estimate, axis, first)
        self._place_line()

    def _columns(self) -> tuple[int, int]:
        """Return the first voxel of the part across the line, and where it ends."""
        size = self._estimate.data.shape[self._axis]
        cut = min(round(self.part * size), size - 1)
        return (0, size - cut) if self._is_mirrored else (cut, size)

    @property
    def _axis(self) -> int:
        """The estimate's axis across the line."""
        dims = self._viewer.dims
        return int(dims.displayed[-1] - (dims.ndim - self._estimate.ndim))

    @property
    def _is_mirrored(self) -> bool:
        """Whether the camera shows the first column on the right (radiological)."""
        return str(self._viewer.scene.camera.orientation2d[1]) == "left"

    def _events(self) -> tuple[tuple[Any, Any], ...]:
        dims, camera = self._viewer.dims.events, self._viewer.scene.camera.events
        return (
            (dims.order, self._on_turned),
            (camera.orientation, self._on_turned),
            (dims.ndisplay, self._place_line),
            (camera.center, self._on_camera),
            (camera.zoom, self._on_camera),
            (self._viewer.canvas.events.size, self._on_camera),
        )

    def _on_turned(self, event: object = None) -> None:
        self.move_to(self.part)

    def _on_camera(self, event: object = None) -> None:
        self._place_line()
        self._holding.start()

    def _hold_line(self) -> None:
        """Move a line that the camera has left behind back into sight, where it can be held."""
        if self.line is None or not self.line.isHidden() or self._viewer.dims.ndisplay != 2:
            return
        start, end = (self._column_of(edge) for edge in self._edges())
        margin = REACH + (end - start) / self._estimate.data.shape[self._axis]  # and a voxel
        last = self.line.parentWidget().width() - margin
        if margin < last:
            self._on_dragged(min(max(self._column_of(self._border()), margin), last))

    def _on_dragged(self, column: float) -> None:
        start, end = (self._column_of(edge) for edge in self._edges())
        self.move_to((column - start) / (end - start))
        self.moved.emit(self.part)

    def _edges(self) -> tuple[float, float]:
        """Return the left and the right edge of the estimate on the screen, in voxels."""
        edges = -0.5, self._estimate.data.shape[self._axis] - 0.5
        return edges[::-1] if self._is_mirrored else edges

    def _place_line(self, event: object = None) -> None:
        """Put the line where the part begins."""
        if self.line is None or self._estimate is None:
            return
        is_flat = self._viewer.dims.ndisplay == 2
        self.line.place(self._column_of(self._border()) if is_flat else None)

    def _border(self) -> float:
        """Return where the part begins, in voxels across the line."""
        first, end = self._columns()
        return (end if self._is_mirrored else first) - 0.5

    def _column_of(self, voxel: float) -> float:
        """Return where the canvas shows a place across the line, pixels from its left."""
        estimate, axis, camera = self._estimate, self._axis, self._viewer.scene.camera
        point = (np.asarray(estimate.data.shape) - 1) / 2
        point[axis] = voxel
        from_middle = (estimate.data_to_world(point)[axis] - camera.center[-1]) * camera.zoom
        middle = self._viewer.canvas.size[1] / 2
        return float(middle - from_middle if self._is_mirrored else middle + from_middle)
