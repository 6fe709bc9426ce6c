"""Which layers are likely the reference, the estimate and the 3T, by provenance and name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np
from napari.layers import Image, Layer

from napari_mri7t.widgets.layers.layers import KEY, VIEW_KEY, coarse, is_single_volume, is_volume

NO_PERSON = re.compile(r"(?<!\d)[37]t|t[12]|\dd|\d+mm|mni\d+|^v\d")  # words of other numbers
FEW_LEVELS = 32  # of a mask or of labels; a scan of 8 bits has over 100


def likely_pair(layers: Sequence[Layer]) -> tuple[Layer, Layer] | None:
    """Return the most likely reference and estimate of one shape, topmost first.

    A model's estimate is preferred to a simulated volume as the estimate; neither is the reference
    if there is another, nor is the estimate's own scan. A painted mask is neither.
    """
    volumes = _images(layers)
    estimates = sorted(filter(_distance_from_scan, volumes), key=_distance_from_scan, reverse=True)
    for estimate in estimates or volumes[1:]:
        for layer in sorted(volumes, key=partial(_distance_from_reference, estimate=estimate)):
            if layer is not estimate and layer.data.shape == estimate.data.shape:
                return layer, estimate
    return None


def likely_source(layers: Sequence[Layer], reference: Layer) -> Layer | None:
    """Return the 3T of a reference: topmost of its shape, neither 7T nor a model's estimate."""
    for layer in _images(layers):
        if layer.data.shape == reference.data.shape and _distance_from_scan(layer) == 1:
            return layer
    return None


def likely_scan(layers: Sequence[Layer]) -> Layer | None:
    """Return the topmost single volume that is no estimate."""
    return next((layer for layer in _images(layers) if _distance_from_scan(layer) < 2), None)


def is_opened_scan(layer: Layer) -> bool:
    """Return whether a layer is a scan from a file or a sample: no mask, labels or estimate.

    What a widget computes, or opens from a table, comes from neither in napari's eyes.
    """
    is_opened = layer.source.path is not None or layer.source.sample is not None
    is_image = isinstance(layer, Image) and is_volume(layer) and VIEW_KEY not in layer.metadata
    if not is_opened or not is_image or _distance_from_scan(layer) > 1:
        return False
    volume = layer.data if layer.ndim == 3 else layer.data[0]
    return len(np.unique(coarse(volume))) > FEW_LEVELS


def _images(layers: Sequence[Layer]) -> list[Layer]:
    """Return the single volumes that are not painted, topmost first."""
    return [each for each in reversed(layers) if isinstance(each, Image) and is_single_volume(each)]


def _distance_from_reference(layer: Layer, estimate: Layer) -> tuple[bool, int, bool, bool]:
    """Return how unlikely a layer is an estimate's reference: 7T first, its own scan last.

    Another person's, by the numbers in the names, comes after all.
    """
    is_own = estimate.name.startswith(layer.name.removesuffix(" corrected"))
    here, there = (_numbers(each.name) for each in (layer, estimate))
    is_other = bool(here and there) and here.isdisjoint(there)
    return is_other, _distance_from_scan(layer), is_own, "7t" not in layer.name.lower()


def _numbers(name: str) -> set[str]:
    """Return the words of a name that have digits, apart from field strengths, sizes and T1w."""
    words = re.split(r"[\W_]+", name.lower())
    return {word for word in words if re.search(r"\d", word) and not NO_PERSON.search(word)}


def _distance_from_scan(layer: Layer) -> int:
    """Return 0 for what may be a 7T scan, 1 for a 3T, real or simulated, 2 for an estimate."""
    provenance = layer.metadata.get(KEY, {}).get("provenance")
    if provenance:
        is_real = provenance.get("Settings", {}).get("image") == "target"  # with another histogram
        is_estimate = "Model" in provenance or "Settings" not in provenance  # or its record is lost
        return 2 if is_estimate else int(not is_real)
    name = layer.name.lower()  # all that is known of other programs' volumes
    if re.search(r"synth(?!strip)|estimate|predicted", name):  # SynthStrip extracts brains
        return 2
    fields = set(re.findall(r"(?<![a-z0-9])[37]t(?![a-z0-9])", name))
    return 1 if "pseudo" in name or fields == {"3t"} else 0  # "7T_to_3T" is a 7T, registered
