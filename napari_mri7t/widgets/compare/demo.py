"""The demonstration in napari: 3T, synthetic 7T and 7T side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from napari.layers import Layer

from napari_mri7t.widgets.layers.layers import orient_camera, volume_to_layer

if TYPE_CHECKING:
    from napari_mri7t.engine.workflows.demo import Demo

SHOWN_MM = 8.0  # height of the first axial slice: ventricles, basal ganglia, cortex


def show_demo(demo: Demo) -> None:
    """Show the demonstration in a viewer until it is closed."""
    viewer = napari.Viewer(title="napari-mri7t: a synthetic image, for research, not for diagnosis")
    add_demo(viewer, demo)
    napari.run()


def add_demo(viewer: napari.Viewer, demo: Demo) -> None:
    """Add the demonstration's volumes to a viewer, in a grid that shares camera and slider."""
    limits = {"contrast_limits": (0.0, 1.0)}
    shown = [
        volume_to_layer(demo.source, name="3T, simulated", **limits),
        volume_to_layer(demo.estimate, name="synthetic 7T", **limits),
        volume_to_layer(demo.target, name="target, MNI152 template", **limits),
    ]
    for data, meta, kind in shown:
        layer = viewer.add_layer(Layer.create(data, meta, kind))
        layer.name_overlay.visible = True
        layer.name_overlay.position = "top_center"
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.shape = (1, len(shown))
    orient_camera(viewer)
    viewer.dims.set_point(0, SHOWN_MM)
    viewer.reset_view()
