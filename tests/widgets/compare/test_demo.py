"""napari opened on the demonstration."""

import numpy as np
import pytest

from napari_mri7t.engine.workflows.demo import Demo
from napari_mri7t.widgets.compare.demo import add_demo

pytestmark = pytest.mark.gui


@pytest.fixture
def demo(phantom):
    brighter = phantom.with_array(phantom.array * np.float32(1.1))
    return Demo(phantom, brighter, phantom, {}, (), ())


def test_demo_shows_three_volumes_side_by_side(make_napari_viewer, demo):
    viewer = make_napari_viewer()
    add_demo(viewer, demo)
    assert [layer.name for layer in viewer.layers] == [
        "3T, simulated", "synthetic 7T", "target, MNI152 template",
    ]  # fmt: skip
    assert viewer.canvas.grid.enabled
    assert tuple(viewer.canvas.grid.shape) == (1, 3)
    np.testing.assert_array_equal(viewer.layers["synthetic 7T"].data, demo.estimate.array.T)


def test_demo_compares_on_one_grey_scale(make_napari_viewer, demo):
    viewer = make_napari_viewer()
    add_demo(viewer, demo)
    assert {tuple(layer.contrast_limits) for layer in viewer.layers} == {(0, 1)}
