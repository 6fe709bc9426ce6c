"""The widget "Prepare pairs" in a real viewer: the table, the run, the verdicts."""

from __future__ import annotations

import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from napari_mri7t.engine.report.pair_page import PairRecord
from napari_mri7t.engine.volumes.volume import Volume, save_volume
from napari_mri7t.engine.workflows import pair_dataset, pair_review, pairs
from napari_mri7t.engine.workflows.pairs import PairProgress
from napari_mri7t.engine.workflows.summary import BatchSummary
from napari_mri7t.widgets.pair.fields import BOARD
from napari_mri7t.widgets.pair.widget import PairWidget
from napari_mri7t.widgets.shared.controls import ERROR_COLOUR
from napari_mri7t.widgets.shared.table import PADDING, THUMBNAIL

pytestmark = pytest.mark.gui

FIGURES = {
    "mutual_information": 1.21,
    "best_other_information": 1.08,
    "boundary_mm": 0.6,
    "overlap": 0.95,
}


def plain(label) -> str:
    return label.text().replace("\u200b", "")


def states(widget) -> dict[str, str]:
    return {row.key: row.doing or row.state.word for row in widget.table.rows}


@pytest.fixture
def raw(phantom, tmp_path):
    """Two people at both field strengths; one more has no 7T."""
    for name in ("sub-01", "sub-02", "sub-03"):
        for n, field in enumerate(("3T", "7T")):
            if (name, field) != ("sub-03", "7T"):
                folder = tmp_path / "raw" / name / f"ses-{field}" / "anat"
                folder.mkdir(parents=True)
                array = phantom.array[4:36, 4:44, 4:24] * (1 + n)
                volume = Volume(array, phantom.affine, name)
                save_volume(volume, folder / f"{name}_ses-{field}_T1w.nii.gz")
    return tmp_path / "raw"


@pytest.fixture
def made(phantom, tmp_path, monkeypatch):
    """Pairs on disk, as the engine lists them; the second has a flag."""
    records: dict[str, PairRecord] = {}

    def make(name: str, **more) -> PairRecord:
        folder = tmp_path / "out" / name
        folder.mkdir(parents=True, exist_ok=True)
        brain = Volume(phantom.array[4:36, 4:44, 4:24], phantom.affine, name)
        paths = [folder / f"{what}.nii.gz" for what in ("3T", "7T", "mask")]
        for path in paths:
            save_volume(brain, path, overwrite=True)
        record = PairRecord(name, *paths, folder / "p.png", folder / "p.webp", FIGURES, **more)
        records[name] = record
        return record

    monkeypatch.setattr(pair_review, "list_pairs", lambda folder: list(records.values()))
    return SimpleNamespace(make=make, records=records)


@pytest.fixture
def widget(make_napari_viewer, raw, made, tmp_path, wait_idle) -> PairWidget:
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-mri7t", "Prepare pairs")
    widget.fields.folder_field.folder = raw
    widget.fields.output_field.folder = tmp_path / "out"
    wait_idle()
    return widget


@pytest.fixture
def engine(made, monkeypatch):
    """Makes the first pair at once and waits for `go` in the second; a cancel ends it there."""
    begun, go = threading.Event(), threading.Event()

    asked = []

    def make_dataset(dataset, found, job, report, note):
        asked.append(([files.name for files in found.pairs], job))
        note(BatchSummary(failed={"sub-03": "has no 7T"}))
        report(PairProgress(0, 2, "sub-01: brain extraction", "sub-01"))
        made.make("sub-01", best_other="sub-02")
        note(BatchSummary(written=("sub-01",)))
        begun.set()
        while not go.wait(0.02):
            report(PairProgress(1, 2, "sub-02: brain extraction", "sub-02"))
        made.make("sub-02", flags=("the 3T fits another better",), is_used=False)
        note(BatchSummary(written=("sub-02",)))
        summary = BatchSummary(("sub-01", "sub-02"), failed={"sub-03": "has no 7T"}, seconds=600)
        return pair_dataset.PairResult(job.output, tuple(made.records.values()), summary)

    monkeypatch.setattr(pair_dataset, "make_dataset", make_dataset)
    return SimpleNamespace(begun=begun, go=go, asked=asked)


