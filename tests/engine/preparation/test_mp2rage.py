"""Uniform images of an MP2RAGE: recognised by their air, which is removed."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.errors import GridError
from napari_mri7t.engine.preparation.mp2rage import combined, is_mp2rage, without_air
from napari_mri7t.engine.volumes.volume import Volume

SHAPE = (48, 56, 44)
AFFINE = np.diag([2.0, 2, 2, 1])


def head_mask():
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return sum(axis**2 for axis in axes) < 0.6


@pytest.fixture
def mp2rage():
    """Uniform image from -0.5 to 0.5 and the magnitudes of its inversions, noise in all."""
    rng = np.random.default_rng(0)
    inside = head_mask()
    tissue = np.where(inside, 1 + gaussian_filter(rng.normal(size=SHAPE), 3), 0)
    first = 30 * (2 * tissue - 1.5) * inside + rng.normal(size=SHAPE)
    second = 60 * inside + rng.normal(size=SHAPE)
    uniform = first * second / (first**2 + second**2)
    volumes = [Volume(a, AFFINE, n) for a, n in ((np.abs(first), "inv1"), (np.abs(second), "inv2"))]
    return Volume(uniform, AFFINE, "uni"), (volumes[0], volumes[1])


@pytest.mark.parametrize("scale", [(1.0, 0.0), (4095.0, 2047.5)])
def test_uniform_image_is_recognised_on_either_scale(mp2rage, scale):
    uniform, _ = mp2rage
    assert is_mp2rage(uniform.with_array(uniform.array * scale[0] + scale[1]))


def test_magnitude_image_is_no_mp2rage(mp2rage):
    _, (first, second) = mp2rage
    assert not is_mp2rage(first)
    assert not is_mp2rage(second)


def test_extracted_brain_is_no_mp2rage(head_brain):
    assert not is_mp2rage(head_brain)


def test_air_becomes_0_and_the_head_keeps_its_contrast(mp2rage):
    uniform, _ = mp2rage
    cleaned = without_air(uniform)
    inside = head_mask()
    assert np.mean(cleaned.array[~inside] == 0) > 0.9
    kept = inside & (cleaned.array > 0)
    assert kept.sum() > 0.9 * inside.sum()
    rises = np.polyfit(uniform.array[kept], cleaned.array[kept], 1)[0]
    assert rises == pytest.approx(1, abs=1e-4)


def test_noise_within_the_head_stays_in_it(mp2rage):
    """As in its sinuses: only the air around a head is removed."""
    uniform, _ = mp2rage
    axes = np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij")
    sinus = sum(axis**2 for axis in axes) < 11**2
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, SHAPE)
    cleaned = without_air(uniform.with_array(np.where(sinus, noise, uniform.array)))
    assert np.mean(cleaned.array[sinus] > 0) > 0.99


def test_robust_combination_is_dark_in_air_and_the_uniform_image_in_the_head(mp2rage):
    uniform, inversions = mp2rage
    robust = combined(uniform, inversions)
    inside = head_mask()
    assert np.percentile(robust.array[~inside], 95) < 0.2
    away = np.abs(robust.array - (uniform.array + 0.5))[inside]
    assert np.median(away) < 0.02
    assert not is_mp2rage(robust)


def test_inversions_on_another_grid_are_refused(mp2rage):
    uniform, (first, second) = mp2rage
    with pytest.raises(GridError, match="one grid"):
        combined(uniform, (first, Volume(second.array[:-1], AFFINE, "inv2")))
    with pytest.raises(GridError, match="one grid"):
        combined(uniform, (Volume(first.array, np.eye(4), "inv1"), second))


def padded(volume, widths):
    """Return a volume with 0 at its faces, `widths` voxels at the front and at all others."""
    front, others = widths
    inner = np.zeros(SHAPE, bool)
    inner[others or None : -others or None, others or None : -(front or others) or None] = True
    inner[..., : others or 0] = False
    inner[..., len(inner[0, 0]) - others :] = False
    return volume.with_array(np.where(inner, volume.array, 0)), inner


@pytest.mark.parametrize("widths", [(0, 2), (0, 5), (12, 0), (12, 3)])
def test_zeros_at_the_faces_hide_no_noise(mp2rage, widths):
    """As a correction of distortions, padding or the removal of the face leaves them."""
    uniform, inversions = mp2rage
    shown, inner = padded(uniform.with_array(uniform.array * 4095 + 2047.5), widths)
    assert is_mp2rage(shown)
    air = inner & ~head_mask()
    robust = combined(shown, tuple(padded(each, widths)[0] for each in inversions))
    assert np.isfinite(robust.array).all()
    assert np.percentile(robust.array[air], 95) < 0.2
    assert not robust.array[~inner].any()
    kept = inner & head_mask()
    away = np.abs(robust.array - (uniform.array + 0.5))[kept]
    assert np.median(away) < 0.02
    cleaned = without_air(shown)
    assert np.mean(cleaned.array[~kept] == 0) > 0.9
    assert np.mean(cleaned.array[kept] > 0) > 0.8


def test_inversions_whose_air_was_removed_are_combined(mp2rage):
    uniform, inversions = mp2rage
    inside = head_mask()
    robust = combined(uniform, tuple(v.with_array(v.array * inside) for v in inversions))
    assert np.isfinite(robust.array).all()
    assert not robust.array[~inside].any()
    assert np.median(np.abs(robust.array - (uniform.array + 0.5))[inside]) < 0.01
