"""What docs/reliability.md promises of two runs: bits on one machine, a tolerance across."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mri7t.engine.devices import available_devices
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate

CPU = SynthesisConfig(device="cpu", precision="float32")
# Sums of some hundred float32 in another order differ by their rounding, 6e-8 each; layers add up.
ACROSS_THREADS = 1e-4  # of the scan's own range
ACROSS_DEVICES = 1e-2  # TF32 rounds; as docs/reliability.md has it


@pytest.fixture(params=["scan_unet", "slice_unet", "watnet", "basic_cnn"])
def model(request):
    return load_model(request.param)


def estimate_array(volume, model, config=CPU):
    return estimate(volume, model, config).volume.array


@pytest.fixture
def brain(phantom):
    return type(phantom)(phantom.array[4:36, 4:44, 12:20], phantom.affine)


def test_the_same_synthesis_twice_gives_the_same_bits(brain, model):
    np.testing.assert_array_equal(estimate_array(brain, model), estimate_array(brain, model))


def test_another_number_of_threads_changes_no_more_than_the_rounding(brain, model):
    before = torch.get_num_threads()
    try:
        made = []
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            made.append(estimate_array(brain, model))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(*made, rtol=0, atol=ACROSS_THREADS)


@pytest.mark.gpu
def test_another_device_stays_within_the_tolerance_and_repeats_itself(brain, model):
    config = replace(CPU, device=available_devices()[0])
    first = estimate_array(brain, model, config)
    np.testing.assert_allclose(first, estimate_array(brain, model), rtol=0, atol=ACROSS_DEVICES)
    np.testing.assert_allclose(
        first, estimate_array(brain, model, config), rtol=0, atol=ACROSS_DEVICES
    )
