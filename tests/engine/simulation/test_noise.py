"""Noise of random strength: what is told of it is what it is, and the target has none."""

import numpy as np
import pytest
import torch

from napari_mri7t.engine.simulation import noise
from napari_mri7t.engine.simulation.noise import NoiseStrengths, add_scan_noise, draw_noise
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, preview_plane, simulate_3t
from napari_mri7t.engine.volumes.volume import Volume


def strengths(**given):
    """Nothing is done but what is given."""
    nothing = dict.fromkeys(
        ("sigma", "smoothing", "smoothness", "loss", "variation", "shading"), 0.0
    )
    values = nothing | {"exponent": 1.0, "level": 1.0} | given
    along = torch.tensor([[1.0] + [0.0] * 8])
    tensors = {name: torch.tensor([value]) for name, value in values.items() if name != "smoothing"}
    tensors["smoothing"] = torch.as_tensor(values["smoothing"], dtype=torch.float32).expand(1, 3)
    return NoiseStrengths(**tensors, variation_field=along, shading_field=along)


def noisy(clean, coarse=None, **given):
    generator = torch.Generator().manual_seed(0)
    pair = [torch.as_tensor(each)[None] for each in (clean, clean if coarse is None else coarse)]
    return [each[0].numpy() for each in add_scan_noise(*pair, strengths(**given), generator)]


@pytest.fixture
def flat():
    array = np.full((30, 40, 40), 0.8, np.float32)
    array[:8] = 0
    return array


def test_without_strength_nothing_is_done(flat):
    source, target, level = noisy(flat)
    np.testing.assert_allclose(source, flat, atol=1e-6)
    np.testing.assert_allclose(target, flat, atol=1e-6)
    assert not level.any()


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 0.8, (0.0, 0.4, 0.8)])
def test_the_level_is_the_deviation_of_the_noise_also_where_it_is_correlated(flat, smoothing):
    source, target, level = noisy(flat, sigma=0.05, smoothing=smoothing)
    np.testing.assert_allclose(level, 0.05)
    assert (source - target)[8:].std() == pytest.approx(0.05, rel=0.03)


def test_smoothed_noise_is_shared_by_neighbours(flat):
    found = [(lambda s, t, _: s - t)(*noisy(flat, sigma=0.05, smoothing=s))[8:] for s in (0, 0.6)]
    shared = [np.corrcoef(each[:, :, 1:].ravel(), each[:, :, :-1].ravel())[0, 1] for each in found]
    side = np.exp(-0.5 / 0.6**2)  # of three weights: side, 1, side
    assert shared[0] == pytest.approx(0, abs=0.02)
    assert shared[1] == pytest.approx(2 * side / (1 + 2 * side**2), abs=0.02)


def test_noise_is_smoothed_along_each_axis_by_its_own_gaussian(flat):
    source, target, _ = noisy(flat, sigma=0.05, smoothing=(0.0, 0.4, 0.8))
    noise_there = (source - target)[8:]
    for axis, sigma in enumerate((0.0, 0.4, 0.8)):
        along = np.moveaxis(noise_there, axis, 0)
        side = np.exp(-0.5 / max(sigma, 0.05) ** 2)
        shared = np.corrcoef(along[1:].ravel(), along[:-1].ravel())[0, 1]
        assert shared == pytest.approx(2 * side / (1 + 2 * side**2), abs=0.02)


def test_noise_that_varies_in_space_is_told_voxel_by_voxel():
    clean = np.full((40, 60, 60), 0.8, np.float32)
    source, target, level = noisy(clean, sigma=0.05, variation=0.6)
    assert level.max() > 1.05 * level.min()
    assert ((source - target) / level).std() == pytest.approx(1, rel=0.02)


def test_tones_change_alike_in_source_and_target(flat):
    flat[20:] = 0.5
    source, target, _ = noisy(flat, exponent=2.0, level=0.5)
    np.testing.assert_allclose(source, target, atol=1e-6)
    np.testing.assert_allclose(target, 0.5 * flat**2, atol=1e-6)


def test_resolution_is_lost_by_the_source_alone(flat):
    source, target, _ = noisy(flat, coarse=0.5 * flat, loss=1.0)
    np.testing.assert_allclose(source, 0.5 * target, atol=1e-6)


@pytest.mark.parametrize("smoothness", [0.4, 0.8])
def test_source_and_target_are_smoothed_alike_and_flat_tissue_stays(flat, smoothness):
    flat[:, :, 20:] = 0.4
    source, target, _ = noisy(flat, smoothness=smoothness)
    np.testing.assert_allclose(source, target, atol=1e-6)
    np.testing.assert_allclose(target[12:, :, :18], 0.8, atol=1e-5)
    side = np.exp(-0.5 / smoothness**2)
    expected = 0.8 - 0.4 * side / (1 + 2 * side)  # at the edge, one of three weights crosses it
    np.testing.assert_allclose(target[12:, 5:-5, 19], expected, atol=1e-5)


def test_smoothness_is_of_the_brain_not_of_the_noise(flat):
    found = [noisy(flat, sigma=0.05, smoothness=smoothness) for smoothness in (0.0, 0.8)]
    plain, smooth = ((source - target)[12:] for source, target, _ in found)
    np.testing.assert_allclose(plain, smooth, atol=1e-4)


def test_background_stays_zero_and_no_intensity_is_negative(flat):
    source, target, _ = noisy(flat, sigma=0.5)
    assert not source[:8].any()
    assert not target[:8].any()
    assert source.min() == 0


def test_strengths_are_drawn_within_their_bounds():
    drawn = draw_noise(2000, torch.Generator().manual_seed(0))
    for values, (low, high) in (
        (drawn.sigma, (0, noise.LARGEST_NOISE)),
        (drawn.level, noise.LEVEL),
    ):
        assert low <= values.min() < low + 0.02
        assert high - 0.02 < values.max() <= high
    assert drawn.exponent.log().std().item() == pytest.approx(noise.TONE_DEVIATION, rel=0.1)
    correlated = (drawn.smoothing > 0).float()
    assert correlated.mean().item() == pytest.approx(noise.CORRELATED, abs=0.05)
    assert torch.equal(correlated.amin(1), correlated.amax(1))
    assert (drawn.loss > 0).float().mean().item() == pytest.approx(noise.LOSING, abs=0.05)
    assert (drawn.smoothness > 0).float().mean().item() == pytest.approx(noise.SMOOTH, abs=0.05)
    assert drawn.smoothness.max() <= noise.LARGEST_SMOOTHNESS


def test_a_volume_is_simulated_from_its_seed_and_previewed(flat):
    inside = np.pad(np.linspace(0.5, 1, 36, dtype=np.float32), 2)
    brain = Volume(flat * inside, np.eye(4), name="brain")
    config = SimulationConfig(preset="noise", seed=3)
    source, target = simulate_3t(brain, config=config)
    again, _ = simulate_3t(brain, config=config)
    assert np.array_equal(source.array, again.array)
    assert not source.array[:8].any()
    assert (source.array != target.array)[8:, :, 2:-2].mean() > 0.99
    assert preview_plane(brain, (0, 20), config=config).shape == (40, 40)
