"""Two layers side by side, flickering, or split by a line; leaving a view restores the viewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import napari
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QTimer

from napari_mri7t.widgets.layers.layers import VIEW_KEY, placement
from napari_mri7t.widgets.layers.planes import shift_along

FLICKER_MS = 600
SWIPE_NAME = "swipe"
SINGLE, SIDE_BY_SIDE, FLICKER, SWIPE = "Single view", "Side by side", "Flicker", "Swipe"
VIEWS = (SINGLE, SIDE_BY_SIDE, FLICKER, SWIPE)


@dataclass(frozen=True)
class _Before:
    """The state that a view changes, as it was before."""

    visible: dict[Layer, bool]
    grid: dict[str, Any]
    camera: dict[str, Any]


class CompareViews(QObject):
    """Shows a reference and an estimate in one of `VIEWS`."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._before: _Before | None = None
        self._pair: tuple[Layer, Layer] | None = None
        self._swipe: Image | None = None
        self._swipe_part = 0.5
        self.view = SINGLE
        self._timer = QTimer(self)
        self._timer.setInterval(FLICKER_MS)
        self._timer.timeout.connect(self.swap)

    def show(self, view: str, reference: Layer, estimate: Layer) -> None:
        """Leave the current view and enter another."""
        self.leave()
        if view == SINGLE:
            return
        grid = self._viewer.canvas.grid
        self._before = _Before(
            {layer: layer.visible for layer in self._viewer.layers},
            {name: getattr(grid, name) for name in ("enabled", "shape", "stride")},
            {name: getattr(self._viewer.scene.camera, name) for name in ("center", "zoom")},
        )
        self._pair = (reference, estimate)
        self.view = view
        for layer in self._viewer.layers:
            layer.visible = layer in self._pair
        if view != SIDE_BY_SIDE:
            grid.enabled = False
        if view == SIDE_BY_SIDE:
            self._enter_grid(reference, estimate)
        elif view == FLICKER:
            self._timer.start()
        elif view == SWIPE:
            self._enter_swipe(estimate)

    def leave(self) -> None:
        """Restore visibility, grid and camera."""
        self._timer.stop()
        self._remove_swipe()
        if self._before is not None:
            for layer, visible in self._before.visible.items():
                if layer in self._viewer.layers:
                    layer.visible = visible
            for name, value in self._before.grid.items():
                setattr(self._viewer.canvas.grid, name, value)
            if self.view == SIDE_BY_SIDE:
                for name, value in self._before.camera.items():
                    setattr(self._viewer.scene.camera, name, value)
        self._before, self._pair, self.view = None, None, SINGLE

    def swap(self) -> None:
        """Show the hidden layer of the two, hide the other."""
        if self._pair is not None:
            self._turn(*self._pair)

    def swap_by_hand(self, reference: Layer, estimate: Layer) -> None:
        """Swap as `swap` does, also in `SINGLE`; stop a flicker, which would undo it at once."""
        self._timer.stop()
        if self.view != SIDE_BY_SIDE:
            self._turn(reference, estimate)

    def _turn(self, reference: Layer, estimate: Layer) -> None:
        """Hide the layer on display: of two visible layers, the upper one."""
        layers = self._viewer.layers
        is_upper = layers.index(estimate) > layers.index(reference)
        is_seen = estimate.visible and (is_upper or not reference.visible)
        estimate.visible, reference.visible = not is_seen, is_seen

    def swipe_to(self, part: float) -> None:
        """Move the line, 0 to 1: reference on its left, estimate on its right."""
        self._swipe_part = part
        if self._swipe is None or self._pair is None:
            return
        estimate = self._pair[1]
        dims = self._viewer.dims
        axis = dims.displayed[-1] - (dims.ndim - estimate.ndim)
        size = estimate.data.shape[axis]
        cut = min(int(part * size), size - 1)
        if self._is_mirrored():
            rest, start = slice(0, size - cut), 0
        else:
            rest, start = slice(cut, size), cut
        self._swipe.data = estimate.data[(slice(None),) * axis + (rest,)]  # a view, no copy
        self._swipe.translate = estimate.translate + shift_along(estimate, axis, start)

    def _is_mirrored(self) -> bool:
        """Return whether the camera shows the first column on the right (radiological)."""
        return str(self._viewer.scene.camera.orientation2d[1]) == "left"

    def _enter_grid(self, reference: Layer, estimate: Layer) -> None:
        layers, grid = self._viewer.layers, self._viewer.canvas.grid
        grid.shape = (1, 2)
        grid.stride = 1 if layers.index(reference) < layers.index(estimate) else -1
        grid.enabled = True
        self._viewer.reset_view()

    def _enter_swipe(self, estimate: Layer) -> None:
        self._swipe = self._viewer.add_image(
            estimate.data,
            name=SWIPE_NAME,
            **placement(estimate),
            contrast_limits=estimate.contrast_limits,
            colormap=estimate.colormap,
            gamma=estimate.gamma,
            blending="opaque",
            metadata={VIEW_KEY: SWIPE},
        )
        estimate.visible = False
        self._viewer.dims.events.order.connect(self._on_order)
        self._viewer.scene.camera.events.orientation.connect(self._on_order)
        self.swipe_to(self._swipe_part)

    def _on_order(self, event: object) -> None:
        self.swipe_to(self._swipe_part)

    def _remove_swipe(self) -> None:
        if self._swipe is None:
            return
        self._viewer.dims.events.order.disconnect(self._on_order)
        self._viewer.scene.camera.events.orientation.disconnect(self._on_order)
        if self._swipe in self._viewer.layers:
            self._viewer.layers.remove(self._swipe)
        self._swipe = None
