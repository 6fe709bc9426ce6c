"""Tissue clustering and contrast on phantoms whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.metrics import tissue


def test_clustering_finds_the_three_tissues_of_the_phantom(source, target):
    brain = target.array > 0
    labels = tissue.cluster_tissues(source.array, brain)  # noise of 0.05 between steps of 0.3
    expected = np.searchsorted([0.1, 0.35, 0.65], target.array)
    assert (labels == expected)[brain].mean() > 0.99
    assert (labels[~brain] == 0).all()


def test_clustering_is_the_same_every_time(source, target):
    brain = target.array > 0
    first, second = (tissue.cluster_tissues(source.array, brain) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("levels", [[0.5], [0.2, 0.8]])
def test_clustering_refuses_a_volume_without_three_groups(levels):
    array = np.resize(levels, (6, 6, 6))
    with pytest.raises(ValueError, match="three tissues"):
        tissue.cluster_tissues(array, np.ones(array.shape, bool))


def test_contrast_by_hand():
    tissues = np.array([[[2, 2, 3, 3, 1]]], np.uint8)
    array = np.array([[[0.4, 0.6, 0.7, 0.9, 9.0]]])
    # means 0.5 and 0.8, both standard deviations 0.1: CNR = 0.3 / sqrt(0.02), CJV = 0.2 / 0.3
    cnr, cjv = tissue.tissue_contrast(array, tissues)
    assert cnr == pytest.approx(0.3 / math.sqrt(0.02))
    assert cjv == pytest.approx(2 / 3)


def test_contrast_without_spread_or_without_step_is_infinite():
    tissues = np.array([[[2, 2, 3, 3]]], np.uint8)
    cnr, cjv = tissue.tissue_contrast(np.array([[[1.0, 1.0, 2.0, 2.0]]]), tissues)
    assert (cnr, cjv) == (math.inf, 0)
    cnr, cjv = tissue.tissue_contrast(np.array([[[1.0, 2.0, 1.0, 2.0]]]), tissues)
    assert (cnr, cjv) == (0, math.inf)


def test_flattened_contrast_correlates_with_the_anatomy(target):
    flat = 0.5 + 0.5 * target.array  # error = 0.5 - 0.5 reference: r = -1
    got = tissue.error_anatomy_correlation(target.array, flat, mask=target.array > 0)
    assert got == pytest.approx(-1)


def test_correlation_agrees_with_numpy(source, target):
    brain = target.array > 0
    x, y = target.array[brain].astype(np.float64), source.array[brain].astype(np.float64)
    expected = np.corrcoef(y - x, x)[0, 1]
    got = tissue.error_anatomy_correlation(target.array, source.array, mask=brain)
    assert got == pytest.approx(expected, abs=1e-12)
    assert abs(got) < 0.02  # noise knows no anatomy


def test_a_constant_error_correlates_with_nothing(target):
    reference = target.array.astype(np.float64)
    got = tissue.error_anatomy_correlation(reference, reference, mask=reference > 0)
    assert got == 0


def test_the_error_of_a_blur_sits_on_the_edges_and_that_of_noise_does_not(source, target):
    brain = target.array > 0
    blurred = gaussian_filter(target.array, 1)
    on_edges = tissue.error_edge_correlation(target.array, blurred, mask=brain)
    anywhere = tissue.error_edge_correlation(target.array, source.array, mask=brain)
    assert on_edges > 0.8
    assert abs(anywhere) < 0.05
