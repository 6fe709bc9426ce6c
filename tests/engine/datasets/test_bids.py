"""Names and description of a BIDS derivative; the expected names are by hand, from the standard."""

from __future__ import annotations

import json

import pytest

from napari_mri7t.engine import system
from napari_mri7t.engine.datasets.bids import (
    MNI_SPACE,
    check_derivative,
    derivative_path,
    in_space,
    start_derivative,
)
from napari_mri7t.engine.errors import Mri7tError


@pytest.mark.parametrize(
    ("name", "made_by", "expected"),
    [
        ("sub-52_T1w", "synthesize", "sub-52/anat/sub-52_desc-synth7T_T1w.nii.gz"),
        ("sub-52_T1w", None, "sub-52/anat/sub-52_desc-input_T1w.nii.gz"),
        ("MNI152_7T", "simulate", "sub-MNI1527T/anat/sub-MNI1527T_desc-pseudo3T_T1w.nii.gz"),
        (
            "sub-CSI1_ses-16_run-2_T1w",
            "synthesize",
            "sub-CSI1/ses-16/anat/sub-CSI1_ses-16_run-2_desc-synth7T_T1w.nii.gz",
        ),
        (
            "run-1_acq-mprage_sub-A",
            "synthesize",
            "sub-A/anat/sub-A_acq-mprage_run-1_desc-synth7T_T1w.nii.gz",
        ),
        (
            "sub-01_ses-2_run-1_space-MNI152_desc-brain_T2w",
            "synthesize",
            "sub-01/ses-2/anat/sub-01_ses-2_run-1_space-MNI152_desc-synth7T_T2w.nii.gz",
        ),
        (
            "sub-TELL0101_T1w_brain_homog_mni",
            "synthesize",
            "sub-TELL0101/anat/sub-TELL0101_desc-synth7T_T1w.nii.gz",
        ),
        ("sub-1_T2w_synthetic-7T [1]", "synthesize", "sub-1/anat/sub-1_desc-synth7T_T2w.nii.gz"),
        (
            "Anna's scan (2)",
            "synthesize",
            "sub-Annasscan2/anat/sub-Annasscan2_desc-synth7T_T1w.nii.gz",
        ),
        ("été_?", None, "sub-ete/anat/sub-ete_desc-input_T1w.nii.gz"),
        ("Møller", None, "sub-Moller/anat/sub-Moller_desc-input_T1w.nii.gz"),
        ("?", None, "sub-unnamed/anat/sub-unnamed_desc-input_T1w.nii.gz"),
    ],
)
def test_name_of_a_derivative(name, made_by, expected):
    assert str(derivative_path(name, made_by)) == expected


def test_names_that_ascii_cannot_hold_get_labels_of_their_own():
    names = ("張偉", "李娜", "Иванов", "Петров", "bad\udcff", "bad\udcfe", "a" * 240, "a" * 239)
    names += ("😀", "😃", "sub-☀")
    paths = [derivative_path(name) for name in names]
    assert len({*paths}) == len(names)
    for path in paths:
        assert path.parts[0].removeprefix("sub-").isalnum()
        assert str(path).isascii()
        assert len(path.name) < 200
    assert paths[0].parts[0].startswith("sub-ZhangWei")
    assert paths[2].parts[0].startswith("sub-Ivanov")


def test_second_volume_of_one_name_gets_a_number():
    first = derivative_path("sub-1", "synthesize")
    second = derivative_path("sub-1", "synthesize", {first})
    assert second.name == "sub-1_desc-synth7T2_T1w.nii.gz"
    assert derivative_path("sub-1", "synthesize", {first, second}).name.startswith(
        "sub-1_desc-synth7T3"
    )


def test_derivative_names_its_maker_and_of_the_place_of_its_source_the_doi_only(tmp_path):
    raw, made = tmp_path / "Anna", tmp_path / "made"
    raw.mkdir()
    (raw / "dataset_description.json").write_text('{"DatasetDOI": "doi:10.18112/x.v1"}')
    start_derivative(made, raw)
    text = (made / "dataset_description.json").read_text()
    facts = json.loads(text)
    assert facts["DatasetType"] == "derivative"
    assert facts["GeneratedBy"][0]["Name"] == "napari-mri7t"
    assert facts["SourceDatasets"] == [{"URL": "https://doi.org/10.18112/x.v1"}]
    assert "Anna" not in text
    start_derivative(made, raw)
    assert (made / "dataset_description.json").read_text() == text


@pytest.mark.parametrize(
    ("given", "expected"),
    [(["A. Roe", "B. Poe"], ["A. Roe", "B. Poe"]), ([], None), ("A. Roe", None), ([1], None)],
)
def test_derivative_takes_over_the_authors_of_its_source(tmp_path, given, expected):
    raw, made = tmp_path / "raw", tmp_path / "made"
    raw.mkdir()
    (raw / "dataset_description.json").write_text(json.dumps({"Authors": given}))
    start_derivative(made, raw)
    facts = json.loads((made / "dataset_description.json").read_text())
    assert facts.get("Authors") == expected


