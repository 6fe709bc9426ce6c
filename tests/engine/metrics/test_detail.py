"""Fine-detail metrics against scikit-image, scipy on whole volumes, and arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_laplace
from skimage.metrics import structural_similarity

from napari_mri7t.engine.metrics import detail
from napari_mri7t.engine.volumes.grids import bounding_box


def test_ssim_3d_agrees_with_scikit_image(source, target):
    brain = target.array > 0
    _, expected = structural_similarity(
        target.array.astype(np.float64),
        source.array.astype(np.float64),
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inner = (slice(5, -5),) * 3
    got = detail.ssim_3d(target.array, source.array, data_range=1, mask=brain)
    assert got == pytest.approx(expected[inner][brain[inner]].mean(), abs=1e-12)


def test_ssim_3d_sees_slices_that_disagree_where_ssim_does_not(target):
    from napari_mri7t.engine.metrics import basic

    brain = target.array > 0
    flicker = target.array * np.where(np.arange(target.array.shape[2]) % 2, 0.9, 1.1)
    smooth = target.array * np.linspace(0.9, 1.1, target.array.shape[2])
    in_plane = [
        basic.ssim(target.array, array, data_range=1, mask=brain) for array in (flicker, smooth)
    ]
    in_space = [
        detail.ssim_3d(target.array, array, data_range=1, mask=brain) for array in (flicker, smooth)
    ]
    assert in_space[0] - in_space[1] < in_plane[0] - in_plane[1] - 0.005


def test_ssim_3d_refuses_what_its_window_does_not_fit():
    flat = np.zeros((20, 20, 10))
    with pytest.raises(ValueError, match="at least 11 voxels"):
        detail.ssim_3d(flat, flat, data_range=1, mask=flat == 0)
    cube, face = np.zeros((20, 20, 20)), np.zeros((20, 20, 20), bool)
    face[0] = True
    with pytest.raises(ValueError, match="mask is empty"):
        detail.ssim_3d(cube, cube, data_range=1, mask=face)
    with pytest.raises(ValueError, match="mask's shape"):
        detail.ssim_3d(cube, cube, data_range=1, mask=flat == 0)


def test_hfen_of_a_reference_made_ten_percent_brighter_is_a_tenth(target):
    # LoG is linear: ||LoG(0.1 x)|| / ||LoG(x)||
    got = detail.hfen(target.array, 1.1 * target.array, mask=target.array > 0)
    assert got == pytest.approx(0.1, rel=1e-5)  # float32 product


def test_hfen_in_the_bounding_box_is_that_of_the_whole_volume(source, target):
    brain = target.array > 0.4
    x = target.array.astype(np.float64)
    reference = gaussian_laplace(x, 1.5, truncate=7 / 1.5)[brain]
    error = gaussian_laplace(source.array - x, 1.5, truncate=7 / 1.5)[brain]
    expected = np.linalg.norm(error) / np.linalg.norm(reference)
    assert detail.hfen(target.array, source.array, mask=brain) == pytest.approx(expected, rel=1e-9)


def test_hfen_refuses_a_flat_reference():
    flat = np.ones((8, 8, 8))
    with pytest.raises(ValueError, match="flat inside the mask"):
        detail.hfen(np.zeros((8, 8, 8)), flat, mask=flat > 0)


def test_gradient_error_of_two_ramps_is_the_difference_of_their_slopes():
    ramp = np.broadcast_to(np.arange(6.0)[:, None, None], (6, 5, 4))
    everywhere = np.ones(ramp.shape, bool)
    got = detail.gradient_error(2 * ramp, 5 * ramp, mask=everywhere, voxel_size=(2.0, 1.0, 1.0))
    assert got == pytest.approx((5 - 2) / 2)  # per mm, voxels of 2 mm


def test_gradient_error_in_the_bounding_box_is_that_of_the_whole_volume(source, target):
    brain = target.array > 0.4
    lengths = [
        np.sqrt(sum(g**2 for g in np.gradient(array.astype(np.float64))))[brain]
        for array in (target.array, source.array)
    ]
    expected = np.abs(lengths[1] - lengths[0]).mean()
    assert detail.gradient_error(target.array, source.array, mask=brain) == pytest.approx(expected)


def test_blurring_costs_detail(target):
    brain = target.array > 0
    blurred = gaussian_filter(target.array, 1.5)
    assert detail.hfen(target.array, blurred, mask=brain) > 0.3
    assert detail.gradient_error(target.array, blurred, mask=brain) > 0.01


def test_bounding_box_stops_at_the_array():
    mask = np.zeros((9, 9, 9), bool)
    mask[1:3, 4, 8] = True
    assert mask[bounding_box(mask, 2)].shape == (5, 5, 3)
