"""Which two layers Compare and Evaluate propose."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_mri7t.widgets.layers import (
    VIEW_KEY,
    estimate_to_layer,
    likely_pair,
    volume_to_layer,
)


@pytest.fixture
def estimate(phantom):
    return phantom.with_array(0.9 * phantom.array, name="estimate")


@pytest.mark.gui
def test_two_layers_are_suggested_and_what_we_made_is_the_estimate(
    make_napari_viewer, phantom, estimate, wait_idle
):
    viewer = make_napari_viewer()
    _, empty = viewer.window.add_plugin_dock_widget("napari-mri7t", "Compare")
    assert empty.notices.texts() == ["Choose two different volumes above."]
    assert likely_pair([]) is None
    viewer.window.remove_dock_widget("all")
    facts = {"Notice": "made by a network"}
    made = estimate_to_layer(estimate, None, facts, name="made")
    for data, meta, _ in (made, volume_to_layer(phantom)):
        viewer.add_image(data, **meta)
    viewer.add_image(np.zeros((2, 3, 4)), name="smaller")
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Compare")
    wait_idle()
    assert [layer.name for layer in widget.pair] == ["phantom", "made"]


def test_neither_a_painted_mask_nor_a_view_is_proposed(phantom):
    data, meta, _ = volume_to_layer(phantom)
    target, estimate, difference = (Image(data, **meta) for _ in range(3))
    difference.metadata = difference.metadata | {VIEW_KEY: "difference"}
    painted = Labels(np.ones(data.shape, np.uint8))
    assert likely_pair([estimate, target, difference, painted]) == (target, estimate)
    assert likely_pair([target, painted, difference]) is None
