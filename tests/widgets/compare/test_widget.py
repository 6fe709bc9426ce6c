"""The widget "Compare" in a real viewer: views, metrics, difference, profile, shortcuts."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_mri7t.engine.metrics import basic, inspection
from napari_mri7t.engine.volumes.volume import Volume, save_volume
from napari_mri7t.widgets.compare.line import SwipeLine
from napari_mri7t.widgets.compare.views import (
    FLICKER,
    FLICKER_MS,
    SIDE_BY_SIDE,
    SINGLE,
    SWIPE,
    THREE_PLANES,
)
from napari_mri7t.widgets.compare.widget import SHORTCUTS, CompareWidget
from napari_mri7t.widgets.layers.layers import CAMERAS, volume_to_layer
from napari_mri7t.widgets.layers.planes import ends_of
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR, WARNING_COLOUR

pytestmark = pytest.mark.gui
RIGHT_PART = "right of the line: estimate"


@pytest.fixture
def estimate(phantom):
    noise = np.random.default_rng(0).normal(0, 0.05, phantom.shape)
    return phantom.with_array(phantom.array + noise, name="estimate")


@pytest.fixture
def viewer(make_napari_viewer, phantom, estimate):
    viewer = make_napari_viewer()
    for volume in (phantom, estimate):
        data, meta, _ = volume_to_layer(volume)
        viewer.add_image(data, **meta)
    viewer.add_image(phantom.array.T, name="other")
    return viewer


@pytest.fixture
def widget(viewer, wait_idle):
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Compare")
    widget.volumes.reference_chooser.layer = viewer.layers["phantom"]
    widget.volumes.estimate_chooser.layer = viewer.layers["estimate"]
    wait_idle()
    yield widget
    wait_idle()


def key(viewer, name: str):
    """Return what a key does in the viewer."""
    return {str(keys).replace("+", "-"): action for keys, action in viewer.keymap.items()}[name]


def shown(viewer) -> set[str]:
    return {layer.name for layer in viewer.layers if layer.visible}


def test_an_error_is_in_sight_of_a_low_window(viewer, qtbot, wait_idle):
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    widget.resize(400, 480)  # as napari leaves it in a window of 1280 x 720
    with qtbot.waitExposed(widget):
        widget.show()
    widget.volumes.reference_chooser.layer = viewer.layers["phantom"]
    widget.volumes.estimate_chooser.layer = viewer.layers["other"]
    qtbot.waitUntil(lambda: bool(widget.notices.texts(ERROR_COLOUR)))
    error = widget.notices.newest
    assert "one grid" in error.plain_text
    qtbot.waitUntil(lambda: error.visibleRegion().boundingRect() == error.rect())
    assert widget.body.height() > widget.height(), "the fields scroll"
    wait_idle()
    widget.close()


def test_the_line_of_the_swipe_is_shown_in_the_swipe_alone(widget):
    assert widget.swipe_slider.isHidden()
    for view, is_shown in ((SWIPE, True), (SINGLE, False)):
        widget.view_box.setCurrentText(view)
        assert widget.swipe_slider.isHidden() == widget.swipe_label.isHidden() != is_shown


def test_copy_command_gives_the_line_that_scores_the_two(widget, viewer, phantom, tmp_path):
    widget.command_button.click()
    (why_not,) = widget.notices.texts(ERROR_COLOUR)
    assert "phantom: was not opened from a file by this plugin" in why_not
    files = [save_volume(phantom, tmp_path / f"{name}.nii") for name in ("real", "made")]
    layers = [viewer.open(file, plugin="napari-mri7t")[0] for file in files]
    widget.volumes.reference_chooser.layer, widget.volumes.estimate_chooser.layer = layers
    widget.command_button.click()
    assert QApplication.clipboard().text() == f"mri7t compare {files[0]} {files[1]}"


def test_figures_of_the_volume_are_those_of_the_engine(widget, phantom, estimate):
    scores = basic.compare(phantom, estimate)
    lines = widget.table.as_text().split("\n")
    brain, whole = scores["brain"], scores["whole"]
    assert lines[0] == "\tMAE\tPSNR dB\tSSIM"
    for line, row in ((lines[3], brain), (lines[4], whole)):
        assert line.split("\t")[1:] == [
            f"{row['mae']:.5f}",
            f"{row['psnr']:.2f}",
            f"{row['ssim']:.4f}",
        ]


def test_figures_of_the_slice_follow_the_slider_and_the_plane(
    widget, viewer, qtbot, phantom, estimate, wait_idle
):
    def expected(axis: int, index: int) -> str:
        scores = inspection.plane_scores(phantom, estimate, (axis, index))
        return f"{scores['whole']['psnr']:.2f}"

    def figure() -> str:
        return widget.table.as_text().split("\n")[2].split("\t")[2]

    viewer.dims.set_point(0, phantom.affine[2, 3] + 9)
    qtbot.waitUntil(lambda: figure() == expected(2, 9), timeout=5000)
    viewer.dims.order = (2, 0, 1)
    viewer.dims.set_point(2, phantom.affine[0, 3] + 21)
    qtbot.waitUntil(lambda: figure() == expected(0, 21), timeout=5000)
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: figure() == "3-D", timeout=5000)
    wait_idle()


def test_mask_and_range_change_the_figures(widget, viewer, phantom, estimate, wait_idle):
    mask = phantom.with_array(phantom.array > 0.5, name="mask")
    data, meta, _ = volume_to_layer(mask)
    viewer.add_labels(data.astype(int), **{k: meta[k] for k in ("name", "scale", "translate")})
    viewer.layers["mask"].metadata = meta["metadata"]
    widget.volumes.mask_chooser.layer = viewer.layers["mask"]
    widget.volumes.range_box.setValue(2)
    wait_idle()
    expected = basic.compare(phantom, estimate, mask=mask, data_range=2)["brain"]["psnr"]
    assert widget.table.as_text().split("\n")[3].split("\t")[2] == f"{expected:.2f}"


def test_volumes_on_two_grids_are_refused_in_words(widget, viewer, phantom, wait_idle):
    data, meta, _ = volume_to_layer(Volume(phantom.array[:-1], phantom.affine, name="smaller"))
    viewer.add_image(data, **meta)
    widget.volumes.estimate_chooser.layer = viewer.layers["smaller"]
    wait_idle()
    texts = widget.notices.texts(ERROR_COLOUR)
    assert texts
    assert all("must lie on one grid" in text for text in texts)
    for line in widget.table.as_text().split("\n")[1:]:
        assert line.split("\t")[1:] == ["", "", ""]


def test_side_by_side_shows_the_two_with_the_reference_on_the_left(widget, viewer):
    grid = viewer.canvas.grid
    widget.view_box.setCurrentText("Side by side")
    assert grid.enabled
    assert shown(viewer) == {"phantom", "estimate"}
    places = {
        layer.name: grid.position(n, viewer.layers)
        for n, layer in enumerate(viewer.layers)
        if layer.visible
    }
    assert places == {"phantom": (0, 0), "estimate": (0, 1)}
    widget.volumes.reference_chooser.layer = viewer.layers["estimate"]
    widget.volumes.estimate_chooser.layer = viewer.layers["phantom"]
    widget.view_box.setCurrentText("Side by side")
    assert grid.position(1, viewer.layers) == (0, 0)
    widget.view_box.setCurrentText("Single view")
    assert not grid.enabled
    assert shown(viewer) == {"phantom", "estimate", "other"}


def place_of(viewer, name: str) -> tuple[int, int]:
    """Return row and column of a layer in the grid."""
    return viewer.canvas.grid.position(viewer.layers.index(viewer.layers[name]), viewer.layers)


@pytest.mark.parametrize(("view", "prefix"), [("Side by side", ""), ("Three planes", "planes: ")])
def test_each_image_stays_under_its_label_when_layers_are_reordered(
    widget, viewer, phantom, view, prefix
):
    viewer.dims.set_point((0, 1, 2), phantom.affine[:3, 3][::-1] + (16, 24, 20))
    widget.view_box.setCurrentText(view)
    left, right = (f"{prefix}{name}" for name in ("phantom", "estimate"))
    for _ in range(2):
        viewer.layers.move(viewer.layers.index(right), 0)
        viewer.layers.move(viewer.layers.index(left), len(viewer.layers))
        assert (place_of(viewer, left), place_of(viewer, right)) == ((0, 0), (0, 1))
        viewer.layers.move(viewer.layers.index(right), len(viewer.layers))
        assert (place_of(viewer, left), place_of(viewer, right)) == ((0, 0), (0, 1))
    assert viewer.canvas.grid.enabled


def test_part_right_of_the_line_stays_over_layers_that_are_moved_up(widget, viewer):
    widget.view_box.setCurrentText("Swipe")
    viewer.layers.move(viewer.layers.index("phantom"), len(viewer.layers))
    assert viewer.layers[-1].name == RIGHT_PART


@pytest.mark.parametrize("view", ["Side by side", "Three planes"])
def test_grid_that_is_turned_off_by_hand_ends_the_view_and_its_labels(widget, viewer, view):
    widget.view_box.setCurrentText(view)
    viewer.canvas.grid.enabled = False
    assert (widget.views.view, widget.view_box.currentText()) == (SINGLE, SINGLE)
    assert labels(viewer) == {}
    assert not viewer.canvas.grid.enabled
    assert shown(viewer) == {"phantom", "estimate", "other"}


def test_flicker_shows_one_after_the_other(widget, viewer, qtbot):
    widget.view_box.setCurrentText("Flicker")
    seen = set()

    def both() -> bool:
        seen.update(shown(viewer))
        return seen == {"phantom", "estimate"} and len(shown(viewer)) == 1

    qtbot.waitUntil(both, timeout=5000)
    widget.view_box.setCurrentText("Single view")
    assert shown(viewer) == {"phantom", "estimate", "other"}


def test_swipe_shows_the_estimate_right_of_the_line_without_a_copy(widget, viewer, phantom):
    widget.view_box.setCurrentText("Swipe")
    swipe, estimate = viewer.layers[RIGHT_PART], viewer.layers["estimate"]
    assert shown(viewer) == {"phantom", RIGHT_PART}
    widget.swipe_slider.setValue(250)
    assert swipe.data.shape == (32, 48, 30)
    np.testing.assert_array_equal(swipe.data, estimate.data[:, :, 10:])
    assert np.shares_memory(swipe.data, estimate.data)
    assert swipe.translate[2] == phantom.affine[0, 3] + 10
    widget.swipe_slider.setValue(1000)
    assert swipe.data.shape == (32, 48, 1)
    assert RIGHT_PART not in [widget.volumes.estimate_chooser.itemText(n) for n in range(3)]
    widget.view_box.setCurrentText("Single view")
    assert RIGHT_PART not in viewer.layers
    assert shown(viewer) == {"phantom", "estimate", "other"}


@pytest.mark.parametrize("view", [SWIPE, THREE_PLANES])
def test_a_layer_is_chosen_after_a_view_is_left(widget, viewer, view):
    widget.view_box.setCurrentText(view)
    widget.view_box.setCurrentText(SINGLE)
    (chosen,) = viewer.layers.selection
    assert chosen.name in ("phantom", "estimate", "other")
    assert len(viewer.layers.selection) == 1


def test_swipe_keeps_to_the_screen_in_radiological_view_and_other_planes(widget, viewer, phantom):
    viewer.scene.camera.orientation = ("away", "up", "left")
    widget.view_box.setCurrentText("Swipe")
    widget.swipe_slider.setValue(250)
    swipe, estimate = viewer.layers[RIGHT_PART], viewer.layers["estimate"]
    np.testing.assert_array_equal(swipe.data, estimate.data[:, :, :30])
    assert swipe.translate[2] == phantom.affine[0, 3]
    viewer.dims.order = (2, 0, 1)
    np.testing.assert_array_equal(swipe.data, estimate.data[:, :36])


def labels(viewer) -> dict[str, str]:
    """Return what stands in the corners of the canvas."""
    ours = [x for key, x in viewer.canvas.overlays.items() if key.startswith("mri7t")]
    return {str(x.position): x.text for x in ours if x.visible}


@pytest.fixture
def two_shown(viewer) -> None:
    """Show a black reference and a white estimate in the real window; no two sides are alike."""
    viewer.window._qt_window.resize(1500, 900)
    viewer.window._qt_window.show()
    for name, value in (("phantom", 0), ("estimate", 1)):
        layer = viewer.layers[name]
        layer.data = np.full(layer.data.shape, value, np.float32)
        layer.contrast_limits, layer.scale = (0, 1), (1.5, 1, 0.8)
    viewer.reset_view()


def line_on(viewer):
    return next(iter(viewer.window._qt_window.findChildren(SwipeLine)), None)


def column_of(line) -> float:
    """Return the column of the canvas that the middle of the line is in."""
    return line.mapTo(line.parentWidget(), line.rect().center()).x() + 1


def is_on_border(viewer) -> bool:
    """Return whether the line is where the picture itself becomes white, or ends."""
    QApplication.processEvents()
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., 0]
    rows = picture[picture.shape[0] // 2 - 5 :][:10].max(axis=0)
    line = line_on(viewer)
    steps = np.flatnonzero(np.diff(rows > 200)) + 1
    columns = steps * line.parentWidget().width() / len(rows)
    return len(steps) > 0 and bool(np.abs(columns - column_of(line)).min() <= 1)


def turn_to_sagittal(viewer):
    viewer.dims.order = (2, 0, 1)


def pan(viewer):
    _, row, column = viewer.scene.camera.center
    viewer.scene.camera.center = (0, row, column + 4)


def zoom(viewer):
    viewer.scene.camera.zoom *= 1.3


def narrow(viewer):
    viewer.window._qt_window.resize(1350, 800)


def move_on(viewer):
    viewer.dims.set_point(0, float(viewer.dims.point[0]) + 3)


MOVES = (pan, zoom, move_on, turn_to_sagittal, narrow)


def test_line_of_the_swipe_stays_on_the_border_of_the_picture(two_shown, widget, viewer, qtbot):
    widget.view_box.setCurrentText("Swipe")
    widget.swipe_slider.setValue(450)
    line = line_on(viewer)
    assert line.isVisible()
    assert line.height() == line.parentWidget().height()
    qtbot.waitUntil(lambda: is_on_border(viewer))
    for move in MOVES:
        move(viewer)
        qtbot.waitUntil(lambda: is_on_border(viewer))
    assert not viewer.layers[RIGHT_PART].bounding_box.visible
    viewer.dims.ndisplay = 3
    assert line.isHidden()
    viewer.dims.ndisplay = 2
    assert line.isVisible()
    widget.view_box.setCurrentText("Single view")
    assert line.isHidden()


@pytest.mark.parametrize("convention", ["neurological", "radiological"])
@pytest.mark.parametrize("side", [-1, 1])
def test_line_of_the_swipe_follows_into_sight(two_shown, widget, viewer, qtbot, convention, side):
    camera = viewer.scene.camera
    camera.orientation = CAMERAS[convention]
    widget.view_box.setCurrentText("Swipe")
    line, middle = line_on(viewer), viewer.layers["estimate"].extent.world.mean(axis=0)
    camera.zoom *= 8
    camera.center = (0, middle[1], middle[2] + side * 10)
    assert line.isHidden()
    QApplication.processEvents()
    assert line.isVisible()
    assert 0 < column_of(line) < line.parentWidget().width()
    part = widget.swipe_slider.value()
    assert (part - 500) * side * (-1 if convention == "radiological" else 1) > 0
    qtbot.waitUntil(lambda: is_on_border(viewer))
    viewer.reset_view()
    QApplication.processEvents()
    assert widget.swipe_slider.value() == part, "in sight, it stays where it is"


@pytest.mark.parametrize("view", [SIDE_BY_SIDE, THREE_PLANES, SWIPE, FLICKER])
def test_view_that_is_left_in_another_plane_shows_that_plane_in_the_middle(
    two_shown, widget, viewer, view
):
    widget.view_box.setCurrentText(view)
    viewer.dims.roll()
    widget.view_box.setCurrentText(SINGLE)
    QApplication.processEvents()
    extent, axes = viewer.layers.extent.world, list(viewer.dims.displayed)
    middle = extent.mean(axis=0)[axes]
    np.testing.assert_allclose(viewer.scene.camera.center[1:], middle, atol=0.5)  # half a voxel


@pytest.mark.parametrize("convention", ["neurological", "radiological"])
def test_line_of_the_swipe_is_dragged_with_the_mouse(two_shown, widget, viewer, qtbot, convention):
    viewer.scene.camera.orientation = CAMERAS[convention]
    widget.view_box.setCurrentText("Swipe")
    line, layer = line_on(viewer), viewer.layers[RIGHT_PART]
    qtbot.waitUntil(lambda: is_on_border(viewer))
    assert line.cursor().shape() == Qt.CursorShape.SplitHCursor
    before, center = column_of(line), viewer.scene.camera.center
    zoomed = 0.8 * viewer.scene.camera.zoom  # pixels a voxel
    QTest.mousePress(line, Qt.MouseButton.LeftButton, pos=line.rect().center())
    for _ in range(2):  # the line moves along below the mouse
        target = line.rect().center() - QPoint(round(5 * zoomed), 0)
        move = QMouseEvent(
            QEvent.Type.MouseMove,
            QPointF(target),
            QPointF(line.mapToGlobal(target)),
            Qt.MouseButton.NoButton,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(line, move)
    QTest.mouseRelease(line, Qt.MouseButton.LeftButton, pos=line.rect().center())
    assert viewer.scene.camera.center == center
    assert layer.data.shape[2] in (29, 30, 31)
    assert abs(column_of(line) - (before - 10 * zoomed)) <= zoomed
    qtbot.waitUntil(lambda: is_on_border(viewer))
    assert widget.swipe_slider.value() == pytest.approx(250, abs=26)


def test_swipe_leaves_the_selection_and_shares_the_contrast(widget, viewer):
    viewer.layers.selection.active = viewer.layers["phantom"]
    widget.view_box.setCurrentText("Swipe")
    part, estimate = viewer.layers[RIGHT_PART], viewer.layers["estimate"]
    assert viewer.layers.selection == {viewer.layers["phantom"]}  # what Ctrl+S saves
    assert viewer.layers.selection.active is viewer.layers["phantom"]
    estimate.contrast_limits = (0.2, 0.5)
    assert part.contrast_limits == [0.2, 0.5]
    widget.view_box.setCurrentText("Single view")
    part.contrast_limits = (0, 1)
    assert estimate.contrast_limits == [0.2, 0.5]
    assert viewer.layers.selection == {viewer.layers["phantom"]}


def volume_psnr(widget) -> str:
    return widget.table.as_text().split("\n")[3].split("\t")[2]


def test_scores_follow_the_voxels_and_the_place_of_a_layer(widget, viewer, qtbot, wait_idle):
    layer, before = viewer.layers["estimate"], volume_psnr(widget)
    layer.data = layer.data * 0.5
    qtbot.waitUntil(lambda: volume_psnr(widget) not in (before, "..."))
    wait_idle()
    darker = volume_psnr(widget)
    assert float(darker) < float(before)
    layer.translate = layer.translate + 5
    qtbot.waitUntil(lambda: volume_psnr(widget) not in (darker, "..."))
    wait_idle()
    assert volume_psnr(widget) == ""
    assert any("one grid" in text for text in widget.notices.texts(ERROR_COLOUR))


def test_profile_is_of_the_place_where_the_line_is(widget, viewer, phantom, wait_idle):
    coarse = Volume(phantom.array[::2, ::2, ::2], phantom.affine @ np.diag([2, 2, 2, 1]))
    for name, factor in (("coarse", 1), ("coarse estimate", 0.9)):
        made = replace(coarse, array=coarse.array * factor, name=name)
        data, meta, _ = volume_to_layer(made)
        viewer.add_image(data, **meta)
    widget.draw_line()
    start, end = ends_of(widget.line, viewer.layers["phantom"])
    in_coarse = ends_of(widget.line, viewer.layers["coarse"])
    np.testing.assert_allclose(in_coarse, (start / 2, end / 2))
    asked = []
    widget._of_line.ask = lambda work, *given: asked.append(given)
    widget.line.translate = widget.line.translate + (0, 6, 0)
    (*_, moved, _) = asked[-1]
    np.testing.assert_allclose(moved, start + (0, 6, 0))
    widget.volumes.reference_chooser.layer = viewer.layers["coarse"]
    (*_, moved, _) = asked[-1]
    np.testing.assert_allclose(moved, (start + (0, 6, 0)) / 2)


def test_labels_on_the_canvas_say_which_image_is_which(widget, viewer, wait_idle):
    widget.view_box.setCurrentText("Side by side")
    both = {"top_left": "reference\nphantom", "top_right": "estimate\nestimate"}
    assert labels(viewer) == both
    widget.view_box.setCurrentText("Swipe")
    assert labels(viewer) == both
    viewer.layers["phantom"].name = "sub-01_ses-01_acq-mprage_run-1_T1w"
    widget.view_box.setCurrentText("Flicker")
    widget.views.swap()
    widget.views.swap()
    assert labels(viewer) in (
        {"top_left": "reference\nsub-01_ses-01_…mprage_run-1_T1w"},
        {"top_left": "estimate\nestimate"},
    )
    widget.view_box.setCurrentText("Single view")
    assert labels(viewer) == {}
    widget.difference_button.click()
    wait_idle()
    assert widget.difference.colorbar.visible


def test_label_on_the_canvas_follows_the_name_of_its_layer(widget, viewer):
    widget.view_box.setCurrentText("Side by side")
    overlay = viewer.canvas.overlays["mri7t-left"]
    viewer.layers["phantom"].name = "scan"
    assert labels(viewer)["top_left"] == "reference\nscan"
    assert viewer.canvas.overlays["mri7t-left"] is overlay
    widget.view_box.setCurrentText("Single view")
    viewer.layers["scan"].name = "phantom"
    assert labels(viewer) == {}


def test_colour_bar_goes_while_another_image_covers_the_difference(widget, viewer, wait_idle):
    widget.difference_button.click()
    wait_idle()
    bar = widget.difference.colorbar
    assert bar.visible
    viewer.add_labels(np.zeros((3, 3, 3), np.uint8))
    assert bar.visible
    covering = viewer.add_image(np.zeros((3, 3, 3)))
    assert not bar.visible
    viewer.layers.move(len(viewer.layers) - 1, 0)
    assert bar.visible
    viewer.layers.move(0, len(viewer.layers))
    assert not bar.visible
    viewer.layers[-1].visible = False
    assert bar.visible
    viewer.layers[-1].visible = True
    assert not bar.visible
    viewer.layers.remove(covering)
    assert bar.visible


def test_three_planes_of_both_go_through_the_point_that_is_clicked(
    widget, viewer, phantom, estimate
):
    viewer.dims.set_point((0, 1, 2), phantom.affine[:3, 3][::-1] + (16, 24, 20))
    widget.view_box.setCurrentText("Three planes")
    names = ["planes: phantom", "planes: estimate"]
    assert shown(viewer) == set(names)
    assert viewer.canvas.grid.enabled
    for name, volume in zip(names, (phantom, estimate), strict=True):
        expected = inspection.three_planes(volume, (20, 24, 16)).picture
        np.testing.assert_array_equal(viewer.layers[name].data, expected)
    left, below = phantom.affine[0, 3], phantom.affine[1, 3]
    event = SimpleNamespace(
        type="mouse_press", modifiers=(), position=(16.0, below + 48 + 4 + 9, left + 12)
    )
    drag = [callback(viewer, event) for callback in viewer.mouse_drag_callbacks][-1]
    next(drag)
    event.type = "mouse_release"
    assert next(drag, None) is None
    expected = inspection.three_planes(phantom, (12, 24, 9)).picture
    np.testing.assert_array_equal(viewer.layers[names[0]].data, expected)
    assert viewer.dims.point[0] == phantom.affine[2, 3] + 9
    viewer.dims.set_point(0, phantom.affine[2, 3] + 11)
    expected = inspection.three_planes(estimate, (12, 24, 11)).picture
    np.testing.assert_array_equal(viewer.layers[names[1]].data, expected)
    widget.view_box.setCurrentText("Single view")
    assert shown(viewer) == {"phantom", "estimate", "other"}
    assert not viewer.canvas.grid.enabled
    assert viewer.scene.camera.mouse_pan


@pytest.mark.parametrize("moved", [0, 1])
def test_three_planes_of_an_oblique_layer_that_was_moved_are_refused_in_words(
    make_napari_viewer, estimate, moved, wait_idle
):
    viewer = make_napari_viewer()
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    for name in ("reference", "turned"):
        data, meta, _ = volume_to_layer(Volume(estimate.array, turned, name=name))
        viewer.add_image(data, **meta)
    viewer.add_image(estimate.array.T, name="other", visible=False)
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Compare")
    pair = [viewer.layers[name] for name in ("reference", "turned")]
    pair[moved].translate = pair[moved].translate + 5
    callbacks, order = list(viewer.mouse_drag_callbacks), viewer.dims.order
    widget.views.show(THREE_PLANES, *pair)
    (told,) = widget.notices.texts(ERROR_COLOUR)
    assert pair[moved].name in told
    assert widget.views.view == SINGLE
    assert shown(viewer) == {"reference", "turned"}
    assert not viewer.canvas.grid.enabled
    assert (list(viewer.mouse_drag_callbacks), viewer.dims.order) == (callbacks, order)
    widget.views.leave()
    widget.views.show(SWIPE, *pair)
    assert widget.views.view == SWIPE
    wait_idle()


def test_pair_is_proposed_anew_until_the_user_has_chosen(make_napari_viewer, phantom, wait_idle):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Compare")
    for name in ("brain", "other", "brain synthetic-7T m"):
        data, meta, _ = volume_to_layer(phantom.with_array(phantom.array, name=name))
        viewer.add_image(data, **meta)
    assert [layer.name for layer in widget.pair] == ["other", "brain synthetic-7T m"]
    chooser = widget.volumes.reference_chooser
    chooser.setCurrentIndex(chooser.findText("brain"))
    data, meta, _ = volume_to_layer(phantom.with_array(phantom.array, name="sub-01_7T"))
    viewer.add_image(data, **meta)
    assert [layer.name for layer in widget.pair] == ["brain", "brain synthetic-7T m"]
    wait_idle()


def test_range_is_that_of_the_reference_and_said(widget, viewer, phantom, estimate, wait_idle):
    assert widget.span_label.text() == "Data range 1: the reference lies in 0 to 1."
    for volume in (phantom, estimate):
        brighter = volume.with_array(volume.array * 900, name=f"{volume.name} in scanner units")
        data, meta, _ = volume_to_layer(brighter)
        viewer.add_image(data, **meta)
    widget.volumes.reference_chooser.layer = viewer.layers["phantom in scanner units"]
    widget.volumes.estimate_chooser.layer = viewer.layers["estimate in scanner units"]
    wait_idle()
    span, _ = inspection.find_data_range(phantom.with_array(phantom.array * 900))
    assert widget.span_label.text().startswith(f"Data range {span:g}: from the background")
    figures = [float(line.split("\t")[2]) for line in widget.table.as_text().split("\n")[1:]]
    assert min(figures) > 15
    assert widget.notices.texts(WARNING_COLOUR) == []


def test_difference_layer_has_symmetric_limits(widget, viewer, phantom, estimate, wait_idle):
    widget.difference_button.click()
    wait_idle()
    layer = viewer.layers["estimate minus phantom"]
    np.testing.assert_array_equal(layer.data, (estimate.array - phantom.array).T)
    low, high = layer.contrast_limits
    assert low == -high
    assert "estimate minus phantom" not in [
        widget.volumes.reference_chooser.itemText(n) for n in range(4)
    ]
    widget.difference_button.click()
    wait_idle()
    assert [x.name for x in viewer.layers].count("estimate minus phantom") == 1


def test_profile_follows_the_line(widget, viewer, phantom, estimate, wait_idle):
    viewer.dims.set_point(0, phantom.affine[2, 3] + 16)
    widget.line_button.click()
    wait_idle()
    start, end = np.array([0.0, 24, 16]), np.array([39.0, 24, 16])
    widget.line.data = [np.array([start[::-1], end[::-1]])]
    wait_idle()
    expected = inspection.profile([phantom, estimate], start, end)
    for curve, values in zip(widget.plot.curves, expected.values, strict=True):
        x, y = curve.getData()
        np.testing.assert_allclose(x, expected.distance_mm)
        np.testing.assert_allclose(y, values)
    viewer.layers.remove(widget.line)


@pytest.mark.parametrize("button", ["difference_button", "line_button"])
def test_new_layer_leaves_the_grid_that_it_would_disturb(widget, viewer, button, wait_idle):
    widget.view_box.setCurrentText("Side by side")
    getattr(widget, button).click()
    wait_idle()
    assert widget.view_box.currentText() == "Single view"
    assert not viewer.canvas.grid.enabled
    assert viewer.layers[-1].visible


def test_intensities_beyond_the_range_are_told(widget, wait_idle):
    widget.volumes.range_box.setValue(0.1)
    wait_idle()
    (text,) = widget.notices.texts(WARNING_COLOUR)
    assert "but the data range is 0.1" in text


def test_pressed_keys_do_what_the_widget_lists_and_napari_s_own_still_work(widget, viewer, qtbot):
    canvas = viewer.window._qt_viewer.canvas.native
    first = viewer.dims.current_step[0]
    qtbot.keyClick(canvas, Qt.Key.Key_Right)
    assert viewer.dims.current_step[0] == first + 1
    qtbot.keyClick(canvas, Qt.Key.Key_G, Qt.KeyboardModifier.ShiftModifier)
    assert widget.view_box.currentText() == "Side by side"
    qtbot.keyClick(canvas, Qt.Key.Key_G, Qt.KeyboardModifier.ShiftModifier)
    assert widget.view_box.currentText() == "Single view"


def test_keys_do_what_the_widget_lists(widget, viewer):
    bound = {str(keys).replace("+", "-"): action for keys, action in viewer.keymap.items()}
    assert set(SHORTCUTS) <= set(bound)
    bound["Shift-G"](viewer)
    assert widget.view_box.currentText() == "Side by side"
    bound["Shift-G"](viewer)
    assert widget.view_box.currentText() == "Single view"
    bound["Shift-W"](viewer)
    assert RIGHT_PART in viewer.layers
    bound["Shift-F"](viewer)
    before = shown(viewer)
    bound["Shift-X"](viewer)
    assert shown(viewer) != before


def test_key_swaps_the_two_without_a_view_too(widget, viewer):
    swap = partial(key(viewer, "Shift-X"), viewer)
    swap()
    assert shown(viewer) == {"phantom", "other"}  # the estimate covered the reference
    swap()
    assert shown(viewer) == {"estimate", "other"}
    viewer.layers["phantom"].visible = True
    viewer.layers.move(0, 2)
    swap()
    assert shown(viewer) == {"estimate", "other"}  # now the reference covered the estimate


def test_key_swaps_for_good_where_the_two_flicker(widget, viewer, qtbot):
    widget.view_box.setCurrentText("Flicker")
    swap = partial(key(viewer, "Shift-X"), viewer)
    swap()
    before = shown(viewer)
    qtbot.wait(2 * FLICKER_MS)
    assert shown(viewer) == before
    assert widget.view_box.currentText() == "Flicker"


def test_closed_in_mid_question_the_widget_gives_no_answer(viewer, monkeypatch, wait_idle):
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Compare")
    wait_idle()
    may_answer, was_asked, shows = threading.Event(), threading.Event(), []

    def answer(*arguments):
        was_asked.set()
        assert may_answer.wait(60)
        return volume_to_layer(Volume(np.ones((2, 2, 2)), np.eye(4), name="late")), 1.0

    monkeypatch.setattr("napari_mri7t.widgets.compare.jobs.difference", answer)
    widget._of_difference.answered.connect(shows.append)
    widget.difference_button.click()
    assert was_asked.wait(60)
    before = [layer.name for layer in viewer.layers]
    dock.destroyOnClose()
    may_answer.set()
    wait_idle()
    QApplication.processEvents()
    assert shows == []
    assert [layer.name for layer in viewer.layers] == before
    widget.deleteLater()


def test_removed_layer_ends_the_view(widget, viewer, wait_idle):
    widget.view_box.setCurrentText("Flicker")
    viewer.layers.remove("estimate")
    viewer.layers.remove("other")
    wait_idle()
    assert widget.view_box.currentText() == "Single view"
    assert not widget.view_box.isEnabled()
    assert "Choose two different volumes" in widget.view_box.toolTip()
    assert shown(viewer) == {"phantom"}


def test_closed_widget_puts_the_viewer_back(viewer, wait_idle):
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Compare")
    widget.view_box.setCurrentText("Swipe")
    wait_idle()
    dock.destroyOnClose()
    wait_idle()
    assert shown(viewer) == {"phantom", "estimate", "other"}
    assert not set(SHORTCUTS) & {str(keys).replace("+", "-") for keys in viewer.keymap}
    viewer.dims.set_point(0, 3)
    widget.deleteLater()
    QApplication.processEvents()


def test_widget_fits_350_pixels(widget):
    assert widget.minimumSizeHint().width() <= 350
