"""Metrics against pencil and paper, and against scikit-image where definitions coincide."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from skimage.metrics import (
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

from napari_mri7t.engine.errors import GridError
from napari_mri7t.engine.metrics import basic
from napari_mri7t.engine.metrics.similarity import ssim_map
from napari_mri7t.engine.texts import to_json
from napari_mri7t.engine.volumes.volume import Volume

SHAPE = (16, 14, 3)


def scikit_ssim(x: np.ndarray, y: np.ndarray, data_range: float) -> np.ndarray:
    """SSIM maps of every axial slice, cropped to where the window fits, as scikit-image sees it."""
    maps = [
        structural_similarity(
            x[..., k].astype(np.float64),
            y[..., k].astype(np.float64),
            data_range=data_range,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )[1]
        for k in range(x.shape[2])
    ]
    return np.stack(maps, axis=2)[5:-5, 5:-5]


def test_mae_is_the_mean_of_absolute_differences():
    reference = np.zeros((1, 2, 2))
    estimate = np.array([[[1.0, -1.0], [0.0, 4.0]]])
    assert basic.mae(reference, estimate) == 1.5  # (1 + 1 + 0 + 4) / 4


def test_mae_in_a_mask_ignores_the_rest():
    estimate = np.array([[[1.0, -1.0], [0.0, 4.0]]])
    mask = np.array([[[True, False], [False, True]]])
    assert basic.mae(np.zeros((1, 2, 2)), estimate, mask=mask) == 2.5


def test_psnr_of_a_tenth_of_the_range_everywhere_is_20_db():
    assert basic.psnr(np.zeros(SHAPE), np.full(SHAPE, 0.1), data_range=1) == pytest.approx(20)
    assert basic.psnr(np.zeros(SHAPE), np.full(SHAPE, 25.5), data_range=255) == pytest.approx(20)


def test_psnr_agrees_with_scikit_image(source, target):
    expected = peak_signal_noise_ratio(
        target.array.astype(np.float64), source.array.astype(np.float64), data_range=1
    )
    assert basic.psnr(target.array, source.array, data_range=1) == pytest.approx(expected, 1e-12)


def test_psnr_of_identical_volumes_is_infinite():
    assert basic.psnr(np.ones(SHAPE), np.ones(SHAPE), data_range=1) == math.inf


def test_unsigned_integers_do_not_wrap_around():
    reference, estimate = np.full(SHAPE, 3, np.uint8), np.full(SHAPE, 1, np.uint8)
    assert basic.mae(reference, estimate) == 2
    assert basic.psnr(reference, estimate, data_range=20) == pytest.approx(20)


def test_nrmse_agrees_with_scikit_image(source, target):
    x, y = target.array.astype(np.float64), source.array.astype(np.float64)
    assert basic.nrmse(x, y) == pytest.approx(normalized_root_mse(x, y), 1e-12)


def test_nrmse_of_zeros_is_one_inside_the_mask(target):
    brain = target.array > 0
    zeros = np.zeros_like(target.array)
    assert basic.nrmse(target.array, zeros, mask=brain) == pytest.approx(1)


def test_nrmse_refuses_a_reference_of_zeros():
    with pytest.raises(ValueError, match="nothing to normalise by"):
        basic.nrmse(np.zeros(SHAPE), np.ones(SHAPE))


@pytest.mark.parametrize(("a", "b"), [(0.2, 0.2), (0.0, 1.0), (0.3, 0.6)])
def test_ssim_of_two_constants_is_the_luminance_term(a, b):
    expected = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)  # K1 = 0.01, no variance, by hand
    got = basic.ssim(np.full(SHAPE, a), np.full(SHAPE, b), data_range=1)
    assert got == pytest.approx(expected, rel=1e-9)


def test_ssim_scales_with_the_data_range(source, target):
    one = basic.ssim(target.array, source.array, data_range=1)
    many = basic.ssim(255 * target.array, 255 * source.array, data_range=255)
    assert many == pytest.approx(one, rel=1e-6)  # float32 products


def test_ssim_agrees_with_scikit_image_slice_by_slice(source, target):
    expected = scikit_ssim(target.array, source.array, 1.0)
    got = ssim_map(target.array, source.array, data_range=1)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    assert basic.ssim(target.array, source.array, data_range=1) == pytest.approx(expected.mean())


def test_ssim_does_not_depend_on_memory_order(source, target):
    plain = basic.ssim(target.array, source.array, data_range=1)
    fortran = basic.ssim(np.asfortranarray(target.array), source.array[::-1][::-1], data_range=1)
    assert fortran == plain


def test_masked_ssim_averages_the_map_over_the_mask(source, target):
    brain = target.array > 0
    expected = scikit_ssim(target.array, source.array, 1.0)[brain[5:-5, 5:-5]].mean()
    got = basic.ssim(target.array, source.array, data_range=1, mask=brain)
    assert got == pytest.approx(expected)


def test_masked_ssim_leaves_out_voxels_at_the_border():
    reference, estimate = np.zeros(SHAPE), np.zeros(SHAPE)
    estimate[8, 7, 0] = 1
    mask = np.zeros(SHAPE, bool)
    mask[8, 7, 0] = True
    inside = basic.ssim(reference, estimate, data_range=1, mask=mask)
    mask[0] = True  # a whole face of the volume, where no window fits
    assert basic.ssim(reference, estimate, data_range=1, mask=mask) == inside


def test_ssim_refuses_a_mask_that_lies_on_the_border_only():
    mask = np.zeros(SHAPE, bool)
    mask[0] = True
    with pytest.raises(ValueError, match="5 or more from a slice's border"):
        basic.ssim(np.zeros(SHAPE), np.zeros(SHAPE), data_range=1, mask=mask)


@pytest.mark.parametrize("shape", [(10, 20, 5), (20, 10, 5), (20, 20)])
def test_ssim_refuses_slices_smaller_than_its_window(shape):
    with pytest.raises(ValueError, match="at least 11 x 11"):
        basic.ssim(np.zeros(shape), np.zeros(shape), data_range=1)


@pytest.mark.parametrize("data_range", [0, -1, math.nan, math.inf])
def test_a_data_range_that_is_no_range_is_refused(data_range):
    with pytest.raises(ValueError, match="data_range"):
        basic.psnr(np.zeros(SHAPE), np.zeros(SHAPE), data_range=data_range)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        basic.mae(np.zeros(SHAPE), np.zeros((16, 14, 4)))
    with pytest.raises(ValueError, match="mask's shape"):
        basic.mae(np.zeros(SHAPE), np.zeros(SHAPE), mask=np.ones((2, 2, 2), bool))
    with pytest.raises(ValueError, match="mask's shape"):
        basic.ssim(np.zeros(SHAPE), np.zeros(SHAPE), data_range=1, mask=np.ones((12, 12, 3), bool))


def test_values_that_are_not_finite_are_refused():
    bad = np.zeros(SHAPE)
    bad[0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="estimate: holds NaN"):
        basic.mae(np.zeros(SHAPE), bad)


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="empty"):
        basic.mae(np.zeros(SHAPE), np.zeros(SHAPE), mask=np.zeros(SHAPE, bool))


def test_compare_gives_both_regions_and_takes_the_brain_from_the_reference(source, target):
    scores = basic.compare(target, source)
    x, y, brain = target.array, source.array, target.array > 0
    assert scores == {
        "whole": {
            "mae": basic.mae(x, y),
            "psnr": basic.psnr(x, y, data_range=1),
            "ssim": basic.ssim(x, y, data_range=1),
        },
        "brain": {
            "mae": basic.mae(x, y, mask=brain),
            "psnr": basic.psnr(x, y, data_range=1, mask=brain),
            "ssim": basic.ssim(x, y, data_range=1, mask=brain),
        },
    }


def test_compare_uses_the_mask_it_is_given(source, target):
    white = target.with_array((target.array > 0.7).astype(np.float32))
    scores = basic.compare(target, source, mask=white)
    expected = basic.mae(target.array, source.array, mask=target.array > 0.7)
    assert scores["brain"]["mae"] == expected


def test_compare_refuses_other_grids(source, target):
    shifted = target.affine.copy()
    shifted[0, 3] += 1
    moved = Volume(source.array, shifted, "moved")
    with pytest.raises(GridError):
        basic.compare(target, moved)
    with pytest.raises(GridError):
        basic.compare(target, source, mask=moved)


def test_compare_refuses_an_empty_mask(source, target):
    nothing = Volume(np.zeros_like(target.array), target.affine, "nothing")
    with pytest.raises(ValueError, match="nothing: the mask holds no voxel"):
        basic.compare(target, source, mask=nothing)


def test_scores_of_identical_volumes_become_strict_json(target):
    text = to_json(basic.compare(target, target))
    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert float(read["brain"]["psnr"]) == math.inf
    assert read["whole"]["ssim"] == pytest.approx(1)


def test_to_json_writes_numpy_numbers_lists_and_nan():
    text = to_json({"a": [np.float32(0.5), math.nan, -math.inf, "b"]}, indent=None)
    assert text == '{"a": [0.5, "NaN", "-Infinity", "b"]}'


def test_brain_of_a_z_scored_reference_is_the_whole_brain(phantom):
    inside = phantom.array > 0
    scores = (phantom.array - phantom.array[inside].mean()) / phantom.array[inside].std()
    reference = phantom.with_array(np.where(inside, scores, 0))
    estimate = reference.with_array(np.where(inside & (scores < 0), scores + 1, reference.array))
    found = basic.compare(reference, estimate)["brain"]["mae"]
    assert found == pytest.approx(np.mean(scores[inside] < 0), abs=1e-6)
