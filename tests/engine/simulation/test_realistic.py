"""A more truthful pseudo-3T: each part does what its source says, and nothing else."""

import math

import numpy as np
import pytest
import torch

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.simulation import realistic
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
from napari_mri7t.engine.simulation.realistic import Strengths, degrade, lower_resolution
from napari_mri7t.engine.volumes.volume import Volume


def strengths(**given):
    """Nothing is done but what is given."""
    nothing = {"contrast": 1.0, "loss": 0.0, "shading": 0.0, "noise": 0.0, "spread": 0.0}
    values = {name: torch.tensor([value]) for name, value in (nothing | given).items()}
    return Strengths(**values, field=torch.tensor([[1.0] + [0.0] * 8]))


def degraded(array, coarse=None, seed=0, **given):
    clean = torch.from_numpy(array)[None]
    less = clean if coarse is None else torch.from_numpy(coarse)[None]
    generator = torch.Generator().manual_seed(seed)
    white = torch.tensor([0.8])
    return degrade(clean, less, white, strengths(**given), generator)[0].numpy()


@pytest.fixture
def flat():
    array = np.full((40, 40, 40), 0.8, np.float32)
    array[:8] = 0
    return array


def test_without_strength_nothing_is_done(flat):
    flat[20:] = 0.3
    np.testing.assert_allclose(degraded(flat), flat, atol=1e-6)


def test_contrast_moves_grey_against_white_matter():
    array = np.full((4, 4, 4), 0.8, np.float32)
    array[2:] = 0.8 * 0.65
    exponent = math.log(0.5) / math.log(0.65)
    found = degraded(array, contrast=exponent)
    assert found[0, 0, 0] == pytest.approx(0.8)
    assert found[2, 0, 0] == pytest.approx(0.4)


def test_noise_has_the_mean_of_a_rician_distribution_where_there_is_no_signal():
    dark = np.full((40, 40, 40), 1e-6, np.float32)
    found = degraded(dark, noise=0.05)
    assert found.mean() == pytest.approx(0.8 * 0.05 * math.sqrt(math.pi / 2), rel=0.01)


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.25])
def test_noise_has_its_deviation_however_it_is_spread(flat, spread):
    found = degraded(flat, noise=0.03, spread=spread)[10:] / 0.8
    assert found.std() == pytest.approx(0.03, rel=0.03)
    neighbours = np.corrcoef(found[:, 1:].ravel(), found[:, :-1].ravel())[0, 1]
    # Of the kernel (s, 1 - 2s, s): 2 s (1 - 2s) / ((1 - 2s)^2 + 2 s^2).
    expected = 2 * spread * (1 - 2 * spread) / ((1 - 2 * spread) ** 2 + 2 * spread**2)
    assert neighbours == pytest.approx(expected, abs=0.02)


def test_background_stays_zero(flat):
    found = degraded(flat, lower_resolution(flat, (1, 1, 1)), loss=1.0, noise=0.05, shading=0.2)
    assert (found[:8] == 0).all()
    assert (found[8:] > 0).mean() > 0.99


def test_lower_resolution_cuts_k_space_at_voxels_of_one_and_a_quarter_mm():
    x = np.arange(80)
    below, above = (np.cos(2 * np.pi * f * x)[:, None, None] for f in (0.3875, 0.4125))
    whole = (below + above + np.zeros((80, 6, 6))).astype(np.float32)
    expected = np.broadcast_to(below, whole.shape)
    np.testing.assert_allclose(lower_resolution(whole, (1, 1, 1)), expected, atol=1e-5)
    np.testing.assert_allclose(lower_resolution(whole, (1.25, 1, 1)), whole, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_resolution_is_lost_along_fine_axes_alone(axis):
    stripes = np.zeros((12, 12, 12), np.float32)
    np.moveaxis(stripes, axis, 0)[::2] = 1
    coarse, fine = np.ones(3), np.full(3, 1.25)
    coarse[axis], fine[axis] = 1.25, 1
    np.testing.assert_allclose(lower_resolution(stripes, coarse), stripes, atol=1e-5)
    np.testing.assert_allclose(lower_resolution(stripes, fine), 0.5, atol=1e-5)


def test_shading_is_smooth_and_as_strong_as_asked():
    shape = (1, 200, 200, 200)
    drawn = strengths(shading=0.2)
    field = realistic.shading_field(shape, drawn.shading, drawn.field, torch.Generator())[0]
    assert float(field.max() - field.min()) == pytest.approx(0.2, abs=1e-3)
    assert float(field.mean()) == pytest.approx(1, abs=1e-3)
    assert float(field.diff(dim=0).abs().max()) < 0.002


def test_strengths_lie_in_their_ranges_and_differ():
    drawn = realistic.draw_strengths(500, torch.Generator().manual_seed(1))
    ratio = realistic.GREY_TO_WHITE_7T**drawn.contrast
    for values, bounds in (
        (ratio, realistic.GREY_TO_WHITE),
        (drawn.shading, realistic.SHADING),
        (drawn.noise, realistic.NOISE),
        (drawn.spread, realistic.NOISE_SPREAD),
        (drawn.loss, (0, 1)),
    ):
        low, high = bounds
        margin = 0.05 * (high - low)
        assert low - 1e-6 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-6


def test_simulation_takes_the_realistic_preset_and_its_seed(phantom):
    first, other = (
        simulate_3t(phantom, config=SimulationConfig(seed=seed, preset="realistic")).source.array
        for seed in (1, 2)
    )
    again = simulate_3t(phantom, config=SimulationConfig(seed=1, preset="realistic")).source.array
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first[phantom.array <= phantom.array.min()] == 0).all()


def test_reference_gives_a_realistic_source_its_histogram(phantom):
    config = SimulationConfig(seed=1, preset="realistic")
    source, _ = simulate_3t(phantom, reference=phantom, config=config)
    levels = (0.7, 0.8, 0.9, 0.95)
    scaled = phantom.array / phantom.array.max()
    np.testing.assert_allclose(
        np.quantile(source.array, levels), np.quantile(scaled, levels), atol=0.02
    )


def test_volume_without_a_brain_is_refused():
    with pytest.raises(VolumeError, match="no voxel is above 0"):
        realistic.white_of(np.zeros((4, 4, 4)))
    constant = Volume(np.ones((8, 8, 8), np.float32), np.eye(4))
    with pytest.raises(VolumeError, match="constant"):
        simulate_3t(constant, config=SimulationConfig(preset="realistic"))


def test_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="report, realistic"):
        SimulationConfig(preset="real")
