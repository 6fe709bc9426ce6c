"""What is wrong with a pair is named."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mri7t.engine.metrics.pair_agreement import PairAgreement
from napari_mri7t.engine.preparation import pair_problems as module
from napari_mri7t.engine.preparation.checks import is_dark_within
from napari_mri7t.engine.preparation.pair_problems import pair_problems
from napari_mri7t.engine.volumes.volume import Volume

GOOD = PairAgreement(1.24, 0.97, 0.2, 0.96, 1.05)


@pytest.fixture(autouse=True)
def tissues(monkeypatch):
    """White matter in the left half of a small grid, grey in the right one."""
    white = np.zeros((4, 4, 4), bool)
    white[:2] = True
    monkeypatch.setattr(module, "_template_tissues", lambda: (white, ~white))


def brain(white, grey):
    array = np.full((4, 4, 4), float(grey))
    array[:2] = white
    return array


@pytest.fixture
def t1w():
    return {"3T": brain(1.0, 0.6), "7T": brain(1.0, 0.7)}


def test_good_pair_has_no_problem(t1w):
    assert pair_problems(GOOD, t1w) == ()
    assert pair_problems(replace(GOOD, boundary_mm=None), t1w) == ()
    assert pair_problems(GOOD, {"3T": None, "7T": None}) == ()


@pytest.mark.parametrize("which", ["3T", "7T"])
def test_wrong_contrast_is_named_with_its_scan(t1w, which):
    (problem,) = pair_problems(replace(GOOD, boundary_mm=2.0), t1w | {which: brain(0.6, 1.0)})
    assert problem.startswith(f"The {which} does not look T1-weighted")


def test_mirrored_scan_is_named(t1w):
    (problem,) = pair_problems(replace(GOOD, mirrored_information=1.3), t1w)
    assert "mirrored left to right" in problem


@pytest.mark.parametrize("figures", [{"mutual_information": 1.055}, {"boundary_mm": 1.54}])
def test_other_person_or_failed_registration_is_named(t1w, figures):
    (problem,) = pair_problems(replace(GOOD, **figures), t1w)
    assert "different people" in problem


def test_copy_of_the_other_scan_is_named(t1w):
    (problem,) = pair_problems(replace(GOOD, correlation=0.9997), t1w)
    assert "a copy of the other: their correlation is 0.9997" in problem
    assert pair_problems(replace(GOOD, correlation=0.99), t1w) == ()


def test_masks_that_differ_are_named(t1w):
    (problem,) = pair_problems(replace(GOOD, overlap=0.7), t1w)
    assert "masks overlap by 0.70" in problem


def test_t1w_brain_brightens_inwards_and_its_inverse_does_not():
    axes = np.meshgrid(*(np.linspace(-80, 80, 41) for _ in range(3)), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    array = np.select([radius < 60, radius < 70], [0.9, 0.6], 0.0)
    t1w = Volume(array, np.diag([4.0, 4, 4, 1]), "t1w")
    assert not is_dark_within(t1w)
    assert is_dark_within(t1w.with_array(np.where(array > 0, 1.5 - array, 0)))
    brightest = np.percentile(array, 95)
    saturated = np.where(array > 0, brightest - np.minimum(array, brightest), 0)
    assert is_dark_within(t1w.with_array(saturated)), "white matter is 0, as the background"
