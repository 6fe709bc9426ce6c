"""Volume <-> layer: numbers by hand, and nothing lost on the way there and back."""

from __future__ import annotations

import napari
import numpy as np
import pytest
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.widgets.layers.layers import (
    CAMERAS,
    KEY,
    contrast_limits,
    data_to_volume,
    display_error_mm,
    display_transform,
    estimate_to_layer,
    is_oblique,
    is_volume,
    layer_to_volume,
    orient_camera,
    volume_to_layer,
)
from napari_mri7t.widgets.layers.places import foreign_warnings, place_of
from napari_mri7t.widgets.layers.planes import plane_to_layer

SHAPE = (5, 6, 7)


def volume_at(affine: np.ndarray) -> Volume:
    array = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    return Volume(array, affine, name="sub-01")


def straight() -> Volume:
    return volume_at(from_matvec(np.diag([1.0, 2.0, 3.0]), [-10, -20, -30]))


def oblique(degrees: float) -> Volume:
    turn = euler2mat(x=np.deg2rad(degrees))
    return volume_at(from_matvec(turn @ np.diag([1.0, 2.0, 3.0]), [-10, -20, -30]))


def image(volume: Volume) -> napari.layers.Image:
    data, meta, _ = volume_to_layer(volume)
    return napari.layers.Image(data, **meta)


def test_axes_of_a_layer_are_superior_anterior_right_in_mm():
    layer = image(straight())
    assert layer.data.shape == (7, 6, 5)
    assert layer.axis_labels == ("S", "A", "R")
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    np.testing.assert_array_equal(layer.scale, [3, 2, 1])
    np.testing.assert_array_equal(layer.translate, [-30, -20, -10])


def test_a_voxel_is_shown_at_its_place_in_mm():
    """By hand: voxel (1, 2, 3) of a 1 x 2 x 3 mm grid from (-10, -20, -30)."""
    layer = image(straight())
    np.testing.assert_allclose(layer.data_to_world((3, 2, 1)), (-21, -16, -9))
    assert layer.data[3, 2, 1] == straight().array[1, 2, 3]


def test_layer_shares_the_memory_of_its_volume():
    volume = straight()
    assert np.shares_memory(volume_to_layer(volume)[0], volume.array)


def test_volume_comes_back_exactly():
    volume = oblique(12)
    back = layer_to_volume(image(volume))
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_array_equal(back.affine, volume.affine)
    assert back.geometry is volume.geometry


def test_oblique_volume_is_shown_with_its_centre_in_place_and_no_negative_scale():
    volume = oblique(12)
    scale, translate = display_transform(volume)
    np.testing.assert_allclose(scale, (3, 2, 1))
    middle = (np.array(SHAPE) - 1) / 2
    true = volume.affine @ [*middle, 1]
    np.testing.assert_allclose(np.array(translate) + np.array(scale) * middle[::-1], true[2::-1])


def test_display_error_of_a_turned_volume_is_the_way_its_corner_went():
    """By hand: a corner goes 2 r sin(angle / 2); x does not move when turning about it."""
    middle_mm = (np.array(SHAPE) - 1) / 2 * [1, 2, 3]
    radius = np.hypot(middle_mm[1], middle_mm[2])
    assert display_error_mm(oblique(12)) == pytest.approx(2 * radius * np.sin(np.deg2rad(6)))
    assert display_error_mm(straight()) == 0


@pytest.mark.parametrize(("degrees", "expected"), [(0, False), (0.5, False), (12, True)])
def test_only_what_the_eye_can_see_counts_as_oblique(degrees, expected):
    assert is_oblique(oblique(degrees)) is expected


def test_contrast_limits_are_not_stretched_by_one_bright_voxel():
    array = np.random.default_rng(0).random((100, 100, 100), dtype=np.float32)
    array[50, 50, 50] = 1000
    low, high = contrast_limits(array)
    assert low == pytest.approx(0, abs=1e-3)
    assert high == pytest.approx(0.998, abs=1e-3)
    assert contrast_limits(np.zeros(SHAPE)) == (0, 1)


