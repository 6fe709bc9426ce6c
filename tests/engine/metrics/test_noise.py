"""The noise of a scan: found in white matter, whatever the scale and the anatomy."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.metrics.noise import (
    NARROW_PARTS,
    SHARED_PARTS,
    Noise,
    measure_noise,
    noise_level,
    told_noise,
)
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


@pytest.mark.parametrize("smoothing", [0.0, 0.6, 0.9])
def test_what_neighbours_share_of_the_noise_counts(brain, smoothing):
    noise = np.random.default_rng(0).standard_normal(brain.shape, np.float32)
    smooth = gaussian_filter(noise, smoothing) if smoothing else noise
    noisy = np.where(brain > 0, (brain + 0.06 * smooth / smooth.std()).clip(1e-3), 0)
    assert measure_noise(noisy).level == pytest.approx(0.06, rel=0.06)


@pytest.mark.parametrize(
    ("percent", "part"),
    [(0, 0.718), (1, 0.718), (2.2, 0.718), (3, 0.56), (3.8, 0.75), (6, 0.93), (12, 0.93)],
)
def test_of_a_strong_noise_a_network_is_told_more(percent, part):
    level = 200 * percent / 100
    noise = Noise(level)
    assert told_noise(noise, 200) == pytest.approx(part * level, rel=1e-3)
    assert told_noise(noise, 200, 0.5) == pytest.approx(part * level / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("percent", "narrow", "more"),
    [
        (1.0, 0.40, 1.2),
        (2.2, 0.45, 1.2),
        (2.2, 0.465, 1.1),
        (2.2, 0.48, 1.0),
        (2.3, 0.40, 1.1),
        (2.4, 0.40, 1.0),
        (6.0, 0.40, 1.0),
    ],
)
def test_of_weak_noise_that_neighbours_share_a_network_is_told_a_fifth_more(percent, narrow, more):
    level = 200 * percent / 100
    told = told_noise(Noise(level, narrow), 200)
    assert told == pytest.approx(more * told_noise(Noise(level), 200), rel=1e-6)


def test_noise_that_neighbours_share_is_told_from_white_noise(brain):
    noise = np.random.default_rng(0).standard_normal(brain.shape, np.float32)
    smooth = gaussian_filter(noise, 0.75)
    narrow = [
        measure_noise(np.where(brain > 0, brain + 0.02 * added / added.std(), 0)).narrow
        for added in (noise, smooth)
    ]
    assert narrow[0] > SHARED_PARTS[1]
    assert narrow[1] < SHARED_PARTS[0]


def test_what_a_network_is_told_rises_with_the_noise():
    levels = np.linspace(0, 0.12, 500)
    told = [told_noise(Noise(level), 1.0) for level in levels]
    assert told == sorted(told)
    for narrow in NARROW_PARTS:
        told = [told_noise(Noise(level, narrow), 1.0) for level in levels]
        assert all(part <= level for part, level in zip(told, levels, strict=True))


def test_the_template_itself_an_average_of_many_has_little(brain):
    assert noise_level(brain) < 0.01


def test_a_volume_without_white_matter_has_no_level():
    assert noise_level(np.zeros((12, 12, 12), np.float32)) == 0
    blob = np.zeros((12, 12, 12), np.float32)
    blob[3:9, 3:9, 3:9] = np.random.default_rng(0).random((6, 6, 6))
    assert noise_level(blob) == 0
