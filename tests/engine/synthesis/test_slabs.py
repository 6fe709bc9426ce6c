"""Windows: they hold what they must, start where every slab is halved alike, and have few sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mri7t.engine.synthesis import windows
from napari_mri7t.engine.volumes.brain import brain_region

MARGIN, STEP, MULTIPLE = windows.MARGIN, windows.WINDOW_STEP, windows.WINDOW_MULTIPLE


@given(st.integers(1, 300), st.data())
def test_window_holds_the_brain_with_its_margin_and_starts_at_a_multiple(n, data):
    first = data.draw(st.integers(0, n - 1))
    last = data.draw(st.integers(first, n - 1))
    occupied = np.zeros(n, bool)
    occupied[[first, last]] = True
    (window,) = windows.widened_box(occupied)
    assert 0 <= window.start <= max(0, first - MARGIN)
    assert min(n, last + 1 + MARGIN) <= window.stop <= n
    assert window.start % STEP == 0
    size = window.stop - window.start
    at_the_end = n - window.stop < STEP
    assert size % MULTIPLE == 0 or at_the_end
    assert size < last + 1 - first + 2 * MARGIN + STEP + MULTIPLE


def test_islands_beside_the_brain_are_brain_and_specks_far_away_are_not():
    array = np.zeros((40, 40, 40), np.float32)
    array[10:20, 10:20, 10:20] = 1
    array[15, 15, 23] = 1  # three voxels of background between
    array[35, 35, 35] = 1
    region = brain_region(array)
    assert region[15, 15, 23]
    assert region[15, 15, 25]  # its own rim
    assert not region[35, 35, 35]
    assert not region[15, 15, 26]


def test_noise_all_over_the_background_is_no_brain():
    array = np.zeros((80, 80, 80), np.float32)
    array[20:60, 20:60, 20:60] = 1
    rng = np.random.default_rng(0)
    array[rng.random(array.shape) < 0.04] = 1  # each speck has others within 5 voxels
    region = brain_region(array)
    assert region[20:60, 20:60, 20:60].all()
    around = np.ones(array.shape, bool)
    # A clump that touches the brain, specks up to 6 voxels from it, their rim.
    around[9:71, 9:71, 9:71] = False
    assert not region[around].any()


def test_volume_of_specks_alone_keeps_the_largest():
    array = np.zeros((20, 20, 20), np.float32)
    array[3, 3, 3] = array[15, 15, 14:16] = 1
    region = brain_region(array)
    assert region[15, 15, 14:16].all()
    assert not region[3, 3, 3]


@pytest.mark.parametrize(("distance", "is_kept"), [(6, True), (7, False)])
def test_islands_up_to_six_voxels_beside_the_brain_are_brain(distance, is_kept):
    array = np.zeros((40, 40, 40), np.float32)
    array[10:20, 10:20, 10:20] = 1
    array[15, 15, 19 + distance] = 1
    assert brain_region(array)[15, 15, 19 + distance] == is_kept
