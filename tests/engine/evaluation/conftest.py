"""A phantom brain: three nested tissues in an ellipsoid, and its noisy double."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.volume import Volume

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def phantom_array(shape: tuple[int, int, int] = (40, 48, 36)) -> np.ndarray:
    """Background 0, fluid 0.2, grey matter 0.5, white matter 0.8."""
    centre = [(n - 1) / 2 for n in shape]
    axes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    radius = np.sqrt(
        sum(((x - c) / (0.45 * n)) ** 2 for x, c, n in zip(axes, centre, shape, strict=True))
    )
    out = np.zeros(shape, np.float32)
    for edge, value in ((1.0, 0.2), (0.85, 0.5), (0.6, 0.8)):
        out[radius < edge] = value
    return out


def textured(shape: tuple[int, int, int], voxel_size: float) -> Volume:
    """A phantom with smooth edges and texture: intensities of every value, as a histogram needs."""
    plain = phantom_array(shape)
    texture = gaussian_filter(np.random.default_rng(1).normal(size=shape), 2)
    array = gaussian_filter(plain, 1) + 0.05 * texture / np.abs(texture).max()
    array = np.where(plain > 0, np.maximum(array, 0.01), 0)
    return Volume(array.astype(np.float32), np.diag([voxel_size] * 3 + [1.0]), "textured")


@pytest.fixture
def brain() -> Volume:
    return textured((40, 48, 36), 2.0)


@pytest.fixture
def fine_brain() -> Volume:
    return textured((60, 60, 60), 1.0)


@pytest.fixture
def target() -> Volume:
    return Volume(phantom_array(), AFFINE, "target")


@pytest.fixture
def source(target: Volume) -> Volume:
    noise = np.random.default_rng(0).normal(0, 0.05, target.array.shape)
    return Volume((target.array + noise).astype(np.float32), AFFINE, "source")
