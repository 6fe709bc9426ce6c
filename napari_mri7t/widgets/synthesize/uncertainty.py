"""The layer that shows how uncertain an estimate is: over the estimate, with a colour bar."""

from __future__ import annotations

import napari
from napari.layers import Image, Layer

from napari_mri7t.widgets.layers.layers import estimate_to_layer
from napari_mri7t.widgets.layers.uncertainty import look_of
from napari_mri7t.widgets.synthesize.jobs import Finished

UNIT = "± intensity"


def add_uncertainty(viewer: napari.Viewer, finished: Finished, shown: Layer) -> Image | None:
    """Add the uncertainty of a finished synthesis over its layer; None if it was not asked for."""
    uncertainty, facts = finished.synthesis.uncertainty, finished.uncertainty_facts
    if uncertainty is None or facts is None:
        return None
    data, meta, _ = estimate_to_layer(
        uncertainty, shown, facts, name=f"{shown.name} uncertainty ({UNIT})"
    )
    layer = viewer.add_image(data, **(meta | look_of(uncertainty.array)))
    layer.colorbar.visible = True
    return layer
