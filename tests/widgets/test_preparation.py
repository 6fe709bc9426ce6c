"""Raw scans in the widget "Synthesize 7T", in a real viewer: what is said before, done, kept."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from napari_mri7t.engine import quality
from napari_mri7t.engine.preparation import raw_scan, recognition
from napari_mri7t.engine.preparation.native import INSTALL, in_background
from napari_mri7t.engine.preparation.transforms import save_transform
from napari_mri7t.engine.volume import Volume, save_volume
from napari_mri7t.widgets import preparation_fields
from napari_mri7t.widgets.controls import ERROR_COLOUR, WARNING_COLOUR
from napari_mri7t.widgets.layers import KEY, volume_to_layer
from napari_mri7t.widgets.preparation_jobs import leftovers
from napari_mri7t.widgets.synthesis_fields import FOLDER
from napari_mri7t.widgets.synthesize import SynthesizeWidget

pytestmark = pytest.mark.gui

SHAPE, MM = (44, 54, 42), 4.0  # a head in 0.1 million voxels
SCAN = Path("/work/shared/data/bold5000/sub-CSI1_ses-16_T1w.nii.gz")


@pytest.fixture
def head() -> tuple[Volume, np.ndarray]:
    """An uneven brain of 1.3 litres with a skull around it; no symmetry."""
    axes = [np.arange(n) * MM for n in SHAPE]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    x, y, z = x - 86, y - 106, z - 82
    radius = np.sqrt((x / 62) ** 2 + (y / 78) ** 2 + (z / 62) ** 2)
    brain = (radius < 1) * (600 + 200 * np.sin(x / 9) * np.cos(y / 13 + z / 11) + y + 2 * z)
    noise = 1 + np.random.default_rng(0).random(SHAPE)  # no background of 0
    skull = 300.0 * ((radius > 1.15) & (radius < 1.25))
    affine = np.diag([MM] * 3 + [1.0])
    affine[:3, 3] = (-86, -126, -72)
    return Volume(brain + skull + noise, affine, name="head"), radius < 1


@pytest.fixture
def calls(head, monkeypatch) -> list[str]:
    """The phantom is its own template; its brain is known, the other steps are SimpleITK's own."""
    pytest.importorskip("SimpleITK")
    scan, mask = head
    for user in (recognition, raw_scan, quality):
        monkeypatch.setattr(user, "load_template", lambda: scan.with_array(scan.array * mask))
    done: list[str] = []

    def counted(name, steps):
        def run(*arguments):
            done.append(name)
            return (yield from steps(*arguments))

        return run

    known = counted("extraction", lambda *_: in_background(lambda: mask))
    monkeypatch.setattr(raw_scan, "extract_brain", known)
    monkeypatch.setattr(
        raw_scan, "estimate_bias_field", counted("field", raw_scan.estimate_bias_field)
    )
    monkeypatch.setattr(raw_scan, "register", counted("register", raw_scan.register))
    return done


@pytest.fixture
def widget(make_napari_viewer, quick_model) -> SynthesizeWidget:
    viewer = make_napari_viewer()
    _, docked = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    docked.model_chooser.add(quick_model)
    docked.computation.step_box.setCurrentIndex(1)
    return docked


def show(widget, volume, **settings):
    data, meta, _ = volume_to_layer(volume, **settings)
    return widget.viewer.add_image(data, **meta)


def choose(box, value) -> None:
    box.setCurrentIndex(box.findData(value))


def plain(label) -> str:
    return label.text().replace("\u200b", "")


def facts_of_last(widget) -> dict:
    return widget.viewer.layers[-1].metadata[KEY]["provenance"]


@pytest.fixture
def ready(widget, head, calls, wait_idle) -> SynthesizeWidget:
    """The head as a layer; it is too coarse for the models, and that is allowed."""
    show(widget, head[0])
    widget.preparation.coarse_box.setChecked(True)
    wait_idle()
    return widget


