"""Scans found in folders and BIDS datasets, and the names of their estimates."""

from __future__ import annotations

import pytest

from napari_mri7t.engine.datasets.bids import ScanFilter, find_scans
from napari_mri7t.engine.errors import Mri7tError


@pytest.fixture
def dataset(tmp_path):
    """A BIDS dataset of empty files: finding looks at names only."""
    for name in (
        "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii",
        "sub-02/ses-a/anat/sub-02_ses-a_T2w.nii.gz",
        "sub-02/ses-a/func/sub-02_ses-a_task-rest_bold.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_desc-synth7T_T1w.nii.gz",
        "sub-02/ses-a/anat/.sub-03_T1w.nii.gz",
    ):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "raw"


def names(scans):
    return [scan.path.name for scan in scans]


def test_of_a_dataset_t1w_scans_are_taken_and_no_estimates(dataset):
    assert names(find_scans(dataset)) == [
        "sub-01_ses-a_T1w.nii.gz",
        "sub-01_ses-b_T1w.nii.gz",
        "sub-02_ses-a_T1w.nii",
    ]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (ScanFilter(participants=("01",)), ["sub-01_ses-a_T1w.nii.gz", "sub-01_ses-b_T1w.nii.gz"]),
        (ScanFilter(participants=("sub-01",), sessions=("b",)), ["sub-01_ses-b_T1w.nii.gz"]),
        (
            ScanFilter(sessions=("ses-a",), suffixes=("T1w", "T2w")),
            ["sub-01_ses-a_T1w.nii.gz", "sub-02_ses-a_T1w.nii", "sub-02_ses-a_T2w.nii.gz"],
        ),
    ],
)
def test_filters_choose(dataset, wanted, expected):
    assert names(find_scans(dataset, wanted)) == expected


def test_filter_without_a_match_says_what_is_there(dataset):
    with pytest.raises(Mri7tError, match=r"none of its 5 volumes .*sub-01_ses-a_T1w") as caught:
        find_scans(dataset, ScanFilter(participants=("9",)))
    assert caught.value.argument == "participant"


def test_plain_folder_gives_all_its_volumes(tmp_path):
    for name in ("b.nii.gz", "a.nii", "c.img", "c.hdr", "notes.txt", ".hidden.nii"):
        (tmp_path / name).touch()
    assert names(find_scans(tmp_path)) == ["a.nii", "b.nii.gz", "c.hdr"]


def test_two_scans_of_one_output_are_refused(tmp_path):
    for name in ("sub-01_desc-a_T1w.nii", "sub-01_desc-b_T1w.nii"):
        (tmp_path / name).touch()
    with pytest.raises(Mri7tError, match="both would become sub-01/anat"):
        find_scans(tmp_path)


def test_folder_without_volumes_is_refused(tmp_path):
    with pytest.raises(Mri7tError, match="holds no volume"):
        find_scans(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_scans(tmp_path / "none")
