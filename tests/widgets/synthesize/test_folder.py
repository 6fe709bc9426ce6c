"""A folder of scans in a real viewer: what is said before, the table while it runs and after."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from qtpy.QtGui import QDesktopServices

from napari_mri7t.engine.preparation import prepare
from napari_mri7t.engine.preparation.optional import in_background
from napari_mri7t.engine.preparation.steps import EXTRACTION, running
from napari_mri7t.engine.report import scan_figures
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume
from napari_mri7t.engine.workflows import outlook
from napari_mri7t.engine.workflows.folder import synthesize_folder
from napari_mri7t.widgets.layers.layers import KEY, volume_to_layer
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR, WARNING_COLOUR
from napari_mri7t.widgets.synthesize import folder_jobs
from napari_mri7t.widgets.synthesize.fields import FOLDER, ONE_LAYER

pytestmark = pytest.mark.gui

A, B = "a_T1w.nii.gz", "b_T1w.nii.gz"


def plain(label) -> str:
    return label.text().replace("\u200b", "")


def states(widget) -> dict[str, str]:
    return {row.key: row.doing or row.state.word for row in widget.folder.table.rows}


@pytest.fixture
def scans(head, tmp_path) -> Path:
    """Two heads of another brightness, too coarse for the models."""
    folder = tmp_path / "in"
    folder.mkdir()
    for n, name in enumerate((A, B)):
        save_volume(head[0].with_array(head[0].array * (1 + n)), folder / name)
    return folder


@pytest.fixture
def asked(widget, scans, calls, tmp_path, wait_idle):
    """The widget on that folder; its coarse voxels are allowed."""
    widget.preparation.coarse_box.setChecked(True)
    widget.source.mode_box.setCurrentText(FOLDER)
    widget.source.folder_field.folder = scans
    widget.source.output_field.folder = tmp_path / "out"
    wait_idle()
    return widget


@pytest.fixture
def quick(asked, monkeypatch, wait_idle):
    """Without preparation and figures, which the first tests go through."""
    monkeypatch.setattr(scan_figures, "write_scan_figures", lambda *_: None)
    mode = asked.preparation.mode_box
    mode.setCurrentIndex(mode.findData("none"))
    wait_idle()
    return asked


def test_what_each_scan_needs_is_said_before_anything_is_written(asked, calls, tmp_path):
    assert states(asked) == {A: "waiting", B: "waiting"}
    for row in asked.folder.table.rows:
        assert row.title == row.key
        assert row.about == "brain extraction, bias field correction, registration"
        assert row.details[0] == "44 × 54 × 42, 4 x 4 x 4 mm"
        assert row.details[1].startswith("Preparation: brain extraction")
        assert any("outside the models' domain" in text for text in row.notes)
        assert any("voxels are 4 x 4 x 4 mm; the model is for" in text for text in row.notes)
        assert row.picture.dtype == np.uint8
        assert np.ptp(row.picture) > 100
    assert plain(asked.folder.summary_label) == "2 scans: 2 to do"
    plan = plain(asked.outlook.passes)
    assert plan.startswith("2 scans through quick into a BIDS derivative")
    assert "Not timed on this computer yet: brain extraction, bias" in plan
    assert not (tmp_path / "out").exists()
    assert calls == []


def test_folder_is_prepared_as_one_command_does_and_states_are_in_the_table(
    asked, scans, tmp_path, monkeypatch, wait_idle
):
    monkeypatch.setattr(scan_figures, "write_scan_figures", lambda *_: None)
    seen = []
    asked.start()
    asked.panel.job.progressed.connect(lambda progress: seen.append(states(asked)))
    job = asked.choices.folder_request().job()
    wait_idle()
    assert states(asked) == {A: "written", B: "written"}
    doing = {words for record in seen for words in record.values()}
    assert doing & {"brain extraction", "bias field correction", "preparing", "reading"}
    assert "synthesising" in doing
    synthesize_folder(scans, replace(job, output=tmp_path / "by hand"))
    names = sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*7T*.nii.gz"))
    assert len(names) == 2
    for name in names:
        ours, theirs = (
            load_volume(tmp_path / "out" / name),
            load_volume(tmp_path / "by hand" / name),
        )
        np.testing.assert_array_equal(ours.array, theirs.array)
    assert asked.panel.status.text() == "2 written"
    assert asked.panel.notices.texts(WARNING_COLOUR) == [], "warnings are in the table"
    assert any("outside the models' domain" in t for t in asked.folder.table.row(A).notes)


def test_bad_file_fails_alone_and_the_table_says_why(quick, scans, tmp_path, wait_idle):
    (scans / B).write_text("<html>")
    (scans / "b_mask.nii.gz").write_bytes((scans / A).read_bytes())
    quick.source.output_field.folder = tmp_path / "other"
    wait_idle()
    assert states(quick) == {A: "waiting", B: "refused", "b_mask.nii.gz": "skipped"}
    assert plain(quick.folder.summary_label) == "3 scans: 1 to do, 1 refused, 1 skipped"
    quick.start()
    assert states(quick) == {A: "waiting", B: "refused", "b_mask.nii.gz": "skipped"}
    wait_idle()
    assert states(quick) == {A: "written", B: "failed", "b_mask.nii.gz": "skipped"}
    assert quick.panel.status.text() == "1 written, 1 failed"
    assert quick.panel.notices.texts(ERROR_COLOUR) == []
    assert quick.folder.table.current == B, "what failed is chosen, and so explained"
    assert "web page" in plain(quick.folder.table.details)


def test_second_run_skips_what_is_made_and_overwrites_only_if_asked(quick, wait_idle, tmp_path):
    quick.start()
    wait_idle()
    quick.start()
    wait_idle()
    assert states(quick) == {A: "already done", B: "already done"}
    assert quick.panel.status.text() == "0 written, 2 already done"
    quick.computation.end_slices_box.setValue(2)
    quick.computation.changed.emit()
    wait_idle()
    assert states(quick) == {A: "refused", B: "refused"}
    assert "allow overwriting" in quick.folder.table.row(A).reason
    quick.source.overwrite_box.setChecked(True)
    wait_idle()
    assert states(quick) == {A: "waiting", B: "waiting"}
    quick.start()
    wait_idle()
    assert states(quick) == {A: "written", B: "written"}
    record = next((tmp_path / "out").rglob("*7T_T1w.json"))
    assert json.loads(record.read_text())["Settings"]["end_slices"] == 2


def test_refused_scans_offer_the_box_that_allows_them(asked, wait_idle):
    asked.preparation.coarse_box.setChecked(False)
    wait_idle()
    assert states(asked) == {A: "refused", B: "refused"}
    assert not asked.preparation.coarse_box.isHidden()
    assert asked.outlook.passes.text() == ""


def test_cancelled_folder_writes_its_summary_and_the_rest_is_to_do(
    asked, head, calls, monkeypatch, qtbot, tmp_path, wait_idle
):
    begun, end, known = threading.Event(), threading.Event(), prepare.extract_brain

    def second_waits(scan, *_, report):
        if len(calls) < 2:  # extraction and field of the first
            return known(scan, report=report)
        begun.set()
        return in_background(lambda: end.wait(600), report, running(EXTRACTION), end.set)

    monkeypatch.setattr(prepare, "extract_brain", second_waits)
    asked.start()
    qtbot.waitUntil(lambda: begun.is_set() and states(asked)[A] in ("writing", "written"))
    qtbot.waitUntil(lambda: states(asked)[B] == "brain extraction")
    asked.panel.cancel_button.click()
    qtbot.waitUntil(lambda: asked.panel.job is None)
    wait_idle()
    summary = json.loads((tmp_path / "out/logs/batch.json").read_text())
    assert summary["stopped"] is True
    assert summary["written"] == [A]
    assert states(asked) == {A: "written", B: "waiting"}
    assert asked.panel.status.text().startswith("Cancelled; finished estimates are kept.")


def test_scan_of_several_series_or_volumes_is_refused_with_what_to_do_here(
    quick, scans, phantom, dicom_series, tmp_path, wait_idle
):
    folder = tmp_path / "several"
    small = {"array": (1000 * phantom.array[8:24, 8:24, 8:16]).astype("int16")}
    for number in (5, 6):
        time = f"10100{number}"
        dicom_series(folder / f"P01/{number}", SeriesNumber=number, AcquisitionTime=time, **small)
    image = nibabel.Nifti1Image(np.stack([phantom.array] * 2, axis=-1), phantom.affine)
    nibabel.save(image, folder / "c_T1w.nii.gz")
    quick.source.folder_field.folder = folder
    wait_idle()
    rows = {row.key: row for row in quick.folder.table.rows}
    assert {row.state.word for row in rows.values()} == {"refused"}
    volumes, series = (rows.pop("c_T1w.nii.gz").reason, rows.popitem()[1].reason)
    assert "choose one with index" in volumes
    assert volumes.endswith("give its number as Volume under Select scans")
    assert "2 series look like a 3-D T1w" in series
    assert series.endswith("give its number as DICOM series under Select scans")
    selection = quick.source.selection
    selection.head.click()
    assert selection.series.isVisibleTo(quick)
    selection.series.setText("6")
    wait_idle()
    (key,) = [row.key for row in quick.folder.table.rows if row.key != "c_T1w.nii.gz"]
    assert states(quick)[key] == "waiting"
    assert quick.choices.lines()[0].endswith("--series 6")


def test_one_volume_and_some_people_are_taken_as_selected(quick, phantom, tmp_path, wait_idle):
    folder = tmp_path / "several"
    folder.mkdir()
    image = nibabel.Nifti1Image(np.stack([phantom.array] * 2, axis=-1), phantom.affine)
    for name in ("sub-01_T1w", "sub-02_T1w"):
        nibabel.save(image, folder / f"{name}.nii.gz")
    quick.source.folder_field.folder = folder
    selection = quick.source.selection
    assert selection.head.text() == "Select scans"
    selection.participants.setText("sub-02")
    selection.index_box.setValue(1)
    assert selection.head.text() == "Select scans: sub-02, volume 1"
    wait_idle()
    assert states(quick) == {"sub-02_T1w.nii.gz": "waiting"}
    assert quick.choices.lines()[0].endswith("--index 1 --participant sub-02")
    quick.start()
    wait_idle()
    assert states(quick) == {"sub-02_T1w.nii.gz": "written"}
    (sidecar,) = (tmp_path / "out").glob("sub-*/**/*7T*.json")
    assert json.loads(sidecar.read_text())["SourceFiles"][0]["Index"] == 1


def test_label_that_nobody_has_is_said_in_place_of_a_start(quick, wait_idle):
    quick.source.selection.participants.setText("07")
    wait_idle()
    assert "has no participant 07" in plain(quick.panel.status)
    assert not quick.panel.start_button.isEnabled()
    quick.source.selection.participants.clear()
    wait_idle()
    assert quick.panel.start_button.isEnabled()


def test_double_click_opens_scan_and_estimate_and_the_next_takes_their_place(quick, wait_idle):
    own = quick.viewer.add_image(np.zeros((4, 5, 6)), name="own")
    quick.start()
    wait_idle()
    view = quick.folder.table.view
    view.doubleClicked.emit(view.model().index(0, 0))
    wait_idle()
    names = [layer.name for layer in quick.viewer.layers]
    assert names == ["own", "a_T1w", "sub-aT1w_desc-synth7T_T1w"]
    scan, estimate = quick.viewer.layers[1:]
    np.testing.assert_array_equal(estimate.scale, scan.scale)
    assert list(estimate.contrast_limits) == list(scan.contrast_limits)
    assert estimate.metadata[KEY]["provenance"]["Synthetic"] is True
    view.doubleClicked.emit(view.model().index(1, 0))
    wait_idle()
    names = [layer.name for layer in quick.viewer.layers]
    assert names == ["own", "b_T1w", "sub-bT1w_desc-synth7T_T1w"]
    assert own in quick.viewer.layers


def test_opened_scan_and_estimate_have_a_before_and_after(quick, wait_idle):
    quick.start()
    wait_idle()
    view = quick.folder.table.view
    view.doubleClicked.emit(view.model().index(0, 0))
    wait_idle()
    scan, estimate = quick.viewer.layers
    assert quick.save_button.isEnabled()
    quick.before_after.button.click()
    wait_idle()
    assert quick.before_after.views.view == "Side by side"
    overlays = quick.viewer.canvas.overlays
    assert overlays["mri7t-left"].text == f"scan\n{scan.name}"
    assert overlays["mri7t-right"].text.startswith("estimate\n")
    quick.before_after.show("Difference")
    wait_idle()
    difference = quick.viewer.layers[-1]
    np.testing.assert_allclose(difference.data, estimate.data - scan.data, atol=1e-6)
    quick.viewer.layers.remove(scan)
    assert not quick.before_after.button.isEnabled()


def test_changed_end_slices_are_looked_at_again(quick, wait_idle):
    quick.start()
    wait_idle()
    assert not quick.panel.start_button.isEnabled() or quick.folder.to_do()[0] == 0
    quick.computation.end_slices_box.setValue(3)
    wait_idle()
    states = {row.state.word for row in quick.folder.table.rows}
    assert states == {"refused"}, "made with other settings, and not to be overwritten"


def test_scan_that_has_gone_since_it_was_listed_is_named(quick, scans, wait_idle):
    (scans / A).unlink()
    quick.start()
    wait_idle()
    row = quick.folder.table.row(A)
    assert (row.state.word, row.reason) == ("failed", "is no longer in the folder")
    assert plain(quick.panel.status) == "1 written, 1 failed"


def test_quality_page_is_opened_once_there_is_one(quick, monkeypatch, wait_idle, tmp_path):
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    assert not quick.folder.page_button.isEnabled()
    assert "there is none yet" in quick.folder.page_button.toolTip()
    quick.start()
    wait_idle()
    quick.folder.page_button.click()
    assert opened == [str(tmp_path / "out/quality.html")]
    assert Path(opened[0]).is_file()


def test_window_looks_at_scans_in_another_thread_and_stops_when_asked(
    asked, monkeypatch, qtbot, scans, wait_idle
):
    looked, threads, go, begun = [], set(), threading.Event(), threading.Event()

    def wait(scan, job):
        threads.add(threading.get_ident())
        looked.append(scan.name)
        begun.set()
        go.wait(60)
        return outlook.Outlook(error="seen")

    monkeypatch.setattr(outlook, "look_at", wait)
    asked.source.overwrite_box.setChecked(True)
    qtbot.waitUntil(begun.is_set)
    qtbot.waitUntil(lambda: "looking at scan 1 of 2" in plain(asked.folder.summary_label))
    assert asked.panel.start_button.isEnabled(), "nobody has to wait for it"
    asked.source.mode_box.setCurrentText(ONE_LAYER)
    go.set()
    wait_idle()
    assert looked == [A]
    assert threading.get_ident() not in threads
    assert asked.folder.table.rows == []


def test_nothing_that_was_said_of_a_layer_outlives_it(asked, phantom, wait_idle, tmp_path):
    coarse = Volume(phantom.array, np.diag([2.0, 2, 2, 1]), name="coarse")
    data, meta, _ = volume_to_layer(coarse)
    asked.viewer.add_image(data, **meta)
    asked.source.mode_box.setCurrentText(ONE_LAYER)
    wait_idle()
    assert asked.outlook.notices.texts(WARNING_COLOUR)
    assert not asked.outlook.preparation.isHidden()
    asked.start()
    wait_idle()
    assert asked.panel.status.text().startswith("Done")
    asked.source.layer_chooser.layer = asked.viewer.layers["coarse"]
    asked.source.mode_box.setCurrentText(FOLDER)
    wait_idle()
    assert asked.outlook.notices.texts() == []
    assert asked.outlook.preparation.isHidden()
    assert asked.panel.status.text() == ""
    assert asked.panel.notices.texts() == []
    assert asked.quality.isHidden()


def test_preparation_of_a_folder_is_chosen_but_not_a_single_scan_s_mask(asked, wait_idle):
    fields = asked.preparation
    assert fields.isEnabled()
    fields.more_box.setChecked(True)
    for field in (fields.mask_chooser, fields.mask_field, fields.transform_field, fields.more_box):
        assert field.isHidden()
    for field in (fields.mode_box, fields.space_box, fields.background_box, fields.keep_field):
        assert not field.isHidden()
    assert "BIDS names" in fields.folder_label.text()
    fields.mode_box.setCurrentIndex(fields.mode_box.findData("none"))
    wait_idle()
    assert asked.folder.table.row(A).about == "no preparation"
    asked.source.mode_box.setCurrentText(ONE_LAYER)
    assert not fields.mask_chooser.isHidden()
    assert fields.folder_label.isHidden()


def test_listing_reads_headers_only(scans, monkeypatch, quick_model, tmp_path):
    """Several hundred scans are listed at once; only then is each one read."""
    monkeypatch.setattr(
        folder_jobs, "_look", lambda scan, job: folder_jobs.Looked(0, 0, "", scan.name)
    )
    read = []
    monkeypatch.setattr(folder_jobs, "load_scan", lambda *_: read.append(1))
    for n in range(200):
        (scans / f"sub{n:03d}_T1w.nii.gz").symlink_to(scans / A)
    request = folder_jobs.FolderRequest(
        scans,
        tmp_path / "out",
        quick_model,
        *(kind() for kind in (folder_jobs.SynthesisConfig, folder_jobs.PreparationConfig)),
        folder_jobs.OutputConfig(),
    )
    told = []
    folder_jobs.look_through(request, told.append)
    (listed,) = [each for each in told if isinstance(each, folder_jobs.Listed)]
    assert len(listed.found.scans) == 202
    assert set(listed.sizes.values()) == {"44 × 54 × 42, 4 x 4 x 4 mm"}
    assert read == []
