"""How much a bias field varies: only in the brain, where it is used."""

import numpy as np
import pytest

from napari_mri7t.engine.preparation.bias_field import estimate_bias_field, strength_of
from napari_mri7t.engine.volumes.volume import Volume


def test_field_lies_where_the_shading_is():
    """N4 sees every fourth voxel: its first and last are not those of the scan."""
    pytest.importorskip("SimpleITK")
    shape = (66, 58, 50)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    mask = sum(axis**2 for axis in axes) < 0.8
    shading = 0.8 * axes[0] ** 2 + 0.3 * axes[0]
    texture = 500 + np.random.default_rng(0).integers(-40, 41, shape)
    scan = Volume(np.where(mask, texture * np.exp(shading), 0), np.eye(4))
    field = estimate_bias_field(scan, mask, convergence=1e-5, n_levels=4)
    left = np.log(field[mask]) - shading[mask]
    assert abs(np.polyfit(axes[0][mask], left, 1)[0]) < 0.01, "no part of it is shifted"


def test_strength_of_a_field_is_that_in_the_brain():
    field = np.ones((4, 4, 4), np.float32)
    mask = np.zeros(field.shape, bool)
    mask[:2] = True
    field[2:] = np.linspace(0.1, 9, 32).reshape(2, 4, 4)
    assert strength_of(field, mask) == 0
