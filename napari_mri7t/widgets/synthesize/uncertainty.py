"""The layer that shows how uncertain an estimate is: over the estimate, with a colour bar."""

from __future__ import annotations

import napari
import numpy as np
from napari.layers import Image, Layer
from napari.utils import Colormap
from napari.utils.colormaps import ensure_colormap

from napari_mri7t.widgets.layers.layers import contrast_limits, estimate_to_layer
from napari_mri7t.widgets.synthesize.jobs import Finished

COLORMAP, OPACITY = "inferno", 0.6  # the anatomy shows through
OPAQUE_FROM = 0.5  # of the range; below, more shows through, and at 0 everything
UNIT = "± intensity"


def add_uncertainty(viewer: napari.Viewer, finished: Finished, shown: Layer) -> Image | None:
    """Add the uncertainty of a finished synthesis over its layer; None if it was not asked for."""
    uncertainty, facts = finished.synthesis.uncertainty, finished.uncertainty_facts
    if uncertainty is None or facts is None:
        return None
    data, meta, _ = estimate_to_layer(
        uncertainty, shown, facts, name=f"{shown.name} uncertainty ({UNIT})"
    )
    meta |= {
        "colormap": _colormap(),
        "blending": "translucent",  # on white matter, too, colours can be told apart
        "opacity": OPACITY,
        "contrast_limits": contrast_limits(uncertainty.array),
    }
    layer = viewer.add_image(data, **meta)
    layer.colorbar.visible = True
    return layer


def _colormap() -> Colormap:
    parts = np.linspace(0, 1, 256)
    colours = ensure_colormap(COLORMAP).map(parts)
    colours[:, 3] = (parts / OPAQUE_FROM).clip(max=1)
    return Colormap(colours, name=f"{COLORMAP}, clear at 0")
