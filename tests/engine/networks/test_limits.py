"""A network under construction may not exceed the weights it is allowed."""

from __future__ import annotations

import threading

import pytest
from torch import nn

from napari_mri7t.engine.networks import build_network
from napari_mri7t.engine.networks.limits import limited


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "config", [{"n_blocks": 10**9, "widths": [1]}, {"widths": [8, 10**6]}, {"widths": [10**5] * 3}]
)
def test_settings_of_a_study_build_no_network_beyond_all_reason(config):
    with pytest.raises(ValueError, match=r"does not take|more weights"):
        build_network("slice_unet", **config)


@pytest.mark.parametrize(
    "config",
    [{"widths": []}, {"widths": [-1]}, {"n_slices": -7, "n_outputs": -7}, {"n_blocks": "2"}],
)
def test_odd_settings_are_put_into_words(config):
    with pytest.raises(ValueError, match="network 'slice_unet' does not take"):
        build_network("slice_unet", **config)


@pytest.mark.parametrize("limits", [(71, 9), (10**6, 3)])
def test_limit_counts_weights_and_tensors_of_all_layers(limits):
    with limited(72 + 4, 4):  # 4 x 8 + 4 and 8 x 4 + 8
        nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8))
    with limited(*limits), pytest.raises(ValueError, match="more weights"):
        nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8))
    nn.Linear(100, 100)  # ends with its block


def test_a_network_may_have_2_28_weights_and_no_more():
    """As the guarantees say; no memory is taken on this device."""
    with limited():
        nn.Linear(1 << 14, 1 << 14, bias=False, device="meta")
        with pytest.raises(ValueError, match="more weights"):
            nn.Linear(1, 1, device="meta")


def test_limit_holds_in_its_own_thread_only():
    failures = []

    def build():
        try:
            nn.Linear(10, 10)
        except ValueError as error:
            failures.append(error)

    with limited(1, 1):
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    assert not failures
