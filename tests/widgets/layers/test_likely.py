"""Which two layers Compare and Evaluate propose."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_mri7t.widgets.layers.layers import VIEW_KEY, estimate_to_layer, volume_to_layer
from napari_mri7t.widgets.layers.likely import likely_pair, likely_source


@pytest.fixture
def estimate(phantom):
    return phantom.with_array(0.9 * phantom.array, name="estimate")


@pytest.mark.gui
def test_two_layers_are_suggested_and_what_we_made_is_the_estimate(
    make_napari_viewer, phantom, estimate, wait_idle
):
    viewer = make_napari_viewer()
    _, empty = viewer.window.add_plugin_dock_widget("napari-mri7t", "Compare")
    assert empty.notices.texts() == ["Choose two different volumes."]
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


@pytest.mark.parametrize("order", list(permutations(("7T", "pseudo-3T", "made"))))
def test_a_model_s_estimate_is_held_against_the_scan_however_they_were_opened(phantom, order):
    facts = {
        "7T": {"Notice": "", "Settings": {"image": "target"}},  # as `mri7t simulate` writes it
        "pseudo-3T": {"Notice": "", "Settings": {"image": "source"}},
        "made": {"Notice": "", "Model": {}},
    }
    layers = []
    for name in order:
        data, meta, _ = estimate_to_layer(phantom, None, facts[name], name=name)
        layers.append(Image(data, **meta))
    pair = likely_pair(layers)
    assert [layer.name for layer in pair] == ["7T", "made"]
    assert likely_source(layers, pair[0]).name == "pseudo-3T"


def test_scan_is_held_against_its_estimate_where_there_is_no_other(phantom):
    names = ("brain", "brain synthetic-7T slice_unet")
    layers = [Image(volume_to_layer(phantom)[0], name=name) for name in names]
    assert [layer.name for layer in likely_pair(layers)] == list(names)


@pytest.mark.parametrize(
    ("reference", "estimate", "other"),
    [
        ("sub-01_7T", "sub-01_synth7T", "sub-01_3T"),
        ("7T_to_3T", "sub-01_3T", ""),
        ("sub-01_space-3T_7T", "sub-01_3T_estimate", "sub-01_3T"),
        ("sub-03T1w", "sub-03_pseudo-3T", ""),
        ("sub-01_ses-7T_T1w", "brain synthetic-7T slice_unet", "brain"),
        ("sub0102", "sub0102 synthetic-7T scan_unet", "sub0101"),
        ("sub-01_T1w", "sub-01_desc-synth7T_T1w", "sub-02_T1w"),
        ("7T_synthstrip", "brain synthetic-7T slice_unet", "brain_synthstrip"),
        ("target", "brain synthetic-7T slice_unet", "brain"),
        ("target", "brain synthetic-7T slice_unet", "brain corrected"),
    ],
)
def test_names_tell_which_is_the_estimate_of_another_program(phantom, reference, estimate, other):
    for order in permutations(filter(None, (reference, estimate, other))):
        layers = [Image(volume_to_layer(phantom)[0], name=name) for name in order]
        assert [layer.name for layer in likely_pair(layers)] == [reference, estimate]
