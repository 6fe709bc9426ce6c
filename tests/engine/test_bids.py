"""Names and description of a BIDS derivative; the expected names are by hand, from the standard."""

from __future__ import annotations

import json

import pytest

from napari_mri7t.engine.bids import derivative_path, write_description


@pytest.mark.parametrize(
    ("name", "made_by", "expected"),
    [
        ("sub-52_T1w", "synthesize", "sub-52/anat/sub-52_desc-synthetic7T_T1w.nii.gz"),
        ("sub-52_T1w", None, "sub-52/anat/sub-52_desc-input_T1w.nii.gz"),
        ("MNI152_7T", "simulate", "sub-MNI1527T/anat/sub-MNI1527T_desc-pseudo3T_T1w.nii.gz"),
        (
            "sub-CSI1_ses-16_run-2_T1w",
            "synthesize",
            "sub-CSI1/ses-16/anat/sub-CSI1_ses-16_run-2_desc-synthetic7T_T1w.nii.gz",
        ),
        (
            "run-1_acq-mprage_sub-A",
            "synthesize",
            "sub-A/anat/sub-A_acq-mprage_run-1_desc-synthetic7T_T1w.nii.gz",
        ),
        ("été_?", None, "sub-t/anat/sub-t_desc-input_T1w.nii.gz"),
        ("ü", None, "sub-unnamed/anat/sub-unnamed_desc-input_T1w.nii.gz"),
    ],
)
def test_name_of_a_derivative(name, made_by, expected):
    assert str(derivative_path(name, made_by)) == expected


def test_second_volume_of_one_name_gets_a_number():
    first = derivative_path("sub-1", "synthesize")
    second = derivative_path("sub-1", "synthesize", {first})
    assert second.name == "sub-1_desc-synthetic7T2_T1w.nii.gz"
    assert derivative_path("sub-1", "synthesize", {first, second}).name.startswith(
        "sub-1_desc-synthetic7T3"
    )


def test_dataset_is_described_once(tmp_path):
    path = write_description(tmp_path)
    content = json.loads(path.read_text())
    assert content["DatasetType"] == "derivative"
    assert content["GeneratedBy"][0]["Name"] == "napari-mri7t"
    path.write_text('{"Name": "mine"}')
    write_description(tmp_path)
    assert path.read_text() == '{"Name": "mine"}'
