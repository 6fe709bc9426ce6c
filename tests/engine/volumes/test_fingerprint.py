"""A brain is known again by its coarse anatomy; another person's is not."""

import base64

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.volumes.fingerprint import (
    CELLS,
    FEWER_CELLS,
    are_one_brain,
    fingerprint,
)
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume


@pytest.fixture(scope="module")
def brain():
    return load_template()


def noisy(array):
    noise = np.random.default_rng(0).normal(scale=0.02, size=array.shape)
    return np.where(array > 0, array + noise, 0).clip(0)


CHANGES = {
    "scaled": lambda a: 255 * a,
    "moved": lambda a: 7 * a - 3,
    "rounded": lambda a: np.round(255 * a),
    "noisy": noisy,
    "padded": lambda a: np.pad(a, ((3, 0), (0, 9), (1, 1))),
    "mirrored": lambda a: a[::-1],
    "z-scored around a background of 0": lambda a: np.where(a > 0, (a - 0.6) / 0.2, 0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_copy_is_known(brain, change):
    copy = Volume(np.ascontiguousarray(change(brain.array), np.float32), brain.affine)
    assert are_one_brain(fingerprint(brain), fingerprint(copy))


def test_mirror_of_an_uneven_brain_is_known(brain):
    slope = np.linspace(0.5, 1, brain.shape[0], dtype=np.float32)[:, None, None]
    uneven, mirrored = (
        fingerprint(brain.with_array(np.ascontiguousarray(array)))
        for array in (brain.array * slope, (brain.array * slope)[::-1])
    )
    assert uneven != mirrored
    assert are_one_brain(uneven, mirrored)


def test_another_shape_or_texture_is_another_brain(brain):
    stretched = brain.array[60:-60]
    darker = brain.array * np.linspace(0.6, 1, brain.shape[2], dtype=np.float32)
    for array in (stretched, darker, brain.array**3):
        other = Volume(np.ascontiguousarray(array), brain.affine)
        assert not are_one_brain(fingerprint(brain), fingerprint(other))


def test_volume_without_anatomy_has_no_fingerprint():
    for array in (np.ones((9, 9, 9)), np.zeros((20, 20, 20)), np.arange(125.0).reshape(5, 5, 5)):
        assert fingerprint(Volume(array.astype(np.float32), np.eye(4))) == ""


@pytest.mark.parametrize(
    "values", [np.ones(3), np.zeros(CELLS**3), np.full(CELLS**3, np.nan)], ids=str
)
def test_what_a_strange_card_holds_is_nobody(brain, values):
    text = base64.b64encode(values.astype("<f2").tobytes()).decode()
    for strange in (text, "", "no base64!", "ä"):
        assert not are_one_brain(fingerprint(brain), strange)


def test_brains_warped_onto_one_template_stay_two(brain):
    """Coarse anatomy is the same then; gyri and sulci are not."""
    array = brain.array[::2, ::2, ::2]
    one, other = (
        fingerprint(Volume(with_own_gyri(array, seed), np.diag([2.0, 2, 2, 1]))) for seed in (1, 2)
    )
    assert not are_one_brain(one, other)
    assert are_one_brain(one, fewer_cells_of(other))  # so are_one_brain needs the finer cells


def test_card_with_fewer_cells_still_knows_its_brains(brain):
    """As the cards of the bundled models have them."""
    card = fewer_cells_of(fingerprint(brain))
    assert are_one_brain(card, fingerprint(brain.with_array(brain.array[::-1].copy())))
    assert not are_one_brain(card, fingerprint(brain.with_array(brain.array**3)))


def with_own_gyri(array, seed):
    texture = gaussian_filter(np.random.default_rng(seed).normal(size=array.shape), 1.5)
    own = array * (1 + 0.07 * texture / texture.std())
    return np.where(array > 0, own, 0).astype(np.float32)


def fewer_cells_of(text):
    cells = np.frombuffer(base64.b64decode(text), "<f2").astype(float)
    n = CELLS // FEWER_CELLS
    merged = cells.reshape(FEWER_CELLS, n, FEWER_CELLS, n, FEWER_CELLS, n).mean(axis=(1, 3, 5))
    return base64.b64encode(merged.astype("<f2").tobytes()).decode()
