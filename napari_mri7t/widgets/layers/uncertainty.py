"""How the uncertainty of an estimate looks, over the estimate: no image of a brain."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils import Colormap
from napari.utils.colormaps import ensure_colormap

from napari_mri7t.widgets.layers.layers import contrast_limits

COLORMAP, OPACITY = "inferno", 0.6  # the anatomy shows through
OPAQUE_FROM = 0.5  # of the range; below, more shows through, and at 0 everything


def look_of(array: np.ndarray) -> dict[str, Any]:
    """Return the settings of the layer of an uncertainty."""
    return {
        "colormap": _colormap(),
        "blending": "translucent",  # on white matter, too, colours can be told apart
        "opacity": OPACITY,
        "contrast_limits": contrast_limits(array),
    }


def _colormap() -> Colormap:
    parts = np.linspace(0, 1, 256)
    colours = ensure_colormap(COLORMAP).map(parts)
    colours[:, 3] = (parts / OPAQUE_FROM).clip(max=1)
    return Colormap(colours, name=f"{COLORMAP}, clear at 0")
