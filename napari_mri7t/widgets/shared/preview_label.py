"""The label on the canvas that tells a preview from the image around it."""

from __future__ import annotations

from typing import Any

import napari
from napari.components.overlays import TextOverlay
from napari.layers import Layer

from napari_mri7t.widgets.compare.views import LABEL_SIZE
from napari_mri7t.widgets.layers.layers import COVERING, is_covered
from napari_mri7t.widgets.layers.planes import Box, shown_plane

KEY = "mri7t-preview-of-{}"  # of an overlay
PREVIEW, IN_FRAME = "preview", "preview in the frame"
ELSEWHERE = "{} (the preview is of another slice)"


class PreviewLabel:
    """Says whether the preview or the image that it is of is on the screen.

    Parameters
    ----------
    viewer : napari.Viewer
    of : str
        What the image is, such as "scan".
    """

    def __init__(self, viewer: napari.Viewer, of: str) -> None:
        self._viewer = viewer
        self._of = of
        self._told: tuple[Layer | None, Layer | None, Box] = (None, None, ())
        for event in self._events():
            event.connect(self._refresh)
        viewer.layers.events.connect(self._on_layers)  # also those of each layer

    def _events(self) -> tuple[Any, ...]:
        events = self._viewer.dims.events
        return events.current_step, events.order, events.ndisplay

    def tell(self, layer: Layer | None, source: Layer | None, box: Box) -> None:
        """Tell of the layer of a preview, its image, and the box (i, j, k) that was previewed."""
        self._told = layer, source, box
        self._refresh()

    def release(self) -> None:
        """Stop listening to the viewer."""
        for event in self._events():
            event.disconnect(self._refresh)
        self._viewer.layers.events.disconnect(self._on_layers)
        self.tell(None, None, ())

    def _on_layers(self, event: Any) -> None:
        """Follow what covers the preview."""
        if event.type in COVERING:
            self._refresh()

    def _refresh(self, event: object = None) -> None:
        overlays, key = self._viewer.canvas.overlays, KEY.format(self._of)
        text = self._text(*self._told)
        if text and key in overlays:
            overlays[key].text = text
        elif text:
            overlays[key] = TextOverlay(
                text=text, position="top_left", visible=True, font_size=LABEL_SIZE
            )
        elif key in overlays:
            del overlays[key]

    def _text(self, layer: Layer | None, source: Layer | None, box: Box) -> str:
        layers = self._viewer.layers
        if layer not in layers or source not in layers:
            return ""
        if not layer.visible or is_covered(self._viewer, layer):
            return ""
        plane = shown_plane(self._viewer, source)
        if plane is None:  # in 3-D, or beside the image
            return ""
        axis, index = plane
        is_on = box[axis].start <= index < box[axis].stop
        thin = [n for n, part in enumerate(box) if part.stop - part.start == 1]
        elsewhere = ELSEWHERE.format(self._of)
        if thin:
            return PREVIEW if is_on and axis in thin else elsewhere
        return IN_FRAME if is_on else elsewhere
