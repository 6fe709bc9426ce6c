"""Layers opened from a table, one row at a time: the next row's take their place."""

from __future__ import annotations

import napari
from napari.layers import Layer

from napari_mri7t.widgets.layers.layers import LayerData


class OpenedLayers:
    """The layers of the row that was opened last; the user's own stay."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._layers: list[Layer] = []

    def clear(self) -> None:
        """Remove what is still there of the last row."""
        for layer in self._layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._layers = []

    def add(self, shown: LayerData) -> Layer:
        """Show one more, above the others."""
        data, meta, kind = shown
        layer = self._viewer.add_layer(Layer.create(data, meta, kind))
        self._layers.append(layer)
        self._bring_in_sight(layer)
        return layer

    def _bring_in_sight(self, layer: Layer) -> None:
        """Move the sliders to the middle of a layer that none of their slices meets."""
        dims, (low, high) = self._viewer.dims, layer.extent.world
        middle = layer.extent.world.mean(axis=0)
        for axis in dims.not_displayed:
            own = axis - (dims.ndim - layer.ndim)
            if own >= 0 and not low[own] <= dims.point[axis] <= high[own]:
                dims.set_point(axis, middle[own])

    def holds(self, name: str) -> bool:
        """Return whether a layer of that name is still there of the last row."""
        return any(layer.name == name and layer in self._viewer.layers for layer in self._layers)

    def fit(self) -> None:
        """Fit the view to all layers."""
        self._viewer.reset_view()

    def show_only(self, *are_visible: bool) -> None:
        """Set which of the last row's layers are visible, in the order in which they were added."""
        for layer, is_visible in zip(self._layers, are_visible, strict=False):
            layer.visible = is_visible
