"""The slice browser's pictures: which slices, which way up, which colours."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from napari_mri7t.engine.report import page


def pixels(url: str) -> np.ndarray:
    head, _, content = url.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)


@pytest.fixture
def shown(target, source):
    arrays = {"3T": source.array, "net": target.array + np.float32(0.1), "7T": target.array}
    return page.browse("sub", arrays, "7T", ("net",))


def test_every_fourth_slice_of_the_brain_is_there(shown, target):
    (inside,) = np.nonzero((target.array > 0).any(axis=(0, 1)))
    assert shown.slices == tuple(range(inside[0], inside[-1] + 1, 4))
    assert {len(urls) for urls in shown.images.values()} == {len(shown.slices)}


def test_labels_come_in_display_order_and_error_maps_last(shown):
    assert list(shown.images) == ["3T", "net", "7T", "net − 7T"]


def test_right_is_right_and_anterior_is_up():
    array = np.zeros((40, 40, 5), np.float32)
    array[5:35, 5:35, 1:4] = 0.2
    array[28:33, 6:12, 1:4] = 1  # i high: right; j low: posterior
    seen = pixels(page.browse("s", {"7T": array}, "7T", ()).images["7T"][0])[..., 0]
    rows, columns = np.nonzero(seen > 200)
    assert rows.mean() > seen.shape[0] / 2  # rows count from the top
    assert columns.mean() > seen.shape[1] / 2


def test_too_bright_is_red_and_right_is_white(shown):
    middle = len(shown.slices) // 2
    error = pixels(shown.images["net − 7T"][middle])
    red, _, blue = error[error.shape[0] // 2, error.shape[1] // 2]
    assert red > blue + 60
    assert error[0, 0].min() > 230  # background: no error


def test_intensities_beyond_the_scale_are_clipped():
    array = np.zeros((20, 20, 3), np.float32)
    array[5:15, 5:15] = 7
    seen = pixels(page.browse("s", {"7T": array}, "7T", ()).images["7T"][0])
    assert seen.max() > 250
