"""The field strength of one volume: which JSON counts, and when a scan is warned of."""

import json

import pytest

from napari_mri7t.engine.datasets.field_strength import (
    field_of,
    field_warnings,
    nearest_field,
    without_field,
)
from napari_mri7t.engine.errors import SubjectError


def test_json_that_describes_a_volume_most_closely_counts(tmp_path):
    folder = tmp_path / "sub-01/anat"
    folder.mkdir(parents=True)
    said = {"T1w.json": 3, "sub-01_T1w.json": 3, "sub-01_run-1_T1w.json": 7}
    for name, tesla in said.items():
        (folder / name).write_text(json.dumps({"MagneticFieldStrength": tesla}))
    assert field_of(folder / "sub-01_run-1_T1w.nii.gz", tmp_path) == "7"
    assert field_of(folder / "sub-01_run-2_T1w.nii.gz", tmp_path) == "3"


@pytest.mark.parametrize(
    ("name", "expected", "is_told"),
    [
        ("a_3T.nii", "3", False),
        ("a_1.5T.nii", "3", False),
        ("a.nii", "3", False),
        ("a_7T.nii", "3", True),
        ("a_7T.nii", "7", False),
        ("a.nii", "7", False),
        ("a_3T.nii", "7", True),
        ("a_1.5T.nii", "7", True),
    ],
)
def test_scan_of_another_field_strength_is_told(tmp_path, name, expected, is_told):
    assert bool(field_warnings(tmp_path / name, expected)) is is_told


@pytest.mark.parametrize(("name", "tesla"), [("a_3T", 7), ("a_7T", 3)])
def test_name_and_json_that_contradict_each_other_are_an_error(tmp_path, name, tesla):
    (tmp_path / f"{name}.json").write_text(json.dumps({"MagneticFieldStrength": tesla}))
    with pytest.raises(SubjectError, match=f"its name says {10 - tesla}T, but .* {tesla} tesla"):
        field_of(tmp_path / f"{name}.nii", tmp_path)


@pytest.mark.parametrize("tesla", [0.5, 1.5, 2.4, 3.6, 4, 4.7, 6, 6.4, 7.6, 9.4, 11.7])
def test_other_magnets_are_neither_3t_nor_7t(tmp_path, tesla):
    assert nearest_field(tesla) == ""
    (tmp_path / "a.json").write_text(json.dumps({"MagneticFieldStrength": tesla}))
    with pytest.raises(SubjectError, match=f"is {tesla}, expected about 3 or 7"):
        field_of(tmp_path / "a.nii", tmp_path)


def test_json_at_the_root_of_a_dataset_tells_a_7t_scan(tmp_path):
    (tmp_path / "T1w.json").write_text('{"MagneticFieldStrength": 7}')
    path = tmp_path / "sub-01/anat/sub-01_T1w.nii.gz"
    path.parent.mkdir(parents=True)
    assert field_warnings(path, "3")


def test_7_tesla_in_the_json_of_a_name_that_says_3t_is_told(tmp_path):
    (tmp_path / "a_3T.json").write_text('{"MagneticFieldStrength": 6.98}')
    assert field_warnings(tmp_path / "a_3T.nii", "3")


@pytest.mark.parametrize("name", ["S1_3Tesla", "S1_3tesla", "S1_3.0Tesla"])
def test_field_strength_in_words_is_one(name, tmp_path):
    path = tmp_path / f"{name}.nii"
    assert (field_of(path, tmp_path), without_field(path)) == ("3", "S1")


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("S1_mprage3T", "S1_mprage"),
        ("sub-1_acq-Prisma3T_T1w", "sub-1_acq-Prisma_T1w"),
        ("sub-1_ses-3Tbaseline_T1w", "sub-1_ses-baseline_T1w"),
        ("sub-1_acq-3Tmprage_T1w", "sub-1_acq-mprage_T1w"),
    ],
)
def test_field_strength_within_a_word_is_one(name, rest, tmp_path):
    path = tmp_path / f"{name}.nii"
    assert (field_of(path, tmp_path), without_field(path)) == ("3", rest)


@pytest.mark.parametrize("name", ["S13T", "HC3T1", "sub-1_3test", "S1_7T_mni3T"])
def test_what_is_no_field_strength_within_a_word_is_none(name, tmp_path):
    assert field_of(tmp_path / f"{name}.nii", tmp_path) == "7"
