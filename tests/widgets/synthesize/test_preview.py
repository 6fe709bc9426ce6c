"""The preview of a synthesis in a real viewer: a slice, a region, live; as the full run has it."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_mri7t.engine.models.card import PLANES, ModelCard
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis import preview as engine
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.widgets.compare.views import SIDE_BY_SIDE, SINGLE
from napari_mri7t.widgets.layers.layers import volume_to_layer
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR
from napari_mri7t.widgets.shared.preview_label import ELSEWHERE, IN_FRAME, PREVIEW
from napari_mri7t.widgets.synthesize.preview import NO_SLICE, REGION, SLICE, STOP
from napari_mri7t.widgets.synthesize.preview_session import IN_MNI, IN_ONE_PLANE

pytestmark = pytest.mark.gui
TOLERANCE = 2e-3  # bfloat16, where the processor has it, in batches of another size


@pytest.fixture
def opened(widget, phantom, wait_idle):
    """The widget with the phantom on its slice 15, and what the full run makes of it."""
    show(widget, phantom)
    widget.computation.step_box.setCurrentIndex(0)
    widget.viewer.dims.set_point(0, phantom.affine[2, 3] + 15)
    wait_idle()
    return widget


@pytest.fixture
def full(phantom, quick_model) -> np.ndarray:
    return synthesize(phantom, load_model(quick_model)).volume.array


def show(widget, volume):
    data, meta, _ = volume_to_layer(volume)
    return widget.viewer.add_image(data, **meta)


def layer_of(widget):
    (layer,) = [layer for layer in widget.viewer.layers if "preview" in layer.name]
    return layer


def place(layer) -> list[float]:
    return [float(x) for x in layer.data_to_world((0, 0, 0))]


def test_slice_shown_is_previewed_with_the_numbers_of_the_full_run(
    opened, phantom, full, wait_idle
):
    opened.preview.button.click()
    wait_idle()
    layer = layer_of(opened)
    assert layer.name == "phantom preview quick"
    np.testing.assert_allclose(layer.data, full.T[15:16], atol=TOLERANCE)
    assert place(layer) == [phantom.affine[2, 3] + 15, phantom.affine[1, 3], phantom.affine[0, 3]]
    assert layer.contrast_limits == opened.viewer.layers["phantom"].contrast_limits
    assert opened.panel.status.text().startswith("Slice previewed on cpu")
    choices = opened.source.layer_chooser
    assert [choices.itemText(n) for n in range(choices.count())] == ["phantom"]


@pytest.mark.parametrize(("order", "axis"), [((1, 0, 2), 1), ((2, 0, 1), 2)])
def test_preview_is_in_the_plane_that_is_shown(opened, phantom, full, wait_idle, order, axis):
    opened.viewer.dims.order = order
    opened.viewer.dims.set_point(axis, phantom.affine[2 - axis, 3] + 19)
    opened.preview.button.click()
    wait_idle()
    layer = layer_of(opened)
    np.testing.assert_allclose(layer.data, full.T.take([19], axis), atol=TOLERANCE)
    assert place(layer)[axis] == phantom.affine[2 - axis, 3] + 19


def test_live_preview_follows_the_slider_and_ends_on_the_latest_slice(
    opened, phantom, full, wait_idle
):
    opened.preview.live_box.setChecked(True)
    wait_idle()
    layer = layer_of(opened)
    for index in (16, 17, 18, 19):
        opened.viewer.dims.set_point(0, phantom.affine[2, 3] + index)
    wait_idle()
    QApplication.processEvents()
    wait_idle()
    assert layer_of(opened) is layer
    np.testing.assert_allclose(layer.data, full.T[19:20], atol=TOLERANCE)
    assert place(layer)[0] == phantom.affine[2, 3] + 19
    opened.preview.live_box.setChecked(False)
    opened.viewer.dims.set_point(0, phantom.affine[2, 3] + 2)
    wait_idle()
    assert place(layer)[0] == phantom.affine[2, 3] + 19


def test_live_preview_follows_the_settings_too(opened, wait_idle):
    opened.preview.live_box.setChecked(True)
    wait_idle()
    before = layer_of(opened).data.copy()
    opened.computation.step_box.setCurrentIndex(1)
    wait_idle()
    assert not np.array_equal(layer_of(opened).data, before)


def test_a_slice_of_a_model_that_averages_planes_is_shown_in_its_own(
    opened, phantom, quick_model, wait_idle, monkeypatch
):
    monkeypatch.setattr(ModelCard, "planes", PLANES)
    made, of_slice = [], engine.Preview.slice

    def recorded(preview, axis, index, report, *, quick):
        made.append(of_slice(preview, axis, index, report, quick=quick))
        assert not np.array_equal(made[-1], of_slice(preview, axis, index, report))
        return made[-1]

    monkeypatch.setattr(engine.Preview, "slice", recorded)
    opened.preview.button.click()
    wait_idle()
    np.testing.assert_array_equal(layer_of(opened).data, made[0].T[None])
    alone = synthesize(phantom, load_model(quick_model), SynthesisConfig(planes=("axial",)))
    np.testing.assert_allclose(layer_of(opened).data, alone.volume.array.T[15:16], atol=TOLERANCE)
    assert opened.panel.status.text().endswith(IN_ONE_PLANE)


def test_live_shows_the_slice_after_a_region(opened, phantom, full, wait_idle):
    opened.preview.show(REGION)
    wait_idle()
    opened.preview.live_box.setChecked(True)
    wait_idle()
    opened.viewer.dims.set_point(0, phantom.affine[2, 3] + 19)
    wait_idle()
    np.testing.assert_allclose(layer_of(opened).data, full.T[19:20], atol=TOLERANCE)


def test_scan_is_opened_once_for_all_its_slices(opened, phantom, wait_idle, monkeypatch):
    calls = []
    open_preview = engine.open_preview

    def counted(*arguments):
        calls.append(arguments)
        return open_preview(*arguments)

    monkeypatch.setattr(engine, "open_preview", counted)
    for index in (3, 4, 8):
        opened.viewer.dims.set_point(0, phantom.affine[2, 3] + index)
        opened.preview.show(SLICE)
        wait_idle()
    assert len(calls) == 1


def test_region_around_the_middle_of_the_view_is_previewed(opened, phantom, full, wait_idle):
    opened.viewer.scene.camera.center = (phantom.affine[1, 3] + 40, phantom.affine[0, 3] + 2)
    opened.preview.button.menu().actions()[1].trigger()
    wait_idle()
    layer = layer_of(opened)
    assert layer.data.shape == (32, 28, 22)  # 20 mm around voxel (2, 40, 15), within the scan
    np.testing.assert_allclose(layer.data, full[:22, 20:, :].T, atol=TOLERANCE)
    assert place(layer)[1] == phantom.affine[1, 3] + 20
    assert layer.bounding_box.visible
    assert opened.panel.status.text().startswith("Region previewed")


def test_in_3d_a_slice_is_refused_in_words_and_a_region_is_made(opened, wait_idle):
    opened.viewer.dims.ndisplay = 3
    opened.preview.button.click()
    assert opened.panel.status.text() == NO_SLICE
    opened.preview.show(REGION)
    wait_idle()
    assert opened.panel.status.text().startswith("Region previewed on cpu")


def test_slice_outside_the_scan_is_refused_in_words(opened, phantom, wait_idle):
    far = phantom.affine.copy()
    far[2, 3] -= 20
    show(opened, Volume(phantom.array, far, name="below"))
    opened.source.choose(opened.viewer.layers["phantom"])
    opened.viewer.dims.set_point(0, far[2, 3] + 1)
    wait_idle()
    opened.preview.button.click()
    wait_idle()
    assert opened.panel.status.text() == NO_SLICE
    assert not any("preview" in layer.name for layer in opened.viewer.layers)


def test_preview_waits_while_a_synthesis_runs(opened, wait_idle):
    opened.preview.live_box.setChecked(True)
    wait_idle()
    opened.start()
    assert not opened.preview.button.isEnabled()
    assert "a synthesis is running" in opened.preview.button.toolTip()
    opened.viewer.dims.set_point(0, 0)
    wait_idle()
    assert opened.preview.button.isEnabled()


@pytest.fixture
def set_double_click_ms(qapp):
    """Set the time in which two presses are one double click, for this test."""
    before = qapp.doubleClickInterval()
    yield qapp.setDoubleClickInterval
    qapp.setDoubleClickInterval(before)


def test_preparation_can_be_stopped_and_the_next_preview_starts_anew(
    opened, qtbot, wait_idle, monkeypatch, set_double_click_ms
):
    begun, may_end = threading.Event(), threading.Event()
    open_preview = engine.open_preview

    def slow(*arguments):
        begun.set()
        report = arguments[-1]
        while not may_end.wait(0.01):
            report(engine_progress())
        return open_preview(*arguments)

    monkeypatch.setattr(engine, "open_preview", slow)
    opened.preview.button.click()
    qtbot.waitUntil(begun.is_set)
    qtbot.waitUntil(lambda: opened.panel.status.text() == "Preview: preparing")
    assert opened.preview.button.text() == STOP
    set_double_click_ms(0)
    opened.preview.button.click()
    wait_idle()
    assert opened.preview.button.text() == SLICE
    assert not [layer for layer in opened.viewer.layers if "preview" in layer.name]
    may_end.set()
    opened.preview.button.click()
    wait_idle()
    assert layer_of(opened).data.shape[0] == 1


def test_double_click_starts_the_preview_and_does_not_stop_it(
    opened, monkeypatch, wait_idle, set_double_click_ms
):
    may_end, open_preview = threading.Event(), engine.open_preview

    def slow(*arguments):
        while not may_end.wait(0.01):
            arguments[-1](engine_progress())
        return open_preview(*arguments)

    monkeypatch.setattr(engine, "open_preview", slow)
    set_double_click_ms(60_000)
    for _ in range(2):
        QTest.mouseClick(opened.preview.button.main, Qt.MouseButton.LeftButton)
    assert opened.preview.button.text() == STOP
    may_end.set()
    wait_idle()
    assert layer_of(opened).data.shape[0] == 1


def test_time_of_the_preparation_is_said_with_that_of_the_preview(
    ready, head, wait_idle, monkeypatch
):
    monkeypatch.setattr("napari_mri7t.widgets.synthesize.preview.LEAST_S", 0.0)
    monkeypatch.setattr("napari_mri7t.widgets.synthesize.pace.LEAST_PACE_S", 0.0)
    ready.viewer.dims.set_point(0, head[0].affine[2, 3] + 80)
    wait_idle()
    assert "Not timed on this computer yet: brain" in ready.outlook.preparation.text()
    ready.preview.button.click()
    wait_idle()
    assert re.search(r" in \d+\.\d\d s, after \d+ s of preparation", ready.panel.status.text())
    assert "Not timed" not in ready.outlook.preparation.text()
    assert "prepare: brain extraction" in ready.memory.recall("pace")
    monkeypatch.setattr("napari_mri7t.widgets.synthesize.preview.LEAST_S", 0.5)
    ready.viewer.dims.set_point(0, head[0].affine[2, 3] + 84)
    ready.preview.button.click()
    wait_idle()
    assert "of preparation" not in ready.panel.status.text(), "the scan was ready"


def words_on(viewer) -> str:
    """Return what the canvas says of the preview."""
    return getattr(viewer.canvas.overlays.get("mri7t-preview-of-scan"), "text", "")


def test_canvas_says_whether_the_preview_is_what_is_shown(opened, phantom, wait_idle):
    viewer = opened.viewer
    assert words_on(viewer) == ""
    opened.preview.button.click()
    wait_idle()
    assert words_on(viewer) == PREVIEW
    viewer.dims.set_point(0, phantom.affine[2, 3] + 16)
    assert words_on(viewer) == ELSEWHERE.format("scan")
    viewer.dims.set_point(0, phantom.affine[2, 3] + 15)
    assert words_on(viewer) == PREVIEW
    viewer.dims.order = (2, 0, 1)
    assert words_on(viewer) == ELSEWHERE.format("scan"), "only a line of it is shown"
    viewer.dims.order = (0, 1, 2)
    layer_of(opened).visible = False
    assert words_on(viewer) == ""
    layer_of(opened).visible = True
    assert words_on(viewer) == PREVIEW
    covering = viewer.add_image(phantom.array.T, name="covering")
    assert words_on(viewer) == ""
    viewer.layers.remove(covering)
    assert words_on(viewer) == PREVIEW
    opened.preview.show(REGION)
    wait_idle()
    assert words_on(viewer) == IN_FRAME
    viewer.dims.ndisplay = 3
    assert words_on(viewer) == ""
    viewer.dims.ndisplay = 2
    viewer.layers.remove(layer_of(opened))
    assert words_on(viewer) == ""


def test_words_of_the_preview_go_while_a_result_is_compared(opened, wait_idle):
    opened.preview.button.click()
    opened.start()
    wait_idle()
    opened.preview.button.click()
    wait_idle()
    assert words_on(opened.viewer) == PREVIEW
    opened.before_after.show(SIDE_BY_SIDE)
    wait_idle()
    assert words_on(opened.viewer) == ""
    opened.before_after.show(SINGLE)
    assert words_on(opened.viewer) == PREVIEW


def engine_progress():
    from napari_mri7t.engine.progress import Progress

    return Progress(0, 0, "preparing")


def test_failed_preview_says_why_and_ends_the_live_one(opened, wait_idle, monkeypatch):
    def fail(*arguments):
        raise ValueError("phantom: no brain: choose another scan")

    monkeypatch.setattr(engine, "open_preview", fail)
    opened.preview.live_box.setChecked(True)
    wait_idle()
    assert opened.panel.notices.texts(ERROR_COLOUR) == ["phantom: no brain: choose another scan"]
    assert not opened.preview.live_box.isChecked()
    assert opened.preview.button.text() == SLICE


def test_preview_says_that_it_leaves_out_mni_space(opened, wait_idle):
    box = opened.preparation.via_box
    box.setCurrentIndex(box.findData("mni"))
    wait_idle()
    opened.preview.show(REGION)
    wait_idle()
    assert IN_MNI in opened.panel.status.text()


def test_prepared_head_is_prepared_once_for_preview_and_full_run(ready, calls, head, wait_idle):
    ready.computation.step_box.setCurrentIndex(0)
    ready.viewer.dims.set_point(0, head[0].affine[2, 3] + 80)
    ready.preview.button.click()
    wait_idle()
    assert calls == ["extraction", "field"]
    part = layer_of(ready)
    found = part.data.copy()
    ready.start()
    wait_idle()
    assert calls == ["extraction", "field"]
    made = next(layer for layer in ready.viewer.layers if "synthetic" in layer.name)
    tolerance = TOLERANCE * float(made.data.max())
    np.testing.assert_allclose(found, made.data[20:21], atol=tolerance)


def test_preview_goes_with_the_widget(opened, wait_idle):
    opened.preview.button.click()
    wait_idle()
    viewer = opened.viewer
    opened.release()
    assert [layer.name for layer in viewer.layers] == ["phantom"]
    assert viewer.layers.selection == {viewer.layers["phantom"]}
    viewer.dims.set_point(0, 0)
