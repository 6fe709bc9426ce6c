"""Two layers side by side, flickering, split by a line, or as their difference.

Leaving a view restores the viewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import napari
from napari.components.overlays import TextOverlay
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.widgets.compare.canvas import make_current
from napari_mri7t.widgets.compare.swipe import Swipe
from napari_mri7t.widgets.compare.three_planes import VIEW as PLANES
from napari_mri7t.widgets.compare.three_planes import ThreePlanesView
from napari_mri7t.widgets.layers.layers import VIEW_KEY, raise_layer

FLICKER_MS = 600
SINGLE, SIDE_BY_SIDE, FLICKER, SWIPE = "Single view", "Side by side", "Flicker", "Swipe"
DIFFERENCE, THREE_PLANES = "Difference", "Three planes"
VIEWS = (SINGLE, SIDE_BY_SIDE, FLICKER, SWIPE, THREE_PLANES)
GRIDS = (SIDE_BY_SIDE, THREE_PLANES)
#: Labels on the canvas, by where they are.
LABELS = {"top_left": "mri7t-left", "top_right": "mri7t-right"}
LEFT, RIGHT = LABELS
LABEL_SIZE, LABEL_CHARACTERS = 10, 24  # two fit the canvas of a window of 1280 pixels


@dataclass(frozen=True)
class _Before:
    """The state that a view changes, as it was before."""

    visible: dict[Layer, bool]
    grid: dict[str, Any]
    camera: dict[str, Any]
    plane: tuple[Any, ...]  # that the camera looks at


class CompareViews(QObject):
    """Shows a reference and an estimate in a view; one at a time in a viewer, whoever asks.

    `roles`: what the labels on the canvas call the two. Signals: `left`, when the view of another
    owner took its place or it cannot be shown; `failed`, why not; `swiped` (0 to 1), when the line
    was dragged.
    """

    left = Signal()
    failed = Signal(str)
    swiped = Signal(float)
    _entered: ClassVar[list[CompareViews]] = []

    def __init__(
        self, viewer: napari.Viewer, roles: tuple[str, str] = ("reference", "estimate")
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self.roles = roles
        self._before: _Before | None = None
        self._pair: tuple[Layer, Layer] | None = None
        self._swipe = Swipe(viewer)
        self._swipe.moved.connect(self.swiped)
        self._planes = ThreePlanesView(viewer)
        self.view = SINGLE
        self._timer = QTimer(self)
        self._timer.setInterval(FLICKER_MS)
        self._timer.timeout.connect(self.swap)
        self._in_grid: tuple[Layer, Layer] | None = None  # from left to right
        for event, react in self._events():
            event.connect(react)

    def _events(self) -> tuple[tuple[Any, Callable[[Any], None]], ...]:
        layers = self._viewer.layers.events
        return (
            (layers.removing, self._on_removing),
            (layers.renamed, self._on_renamed),
            (layers.reordered, self._on_reordered),
            (self._viewer.canvas.grid.events.enabled, self._on_grid),
        )

    def is_disturbed_by(self, layer: Layer) -> bool:
        """Return whether a layer that was added rearranges or covers the present view."""
        own = layer.metadata.get(VIEW_KEY)
        if self.view in GRIDS:
            return own != PLANES
        return self.view != SINGLE and isinstance(layer, Image) and own is None

    def release(self) -> None:
        """Leave the view and stop listening to the viewer."""
        self.leave()
        for event, react in self._events():
            event.disconnect(react)

    def _on_removing(self, event: Any) -> None:
        """Let napari delete the layer in its own context: the grid may change before it draws."""
        make_current(self._viewer)

    def _on_renamed(self, event: Any) -> None:
        self._show_labels()

    def _on_reordered(self, event: Any) -> None:
        """Keep each image under its label, whatever the order of the layers."""
        if self.view in GRIDS and self._in_grid is not None:
            self._arrange(*self._in_grid)
        elif self._swipe.layer is not None:
            raise_layer(self._viewer, self._swipe.layer)

    def _on_grid(self, event: Any) -> None:
        """Leave a view whose grid the user has turned off."""
        if self.view in GRIDS and self._before is not None and not self._grid.enabled:
            self._before.grid["enabled"] = False
            self.leave()
            self.left.emit()

    @property
    def _grid(self) -> Any:
        return self._viewer.canvas.grid

    def show(self, view: str, reference: Layer, estimate: Layer) -> None:
        """Leave the current view and enter another; of a `DIFFERENCE`, both are its layer."""
        self.leave()
        if view == SINGLE:
            return
        self._turn_out_others()
        self._remember()
        self._pair = (reference, estimate)
        self.view = view
        for layer in self._viewer.layers:
            layer.visible = layer in self._pair
        if view not in GRIDS:
            self._grid.enabled = False
        try:
            self._enter(view, reference, estimate)
        except VolumeError as error:  # such as an oblique layer that was moved by hand
            self.leave()
            self.left.emit()
            self.failed.emit(str(error))
            return
        self._show_labels()

    def _enter(self, view: str, reference: Layer, estimate: Layer) -> None:
        if view == SIDE_BY_SIDE:
            self._enter_grid(reference, estimate)
        elif view == THREE_PLANES:
            reference.visible = estimate.visible = False
            self._enter_grid(*self._planes.enter(reference, estimate))
        elif view == FLICKER:
            self._timer.start()
        elif view == SWIPE:
            self._swipe.enter(estimate)

    def leave(self) -> None:
        """Restore visibility, grid and camera."""
        self._timer.stop()
        self._swipe.leave()
        self._planes.leave()
        if self in self._entered:
            self._entered.remove(self)
        view, self.view = self.view, SINGLE
        if self._before is not None:
            self._restore(self._before, view)
        self._before, self._pair, self._in_grid = None, None, None
        self._label({})

    def swap(self) -> None:
        """Show the hidden layer of the two, hide the other."""
        if self._pair is not None:
            self._turn(*self._pair)

    def swap_by_hand(self, reference: Layer, estimate: Layer) -> None:
        """Swap as `swap` does, also in `SINGLE`; stop a flicker, which would undo it at once."""
        self._timer.stop()
        if self.view not in GRIDS:
            self._turn(reference, estimate)

    def _turn(self, reference: Layer, estimate: Layer) -> None:
        """Hide the layer on display: of two visible layers, the upper one."""
        layers = self._viewer.layers
        is_upper = layers.index(estimate) > layers.index(reference)
        is_seen = estimate.visible and (is_upper or not reference.visible)
        estimate.visible, reference.visible = not is_seen, is_seen
        if self.view == FLICKER:
            self._show_labels()

    def swipe_to(self, part: float) -> None:
        """Move the line, 0 to 1: reference on its left, estimate on its right."""
        self._swipe.move_to(part)

    def _turn_out_others(self) -> None:
        """End what another owner shows in this viewer."""
        for other in list(self._entered):
            if other is not self and hash(other._viewer) == hash(self._viewer):  # napari's proxies
                other.leave()
                other.left.emit()
        self._entered.append(self)

    def _remember(self) -> None:
        layers = list(self._viewer.layers)
        self._before = _Before(
            {layer: layer.visible for layer in layers},
            {name: getattr(self._grid, name) for name in ("enabled", "shape", "stride")},
            {name: getattr(self._viewer.scene.camera, name) for name in ("center", "zoom")},
            self._plane(),
        )

    def _plane(self) -> tuple[Any, ...]:
        return self._viewer.dims.ndisplay, self._viewer.dims.order

    def _restore(self, before: _Before, view: str) -> None:
        for layer, visible in before.visible.items():
            if layer in self._viewer.layers:
                layer.visible = visible
        for name, value in before.grid.items():
            setattr(self._grid, name, value)
        if view in GRIDS and self._plane() == before.plane:
            for name, value in before.camera.items():
                setattr(self._viewer.scene.camera, name, value)
        elif view in GRIDS:  # the camera stood over the middle of another plane
            self._viewer.reset_view()

    def _show_labels(self) -> None:
        """Show on the canvas which image is which."""
        if self._pair is None:  # a new layer made the owner leave at once
            return
        reference, estimate = self._pair
        first, second = self.roles
        names = f"{first}\n{_short(reference.name)}", f"{second}\n{_short(estimate.name)}"
        if self.view == DIFFERENCE:
            self._label({LEFT: f"{second} minus {first}"})
        elif self.view == FLICKER:
            self._label({LEFT: names[estimate.visible]})
        else:
            self._label(dict(zip(LABELS, names, strict=True)))

    def _label(self, texts: dict[str, str]) -> None:
        overlays = self._viewer.canvas.overlays
        for place, key in LABELS.items():
            if place in texts and key in overlays:
                overlays[key].text = texts[place]
            elif place in texts:
                overlays[key] = TextOverlay(
                    text=texts[place], position=place, visible=True, font_size=LABEL_SIZE
                )
            elif key in overlays:
                del overlays[key]

    def _enter_grid(self, reference: Layer, estimate: Layer) -> None:
        self._in_grid = reference, estimate
        self._grid.shape = (1, 2)
        self._arrange(reference, estimate)
        self._grid.enabled = True
        self._viewer.reset_view()

    def _arrange(self, reference: Layer, estimate: Layer) -> None:
        layers = self._viewer.layers
        if reference in layers and estimate in layers:
            self._grid.stride = 1 if layers.index(reference) < layers.index(estimate) else -1


def _short(name: str) -> str:
    """Return a name that fits half a canvas: its front and its end."""
    if len(name) <= LABEL_CHARACTERS:
        return name
    half = LABEL_CHARACTERS // 2
    return f"{name[: half - 1]}…{name[-half:]}"
