"""Background work of the widget "Compare": scores, differences and profiles of layers."""

from __future__ import annotations

import numpy as np
from napari.layers import Layer

from napari_mri7t.engine.metrics import basic, inspection
from napari_mri7t.engine.volumes.intensity import symmetric_limit
from napari_mri7t.widgets.layers.layers import LayerData, layer_to_volume, volume_to_layer
from napari_mri7t.widgets.layers.masks import brain_of

Scores = dict[str, dict[str, float]]  # as `basic.compare`


def volume_scores(
    reference: Layer, estimate: Layer, mask: Layer | None, data_range: float
) -> tuple[Scores, str | None]:
    """Score the volumes; return a warning, too, if the data range does not fit them."""
    real, made = layer_to_volume(reference), layer_to_volume(estimate)
    brain = brain_of(real, reference, mask)
    scores = basic.compare(real, made, mask=brain, data_range=data_range)
    return scores, inspection.range_complaint(real, made, data_range)


def plane_scores(
    reference: Layer, estimate: Layer, mask: Layer | None, data_range: float, plane: tuple[int, int]
) -> Scores:
    """Score the plane on the screen."""
    real, made = layer_to_volume(reference), layer_to_volume(estimate)
    brain = brain_of(real, reference, mask)
    return inspection.plane_scores(real, made, plane, mask=brain, data_range=data_range)


def difference(reference: Layer, estimate: Layer) -> tuple[LayerData, float]:
    """Return estimate minus reference, and the largest difference to show."""
    error_map = inspection.error_map(layer_to_volume(reference), layer_to_volume(estimate))
    return volume_to_layer(error_map, on=reference), symmetric_limit(error_map.array)


def profile(
    reference: Layer, estimate: Layer, start: np.ndarray, end: np.ndarray
) -> inspection.Profile:
    """Return both intensities along a line."""
    return inspection.profile([layer_to_volume(reference), layer_to_volume(estimate)], start, end)
