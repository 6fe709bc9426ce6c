"""Slices and lines on a layer: which one is shown, and where an image of one lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Layer

from napari_mri7t.widgets.layers.layers import (
    AXES,
    UNIT,
    VIEW_KEY,
    LayerData,
    contrast_limits,
    placement,
)

if TYPE_CHECKING:
    from napari_mri7t.engine.training.run import Preview


def shown_plane(viewer: napari.Viewer, layer: Layer) -> tuple[int, int] | None:
    """Return array axis and voxel index of the slice of a 3-D layer that is shown; None in 3-D."""
    if viewer.dims.ndisplay != 2:
        return None
    extra = viewer.dims.ndim - 3
    axis = viewer.dims.not_displayed[-1] - extra  # of the layer: 0 is S
    if axis < 0:
        return None
    position = layer.world_to_data(viewer.dims.point[extra:])[axis]
    index = min(max(round(float(position)), 0), layer.data.shape[axis] - 1)
    return 2 - axis, index


def line_on(viewer: napari.Viewer, layer: Layer) -> np.ndarray:
    """Return a first line for `shapes_on`: across the middle of the slice shown, voxels S, A, R."""
    middle = (np.asarray(layer.data.shape) - 1) / 2
    plane = shown_plane(viewer, layer)
    line = np.array([middle, middle])
    if plane is not None:
        line[:, 2 - plane[0]] = plane[1]
    across = 1 if plane is not None and plane[0] == 0 else 2  # a sagittal slice has no R
    line[:, across] = (middle[across] * 0.3, middle[across] * 1.7)
    return line


def ends_of(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of a line (vertices S, A, R) as voxels (i, j, k)."""
    return np.asarray(line)[0, ::-1], np.asarray(line)[-1, ::-1]


def plane_to_layer(
    values: np.ndarray, plane: tuple[int, int], source: Layer, **settings: Any
) -> LayerData:
    """Return the layer of a plane of `source`'s array, as `shown_plane` names it, in its place."""
    axis, index = 2 - plane[0], plane[1]
    meta = placement(source) | {
        "translate": source.translate + shift_along(source, axis, index),
        "contrast_limits": contrast_limits(values[None]),
        "colormap": "gray",
        "metadata": {VIEW_KEY: "plane"},
    }
    return np.expand_dims(values.T, axis), meta | settings, "image"  # (S, A, R), one of them 1


def shift_along(layer: Layer, axis: int, index: int) -> np.ndarray:
    """Return how far from its corner a slice of a layer lies, before the layer's own affine."""
    corner = np.zeros(3)
    slice_corner = np.where(np.arange(3) == axis, index, corner)
    world = np.subtract(layer.data_to_world(slice_corner), layer.data_to_world(corner))
    return np.linalg.solve(layer.affine.linear_matrix, world)


def preview_to_layer(preview: Preview) -> LayerData:
    """Return 3T, estimate and 7T of one slice side by side as one flat image layer."""
    parts = (preview.source, preview.estimate, preview.target)  # each (A, R)
    meta = {
        "units": (UNIT,) * 2,
        "axis_labels": AXES[1:],
        "contrast_limits": (0.0, 1.0),
        "colormap": "gray",
        "metadata": {VIEW_KEY: "preview"},
    }
    return np.concatenate(parts, axis=1), meta, "image"
