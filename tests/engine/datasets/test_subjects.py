"""Subjects in folders of every layout, and what is wrong with them."""

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.datasets.subjects import (
    Subject,
    check_headers,
    find_subjects,
    leave_one_out,
    load_pair,
)
from napari_mri7t.engine.errors import SubjectError, VolumeError


def write(path, array=None, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = (
        np.random.default_rng(0).random((4, 5, 6)).astype(np.float32) if array is None else array
    )
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def names(subjects):
    return [subject.name for subject in subjects]


def test_folder_of_7t_volumes_alone_has_no_sources(tmp_path):
    for name in ("sub-B_T1w", "sub-A_T1w"):
        write(tmp_path / f"{name}.nii.gz")
    (tmp_path / "README.md").write_text("not a volume")
    subjects = find_subjects(tmp_path)
    assert names(subjects) == ["sub-A_T1w", "sub-B_T1w"]
    assert [subject.source for subject in subjects] == [None, None]


def test_flat_pairs_are_joined_by_what_their_names_share(tmp_path):
    for name in ("sub-A_3T", "sub-A_7T", "sub-B_pseudo-3T", "sub-B_7T"):
        write(tmp_path / f"{name}.nii.gz")
    subjects = find_subjects(tmp_path)
    assert names(subjects) == ["sub-A", "sub-B"]
    assert [subject.source.name for subject in subjects] == [
        "sub-A_3T.nii.gz",
        "sub-B_pseudo-3T.nii.gz",
    ]


def test_two_folders_are_joined_by_equal_names(tmp_path):
    for folder in ("3T_images", "7T_images"):
        for name in ("one", "two"):
            write(tmp_path / folder / f"{name}.nii")
    subjects = find_subjects(tmp_path)
    assert names(subjects) == ["one", "two"]
    assert all(subject.source.parent.name == "3T_images" for subject in subjects)


def test_bids_sessions_are_joined_by_participant(tmp_path):
    for subject in ("sub-01", "sub-02"):
        for session in ("ses-3T", "ses-7T"):
            name = f"{subject}_{session}_T1w.nii.gz"
            write(tmp_path / subject / session / "anat" / name)
    subjects = find_subjects(tmp_path)
    assert names(subjects) == ["sub-01", "sub-02"]
    assert all("ses-7T" in subject.target.name for subject in subjects)
    assert all("ses-3T" in subject.source.name for subject in subjects)


def test_subject_without_partner_is_an_error(tmp_path):
    for name in ("sub-A_3T", "sub-A_7T", "sub-B_7T"):
        write(tmp_path / f"{name}.nii.gz")
    with pytest.raises(SubjectError, match="sub-B: has no 3T volume"):
        find_subjects(tmp_path)


def test_fault_19_subject_twice_is_an_error(tmp_path):
    write(tmp_path / "sub-A_7T.nii.gz")
    write(tmp_path / "sub-A_7T.nii")
    with pytest.raises(SubjectError, match=r"sub-A: two 7T volumes.*keep one"):
        find_subjects(tmp_path)


def test_fault_19_subject_on_both_sides_of_a_fold_is_an_error(tmp_path):
    path = write(tmp_path / "a.nii.gz")
    same = [Subject("one", path), Subject("two", path)]
    with pytest.raises(SubjectError, match=r"a\.nii\.gz: listed twice"):
        leave_one_out(same)


def test_folder_without_volumes_is_an_error(tmp_path):
    with pytest.raises(SubjectError, match="holds no volume"):
        find_subjects(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_subjects(tmp_path / "missing")


def test_leave_one_out_holds_out_everyone_once(tmp_path):
    subjects = [Subject(name, tmp_path / name) for name in "abc"]
    folds = leave_one_out(subjects)
    assert [fold.held_out.name for fold in folds] == ["a", "b", "c"]
    assert [names(fold.training) for fold in folds] == [["b", "c"], ["a", "c"], ["a", "b"]]


def test_one_subject_cannot_be_left_out(tmp_path):
    with pytest.raises(SubjectError, match="at least 2 subjects"):
        leave_one_out([Subject("a", tmp_path / "a")])


def test_fault_17_nan_in_training_data_is_an_error(tmp_path):
    array = np.ones((4, 5, 6), np.float32)
    array[0] = 2
    array[1, 1, 1] = np.nan
    path = write(tmp_path / "a.nii.gz", array)
    with pytest.raises(SubjectError, match="holds NaN voxels"):
        load_pair(Subject("a", path))


def test_fault_18_pair_on_different_grids_is_an_error(tmp_path):
    shifted = np.eye(4)
    shifted[0, 3] = 5
    source = write(tmp_path / "a_3T.nii.gz", affine=shifted)
    target = write(tmp_path / "a_7T.nii.gz")
    with pytest.raises(SubjectError, match="must lie on one grid; register them first"):
        load_pair(Subject("a", target, source))
    with pytest.raises(SubjectError, match="must lie on one grid; register them first"):
        check_headers(Subject("a", target, source))


def test_headers_of_a_pair_on_one_grid_in_two_orientations_are_accepted(tmp_path):
    target = write(tmp_path / "a_7T.nii.gz")
    flipped = nibabel.load(target).as_reoriented([[0, -1], [1, 1], [2, 1]])  # stored LAS
    nibabel.save(flipped, tmp_path / "a_3T.nii.gz")
    check_headers(Subject("a", target, tmp_path / "a_3T.nii.gz"))


def test_headers_tell_a_file_that_is_no_3d_volume(tmp_path):
    series = write(tmp_path / "a.nii.gz", np.ones((4, 5, 6, 2), np.float32))
    with pytest.raises(VolumeError, match=r"a\.nii\.gz: holds 2 volumes: use a 3-D volume"):
        check_headers(Subject("a", series))
    cut = write(tmp_path / "b.nii")
    cut.write_bytes(cut.read_bytes()[:-50])
    with pytest.raises(VolumeError, match="is cut short"):
        check_headers(Subject("b", cut))
