"""Before and after a synthesis in a real viewer: three views of it, one click from each other."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mri7t.widgets.compare import jobs
from napari_mri7t.widgets.layers.layers import volume_to_layer
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR

pytestmark = pytest.mark.gui
VIEWS = ("Side by side", "Swipe", "Difference", "Single view")


@pytest.fixture
def done(widget, phantom, wait_idle):
    """The widget after a synthesis of a brain that needs no preparation."""
    data, meta, _ = volume_to_layer(phantom)
    widget.viewer.add_image(data, **meta)
    wait_idle()
    widget.start()
    wait_idle()
    return widget


@pytest.fixture
def raw_done(ready, head, wait_idle):
    """The widget after a synthesis of a head whose bias field was removed."""
    ready.start()
    wait_idle()
    return ready


def made_of(widget):
    return next(x for x in widget.viewer.layers if "synthetic-7T" in x.name)


def seen(widget) -> list[str]:
    return [layer.name for layer in widget.viewer.layers if layer.visible]


def test_button_comes_with_the_first_result(widget, done):
    assert done.before_after.button.isEnabled()


def test_each_click_shows_the_next_view_and_the_last_restores_the_viewer(done, wait_idle):
    viewer, made = done.viewer, made_of(done)
    before = seen(done)
    button = done.before_after.button
    for view in VIEWS:
        button.click()
        wait_idle()
        assert done.before_after.views.view == view
        if view == "Side by side":
            assert viewer.canvas.grid.enabled
            assert seen(done) == ["phantom", made.name]
            texts = [viewer.canvas.overlays[f"mri7t-{side}"].text for side in ("left", "right")]
            assert [text.split("\n")[0] for text in texts] == ["before", "after"]
        if view == "Swipe":
            assert seen(done) == ["phantom", f"right of the line: {made.name}"]
        if view == "Difference":
            (layer,) = [layer for layer in viewer.layers if layer.visible]
            np.testing.assert_array_equal(layer.data, made.data - viewer.layers["phantom"].data)
            assert layer.colorbar.visible
            low, high = layer.contrast_limits
            assert low == -high
    assert seen(done) == before
    assert len(viewer.layers) == 2


def test_plan_of_the_preparation_stays_in_every_view(widget, raw_done, wait_idle):
    plan = widget.outlook.preparation.text()
    assert plan.startswith("Preparation: ")
    told = []
    widget.outlook.preparation.setText = told.append
    for _ in VIEWS:
        widget.before_after.button.click()
        wait_idle()
    assert set(told) <= {plan}


def test_key_turns_through_the_views_and_the_menu_chooses_one(done, wait_idle):
    keys = {str(keys).replace("+", "-"): call for keys, call in done.viewer.keymap.items()}
    keys["Shift-B"](done.viewer)
    wait_idle()
    assert done.before_after.views.view == "Side by side"
    actions = {x.text(): x for x in done.before_after.button.menu().actions()}
    actions["Difference"].trigger()
    wait_idle()
    assert done.before_after.views.view == "Difference"
    assert not done.viewer.canvas.grid.enabled


def test_estimate_is_compared_with_the_scan_without_its_bias_field(raw_done, head, wait_idle):
    scan, mask = head
    raw_done.before_after.button.click()
    wait_idle()
    viewer, made = raw_done.viewer, made_of(raw_done)
    assert seen(raw_done) == ["head corrected", made.name]
    corrected = viewer.layers["head corrected"]
    prepared = raw_done.before_after._made.prepared
    deep = np.zeros_like(mask)
    deep[18:26, 22:32, 16:26] = True  # far from the seam
    expected = prepared.scale.from_zero(prepared.corrected.array)
    np.testing.assert_allclose(corrected.data.T[deep], expected[deep], rtol=1e-5)
    assert not np.allclose(corrected.data.T[deep], scan.array[deep], rtol=1e-3)
    np.testing.assert_array_equal(corrected.data.T[~mask], scan.array[~mask])
    assert corrected.contrast_limits == made.contrast_limits


def test_difference_that_fails_leaves_the_view_on_the_screen(done, wait_idle, monkeypatch):
    def fail(*arguments):
        raise ValueError("phantom: on another grid")

    monkeypatch.setattr(jobs, "difference", fail)
    done.before_after.show("Swipe")
    wait_idle()
    done.before_after.turn()
    wait_idle()
    assert done.panel.notices.texts(ERROR_COLOUR) == ["phantom: on another grid"]
    assert done.before_after.views.view == done.before_after._wanted == "Swipe"


@pytest.mark.parametrize("view", ["Swipe", "Side by side", "Difference"])
def test_file_that_is_opened_leaves_no_view_under_it(done, wait_idle, view):
    done.before_after.show(view)
    wait_idle()
    done.viewer.add_image(np.zeros((4, 5, 6)), name="another")
    assert done.before_after.views.view == done.before_after._wanted == "Single view"
    assert done.before_after.button.isEnabled()


def test_removed_result_takes_its_views_along(done, wait_idle):
    done.before_after.button.click()
    wait_idle()
    done.viewer.layers.remove(made_of(done))
    assert not done.before_after.button.isEnabled()
    assert not done.viewer.canvas.grid.enabled
    assert seen(done) == ["phantom"]


def test_removed_scan_is_brought_back_for_the_comparison(done, wait_idle):
    done.viewer.layers.remove("phantom")
    done.before_after.button.click()
    wait_idle()
    assert seen(done)[0] == "phantom"
    assert len(seen(done)) == 2


def test_next_result_ends_the_view_of_the_last(done, wait_idle):
    done.before_after.button.click()
    wait_idle()
    done.start()
    wait_idle()
    assert not done.viewer.canvas.grid.enabled
    assert done.before_after.views.view == "Single view"


def test_view_of_the_widget_compare_takes_the_place_of_it(done, wait_idle):
    done.before_after.button.click()
    wait_idle()
    _, compare = done.viewer.window.add_plugin_dock_widget("napari-mri7t", "Compare")
    wait_idle()
    compare.view_box.setCurrentText("Swipe")
    assert done.before_after.views.view == "Single view"
    done.before_after.show("Side by side")
    wait_idle()
    assert compare.view_box.currentText() == "Single view"
    assert done.viewer.canvas.grid.enabled
    done.before_after.show("Single view")
    assert seen(done) == ["phantom", made_of(done).name]


def test_closed_widget_restores_the_viewer(done, wait_idle):
    viewer = done.viewer
    done.before_after.button.click()
    wait_idle()
    done.release()
    assert not viewer.canvas.grid.enabled
    assert "Shift-B" not in {str(keys).replace("+", "-") for keys in viewer.keymap}
    viewer.add_image(np.zeros((3, 3, 3)))
