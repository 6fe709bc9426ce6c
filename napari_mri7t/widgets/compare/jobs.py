"""What "Compare" asks the engine, away from Qt's thread: layers in, answers out."""

from __future__ import annotations

import numpy as np
from napari.layers import Layer

from napari_mri7t.engine.metrics import basic, inspection
from napari_mri7t.widgets.layers.layers import LayerData, layer_to_volume, volume_to_layer
from napari_mri7t.widgets.layers.masks import brain_of


def volume_scores(
    reference: Layer, estimate: Layer, mask: Layer | None, data_range: float
) -> tuple[dict[str, dict[str, float]], str | None]:
    """Score the volumes, and say whether the range cannot be theirs."""
    real, made = layer_to_volume(reference), layer_to_volume(estimate)
    brain = brain_of(real, reference, mask)
    scores = basic.compare(real, made, mask=brain, data_range=data_range)
    return scores, inspection.range_complaint(real, made, data_range)


def plane_scores(
    reference: Layer,
    estimate: Layer,
    mask: Layer | None,
    plane: tuple[int, int],
    data_range: float,
) -> dict[str, dict[str, float]]:
    """Score the plane on the screen."""
    real, made = layer_to_volume(reference), layer_to_volume(estimate)
    brain = brain_of(real, reference, mask)
    return inspection.plane_scores(real, made, plane, mask=brain, data_range=data_range)


def difference(reference: Layer, estimate: Layer) -> tuple[LayerData, float]:
    """Subtract, and choose the largest difference to show."""
    error_map = inspection.error_map(layer_to_volume(reference), layer_to_volume(estimate))
    return volume_to_layer(error_map), inspection.symmetric_limit(error_map)


def profile(
    reference: Layer, estimate: Layer, start: np.ndarray, end: np.ndarray
) -> inspection.Profile:
    """Read both along a line."""
    return inspection.profile([layer_to_volume(reference), layer_to_volume(estimate)], start, end)
