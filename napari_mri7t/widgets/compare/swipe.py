"""The swipe: the estimate right of a line that can be dragged on the canvas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal

from napari_mri7t.widgets.layers.layers import VIEW_KEY, placement, remove_layer
from napari_mri7t.widgets.layers.planes import shift_along

VIEW = "swipe"
LINE_COLOUR = "#57d957"
LINE_WIDTH = 2.0  # pixels
REACH = 8  # pixels from the line that still take hold of it


class Swipe(QObject):
    """Shows an estimate right of a line; `moved` (0 to 1) when the line was dragged."""

    moved = Signal(float)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._estimate: Layer | None = None
        self.layer: Image | None = None
        self.part = 0.5

    def enter(self, estimate: Layer) -> None:
        """Put the right part of the estimate over everything else."""
        self._estimate = estimate
        self.layer = self._viewer.add_image(
            estimate.data,
            name=f"right of the line: {estimate.name}",
            **placement(estimate),
            contrast_limits=estimate.contrast_limits,
            colormap=estimate.colormap,
            gamma=estimate.gamma,
            blending="opaque",
            metadata={VIEW_KEY: VIEW},
        )
        frame = self.layer.bounding_box  # its left side is the line
        frame.line_color, frame.line_thickness = LINE_COLOUR, LINE_WIDTH
        frame.points, frame.visible = False, True
        estimate.visible = False
        for event in self._events():
            event.connect(self._on_turned)
        self._viewer.mouse_drag_callbacks.append(self._drag)
        self.move_to(self.part)

    def leave(self) -> None:
        """Remove the part."""
        if self.layer is None:
            return
        for event in self._events():
            event.disconnect(self._on_turned)
        self._viewer.mouse_drag_callbacks.remove(self._drag)
        remove_layer(self._viewer, self.layer, self._estimate)
        self.layer, self._estimate = None, None

    def move_to(self, part: float) -> None:
        """Move the line, 0 to 1: reference on its left, estimate on its right."""
        self.part = min(max(part, 0.0), 1.0)
        if self.layer is None or self._estimate is None:
            return
        estimate, axis = self._estimate, self._axis
        size = estimate.data.shape[axis]
        cut = min(int(self.part * size), size - 1)
        rest, start = (slice(0, size - cut), 0) if self._is_mirrored else (slice(cut, size), cut)
        self.layer.data = estimate.data[(slice(None),) * axis + (rest,)]  # a view, no copy
        self.layer.translate = estimate.translate + shift_along(estimate, axis, start)

    @property
    def _axis(self) -> int:
        """The estimate's axis across the line."""
        dims = self._viewer.dims
        return int(dims.displayed[-1] - (dims.ndim - self._estimate.ndim))

    @property
    def _is_mirrored(self) -> bool:
        """Whether the camera shows the first column on the right (radiological)."""
        return str(self._viewer.scene.camera.orientation2d[1]) == "left"

    def _events(self) -> tuple[Any, ...]:
        return self._viewer.dims.events.order, self._viewer.scene.camera.events.orientation

    def _on_turned(self, event: object = None) -> None:
        self.move_to(self.part)

    def part_at(self, position: Any) -> float:
        """Return where a point of the viewer lies between left (0) and right (1)."""
        estimate, axis = self._estimate, self._axis
        column = np.asarray(estimate.world_to_data(position[-estimate.ndim :]))[axis] + 0.5
        part = float(column) / estimate.data.shape[axis]
        return 1 - part if self._is_mirrored else part

    def _is_near(self, position: Any) -> bool:
        width_mm = self._estimate.data.shape[self._axis] * abs(self._estimate.scale[self._axis])
        distance = abs(self.part_at(position) - self.part) * width_mm
        return bool(distance * self._viewer.scene.camera.zoom <= REACH)

    def _drag(self, viewer: napari.Viewer, event: Any) -> Iterator[None]:
        """Take hold of the line, and let go of it; the image stays in place meanwhile."""
        if viewer.dims.ndisplay != 2 or not self._is_near(event.position):
            return
        camera = viewer.scene.camera
        pans, camera.mouse_pan = camera.mouse_pan, False
        yield
        while event.type == "mouse_move" and self.layer is not None:
            self.move_to(self.part_at(event.position))
            self.moved.emit(self.part)
            yield
        camera.mouse_pan = pans
