"""Spheres of the right size in fitting places, and their contrast measured without the anatomy."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.evaluation import robustness
from napari_mri7t.engine.evaluation.robustness import Lesion, LesionConfig
from napari_mri7t.engine.progress import Progress

SMALL = LesionConfig(diameters_mm=(4.0, 8.0), n_each=2, variance=0.0005)


def as_is(volume, report):
    report(Progress(0, 1, "one step"))
    return volume


@pytest.mark.parametrize("diameter", [2.0, 4.0, 8.0])
@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (0.7, 1.0, 2.0)])
def test_a_sphere_has_its_volume(diameter, voxel_size):
    _, share = robustness.occupancy(Lesion((15, 15, 15), diameter, 1), (31, 31, 31), voxel_size)
    volume = share.sum() * np.prod(voxel_size)
    assert volume == pytest.approx(math.pi / 6 * diameter**3, rel=0.1)  # 5 points a side
    assert share.min() >= 0
    assert share.max() == 1 or diameter == 2


def test_a_sphere_lies_around_its_centre():
    box, share = robustness.occupancy(Lesion((10, 12, 14), 5, 1), (31, 31, 31), (1, 1, 1))
    assert [(part.start + part.stop - 1) / 2 for part in box] == [10, 12, 14]
    np.testing.assert_array_equal(share, share[::-1, ::-1, ::-1])


def test_a_sphere_at_the_edge_is_cut():
    box, share = robustness.occupancy(Lesion((0, 5, 5), 4, 1), (9, 9, 9), (1, 1, 1))
    assert box[0].start == 0
    assert share.shape == tuple(part.stop - part.start for part in box)


@pytest.fixture
def placed(brain) -> list[Lesion]:
    return robustness.place_lesions(brain.array, brain.voxel_size, SMALL)


def test_lesions_come_in_pairs_of_bright_and_dark_of_every_size(placed):
    kinds = [(lesion.diameter_mm, lesion.contrast) for lesion in placed]
    assert sorted(set(kinds)) == [(4.0, -0.2), (4.0, 0.2), (8.0, -0.2), (8.0, 0.2)]


def test_lesions_stay_inside_the_brain_and_apart(placed, brain):
    for lesion in placed:
        box, share = robustness.occupancy(lesion, brain.shape, brain.voxel_size)
        assert (brain.array[box][share > 0] > 0).all()
    for one, other in combinations(placed, 2):
        apart = 2 * math.dist(one.centre, other.centre)  # voxels of 2 mm
        assert apart >= (one.diameter_mm + other.diameter_mm) / 2 + robustness.GAP_MM - 2


def test_lesions_leave_room_for_their_contrast(placed, brain):
    for lesion in placed:
        value = brain.array[lesion.centre] + lesion.contrast
        assert -0.01 <= value <= 1.01


def test_the_same_seed_gives_the_same_lesions(brain, placed):
    assert robustness.place_lesions(brain.array, brain.voxel_size, SMALL) == placed


def test_no_room_at_all_is_said():
    thin = np.zeros((20, 20, 3), np.float32)
    thin[5:15, 5:15, 1] = 0.5
    with pytest.raises(ValueError, match="no room for a single lesion"):
        robustness.place_lesions(thin, (1, 1, 1), SMALL)


def test_doing_nothing_keeps_what_the_source_has(brain):
    found = robustness.measure_lesions(brain, as_is, config=SMALL)
    for result in found:
        assert result.estimate_retained == result.source_retained
        assert np.sign(result.target_contrast) == np.sign(result.lesion.contrast)
    large = [r.source_retained for r in found if r.lesion.diameter_mm == 8]
    assert np.mean(large) == pytest.approx(1, abs=0.15)  # matching and noise shift it a little


def test_a_method_that_always_gives_the_same_brain_retains_nothing(brain):
    found = robustness.measure_lesions(brain, lambda volume, report: brain, config=SMALL)
    assert all(result.estimate_retained == 0 for result in found)


def test_blurring_takes_more_from_small_lesions(fine_brain):
    def blur(volume, report):
        return volume.with_array(gaussian_filter(volume.array, 1))

    config = LesionConfig(diameters_mm=(2.0, 8.0), n_each=3, variance=0)
    found = robustness.measure_lesions(fine_brain, blur, config=config)
    left = {
        d: np.mean([r.estimate_retained for r in found if r.lesion.diameter_mm == d])
        for d in config.diameters_mm
    }
    assert left[2] < 0.5 < left[8]


def test_progress_has_two_runs_and_passes_steps_on(brain):
    records = []
    robustness.measure_lesions(brain, as_is, config=SMALL, report=records.append)
    assert [record.message for record in records] == [
        "placing lesions",
        *["without lesions"] * 2,
        *["with lesions"] * 2,
    ]


@pytest.mark.parametrize(
    "settings", [{"diameters_mm": ()}, {"diameters_mm": (0.0,)}, {"contrast": 0.6}, {"n_each": 0}]
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        LesionConfig(**settings)
