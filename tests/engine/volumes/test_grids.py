"""Resampling from grid to grid, by pencil: smoothing in mm, no overshoot, boxes that hold all."""

import numpy as np
import pytest

from napari_mri7t.engine.volumes.grids import (
    CUBIC,
    bounding_box_mm,
    downsample,
    resample,
    upright_grid,
)
from napari_mri7t.engine.volumes.volume import Volume


def test_smoothing_against_aliasing_is_in_mm():
    """All in half the mm: the same numbers."""
    array = np.random.default_rng(0).random((24, 24, 24))
    whole, half = (
        downsample(
            Volume(array, np.diag([mm, mm, mm, 1])),
            Volume(np.zeros((6, 6, 6)), np.diag([4 * mm, 4 * mm, 4 * mm, 1])),
        )
        for mm in (1.0, 0.5)
    )
    np.testing.assert_allclose(whole, half, atol=1e-6)
    assert whole[1:-1, 1:-1, 1:-1].std() < array.std() / 5


def test_splines_do_not_overshoot_the_intensities():
    block = np.zeros((12, 12, 12))
    block[4:8, 4:8, 4:8] = 100
    affine = np.eye(4)
    affine[:3, 3] = 0.5
    found = resample(Volume(block, np.eye(4)), Volume(block, affine), order=CUBIC)
    assert (found.min(), found.max()) == (0, 100)


@pytest.mark.parametrize("voxel_size", [0.7, 2.0, 3.0])
def test_upright_grid_covers_the_box_around_a_turned_mask(voxel_size):
    mask = np.zeros((10, 12, 14), bool)
    mask[2:9, 3:11, 1:13] = True
    cosine, sine = np.cos(0.3), np.sin(0.3)
    affine = np.eye(4)
    affine[:2, :2] = [[cosine, -sine], [sine, cosine]]
    corners = bounding_box_mm(mask, affine)
    places = np.argwhere(mask) @ affine[:3, :3].T
    np.testing.assert_allclose(corners, [places.min(axis=0), places.max(axis=0)], atol=1e-9)
    grid = upright_grid(corners, voxel_size)
    ends = grid.affine[:3, 3], grid.affine[:3, :3] @ (np.array(grid.shape) - 1) + corners[0]
    assert (ends[0] <= corners[0] + 1e-9).all()
    assert (ends[1] >= corners[1] - 1e-9).all()