@pytest.fixture
def done(widget, engine, wait_idle) -> PairWidget:
    engine.go.set()
    widget.start()
    wait_idle()
    return widget


def test_people_and_what_will_be_done_are_shown_before_anything_is_written(widget, tmp_path):
    found = states(widget)
    assert found["sub-01"] == found["sub-02"] == "waiting"
    assert {"sub-03"} & {key for key, state in found.items() if state in ("refused", "skipped")}
    assert "rigid registration of the 3T to the 7T" in plain(widget.plan_label)
    assert widget.panel.start_button.isEnabled()
    assert not (tmp_path / "out").exists()
    widget.fields.registration_box.setCurrentIndex(1)
    assert "affine registration" in plain(widget.plan_label)


def test_time_is_told_before_the_start_as_earlier_runs_took(widget, engine, wait_idle, tmp_path):
    assert "2 pairs: no timing on this computer yet" in plain(widget.plan_label)
    engine.go.set()
    widget.start()
    wait_idle()
    widget.fields.output_field.folder = tmp_path / "other"
    wait_idle()
    assert plain(widget.plan_label).endswith("2 pairs: about 10 min, based on earlier runs.")
    widget.fields.registration_box.setCurrentIndex(1)
    wait_idle()
    assert "2 pairs: no timing on this computer yet" in plain(widget.plan_label), "not of this kind"


def test_people_and_volume_are_those_that_are_selected(widget, engine, wait_idle):
    assert "sub-01" in states(widget)
    widget.fields.selection.participants.setText("02")
    widget.fields.selection.index_box.setValue(0)
    wait_idle()
    assert list(states(widget)) == ["sub-02"]
    engine.go.set()
    widget.start()
    wait_idle()
    ((names, job),) = engine.asked
    assert names == ["sub-02"]
    assert job.index == 0


def test_progress_figures_flags_and_use_are_in_the_table(done):
    assert states(done)["sub-01"] == "written"
    assert states(done)["sub-02"] == "to check"
    assert states(done)["sub-03"] == "failed"
    row = done.table.row("sub-02")
    assert row.figures == (1.21, 1.08, 0.6)
    assert "The brain masks overlap by 0.95." in row.details
    assert "the 3T fits another better" in row.notes
    assert any("leaves out" in text for text in row.details)
    assert row.picture.dtype == np.uint8
    assert done.panel.status.text() == "2 written, 1 failed, 1 to check"
    assert "sub-03: failed: has no 7T" in done.table.details.text().replace("\u200b", "")
    assert done.panel.notices.texts(ERROR_COLOUR) == []


def test_pair_at_work_is_named_and_a_cancel_keeps_what_is_finished(
    widget, engine, qtbot, wait_idle
):
    widget.start()
    qtbot.waitUntil(lambda: states(widget)["sub-02"] == "under way")
    assert states(widget)["sub-01"] == "written"
    widget.table.choose("sub-01")
    qtbot.waitUntil(widget.review.open_button.isEnabled)  # while the second is being made
    assert states(widget)["sub-02"] == "under way"
    widget.panel.cancel_button.click()
    wait_idle()
    assert states(widget)["sub-01"] == "written"
    assert states(widget)["sub-02"] == "waiting"
    assert widget.panel.status.text() == "Cancelled; finished pairs are kept."
    assert widget.table.row("sub-01").figures[0] == 1.21


def test_pair_opens_blended_or_as_a_checkerboard_and_the_next_takes_its_place(done, wait_idle):
    done.table.choose("sub-01")
    done.review.open_button.click()
    wait_idle()
    layers = done.viewer.layers
    assert [layer.name for layer in layers] == ["sub-01: 7T", "sub-01: 3T", "sub-01: checkerboard"]
    assert [layer.visible for layer in layers] == [True, True, False]
    assert {layer.blending for layer in layers[:2]} == {"additive"}
    done.review.view_box.setCurrentText(BOARD)
    assert [layer.visible for layer in layers] == [False, False, True]
    done.table.opened.emit("sub-02")
    wait_idle()
    assert layers[0].name == "sub-02: 7T"
    assert len(layers) == 3


