"""Slices and lines on a layer: which one is shown, and where an image of one lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Layer, Shapes

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

Box = tuple[slice, ...]
Voxel = tuple[int, int, int]  # i, j, k


def shown_plane(viewer: napari.Viewer, layer: Layer) -> tuple[int, int] | None:
    """Return array axis and voxel index of the slice of a volume that is shown.

    None in 3-D, and where the slider lies outside the volume.
    """
    if viewer.dims.ndisplay != 2:
        return None
    axis = viewer.dims.not_displayed[-1] - (viewer.dims.ndim - 3)  # of the volume: 0 is S
    if axis < 0:
        return None
    index = round(float(_voxel_at(layer, viewer.dims.point)[axis]))
    return (2 - axis, index) if 0 <= index < layer.data.shape[-3:][axis] else None


def plane_box(layer: Layer, plane: tuple[int, int]) -> Box:
    """Return the voxels (i, j, k) of a plane as `shown_plane` names it."""
    box = [slice(0, n) for n in layer.data.shape[-3:][::-1]]
    box[plane[0]] = slice(plane[1], plane[1] + 1)
    return tuple(box)


def central_box(viewer: napari.Viewer, layer: Layer, size_mm: float) -> Box:
    """Return the voxels (i, j, k) of a cube around the middle of what is shown."""
    point = np.array(viewer.dims.point)
    displayed = list(viewer.dims.displayed)
    point[displayed] = viewer.scene.camera.center[-len(displayed) :]
    half = size_mm / 2 / np.abs(layer.scale[-3:])
    middle, shape = _voxel_at(layer, point), layer.data.shape[-3:]
    box = []
    for at, reach, n in zip(middle, half, shape, strict=True):
        start = min(max(round(at - reach), 0), n - 1)
        box.append(slice(start, min(max(round(at + reach), start + 1), n)))
    return tuple(box[::-1])


def shown_voxel(viewer: napari.Viewer, layer: Layer) -> Voxel:
    """Return the voxel of a volume at the sliders of all axes, the nearest if it lies outside."""
    voxel, shape = _voxel_at(layer, viewer.dims.point), layer.data.shape[-3:]
    k, j, i = (min(max(round(float(at)), 0), n - 1) for at, n in zip(voxel, shape, strict=True))
    return i, j, k


def shown_volume(viewer: napari.Viewer, layer: Layer) -> int:
    """Return which volume of a 4-D layer is at the slider, from 0; the nearest if none is."""
    at = layer.world_to_data(np.asarray(viewer.dims.point)[-layer.ndim :])[0]
    return min(max(round(float(at)), 0), layer.data.shape[0] - 1)


def show_volume(viewer: napari.Viewer, layer: Layer, index: int) -> None:
    """Move the slider to a volume of a 4-D layer, unless it is there."""
    if index != shown_volume(viewer, layer):
        at = layer.data_to_world((index, 0, 0, 0))[0]
        viewer.dims.set_point(viewer.dims.ndim - layer.ndim, float(at))


def point_of(layer: Layer, voxel: Voxel) -> tuple[float, ...]:
    """Return where a voxel of a volume is shown: S, A and R in the viewer."""
    data = np.concatenate((np.zeros(layer.ndim - 3), voxel[::-1]))
    return tuple(float(x) for x in layer.data_to_world(data)[-3:])


def _voxel_at(layer: Layer, point: Sequence[float]) -> np.ndarray:
    """Return where a point of the viewer lies in a volume, voxels S, A, R."""
    return np.asarray(layer.world_to_data(np.asarray(point)[-layer.ndim :]))[-3:]


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


def ends_of(shapes: Shapes, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the line that was drawn last as voxels (i, j, k) of a layer."""
    vertices = shapes.data[-1]
    start, end = (
        np.asarray(layer.world_to_data(shapes.data_to_world(vertices[n])))[-3:] for n in (0, -1)
    )
    return start[::-1], end[::-1]


def plane_to_layer(
    values: np.ndarray, plane: tuple[int, int], source: Layer, **settings: Any
) -> LayerData:
    """Return the layer of a plane of `source`'s array, as `shown_plane` names it, in its place."""
    return box_to_layer(
        np.expand_dims(values, plane[0]), plane_box(source, plane), source, **settings
    )


def box_to_layer(values: np.ndarray, box: Box, source: Layer, **settings: Any) -> LayerData:
    """Return the layer of a box (i, j, k) of `source`'s array, in its place."""
    corner = [part.start for part in box[::-1]]
    meta = placement(source) | {
        "translate": source.translate[-3:] + shift_to(source, corner),
        "contrast_limits": contrast_limits(values),
        "colormap": "gray",
        "metadata": {VIEW_KEY: "part"},
    }
    return values.T, meta | settings, "image"  # (S, A, R)


def is_parallel(layer: Layer, meta: Mapping[str, Any]) -> bool:
    """Return whether a layer lies as `box_to_layer` says, apart from its corner."""
    place = placement(layer)
    names = ("scale", "rotate", "shear", "affine")
    return all(np.array_equal(place[name], meta[name]) for name in names)


def shift_along(layer: Layer, axis: int, index: float) -> np.ndarray:
    """Return how far from its corner a slice of a volume lies, before the layer's own affine."""
    return shift_to(layer, np.where(np.arange(3) == axis, index, 0))


def shift_to(layer: Layer, corner: Sequence[float]) -> np.ndarray:
    """Return how far from its corner a voxel of a volume lies, before the layer's own affine."""
    start = np.zeros(layer.ndim)
    there = np.concatenate((start[:-3], corner))
    world = np.subtract(layer.data_to_world(there), layer.data_to_world(start))
    return np.linalg.solve(layer.affine.linear_matrix, world)[-3:]


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
