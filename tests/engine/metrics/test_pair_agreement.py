"""Agreement of a pair: information, boundaries, overlap, and who belongs to whom."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from napari_mri7t.engine.metrics.pair_agreement import (
    boundary_distance,
    copies,
    cross_information,
    dice,
    normalized_mutual_information,
    swapped,
)

SHAPE = (40, 40, 40)
EVERYWHERE = np.ones(SHAPE, bool)


def texture(seed):
    return gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 2)


def ball(offset=0.0):
    """White in grey in fluid; the radius of white is 10 voxels."""
    axes = np.meshgrid(*(np.arange(n) - 19.5 for n in SHAPE), indexing="ij")
    radius = np.sqrt((axes[0] - offset) ** 2 + axes[1] ** 2 + axes[2] ** 2)
    soft = gaussian_filter(np.select([radius < 10, radius < 15], [0.9, 0.6], 0.2), 1)
    return soft, radius < 18


def test_information_is_2_for_an_image_and_its_negative_and_1_for_chance():
    image = texture(0)
    assert normalized_mutual_information(image, 5 - 2 * image, EVERYWHERE) == pytest.approx(2)
    noise = np.random.default_rng(1).normal(size=SHAPE)
    assert normalized_mutual_information(image, noise, EVERYWHERE) < 1.02


def test_information_of_a_constant_image_is_1():
    assert normalized_mutual_information(texture(0), np.ones(SHAPE), EVERYWHERE) == 1


def test_information_falls_with_every_voxel_of_a_shift():
    image = texture(0)
    found = [
        normalized_mutual_information(image, shift(image, (n, 0, 0), mode="wrap"), EVERYWHERE)
        for n in range(4)
    ]
    assert found == sorted(found, reverse=True)


def test_dice_is_twice_the_common_part_over_the_sum():
    first, second = np.zeros((2, 10), bool)
    first[:4], second[2:8] = True, True
    assert dice(first, second) == pytest.approx(2 * 2 / (4 + 6))
    assert dice(first, ~first) == 0
    assert dice(first & False, second & False) == 0


@pytest.mark.parametrize("offset", [0.0, 0.5, 2.0])
def test_boundaries_of_a_shifted_ball_lie_half_of_its_shift_apart_in_the_median(offset):
    """The distance along the normal is shift * |cos|, whose median over a sphere is 1/2."""
    (first, mask), (second, _) = ball(), ball(offset)
    found = boundary_distance(first, second, mask, (1.0, 1.0, 1.0))
    assert found == pytest.approx(offset / 2, abs=0.1)


def test_boundary_distance_is_in_mm_and_does_not_depend_on_the_contrast():
    (first, mask), (second, _) = ball(), ball(2.0)
    in_voxels = boundary_distance(first, second, mask)
    assert boundary_distance(300 * first, second, mask) == pytest.approx(in_voxels)
    in_mm = boundary_distance(first, second, mask, (0.7, 0.7, 0.7))
    assert in_mm == pytest.approx(0.7 * in_voxels, abs=0.1)


def test_image_without_three_tissues_has_no_boundary():
    flat = np.ones(SHAPE)
    with pytest.raises(ValueError, match="three tissues"):
        boundary_distance(flat, flat, EVERYWHERE)


def test_swapped_people_are_found_by_their_scans():
    anatomies = [texture(seed) - texture(seed).min() + 0.01 for seed in range(3)]
    sources = [array**0.7 for array in anatomies]
    targets = [anatomies[n] for n in (1, 0, 2)]  # of the first two people exchanged
    found = swapped(cross_information(sources, targets), ["sub-a", "sub-b", "sub-c"])
    assert found == {"sub-a": "sub-b", "sub-b": "sub-a"}


def test_scan_of_two_people_is_found_on_any_scale_and_a_second_scan_is_none():
    first, second = (texture(seed) - texture(seed).min() + 0.01 for seed in (0, 1))
    noisy = first + 0.1 * first.std() * texture(2) / texture(2).std()
    assert copies([first, second, noisy], ["a", "b", "c"]) == {}
    assert copies([first, second, 100 * first + 7], ["a", "b", "c"]) == {"a": "c", "c": "a"}
    nothing = np.zeros(SHAPE)
    assert copies([nothing, nothing], ["a", "b"]) == {}
    assert copies([], []) == {}


def test_small_lead_of_another_person_is_chance():
    assert swapped(np.array([[1.100, 1.102], [1.0, 1.2]]), ["a", "b"]) == {}


def test_brains_that_do_not_overlap_share_no_information():
    left, right = np.zeros((2, *SHAPE))
    left[:10], right[30:] = 1, 1
    assert cross_information([left], [right]) == 1
