"""The names of a batch's estimates are kept, whatever the scans are called."""

import os

import numpy as np
import pytest

from napari_mri7t.engine.datasets.estimate_names import read_names
from napari_mri7t.engine.datasets.scans import ScanFilter
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.workflows.intake import begin_batch, plan_batch

NAMES = ("S1_1.nii", "張偉.nii", "=1+1.nii", '"quoted".nii', "two\nlines.nii", "tab\there.nii")


def outputs(folder, made):
    found = plan_batch(folder, made, ScanFilter())
    begin_batch(folder, made, found)
    return {scan.name: scan.output for scan in found.scans}


def test_estimates_keep_their_names_when_scans_are_added(tmp_path):
    raw, made = tmp_path / "raw", tmp_path / "made"
    raw.mkdir()
    for name in (*map(os.fsencode, NAMES), b"bad\xff.nii"):
        (raw / os.fsdecode(name)).touch()
    before = outputs(raw, made)
    assert len(before) == len(NAMES) + 1
    assert read_names(made / "logs/names.tsv") == before
    (raw / "S11.nii").touch()
    after = outputs(raw, made)
    assert before.items() <= after.items()
    assert after["S11.nii"] != before["S1_1.nii"] == "sub-S11/anat/sub-S11_desc-synth7T_T1w.nii.gz"


def test_dicom_study_keeps_its_estimate_when_a_second_visit_is_added(dicom_series, tmp_path):
    raw, made = tmp_path / "raw", tmp_path / "made"
    array = np.linspace(0, 1, 8 * 9 * 6).reshape(8, 9, 6)
    dicom_series(raw / "P1" / "first", array=array, StudyInstanceUID="1.2.1")
    before = outputs(raw, made)
    dicom_series(raw / "P1" / "second", array=array[::-1], StudyInstanceUID="1.2.2")
    after = outputs(raw, made)
    assert len({*after.values()}) == len(after) == 2
    assert {*before.values()} < {*after.values()}
    assert outputs(raw, made) == after
    header, *rows = (made / "logs/names.tsv").read_text().splitlines()
    assert header.split("\t") == ["scan", "estimate", "study"]
    assert all(len(row.split("\t")) == 3 for row in rows)
    assert {*after} <= {row.split("\t")[0] for row in rows}


def test_scans_never_are_the_results_and_that_is_known_before_anything_is_written(tmp_path):
    (tmp_path / "a.nii").touch()
    with pytest.raises(Mri7tError, match="is the input: choose another folder"):
        plan_batch(tmp_path, tmp_path, ScanFilter())
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]


@pytest.mark.parametrize("name", ["quality.html", "logs/batch.json", "logs/names.tsv"])
def test_what_an_earlier_batch_locked_in_git_annex_is_known_before_the_work(tmp_path, name):
    source, output, key = tmp_path / "raw", tmp_path / "out", tmp_path / ".git/annex/objects/key"
    source.mkdir()
    (source / "a.nii").touch()
    begin_batch(source, output, plan_batch(source, output, ScanFilter()))
    key.parent.mkdir(parents=True)
    place = output / name
    place.parent.mkdir(exist_ok=True)
    content = place.read_bytes() if place.exists() else b"{}"
    key.write_bytes(content)
    place.unlink(missing_ok=True)
    place.symlink_to(key)
    (source / "b.nii").touch()
    with pytest.raises(Mri7tError, match=f"{name}: is locked by git-annex: unlock it"):
        begin_batch(source, output, plan_batch(source, output, ScanFilter()))
    assert key.read_bytes() == content


@pytest.mark.parametrize("blank", ["\n", "\r\n", "   \n", "\t\t\n", "\n\n\n"])
def test_blank_lines_in_the_table_are_nothing(tmp_path, blank):
    table = tmp_path / "names.tsv"
    row = "a.nii\tsub-a/a.nii.gz\n"
    for text in (f"{row}{blank}", f"{blank}{row}", f"{blank}{row}{blank}"):
        table.write_text(f"scan\testimate\n{text}", newline="")
        assert read_names(table) == {"a.nii": "sub-a/a.nii.gz"}


def test_table_leads_nowhere_outside_and_damage_is_named(tmp_path):
    table = tmp_path / "names.tsv"
    table.write_text("scan\testimate\na.nii\t../../x.nii.gz\nb.nii\t/etc/x.nii.gz\n")
    assert read_names(table) == {}
    table.write_text("scan\testimate\na.nii\tsub-a/../../x.nii.gz\n")
    assert read_names(table) == {}
    for row in ("a.nii", '"half\tsub-a/a.nii.gz'):
        table.write_text(f"scan\testimate\n\nb.nii\tsub-b/b.nii.gz\n{row}\n")
        with pytest.raises(Mri7tError, match=r"names.tsv: .*line 4 holds no .*: mend or remove it"):
            read_names(table)
    table.write_bytes(b"scan\testimate\na\tb\tc\n\xff")
    with pytest.raises(Mri7tError, match="mend or remove it"):
        read_names(table)