@pytest.mark.parametrize(
    ("verdict", "word"),
    [("accept", "accepted"), ("reject", "rejected"), ("look again", "look again")],
)
def test_verdict_goes_to_the_engine_and_comes_back_into_the_table(
    done, made, monkeypatch, wait_idle, tmp_path, verdict, word
):
    asked = []

    def judge_pair(folder, subject, verdict):
        asked.append((folder, subject, verdict))
        return made.make(subject, verdict=verdict)

    monkeypatch.setattr(pair_review, "judge_pair", judge_pair)
    assert not done.review.buttons[verdict].isEnabled(), "no pair is chosen"
    done.table.choose("sub-02")
    done.review.buttons[verdict].click()
    wait_idle()
    assert asked == [(tmp_path / "out", "sub-02", verdict)]
    assert states(done)["sub-02"] == word
    assert plain(done.panel.status) == f"sub-02: {word}"


def test_verdict_on_a_pair_that_is_not_made_anew_is_seen_in_its_row(
    widget, made, monkeypatch, wait_idle, tmp_path
):
    monkeypatch.setattr(pairs, "state_of", lambda files, job: "changed")
    monkeypatch.setattr(
        pair_review, "judge_pair", lambda *asked: made.make("sub-01", verdict="accept")
    )
    widget.fields.registration_box.setCurrentIndex(1)
    wait_idle()
    widget._show_record(made.make("sub-01"))
    widget.table.choose("sub-01")
    widget.review.buttons["accept"].click()
    wait_idle()
    assert states(widget)["sub-01"] == "refused"
    assert "Your verdict: accept." in widget.table.row("sub-01").details
    assert plain(widget.panel.status) == "sub-01: accepted"


def test_pair_of_other_settings_is_refused_unless_it_may_be_overwritten(
    widget, monkeypatch, wait_idle
):
    monkeypatch.setattr(pairs, "state_of", lambda files, job: "changed")
    widget.fields.registration_box.setCurrentIndex(1)
    wait_idle()
    assert states(widget)["sub-01"] == "refused"
    assert "allow overwriting" in widget.table.row("sub-01").reason
    widget.fields.overwrite_box.setChecked(True)
    wait_idle()
    assert states(widget)["sub-01"] == "waiting"


def test_what_is_missing_is_said_in_place_of_a_start(widget, tmp_path):
    widget.fields.folder_field.folder = tmp_path / "nowhere"
    assert "does not exist" in plain(widget.panel.status)
    assert not widget.panel.start_button.isEnabled()
    assert widget.table.rows == []
    widget.fields.mode_box.setCurrentIndex(1)
    assert widget.panel.status.text() == "Choose a table."


def test_where_every_scan_is_refused_nothing_can_be_started(widget, raw, tmp_path, wait_idle):
    alone = tmp_path / "alone"
    alone.mkdir()
    for n, path in enumerate(sorted(raw.rglob("*3T_T1w.nii.gz")), start=1):
        shutil.copy(path, alone / f"sub-{n}_T1w.nii.gz")
    widget.fields.folder_field.folder = alone
    wait_idle()
    assert set(states(widget).values()) == {"refused"}
    assert not widget.panel.start_button.isEnabled()
    assert "No pair can be made" in plain(widget.panel.status)
    widget.fields.folder_field.folder = raw
    wait_idle()
    assert widget.panel.start_button.isEnabled()


def test_names_of_people_can_be_read_in_the_window_as_it_opens(done, qtbot):
    done.show()
    view = done.table.view
    qtbot.waitUntil(lambda: view.columnWidth(0) > 0)
    metrics = view.fontMetrics()
    room = view.columnWidth(0) - THUMBNAIL - PADDING
    assert metrics.horizontalAdvance("sub-001") <= room
