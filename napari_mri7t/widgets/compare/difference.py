"""The layer of a difference: symmetric limits, a diverging map, and a bar that says its unit."""

from __future__ import annotations

from typing import Any

import napari
from napari.layers import Image
from napari.utils.colormaps import Colormap

from napari_mri7t.engine.metrics.inspection import ERROR_COLOURS
from napari_mri7t.widgets.layers.layers import COVERING, VIEW_KEY, LayerData, is_covered

VIEW = "difference"
COLORMAP = Colormap(list(ERROR_COLOURS), name="error", display_name="error")


def add_difference(viewer: napari.Viewer, answer: tuple[LayerData, float]) -> Image:
    """Add the answer of `jobs.difference`: a layer with a colour bar on the canvas."""
    (data, meta, _), limit = answer
    meta |= {"contrast_limits": (-limit, limit), "colormap": COLORMAP}
    meta["metadata"][VIEW_KEY] = VIEW
    layer = viewer.add_image(data, **meta)
    layer.colorbar.visible = True
    _keep_bar(viewer, layer)
    return layer


def _keep_bar(viewer: napari.Viewer, difference: Image) -> None:
    """Show the colour bar of a difference while no other image covers it."""
    events = viewer.layers.events  # of each layer, too

    def follow(event: Any) -> None:
        if event.type not in COVERING:
            return
        if difference not in viewer.layers:
            events.disconnect(follow)
            return
        difference.colorbar.visible = not is_covered(viewer, difference)

    events.connect(follow)
