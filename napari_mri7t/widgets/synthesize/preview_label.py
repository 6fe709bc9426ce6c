"""The label on the canvas that tells a preview from the scan around it."""

from __future__ import annotations

import napari
from napari.components.overlays import TextOverlay
from napari.layers import Layer

from napari_mri7t.widgets.compare.views import LABEL_SIZE
from napari_mri7t.widgets.layers.layers import is_covered
from napari_mri7t.widgets.layers.planes import Box, shown_plane

KEY = "mri7t-preview"
PREVIEW, IN_FRAME = "preview", "preview in the frame"
ELSEWHERE = "scan (the preview is of another slice)"


class PreviewLabel:
    """Says whether the preview or the scan is on the screen."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer

    def tell(self, layer: Layer | None, source: Layer | None, box: Box) -> None:
        """Tell of the layer of a preview, the scan, and the box (i, j, k) that was previewed."""
        overlays = self._viewer.canvas.overlays
        text = self._text(layer, source, box)
        if text and KEY in overlays:
            overlays[KEY].text = text
        elif text:
            overlays[KEY] = TextOverlay(
                text=text, position="top_left", visible=True, font_size=LABEL_SIZE
            )
        elif KEY in overlays:
            del overlays[KEY]

    def _text(self, layer: Layer | None, source: Layer | None, box: Box) -> str:
        layers = self._viewer.layers
        if layer not in layers or source not in layers:
            return ""
        if not layer.visible or is_covered(self._viewer, layer):
            return ""
        plane = shown_plane(self._viewer, source)
        if plane is None:  # in 3-D, or beside the scan
            return ""
        axis, index = plane
        is_on = box[axis].start <= index < box[axis].stop
        thin = [n for n, part in enumerate(box) if part.stop - part.start == 1]
        if thin:
            return PREVIEW if is_on and axis in thin else ELSEWHERE
        return IN_FRAME if is_on else ELSEWHERE
