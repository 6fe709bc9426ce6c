"""The grid of a pair: what is smoothed, what is continued, and how far the box reaches."""

import numpy as np
import pytest

from napari_mri7t.engine.preparation import pair_grid
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.volumes.volume import Volume

TURNED = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # x and y exchanged


def side_of(array, mask, affine=None):
    scan = Volume(array, np.eye(4) if affine is None else affine)
    return Prepared(scan, scan, mask, np.eye(4), 0.8)


def test_scan_that_lies_across_the_grid_is_smoothed_along_its_own_fine_axis():
    """Stripes along the scan's x axis, which is the y axis of the grid, where voxels are coarse."""
    stripes = np.zeros((12, 12, 12))
    stripes[::2] = 1
    side = side_of(stripes, np.ones(stripes.shape, bool))
    grid = Volume(np.zeros((12, 6, 12)), np.diag([1.0, 2, 1, 1]))
    made, _ = pair_grid.on_grid((side, side), grid, (TURNED, TURNED))
    for array in made:
        assert 0.4 < array[:, 1:-1].mean() < 0.8  # 1 without smoothing, 0.5 at best


def test_air_around_a_head_stays_dark():
    """Only what was cut out of its head is continued beyond its surface."""
    head = np.pad(np.full((10, 10, 10), 40.0), 5)
    head[8:12, 8:12, 8:12] = 100
    mask = head == 100
    side = side_of(head, mask)
    shift = np.eye(4)
    shift[:3, 3] = 0.4
    made, _ = pair_grid.on_grid((side, side), side.scan, (shift, shift))
    for array in made:
        assert array[2, 2, 2] == pytest.approx(0, abs=1e-3)


def test_scan_that_begins_where_the_grid_begins_still_gets_its_shape():
    small = np.zeros((10, 10, 10))
    small[3:7, 3:7, 3:7] = 100
    side = side_of(small, small > 0)
    grid = Volume(np.zeros((12, 13, 14)), np.eye(4))
    made, masks = pair_grid.on_grid((side, side), grid, (np.eye(4), np.eye(4)))
    assert {array.shape for array in (*made, *masks)} == {grid.shape}


def test_mask_on_a_shifted_grid_keeps_its_size():
    brain = np.zeros((20, 20, 20))
    brain[5:15, 5:15, 5:15] = 100
    side = side_of(brain, brain > 0)
    shift = np.eye(4)
    shift[:3, 3] = 0.4
    _, masks = pair_grid.on_grid((side, side), side.scan, (shift, shift))
    for mask in masks:
        assert mask.sum() == pytest.approx(side.mask.sum(), rel=0.1)


def test_grid_of_a_voxel_size_holds_the_brain_and_a_margin():
    brain = np.zeros((30, 30, 30))
    brain[12:18, 12:18, 12:18] = 100
    affine = np.diag([2.0, 2, 2, 1])
    grid, transform = pair_grid.grid_of(1.0, side_of(brain, brain > 0, affine))
    np.testing.assert_array_equal(transform, np.eye(4))
    assert grid.voxel_size == (1.0,) * 3
    low = grid.affine[:3, 3]
    high = low + np.array(grid.shape) - 1
    assert (low <= 24 - 9).all(), "a brain's edge is not the grid's"
    assert (high >= 34 + 9).all()


def test_voxels_that_interpolation_took_below_0_stay_in_the_brain():
    array = np.full((6, 6, 6), 100.0, np.float32)
    array[2, 2, 2] = -3
    mask = np.ones(array.shape, bool)
    mask[0] = False
    made = pair_grid.masked(array, mask, Volume(array, np.eye(4)), "brain").array
    np.testing.assert_array_equal(made > 0, mask)
