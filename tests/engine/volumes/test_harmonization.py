"""A scan's intensities on a model's scale and back: nothing leaps, nothing is lost."""

import numpy as np
import pytest

from napari_mri7t.engine.volumes.intensity import brain_quantiles, harmonize

STEPS = np.linspace(0, 1, 257)
# A reference as the models have it: 3 % of almost black voxels, then grey and white matter.
REFERENCE = np.interp(STEPS, [0, 0.03, 0.05, 0.5, 0.9, 1], [0.004, 0.02, 0.24, 0.68, 0.98, 1])
CSF, WHITE = 300.0, 860.0


@pytest.fixture
def scan():
    """A brain whose cerebrospinal fluid, 4 % of it, is brighter than the reference's darkest."""
    rng = np.random.default_rng(0)
    tissue = [rng.normal(level, 12, n) for level, n in ((CSF, 400), (670, 5600), (WHITE, 3990))]
    values = np.concatenate([*tissue, np.full(10, 2400.0)])  # vessels
    array = np.zeros((24, 24, 24), np.float32)
    array.reshape(-1)[: len(values)] = rng.permutation(values)
    return array


def back(harmonization, estimate, scan):
    return harmonization.to_scan(estimate, scan, scan > 0)


def test_bright_fluid_does_not_become_black(scan):
    found = harmonize(scan, REFERENCE).to_model(scan)
    fluid = found[(scan > 0) & (scan < 400)]
    assert fluid.min() > 0.08  # by whole quantiles three quarters of it became 0.02 and less


def test_small_error_of_a_network_stays_small_in_the_scan(scan):
    harmonization = harmonize(scan, REFERENCE)
    seen = harmonization.to_model(scan)
    error = back(harmonization, (seen - 0.02).clip(0, 1), scan) - scan
    fluid = (scan > 0) & (scan < 400)
    assert np.abs(error[fluid]).max() < 0.08 * WHITE


def test_scan_comes_back_as_it_was_vessels_included(scan):
    harmonization = harmonize(scan, REFERENCE)
    found = back(harmonization, harmonization.to_model(scan), scan)
    np.testing.assert_allclose(found, scan, rtol=1e-4, atol=1e-2)


def test_estimate_is_never_brighter_than_the_scan(scan):
    harmonization = harmonize(scan, REFERENCE)
    assert back(harmonization, np.ones_like(scan), scan).max() <= scan.max()


def test_estimate_is_never_brighter_than_a_scan_that_is_dimmer_than_the_reference(scan):
    dim = np.minimum(scan, np.quantile(scan[scan > 0], 0.96))
    harmonization = harmonize(dim, REFERENCE)
    assert harmonization.scan[-1] > dim.max()  # what becomes 1 is brighter than all of it
    assert back(harmonization, np.ones_like(dim), dim).max() <= dim.max()


def test_model_sees_the_same_whatever_the_scale(scan):
    first, other = (harmonize(each, REFERENCE).to_model(each) for each in (scan, scan * 7))
    np.testing.assert_allclose(first, other, atol=1e-5)


def test_landmarks_are_those_of_the_reference(scan):
    found = harmonize(scan, REFERENCE).to_model(scan)
    inner = slice(26, 232)  # from the 10th to the 90th percentile
    np.testing.assert_allclose(brain_quantiles(found)[inner], REFERENCE[inner], atol=0.12)
    for part in (0.1, 0.3, 0.5, 0.7, 0.9):
        own = np.quantile(found[scan > 0], part)
        assert own == pytest.approx(np.interp(part, STEPS, REFERENCE), abs=0.01)


def test_scan_with_the_models_distribution_is_left_as_it_is():
    array = np.zeros((9, 9, 9), np.float32)
    array.reshape(-1)[:513] = np.interp(np.linspace(0, 1, 513), STEPS, REFERENCE)
    harmonization = harmonize(array, REFERENCE)
    assert harmonization.scan is None
    assert harmonization.to_model(array) is array


def test_brain_of_two_levels_is_mapped_in_order():
    array = np.zeros((8, 8, 8), np.float32)
    array[:4, 2:] = 100.0
    array[4:, 2:] = 300.0
    found = harmonize(array, REFERENCE).to_model(array)
    assert 0 < found[0, 4, 4] < found[6, 4, 4] <= 1
    assert (found[array == 0] == 0).all()