def test_contrast_limits_survive_voxels_that_are_no_number():
    array = np.full(SHAPE, np.nan)
    assert contrast_limits(array) == (0, 1)
    array[0, 0] = 5
    assert contrast_limits(array) == (5, 6)


def test_estimate_lies_on_the_grid_of_its_source_as_shown():
    source = image(straight())
    source.contrast_limits = (3, 90)
    source.translate = (1, 2, 3)
    volume = layer_to_volume(source)
    data, meta, _ = estimate_to_layer(volume.with_array(volume.array / 2), source, {"Seed": 1})
    layer = napari.layers.Image(data, **meta)
    for name in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_array_equal(getattr(layer, name), getattr(source, name))
    assert layer.units == source.units
    assert layer.axis_labels == source.axis_labels
    assert layer.contrast_limits == [3, 90]
    assert layer.metadata[KEY]["provenance"] == {"Seed": 1}
    np.testing.assert_array_equal(layer_to_volume(layer).affine, volume.affine)


def foreign(shear, n_axes=3):
    """A layer that another plugin or a script has put askew, with an affine of its own."""
    turn = euler2mat(0.3, -0.2, 0.5)
    more = n_axes - 3
    rotate, affine = np.eye(n_axes), np.eye(n_axes + 1)
    rotate[more:, more:] = turn
    affine[more:, more:] = from_matvec(turn.T @ np.diag([1.1, 0.9, 1.3]), [40, -50, 60])
    return napari.layers.Image(
        np.ones((2,) * more + (7, 6, 5)),
        scale=(1.0,) * more + (3, 2, 1),
        translate=(0.0,) * more + (3, 2, 1),
        rotate=rotate,
        shear=shear,
        affine=affine,
        units=("pixel",) * more + ("mm",) * 3,
    )


CORNERS = np.array([(0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (6, 5, 4)])
UPPER = (0.2, 0.1, 0.3)
LOWER = np.array([[1, 0, 0], [0.2, 1, 0], [0.1, 0.3, 1]])


@pytest.mark.parametrize("shear", [UPPER, LOWER], ids=["upper", "lower"])
def test_estimate_lies_exactly_on_a_layer_with_an_affine_of_its_own(shear):
    source = foreign(shear)
    volume = Volume(source.data.T.astype(np.float32), np.eye(4))
    data, meta, _ = estimate_to_layer(volume, source, {})
    layer = napari.layers.Image(data, **meta)
    for corner in CORNERS:
        np.testing.assert_allclose(
            layer.data_to_world(corner), source.data_to_world(corner), atol=1e-9
        )


@pytest.mark.parametrize("shear", [(0, 0, 0, *UPPER)], ids=["upper"])
def test_estimate_of_one_volume_lies_exactly_on_its_series(shear):
    source = foreign(shear, n_axes=4)
    volume = Volume(source.data[0].T.astype(np.float32), np.eye(4))
    data, meta, _ = estimate_to_layer(volume, source, {})
    layer = napari.layers.Image(data, **meta)
    for corner in CORNERS:
        np.testing.assert_allclose(
            layer.data_to_world(corner), source.data_to_world((0, *corner))[1:], atol=1e-9
        )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_picture_of_a_slice_lies_exactly_on_a_layer_with_an_affine_of_its_own(axis):
    """Axis 0 of the array is R, the last of the layer."""
    source = foreign(UPPER)
    array = source.data.T  # (I, J, K)
    data, meta, _ = plane_to_layer(array.take(3, axis), (axis, 3), source)
    layer = napari.layers.Image(data, **meta)
    for corner in CORNERS:
        on_slice, on_picture = corner.copy(), corner.copy()
        on_slice[2 - axis], on_picture[2 - axis] = 3, 0
        np.testing.assert_allclose(
            layer.data_to_world(on_picture), source.data_to_world(on_slice), atol=1e-9
        )


def test_layer_of_a_script_takes_its_place_from_scale_and_translate_in_mm():
    layer = napari.layers.Image(
        np.ones((7, 6, 5)),
        scale=(0.3, 0.2, 0.1),
        translate=(3, 2, 1),
        units=("cm",) * 3,
        name="mine",
    )
    volume = layer_to_volume(layer)
    np.testing.assert_allclose(
        volume.affine, from_matvec(np.diag([1.0, 2.0, 3.0]), [10, 20, 30]), atol=1e-12
    )
    assert volume.geometry is None
    assert volume.warnings == (
        "mine was not opened by this plugin: its axes were assumed to be S, A, R; if not, "
        "open its file with this plugin",
    )


def test_units_of_a_series_are_those_of_its_last_three_axes():
    meta = {"scale": [5, 1000, 2000, 3000], "units": ("pixel", "um", "um", "um")}
    np.testing.assert_allclose(np.diag(place_of("series", meta, 4)), [3, 2, 1, 1])


@pytest.mark.parametrize("entry", [(1, 0), (0, 1)])
def test_series_that_an_affine_moves_from_volume_to_volume_is_refused(entry):
    affine = np.eye(5)
    affine[entry] = 0.5
    with pytest.raises(VolumeError, match="shown in different places"):
        place_of("series", {"affine": affine}, 4)


def test_one_axis_without_a_unit_of_length_is_told():
    assert len(foreign_warnings("mine", ("mm",) * 3)) == 1
    for units in (("pixel", "mm", "mm"), ("mm", "mm", "pixel")):
        assert "has no unit of length" in foreign_warnings("mine", units)[1]


def test_layer_without_a_unit_counts_as_mm_and_says_so():
    volume = layer_to_volume(napari.layers.Image(np.ones((7, 6, 5)), scale=(3, 2, 1), name="mine"))
    assert volume.voxel_size == (1, 2, 3)
    assert any("its scale was assumed to be in mm; if not" in text for text in volume.warnings)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (napari.layers.Image(np.ones((6, 5))), "has 2 axes"),
        (napari.layers.Image(np.ones((7, 6, 5, 3)), rgb=True), "colour image"),
        (napari.layers.Image([np.ones((8, 8, 8)), np.ones((4, 4, 4))]), "multiscale"),
        (napari.layers.Image(np.ones((2, 7, 6, 5))), "choose one of its 2 volumes, 0 to 1"),
        (napari.layers.Points(np.ones((2, 3))), "is a points layer"),
    ],
)
def test_layer_that_is_no_volume_is_refused_in_words(layer, words):
    with pytest.raises(VolumeError, match=words):
        layer_to_volume(layer)


