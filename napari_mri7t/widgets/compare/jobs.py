"""Background work of the widget "Compare": scores, differences and profiles of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer

from napari_mri7t.engine.metrics import basic, inspection
from napari_mri7t.engine.volumes.intensity import symmetric_limit
from napari_mri7t.widgets.layers.layers import LayerData, layer_to_volume, volume_to_layer
from napari_mri7t.widgets.layers.masks import brain_of

if TYPE_CHECKING:
    from napari_mri7t.engine.synthesis.synthesize import Synthesis

Scores = dict[str, dict[str, float]]  # as `basic.compare`


def volume_scores(
    reference: Layer, estimate: Layer, mask: Layer | None, data_range: float | None
) -> tuple[Scores, str, list[str]]:
    """Score the volumes; return the data range in words, and why the scores may mislead."""
    real, made = layer_to_volume(reference), layer_to_volume(estimate)
    brain = brain_of(real, reference, mask)
    span, how = inspection.find_data_range(real, data_range)
    scores = basic.compare(real, made, mask=brain, data_range=span)
    words = f"Data range {span:g}: {how}."
    complaint = inspection.range_complaint(real, made, data_range)
    return scores, words, [*filter(None, [complaint]), *inspection.reference_doubts(real, brain)]


def plane_scores(
    reference: Layer,
    estimate: Layer,
    mask: Layer | None,
    data_range: float | None,
    plane: tuple[int, int],
) -> Scores:
    """Score the plane on the screen."""
    real, made = layer_to_volume(reference), layer_to_volume(estimate)
    brain = brain_of(real, reference, mask)
    span, _ = inspection.find_data_range(real, data_range)
    return inspection.plane_scores(real, made, plane, mask=brain, data_range=span)


def difference(reference: Layer, estimate: Layer) -> tuple[LayerData, float]:
    """Return estimate minus reference, and the largest difference to show."""
    error_map = inspection.error_map(layer_to_volume(reference), layer_to_volume(estimate))
    return volume_to_layer(error_map, on=reference), symmetric_limit(error_map.array)


def corrected(made: Synthesis, shown: Layer) -> tuple[Synthesis, LayerData, bool]:
    """Return the scan as the network saw it, where its estimate is shown; whether that is it."""
    from napari_mri7t.engine.synthesis.corrected import corrected_scan

    scan = corrected_scan(made)
    return made, volume_to_layer(scan, on=shown), scan is made.source


def profile(
    reference: Layer, estimate: Layer, start: np.ndarray, end: np.ndarray
) -> inspection.Profile:
    """Return both intensities along a line."""
    return inspection.profile([layer_to_volume(reference), layer_to_volume(estimate)], start, end)
