"""The noise of a scan: found in white matter, whatever the scale and the anatomy."""

import numpy as np
import pytest

from napari_mri7t.engine.metrics.noise import noise_level
from napari_mri7t.engine.volumes.template import load_template


@pytest.fixture(scope="module")
def brain():
    array = load_template().array.astype(np.float32)
    return array / np.percentile(array[array > 0], 98)


@pytest.mark.parametrize(("sigma", "scale"), [(0.03, 1.0), (0.06, 1.0), (0.03, 250.0)])
def test_noise_added_to_the_template_is_found_in_the_scans_own_units(brain, sigma, scale):
    noise = np.random.default_rng(0).standard_normal(brain.shape, np.float32)
    noisy = np.where(brain > 0, (brain + sigma * noise).clip(1e-3), 0) * scale
    assert noise_level(noisy) == pytest.approx(sigma * scale, rel=0.12)


def test_the_template_itself_an_average_of_many_has_little(brain):
    assert noise_level(brain) < 0.01


def test_a_volume_without_white_matter_has_no_level():
    assert noise_level(np.zeros((12, 12, 12), np.float32)) == 0
    blob = np.zeros((12, 12, 12), np.float32)
    blob[3:9, 3:9, 3:9] = np.random.default_rng(0).random((6, 6, 6))
    assert noise_level(blob) == 0
