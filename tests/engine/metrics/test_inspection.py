"""Differences, planes and profiles: figures by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mri7t.engine.errors import GridError
from napari_mri7t.engine.metrics.basic import compare
from napari_mri7t.engine.metrics.inspection import (
    error_map,
    find_data_range,
    plane_scores,
    profile,
    range_complaint,
    reference_doubts,
    three_planes,
)
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.volumes.volume import Volume, load_volume


def noisy(volume: Volume, sigma: float = 0.05) -> Volume:
    noise = np.random.default_rng(0).normal(0, sigma, volume.shape)
    return volume.with_array(volume.array + noise, name="noisy")


def test_error_map_is_estimate_minus_reference(phantom):
    brighter = phantom.with_array(phantom.array + 0.25, name="brighter")
    difference = error_map(phantom, brighter)
    np.testing.assert_allclose(difference.array, 0.25, atol=1e-6)
    np.testing.assert_array_equal(difference.affine, phantom.affine)
    assert difference.name == "brighter minus phantom"


def test_volumes_on_two_grids_are_refused(phantom):
    moved = Volume(phantom.array, phantom.affine + np.eye(4, k=3), name="moved")
    for refused in (
        lambda: error_map(phantom, moved),
        lambda: plane_scores(phantom, moved, (2, 3)),
        lambda: plane_scores(phantom, phantom, (2, 3), mask=moved),
        lambda: profile([phantom, moved], np.zeros(3), np.ones(3)),
    ):
        with pytest.raises(GridError):
            refused()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scores_of_a_plane_are_those_of_a_volume_that_holds_it_alone(phantom, axis):
    estimate, index = noisy(phantom), 15
    affine = np.eye(4)
    reference_plane, estimate_plane = (
        Volume(np.moveaxis(v.array, axis, 2)[:, :, index : index + 1], affine)
        for v in (phantom, estimate)
    )
    expected = compare(reference_plane, estimate_plane)
    assert plane_scores(phantom, estimate, (axis, index)) == expected


def test_plane_outside_the_brain_has_no_figure_of_the_brain(phantom):
    assert set(plane_scores(phantom, noisy(phantom), (2, 0))) == {"whole"}


@pytest.fixture
def ramp() -> Volume:
    """Each voxel says where it is: 100 i + 10 j + k; k is twice as long."""
    i, j, k = np.indices((3, 4, 5))
    return Volume(100.0 * i + 10 * j + k, np.diag([1.0, 1, 2, 1]), name="ramp")


def test_three_planes_meet_in_a_point_and_keep_the_shape_of_voxels(ramp):
    cut = three_planes(ramp, (1, 2, 3))
    assert cut.picture.shape == (4 + 4 + 10 + 4 + 10, 4)
    assert cut.pixel_mm == 1
    assert cut.picture[0, 2] == 203  # axial, (2, 0, 3)
    assert cut.picture[8 + 9, 0] == 24  # coronal, (0, 2, 4): its last two rows show one voxel
    assert cut.picture[8 + 8, 0] == 24
    assert cut.picture[22, 0] == 100  # sagittal, (1, 0, 0)
    assert cut.picture[2, 0] == cut.picture[0, 1] == ramp.array.max()  # lines through the point
    assert cut.picture[5, 1] == cut.picture[0, 3] == 0  # between the planes, and beside


def test_pixel_of_a_plane_tells_two_coordinates_of_the_point(ramp):
    cut = three_planes(ramp, (1, 2, 3))
    assert cut.point_at(0, 2, (1, 2, 3)) == (2, 0, 3)
    assert cut.point_at(8 + 9, 0, (1, 2, 3)) == (0, 2, 4)
    assert cut.point_at(22, 3, (1, 2, 3)) == (1, 3, 0)
    for row, column in ((5, 0), (0, 3), (19, 0), (-1, 0), (99, 0)):
        assert cut.point_at(row, column, (1, 2, 3)) is None


def test_range_of_a_volume_in_0_to_1_is_1(phantom):
    assert find_data_range(phantom.with_array(phantom.array / phantom.array.max()))[0] == 1
    assert find_data_range(phantom, 3.0) == (3.0, "as given")


@pytest.mark.parametrize("background", [0.0, -1000.0, 32.0])
def test_range_is_from_the_background_to_bright_tissue_whatever_the_unit(background):
    inside = np.arange(1.0, 1001).reshape(10, 10, 10)
    inside.flat[-1] = 90_000  # a vessel
    array = np.pad(inside, 5) + background
    found, words = find_data_range(Volume(array, np.eye(4)))
    assert found == pytest.approx(998, abs=0.5)  # numpy's linear percentile: 998.002
    assert "99.8th percentile" in words


def test_range_of_nothing_is_1():
    assert find_data_range(Volume(np.zeros((6, 6, 6)), np.eye(4)))[0] == 1


def test_mask_decides_what_is_brain(phantom):
    mask = phantom.with_array(np.ones(phantom.shape))
    scores = plane_scores(phantom, noisy(phantom), (2, 15), mask=mask)
    assert scores["brain"]["mae"] == pytest.approx(scores["whole"]["mae"])


def test_profile_of_a_ramp_is_the_ramp():
    """By hand: intensity i on a 2 mm grid rises by one in 2 mm."""
    ramp = np.broadcast_to(np.arange(5.0)[:, None, None], (5, 4, 3))
    volume = Volume(ramp, np.diag([2.0, 1, 1, 1]))
    course = profile(
        [volume, volume.with_array(ramp * 2)], np.array([0, 1, 1]), np.array([4, 1, 1])
    )
    assert course.distance_mm[-1] == 8
    assert len(course.distance_mm) == 33
    np.testing.assert_allclose(course.values[0], course.distance_mm / 2)
    np.testing.assert_allclose(course.values[1], course.distance_mm)


def test_profile_of_a_point_has_two_samples(phantom):
    point = np.array([20.0, 24.0, 16.0])
    course = profile([phantom], point, point)
    np.testing.assert_allclose(course.values[0], phantom.array[20, 24, 16])
    assert len(course.distance_mm) == 2


def test_misleading_intensities_are_reported(phantom):
    times_255 = phantom.with_array(phantom.array * 255)
    assert range_complaint(phantom, noisy(phantom), 1) is None
    assert range_complaint(times_255, times_255, 255) is None
    assert "but the data range is 1" in range_complaint(times_255, times_255, 1)
    assert "to one scale" in range_complaint(times_255, phantom, 255)


def test_mask_without_a_background_is_told(phantom):
    soft = phantom.with_array(np.where(phantom.array > 0, 1.0, 1e-6), name="prob")
    (told,) = reference_doubts(phantom, soft)
    assert told.startswith("the mask prob is above 0 in every voxel")
    assert not reference_doubts(phantom, soft.with_array(phantom.array > 0))


def test_reference_that_a_model_made_is_told(phantom, tmp_path, tiny_model):
    made = synthesize(phantom, tiny_model, SynthesisConfig(device="cpu"))
    made.save(tmp_path / "made.nii.gz")
    (told,) = reference_doubts(load_volume(tmp_path / "made.nii.gz"))
    assert told.startswith("the reference made is a synthetic image, by its sidecar")
    assert not reference_doubts(phantom)


def test_a_reference_that_is_a_whole_head_is_told_unless_there_is_a_mask():
    """Whose "brain" would be all that is no air."""
    head = Volume(np.pad(np.ones((160, 160, 140)), 20), np.eye(4), name="head")
    (told,) = reference_doubts(head)
    assert told.startswith("3.6 litres of the reference head lie above its background")
    mask = head.with_array(np.pad(np.ones((100, 100, 100)), ((50, 50), (50, 50), (40, 40))))
    assert not reference_doubts(head, mask)
