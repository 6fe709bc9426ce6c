"""Layers that a row of a table opens are in sight."""

import numpy as np
import pytest

from napari_mri7t.widgets.layers.opened import OpenedLayers


@pytest.mark.parametrize("start", [-40.0, 40.0, 500.0])
def test_a_layer_that_the_sliders_do_not_meet_is_shown_in_its_middle(make_napari_viewer, start):
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((60, 8, 8)))
    viewer.dims.set_point(0, 10)
    meta = {"translate": (start, 0, 0)}
    OpenedLayers(viewer).add((np.ones((20, 8, 8)), meta, "image"))
    assert viewer.dims.point[0] == pytest.approx(start + 9.5, abs=0.5)
    meta = {"translate": (start - 5, 0, 0)}
    OpenedLayers(viewer).add((np.ones((20, 8, 8)), meta, "image"))
    assert viewer.dims.point[0] == pytest.approx(start + 9.5, abs=0.5)  # which it holds, too