def test_raw_scan_is_prepared_and_its_estimate_lies_on_the_scan(ready, head, calls, wait_idle):
    scan, mask = head
    ready.start()
    wait_idle()
    assert ready.panel.notices.texts(ERROR_COLOUR) == []
    assert calls == ["extraction", "field"]  # it lies in MNI space: no registration
    estimate = ready.viewer.layers[-1]
    assert estimate.name == "head_synthetic-7T"
    np.testing.assert_array_equal(estimate.scale, ready.viewer.layers[0].scale)
    np.testing.assert_array_equal(estimate.data.T[~mask], scan.array[~mask])
    facts = facts_of_last(ready)["Settings"]["preparation"]
    assert facts["prepare"] == "auto"
    assert facts["brain_extraction"] == "deepbet"
    assert len(facts["distance"]) == 4
    assert plain(ready.quality.words) == "\n".join(facts["distance"])
    warnings = facts_of_last(ready)["Warnings"]
    assert any("out of the domain" in text for text in warnings)
    assert ready.panel.notices.texts(WARNING_COLOUR) == warnings


def test_nothing_is_computed_twice_when_only_the_model_changes(ready, calls, wait_idle):
    choose(ready.preparation.mode_box, "full")
    ready.start()
    wait_idle()
    assert calls == ["extraction", "field", "register"]
    choose(ready.computation.step_box, 1)
    assert "brain extraction as kept" in _outlook(ready, wait_idle)
    ready.source.layer_chooser.layer = ready.viewer.layers["head"]
    ready.start()
    wait_idle()
    assert len(calls) == 3
    assert len(ready.viewer.layers) == 3
    made = [layer.metadata[KEY]["provenance"] for layer in ready.viewer.layers[1:]]
    assert made[0]["Settings"]["preparation"] == made[1]["Settings"]["preparation"]


def _outlook(widget, wait_idle) -> str:
    wait_idle()
    return plain(widget.outlook_label)


def test_findings_lie_in_the_folder_of_the_user_and_the_session_leaves_none(
    ready, calls, wait_idle, tmp_path
):
    ready.preparation.begin_session()
    session = ready.preparation.asked().keep
    assert session.is_dir()
    ready.preparation.more_box.setChecked(True)
    ready.preparation.keep_field.folder = tmp_path / "kept"
    ready.start()
    wait_idle()
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert {"head_mask.nii.gz", "head_bias-field.nii.gz", "head_preparation.json"} <= names
    assert not list(session.iterdir())
    ready.release()
    assert not session.exists()


def test_what_will_happen_is_told_before_and_how_long_after_the_first_run(
    ready, calls, wait_idle, monkeypatch
):
    monkeypatch.setattr("napari_mri7t.widgets.synthesize.LEAST_PACE_S", 0.0)
    told = _outlook(ready, wait_idle)
    assert "Preparation: brain extraction, bias field, registration." in told
    assert "The first run here tells how long" in told
    assert calls == []
    choose(ready.preparation.mode_box, "full")
    ready.start()
    wait_idle()
    ready.preparation.release()  # what was kept is gone: all must be computed again
    ready.source.layer_chooser.layer = ready.viewer.layers["head"]
    ready.preparation.changed.emit()
    assert "as measured here before" in _outlook(ready, wait_idle)
    choose(ready.preparation.mode_box, "none")
    assert _outlook(ready, wait_idle) == "The scan goes to the model as it is."


def test_scan_that_is_too_coarse_is_refused_before_it_runs(widget, head, calls, wait_idle):
    show(widget, head[0])
    wait_idle()
    assert not widget.panel.start_button.isEnabled()
    assert "voxels of 4 x 4 x 4 mm" in plain(widget.panel.status)
    assert not widget.preparation.coarse_box.isHidden()
    widget.preparation.coarse_box.setChecked(True)
    wait_idle()
    assert widget.panel.start_button.isEnabled()


@pytest.mark.parametrize("step", ["extract_brain", "estimate_bias_field", "register"])
def test_cancel_ends_every_step_within_two_seconds(
    ready, calls, monkeypatch, qtbot, wait_idle, step
):
    """What cannot be broken off, as deepbet, ends by itself, and the next run waits for it."""
    choose(ready.preparation.mode_box, "full")
    end = threading.Event()
    stop = None if step == "extract_brain" else end.set
    monkeypatch.setattr(raw_scan, step, lambda *_: in_background(lambda: end.wait(60), stop))
    before = list(ready.viewer.layers)
    ready.start()
    qtbot.waitUntil(
        lambda: bool(leftovers()) and "Step" in ready.panel.status.text(), timeout=90_000
    )
    started = time.monotonic()
    ready.panel.cancel_button.click()
    qtbot.waitUntil(lambda: ready.panel.job is None, timeout=5000)
    assert time.monotonic() - started < 2
    assert list(ready.viewer.layers) == before
    assert ready.panel.status.text().startswith("Cancelled; nothing was changed.")
    if stop is None:
        assert "ends by itself" in ready.panel.status.text()
        ready.start()
        qtbot.waitUntil(
            lambda: "could not be broken off" in plain(ready.panel.status), timeout=60_000
        )
        ready.panel.cancel()
    end.set()
    wait_idle()
    qtbot.waitUntil(lambda: not leftovers(), timeout=5000)


