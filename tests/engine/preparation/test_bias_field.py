"""How much a bias field varies: only in the brain, where it is used."""

import numpy as np

from napari_mri7t.engine.preparation.bias_field import strength_of


def test_strength_of_a_field_is_that_in_the_brain():
    field = np.ones((4, 4, 4), np.float32)
    mask = np.zeros(field.shape, bool)
    mask[:2] = True
    field[2:] = np.linspace(0.1, 9, 32).reshape(2, 4, 4)
    assert strength_of(field, mask) == 0
