"""The layer that shows how uncertain an estimate is: over the estimate, with a colour bar."""

from __future__ import annotations

import napari
from napari.layers import Image, Layer

from napari_mri7t.widgets.layers.layers import contrast_limits, estimate_to_layer
from napari_mri7t.widgets.synthesize.jobs import Finished

COLORMAP, OPACITY = "inferno", 0.7
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
        "colormap": COLORMAP,
        "blending": "additive",  # 0, outside the brain, shows nothing
        "opacity": OPACITY,
        "contrast_limits": contrast_limits(uncertainty.array),
    }
    layer = viewer.add_image(data, **meta)
    layer.colorbar.visible = True
    return layer