def test_painted_mask_is_taken_and_its_voxels_are_noted(ready, head, calls, wait_idle):
    source = ready.viewer.layers["head"]
    ready.viewer.add_labels(
        head[1].T.astype(np.uint8), name="painted", scale=source.scale, translate=source.translate
    )
    ready.source.layer_chooser.layer = source
    ready.preparation.more_box.setChecked(True)
    ready.preparation.mask_chooser.layer = ready.viewer.layers["painted"]
    assert not ready.preparation.mask_field.isEnabled()
    ready.start()
    wait_idle()
    assert "extraction" not in calls
    facts = facts_of_last(ready)["Settings"]["preparation"]
    assert facts["mask"]["Name"] == "painted"
    assert len(facts["mask"]["VoxelsSHA256"]) == 64
    assert facts["brain_extraction"] == "the mask given"


def test_mask_on_another_grid_is_refused_before_it_runs(ready, head, wait_idle):
    source = ready.viewer.layers["head"]
    ready.viewer.add_labels(np.ones(source.data.shape, np.uint8), name="elsewhere")
    ready.source.layer_chooser.layer = source
    ready.preparation.more_box.setChecked(True)
    ready.preparation.mask_chooser.layer = ready.viewer.layers["elsewhere"]
    wait_idle()
    assert "elsewhere: the mask lies on another grid than head" in plain(ready.panel.status)
    assert not ready.panel.start_button.isEnabled()


def test_own_files_are_taken_and_missing_ones_named(ready, head, calls, wait_idle, tmp_path):
    scan, mask = head
    fields = ready.preparation
    fields.more_box.setChecked(True)
    fields.transform_field.folder = tmp_path / "to-MNI.txt"
    assert ready.panel.status.text() == "There is no such file for the transform."
    save_transform(np.eye(4), tmp_path / "to-MNI.txt")
    fields.mask_field.folder = save_volume(scan.with_array(mask), tmp_path / "mask.nii.gz")
    fields.changed.emit()
    choose(fields.mode_box, "full")
    ready.start()
    wait_idle()
    assert calls == ["field"]
    facts = facts_of_last(ready)["Settings"]["preparation"]
    assert facts["mask"]["File"] == "mask.nii.gz"
    assert facts["transform"]["File"] == "to-MNI.txt"


def test_estimate_in_mni_space_is_a_layer_on_the_models_grid(ready, calls, wait_idle):
    choose(ready.preparation.space_box, "mni")
    ready.start()
    wait_idle()
    assert calls == ["extraction", "field", "register"]
    estimate = ready.viewer.layers[-1]
    assert estimate.data.shape == (182, 218, 182)
    np.testing.assert_array_equal(estimate.scale, (1, 1, 1))
    np.testing.assert_array_equal(estimate.translate, (-72, -126, -91))
    assert facts_of_last(ready)["Settings"]["preparation"]["space"] == "mni"
    ready.quality.toggle()
    wait_idle()
    assert {layer.data.shape for layer in ready.viewer.layers[1:]} == {(182, 218, 182)}


def test_failed_registration_is_one_sentence_and_leaves_no_layer(
    ready, head, calls, monkeypatch, wait_idle
):
    away = np.eye(4)
    away[0, 3] = 500
    monkeypatch.setattr(raw_scan, "register", lambda *_: in_background(lambda: away))
    choose(ready.preparation.mode_box, "full")
    ready.start()
    wait_idle()
    (text,) = ready.panel.notices.texts(ERROR_COLOUR)
    assert "registration to MNI space failed" in text
    assert [layer.name for layer in ready.viewer.layers] == ["head"]


