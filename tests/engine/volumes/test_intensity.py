"""Normalisation, matching and its table: against scikit-image and pencil."""

import numpy as np
import pytest
from skimage.exposure import match_histograms

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.brain import fill_brain
from napari_mri7t.engine.volumes.intensity import (
    brain_quantiles,
    check_peak,
    denormalize,
    harmonize,
    histogram_table,
    match_histogram,
    normalize,
    symmetric_limit,
)


def test_normalize_is_min_max_by_default():
    normalized, bounds = normalize(np.array([10.0, 20.0, 30.0]))
    assert normalized.tolist() == [0, 0.5, 1]
    assert bounds == (10, 30)


def test_normalize_takes_percentiles_inside_the_mask_and_clips_nothing():
    array = np.array([0.0, 1, 2, 3, 4, 100])
    normalized, bounds = normalize(array, array < 50, low=25, high=75)
    assert bounds == (1, 3)
    assert normalized.tolist() == [-0.5, 0, 0.5, 1, 1.5, 49.5]


def test_denormalize_undoes_normalize():
    array = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32) * 900
    np.testing.assert_allclose(denormalize(*normalize(array)), array, rtol=1e-5)


@pytest.mark.parametrize(("low", "high"), [(-1, 50), (50, 50), (60, 40), (0, 101)])
def test_percentiles_out_of_order_are_refused(low, high):
    with pytest.raises(ValueError, match="percentiles must satisfy"):
        normalize(np.arange(5.0), low=low, high=high)


def test_constant_volume_is_refused():
    with pytest.raises(VolumeError, match="constant"):
        normalize(np.ones((3, 3, 3)))
    with pytest.raises(VolumeError, match="constant"):
        histogram_table(np.ones((3, 3, 3)), np.arange(27.0))


def test_empty_mask_is_refused():
    with pytest.raises(VolumeError, match="mask is empty"):
        normalize(np.arange(4.0), np.zeros(4, bool))


def test_voxel_that_outshines_the_others_five_times_is_refused(phantom):
    array = phantom.array.copy()
    usual = np.percentile(array[array > 0], 99.9)
    array[20, 24, 16] = 4.5 * usual
    check_peak(phantom.with_array(array))
    array[20, 24, 16] = 5.5 * usual
    with pytest.raises(VolumeError, match="cap such voxels first"):
        check_peak(phantom.with_array(array))


def test_match_histogram_is_that_of_scikit_image():
    generator = np.random.default_rng(0)
    array, reference = generator.random((9, 9, 9)), generator.integers(0, 200, (7, 7, 7)) / 255
    expected = match_histograms(array, reference)
    np.testing.assert_allclose(match_histogram(array, reference), expected, atol=1e-7)


def test_table_maps_as_the_match_does():
    generator = np.random.default_rng(0)
    array = generator.normal(0.4, 0.2, (30, 30, 30)).astype(np.float32)
    reference = generator.integers(0, 256, (30, 30, 30)) / 255
    mapped = histogram_table(array, reference)(array)
    # 1e-3: two of the table's 4096 entries span at most this in the target's range here.
    np.testing.assert_allclose(mapped, match_histogram(array, reference), atol=1e-3)


def test_traces_outside_the_brain_stay_traces(phantom):
    scan = np.where(phantom.array > 0, 300 + 500 * phantom.array, 0).astype(np.float32)
    harmonization = harmonize(scan, brain_quantiles(phantom.array**2))
    trace = np.full(scan.shape, 0.001, np.float32)
    mapped = harmonization.to_scan(trace, scan, fill_brain(scan))
    assert 0 < mapped[scan == 0].max() < 5


def test_filled_brain_has_no_holes_but_keeps_its_outline(phantom):
    holed = phantom.array.copy()
    holed[20, 24, 16] = 0
    assert np.array_equal(fill_brain(holed), fill_brain(phantom.array))
    assert np.array_equal(fill_brain(phantom.array), phantom.array > 0)


def test_limit_covers_almost_all_differences_and_is_never_zero(phantom):
    values = np.zeros(phantom.shape)
    values.flat[:1000] = np.linspace(-1, 1, 1000)
    assert symmetric_limit(values) == 1
    for factor, limit in ((0.13, 0.15), (0.1992, 0.2), (35, 40), (0.0011, 0.0012), (650, 1000)):
        assert symmetric_limit(factor * values) == pytest.approx(limit)
    assert symmetric_limit(np.zeros(phantom.shape)) == 1
    mask = np.zeros(phantom.shape, bool)
    assert symmetric_limit(phantom.array, mask) == 1
