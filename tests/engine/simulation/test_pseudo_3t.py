"""Pseudo-3T as the report makes it."""

import numpy as np
import pytest
from skimage.exposure import match_histograms

from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t


def test_source_is_noise_then_match_as_in_the_report(phantom):
    reference = phantom.with_array(phantom.array[::-1] ** 2 * 255)
    source, target = simulate_3t(phantom, reference=reference, config=SimulationConfig(seed=3))
    clean = (phantom.array - phantom.array.min()) / np.ptp(phantom.array)
    matched_to = reference.array / reference.array.max()
    noise = np.random.default_rng(3).standard_normal(clean.shape, dtype=np.float32)
    noisy = clean + np.float32(0.003**0.5) * noise
    np.testing.assert_allclose(source.array, match_histograms(noisy, matched_to), atol=1e-6)
    np.testing.assert_allclose(target.array, match_histograms(clean, matched_to), atol=1e-6)


def test_target_is_only_normalized_where_there_is_no_reference(phantom):
    _, target = simulate_3t(phantom.with_array(phantom.array * 400))
    np.testing.assert_allclose(target.array, phantom.array / phantom.array.max(), atol=1e-6)


def test_without_noise_the_seed_changes_nothing(phantom):
    flat = phantom.with_array(np.where(phantom.array > 0.5, 1.0, 0.0))
    source, _ = simulate_3t(flat, reference=phantom, config=SimulationConfig(variance=0.0))
    again, _ = simulate_3t(flat, reference=phantom, config=SimulationConfig(variance=0.0, seed=9))
    np.testing.assert_array_equal(source.array, again.array)


def test_same_seed_gives_the_same_volume(phantom):
    first, _ = simulate_3t(phantom, config=SimulationConfig(seed=1))
    second, _ = simulate_3t(phantom, config=SimulationConfig(seed=1))
    other, _ = simulate_3t(phantom, config=SimulationConfig(seed=2))
    assert np.array_equal(first.array, second.array)
    assert not np.array_equal(first.array, other.array)


def test_both_stay_on_the_targets_grid(phantom):
    for volume in simulate_3t(phantom):
        np.testing.assert_array_equal(volume.affine, phantom.affine)


@pytest.mark.parametrize("settings", [{"variance": -1}, {"variance": float("nan")}, {"seed": -1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="must be"):
        SimulationConfig(**settings)