def test_derivative_of_no_dataset_names_none(tmp_path):
    start_derivative(tmp_path / "made")
    facts = json.loads((tmp_path / "made/dataset_description.json").read_text())
    assert facts["GeneratedBy"][0]["Name"] == "napari-mri7t"
    assert "SourceDatasets" not in facts


@pytest.mark.parametrize("name", ["quality.html", "group_quality.tsv", "logs/batch.json"])
def test_folder_with_somebody_s_file_of_that_name_becomes_no_derivative(tmp_path, name):
    path = tmp_path / "made" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(Mri7tError, match="would be replaced, and napari-mri7t has not made it"):
        start_derivative(tmp_path / "made")
    path.unlink()
    start_derivative(tmp_path / "made")
    path.write_text("ours")
    start_derivative(tmp_path / "made")


def test_derivative_within_another_is_listed_in_its_bidsignore(tmp_path):
    start_derivative(tmp_path / "made")
    for _ in range(2):
        start_derivative(tmp_path / "made/work/masks")
    lines = (tmp_path / "made/.bidsignore").read_text().splitlines()
    assert lines.count("work/masks/") == 1
    (tmp_path / "raw").mkdir()
    for content in ('{"Name": "raw"}', "[", '{"GeneratedBy": ["napari-mri7t"]}'):
        (tmp_path / "raw/dataset_description.json").write_text(content)
        start_derivative(tmp_path / "raw/derivatives/made")
    assert not (tmp_path / "raw/.bidsignore").exists()


def test_derivative_never_mixes_with_other_datasets(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Mri7tError, match="file: is a file: choose another name"):
        start_derivative(tmp_path / "file")
    with pytest.raises(Mri7tError, match="file: is a file: choose another name"):
        start_derivative(tmp_path / "file" / "within")
    with pytest.raises(Mri7tError, match="is the input"):
        start_derivative(tmp_path, tmp_path)
    other = tmp_path / "fmriprep"
    other.mkdir()
    path = other / "dataset_description.json"
    path.write_text('{"GeneratedBy": [{"Name": "fMRIPrep"}]}')
    with pytest.raises(Mri7tError, match="did not create"):
        start_derivative(other, tmp_path)
    for content in ("", "[]", "[" * 100_000):
        path.write_text(content)
        with pytest.raises(Mri7tError, match="mend or remove"):
            start_derivative(other, tmp_path)


def test_derivative_describes_its_labels_and_lists_what_bids_does_not_know(tmp_path):
    (tmp_path / ".bidsignore").write_text("mine/\nlogs/")
    for _ in range(2):  # what is there stays
        start_derivative(tmp_path)
    rows = (tmp_path / "descriptions.tsv").read_text().splitlines()
    assert rows[0] == "desc_id\tdescription"
    assert {row.split("\t")[0] for row in rows[1:]} >= {"desc-synth7T", "desc-brain"}
    lines = (tmp_path / ".bidsignore").read_text().splitlines()
    assert lines[:2] == ["mine/", "logs/"]
    assert len(lines) == len(set(lines))
    assert {"figures", "quality.html"} <= set(lines)


@pytest.mark.parametrize(
    ("kind", "tag", "expected"),
    [
        ("docker", "mri7t:1", {"Type": "docker", "Tag": "mri7t:1"}),
        ("apptainer", "", {"Type": "apptainer"}),
        (None, "mri7t:1", None),
    ],
)
def test_derivative_names_the_container_it_was_made_in(tmp_path, monkeypatch, kind, tag, expected):
    mark = tmp_path / "mark"
    monkeypatch.setattr(system, "MARKS_OF_CONTAINERS", {"docker": mark})
    monkeypatch.delenv(system.APPTAINER, raising=False)
    monkeypatch.setenv(system.IMAGE, tag)
    if kind == "docker":
        mark.touch()
    elif kind:
        monkeypatch.setenv(system.APPTAINER, "mri7t.sif")
    start_derivative(tmp_path / "made")
    facts = json.loads((tmp_path / "made/dataset_description.json").read_text())
    assert facts["GeneratedBy"][0].get("Container") == expected


def test_input_under_another_name_is_the_input(tmp_path, monkeypatch):
    (tmp_path / "raw").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    for name in ("linked", "raw", "raw/../raw"):
        with pytest.raises(Mri7tError, match="is the input: choose another folder"):
            start_derivative(name, tmp_path / "raw")
    assert [*(tmp_path / "raw").iterdir()] == []


def test_what_somebody_wrote_about_a_folder_stays_when_it_becomes_a_derivative(tmp_path):
    written = {"README": "Ours.", "descriptions.tsv": "desc_id\tdescription\n"}
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    start_derivative(tmp_path)
    assert check_derivative(tmp_path)
    assert {name: (tmp_path / name).read_text() for name in written} == written


def test_scans_that_differ_in_their_space_alone_differ_in_mni_space_too():
    names = [f"sub-1/anat/sub-1_{space}desc-synth7T_T1w.nii.gz" for space in ("space-T2w_", "")]
    assert len({in_space(name, MNI_SPACE) for name in names}) == 2
