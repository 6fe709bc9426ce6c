"""Pictures of brains: what is shown where, on which scale."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from napari_mri7t.engine.report import figures


@pytest.fixture
def slices(source, target) -> dict[str, np.ndarray]:
    k = target.shape[2] // 2
    return {
        "3T": source.array[:, :, k],
        "$net$": target.array[:, :, k] / 2,
        "7T": target.array[:, :, k],
    }


def images(figure: Figure) -> list:
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_slice_100_of_182_or_the_same_height():
    assert figures.report_slice(182) == 100
    assert figures.report_slice(91) == 50
    assert figures.report_slice(1) == 0


def test_slice_figure_shows_every_method_and_two_patches_of_each(slices):
    figure = figures.slice_figure("sub-01", slices, "7T")
    assert len(images(figure)) == 3 * 3
    assert [axes.get_title() for axes in figure.axes[:3]] == ["3T", "$net$", "7T"]
    assert {image.get_clim() for image in images(figure)} == {(0, 1)}  # one window for all


def test_slices_are_shown_anterior_up_and_right_on_the_right(slices):
    marked = slices["7T"].copy()
    marked[5, 44] = 1  # i low: left; j high: anterior
    figure = figures.slice_figure("", {"7T": marked}, "7T")
    shown = images(figure)[0]
    assert shown.origin == "lower"
    rows, columns = np.nonzero(np.asarray(shown.get_array()) == 1)
    n_rows, n_columns = shown.get_array().shape
    assert rows[0] > n_rows / 2
    assert columns[0] < n_columns / 2


def test_patches_hold_the_pixels_of_their_frames(slices):
    figure = figures.slice_figure("", {"7T": np.pad(slices["7T"], 60)}, "7T")
    whole, first, second = images(figure)
    for patch, frame in zip((first, second), figure.axes[0].patches, strict=True):
        i, j = (round(edge + 0.5) for edge in frame.get_xy())
        side = int(frame.get_width())
        expected = np.asarray(whole.get_array())[j : j + side, i : i + side]
        np.testing.assert_array_equal(patch.get_array(), expected)


def test_detailed_patches_do_not_overlap_and_find_the_detail():
    array = np.full((160, 160), 0.5)
    rng = np.random.default_rng(0)
    array[20:60, 20:60] = rng.random((40, 40))
    array[100:140, 90:130] = rng.random((40, 40)) / 2 + 0.1
    (i, j), (k, m) = figures.detailed_patches(array)
    assert abs(i - 20) <= 2
    assert abs(j - 20) <= 2
    assert abs(k - 100) <= 2
    assert abs(m - 90) <= 2


def test_a_small_slice_has_small_patches():
    assert len(figures.detailed_patches(np.ones((20, 30)))) == 2
    assert len(figures.detailed_patches(np.ones((2, 2)))) == 2


def test_overview_has_a_row_per_subject(slices):
    figure = figures.overview_figure({"a": slices, "b": slices}, "7T")
    assert len(images(figure)) == 6
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["a", "b"]


def test_names_are_shortened_as_long_as_they_tell_subjects_apart():
    assert figures.short_names(["sub-01_T1w_brain", "sub-02_T1w"]) == ["sub-01", "sub-02"]
    assert figures.short_names(["sub-01_a", "sub-01_b"]) == ["sub-01_a", "sub-01_b"]
    assert figures.short_names(["x" * 20]) == ["x" * 15 + "…"]


def test_overview_of_many_subjects_fits_a_page(slices):
    figure = figures.overview_figure({f"sub-{i}": slices for i in range(10)}, "7T")
    assert figure.get_figheight() < 10


def test_error_maps_share_a_symmetric_scale(slices):
    estimates = {name: slices[name] for name in ("3T", "$net$")}
    figure = figures.error_figure("", slices["7T"], estimates)
    limits = {image.get_clim() for image in images(figure)[:2]}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high
    assert high > 0


def test_error_maps_show_estimate_minus_reference_in_the_brain_only(slices):
    brighter = slices["7T"] + np.float32(0.25)
    figure = figures.error_figure("", slices["7T"], {"x": brighter})
    shown = np.asarray(images(figure)[0].get_array())
    assert set(np.unique(shown.round(4))) == {0, 0.25}


def test_a_perfect_estimate_and_an_empty_slice_are_no_error(slices):
    assert figures.error_figure("", slices["7T"], {"x": slices["7T"]})
    nothing = np.zeros((20, 20))
    assert figures.slice_figure("", {"7T": nothing}, "7T")