def test_widgets_offer_volumes_only():
    assert is_volume(napari.layers.Image(np.ones((7, 6, 5))))
    assert is_volume(napari.layers.Labels(np.ones((7, 6, 5), int)))
    assert is_volume(napari.layers.Image(np.ones((2, 7, 6, 5))))
    assert not is_volume(napari.layers.Image(np.ones((6, 5))))
    assert not is_volume(napari.layers.Image(np.ones((7, 6, 5, 3)), rgb=True))
    assert not is_volume(napari.layers.Points(np.ones((2, 3))))


def test_voxels_that_are_no_number_become_background_with_a_warning():
    layer = image(straight())
    layer.data = np.where(layer.data == 7, np.nan, layer.data)
    volume = layer_to_volume(layer)
    assert volume.warnings == (
        "1 of 210 voxels of sub-01 were NaN or infinite; they were set to 0",
    )
    assert np.isfinite(volume.array).all()


def test_cropped_layer_is_refused_because_its_place_is_lost():
    data, meta, _ = volume_to_layer(straight())
    with pytest.raises(VolumeError, match=r"\(5, 6, 4\), but its file has \(5, 6, 7\)"):
        data_to_volume(data[:4], meta)


@pytest.mark.parametrize("convention", CAMERAS)
def test_camera_shows_anterior_up_and_three_dimensions_unmirrored(convention):
    """Depth, up and right of the screen must form a right-handed frame in R, A, S."""
    viewer = napari.components.ViewerModel()
    orient_camera(viewer, convention)
    depth, vertical, horizontal = (str(name) for name in viewer.scene.camera.orientation)
    assert vertical == "up"
    sign = {"towards": 1, "away": -1, "right": 1, "left": -1}
    assert sign[depth] * sign[horizontal] == 1
    assert (horizontal == "right") == (convention == "neurological")
