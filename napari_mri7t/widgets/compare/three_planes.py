"""Three planes of two images at once, through one point that a click or the slider moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QObject

from napari_mri7t.engine.metrics.inspection import three_planes
from napari_mri7t.widgets.layers.layers import UNIT, VIEW_KEY, layer_to_volume, remove_layer
from napari_mri7t.widgets.layers.planes import Voxel, point_of, shown_voxel

VIEW = "three planes"
AXIAL = (0, 1, 2)  # order of the axes S, A, R


class ThreePlanesView(QObject):
    """Puts a picture of three planes in the place of each of two images."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._of: list[tuple[Any, Image]] = []  # volume, its picture
        self._reference: Layer | None = None
        self._point: Voxel = (0, 0, 0)
        self._order: tuple[int, ...] = AXIAL

    def enter(self, reference: Layer, estimate: Layer) -> tuple[Image, Image]:
        """Show both through the point of the sliders; return the layers of their pictures.

        Raises
        ------
        VolumeError
            If a layer's place is unknown; nothing has changed then.
        """
        dims, point = self._viewer.dims, shown_voxel(self._viewer, reference)
        volumes = [layer_to_volume(layer) for layer in (reference, estimate)]
        cuts = [three_planes(volume, point) for volume in volumes]
        self._reference, self._point, self._order = reference, point, tuple(dims.order)
        dims.ndisplay, dims.order = 2, (*range(dims.ndim - 3), *(dims.ndim - 3 + n for n in AXIAL))
        for layer, volume, cut in zip((reference, estimate), volumes, cuts, strict=True):
            picture = self._viewer.add_image(
                cut.picture,
                name=f"planes: {layer.name}",
                scale=(cut.pixel_mm,) * 2,
                translate=layer.translate[-2:],  # the axial plane stays in its place
                units=(UNIT,) * 2,
                contrast_limits=layer.contrast_limits,
                colormap=layer.colormap,
                metadata={VIEW_KEY: VIEW},
            )
            self._of.append((volume, picture))
        dims.events.current_step.connect(self._on_slider)
        self._viewer.mouse_drag_callbacks.append(self._drag)
        return self._of[0][1], self._of[1][1]

    def leave(self) -> None:
        """Remove the pictures."""
        if self._reference is None:
            return
        self._viewer.dims.events.current_step.disconnect(self._on_slider)
        if self._drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._drag)
        pictures, self._of, reference, self._reference = self._of, [], self._reference, None
        for _, picture in pictures:
            remove_layer(self._viewer, picture, reference)
        if len(self._order) == self._viewer.dims.ndim:
            self._viewer.dims.order = self._order

    def move_to(self, point: Voxel) -> None:
        """Cut both through another voxel (i, j, k), and let the slider follow."""
        if self._reference is None or point == self._point:
            return
        self._point = point
        for volume, picture in self._of:
            picture.data = three_planes(volume, point).picture
        self._viewer.dims.set_point(
            range(self._viewer.dims.ndim - 3, self._viewer.dims.ndim),
            point_of(self._reference, point),
        )

    def _on_slider(self, event: object = None) -> None:
        if self._reference is not None:
            self.move_to((*self._point[:2], shown_voxel(self._viewer, self._reference)[2]))

    def _drag(self, viewer: napari.Viewer, event: Any) -> Iterator[None]:
        """Take the point under the mouse; a drag with a modifier, or between planes, pans."""
        if event.modifiers or self._clicked(event.position) is None:
            return
        pans, viewer.scene.camera.mouse_pan = viewer.scene.camera.mouse_pan, False
        self.move_to(self._clicked(event.position) or self._point)
        yield
        while event.type == "mouse_move" and self._reference is not None:
            self.move_to(self._clicked(event.position) or self._point)
            yield
        viewer.scene.camera.mouse_pan = pans

    def _clicked(self, position: Any) -> Voxel | None:
        volume, picture = self._of[0]
        row, column = np.asarray(picture.world_to_data(position[-2:]))
        return three_planes(volume, self._point).point_at(row, column, self._point)
