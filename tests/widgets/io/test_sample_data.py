"""Sample data, opened as a user does."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mri7t.widgets.layers.layers import KEY

pytestmark = pytest.mark.gui


def test_both_samples_open_without_a_network_on_one_grid(make_napari_viewer):
    viewer = make_napari_viewer()
    viewer.open_sample("napari-mri7t", "mni152")
    viewer.open_sample("napari-mri7t", "mni152_3t")
    clean, noisy = viewer.layers
    assert clean.data.shape == noisy.data.shape == (189, 233, 197)
    np.testing.assert_array_equal(clean.translate, noisy.translate)
    np.testing.assert_array_equal(clean.scale, (1, 1, 1))
    assert [str(side) for side in viewer.scene.camera.orientation2d] == ["up", "right"]
    assert noisy.metadata[KEY]["provenance"]["Synthetic"] is True
    assert "provenance" not in clean.metadata[KEY]
    difference = noisy.data[90] - clean.data[90]
    assert 0.001 < difference.var() < 0.01