def test_quality_layers_come_on_request_and_go_again(ready, head, calls, wait_idle):
    ready.start()
    wait_idle()
    before = [layer.name for layer in ready.viewer.layers]
    assert not ready.quality.isHidden()
    assert ready.quality.plot.isHidden()
    ready.quality.button.click()
    wait_idle()
    added = ready.viewer.layers[len(before) :]
    assert [layer.name for layer in added] == [
        "head quality: before",
        "head quality: after",
        "head quality: after - before",
        "head quality: template | scan",
        "head quality: brain mask",
    ]
    assert [layer.visible for layer in added] == [False, False, False, True, True]
    np.testing.assert_array_equal(added[-1].data.T, head[1])
    assert added[-1].contour == 2
    np.testing.assert_array_equal(added[1].data, ready.viewer.layers["head_synthetic-7T"].data)
    assert not ready.quality.plot.isHidden()
    x, y = ready.quality.plot.curves[0].getData()
    assert len(x) == len(y) + 1
    offered = [ready.source.layer_chooser.itemText(n) for n in range(2)]
    assert sorted(offered) == ["head", "head_synthetic-7T"]
    assert ready.source.layer_chooser.count() == 2
    ready.quality.button.click()
    assert [layer.name for layer in ready.viewer.layers] == before
    assert ready.quality.button.text() == "Show quality layers"


def test_missing_libraries_are_named_with_what_to_install(make_napari_viewer, monkeypatch, phantom):
    monkeypatch.setattr(preparation_fields, "missing_libraries", lambda: ["deepbet"])
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Synthesize 7T")
    box = widget.preparation.mode_box
    assert box.currentData() == "none"
    for name in ("auto", "full"):
        item = box.model().item(box.findData(name))
        assert not item.isEnabled()
        assert INSTALL in item.toolTip()
    (text,) = widget.preparation.notices.texts(WARNING_COLOUR)
    assert "deepbet" in text
    assert INSTALL in text


def test_choices_are_remembered_but_no_mask_or_transform(ready, calls, wait_idle, tmp_path):
    fields = ready.preparation
    fields.more_box.setChecked(True)
    fields.keep_field.folder = tmp_path / "kept"
    save_transform(np.eye(4), tmp_path / "to-MNI.txt")
    fields.transform_field.folder = tmp_path / "to-MNI.txt"
    choose(fields.mode_box, "full")
    choose(fields.space_box, "mni")
    ready.start()
    wait_idle()
    again = SynthesizeWidget(ready.viewer)
    asked = again.preparation.asked()
    again.release()
    assert (asked.prepare, asked.space, asked.keep) == ("full", "mni", tmp_path / "kept")
    assert (asked.mask, asked.transform) == (None, None)


def test_folder_is_not_prepared_and_the_widget_says_so(widget):
    widget.source.mode_box.setCurrentText(FOLDER)
    assert not widget.preparation.isEnabled()
    assert "taken as they are" in widget.preparation.toolTip()


def test_widget_with_all_of_its_fields_fits_350_pixels(ready, calls, wait_idle):
    ready.preparation.more_box.setChecked(True)
    ready.start()
    wait_idle()
    ready.quality.toggle()
    wait_idle()
    assert ready.minimumSizeHint().width() <= 350


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not SCAN.is_file(), reason="the real scan is not here")
def test_real_scan_with_its_skull_goes_through_and_is_cancelled_anywhere(widget, qtbot, wait_idle):
    pytest.importorskip("deepbet")
    widget.viewer.open(SCAN, plugin="napari-mri7t")
    for words in ("step 1 of 4, look", "step 1 of 4, brain", "step 2", "step 3"):
        widget.start()
        qtbot.waitUntil(
            lambda now=words: now in plain(widget.panel.status).lower(), timeout=400_000
        )
        started = time.monotonic()
        widget.panel.cancel()
        qtbot.waitUntil(lambda: widget.panel.job is None, timeout=10_000)
        assert time.monotonic() - started < 2, words
        wait_idle()
        assert len(widget.viewer.layers) == 1
    widget.start()
    qtbot.waitUntil(lambda: widget.panel.job is None, timeout=400_000)
    assert widget.panel.notices.texts(ERROR_COLOUR) == []
    facts = facts_of_last(widget)["Settings"]["preparation"]
    assert 1.3 < facts["brain_litres"] < 1.7  # 1.51 by the command line, docs/raw_scans.md
    assert facts["registration_score"] > 0.6
