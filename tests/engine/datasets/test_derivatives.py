"""Masks and transforms of derivatives: which one counts, and what is said of the others."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.datasets.bids import Scan, start_derivative
from napari_mri7t.engine.datasets.derivatives import (
    derivatives_of,
    find_own,
    is_on_grid,
    named_derivatives,
)
from napari_mri7t.engine.errors import Mri7tError

NAME = "sub-01/anat/sub-01_T1w.nii.gz"
MASK = "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
TRANSFORM = "sub-01/anat/sub-01_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.txt"


def volume(path, shift=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.eye(4) + shift * np.eye(4, k=3)
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6), np.float32), affine), path)
    return path


@pytest.fixture
def scan(tmp_path):
    return Scan(volume(tmp_path / "raw" / NAME), NAME, "")


def test_first_derivative_that_holds_a_file_counts(scan, tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders[1:]:
        volume(folder / MASK)
        (folder / TRANSFORM).write_text("1 0 0 0")
    found, notes = find_own(scan, NAME, folders)
    assert found == {"mask": tmp_path / "b" / MASK, "transform": tmp_path / "b" / TRANSFORM}
    assert notes == ()


def test_mask_that_cannot_be_used_is_named_and_the_next_derivative_is_taken(scan, tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    volume(folders[0] / MASK, shift=0.5)
    volume(folders[1] / MASK)
    found, (note,) = find_own(scan, NAME, folders)
    assert found == {"mask": folders[1] / MASK}
    assert note.endswith("sub-01_desc-brain_mask.nii.gz of a derivative is not used: it is on "
                         "another grid")  # fmt: skip
    assert not is_on_grid(folders[0] / MASK, scan)


@pytest.mark.parametrize("name", [MASK, TRANSFORM])
def test_link_that_leads_nowhere_is_named(scan, tmp_path, name):
    link = tmp_path / "a" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "not fetched")
    found, (note,) = find_own(scan, NAME, [tmp_path / "a"])
    assert found == {}
    assert link.name in note
    assert "leads nowhere" in note


@pytest.mark.parametrize("name", ["S1_3T.nii.gz", "sub-S1/anat/sub-S1_desc-synth7T_T1w.nii.gz"])
def test_mask_beside_the_names_of_a_plain_folder_counts(tmp_path, name):
    scan = Scan(volume(tmp_path / "raw" / "S1_3T.nii.gz"), "S1_3T.nii.gz", "")
    volume(tmp_path / "hdbet" / "S2_3T_desc-brain_mask.nii.gz")
    assert find_own(scan, name, [tmp_path / "hdbet"]) == ({}, ())
    mask = volume(tmp_path / "hdbet" / "S1_3T_desc-brain_mask.nii.gz")
    assert find_own(scan, name, [tmp_path / "hdbet"]) == ({"mask": mask}, ())


def test_transform_that_is_not_linear_is_told(scan, tmp_path):
    path = tmp_path / "fmriprep" / TRANSFORM
    path.parent.mkdir(parents=True)
    path.with_suffix(".h5").write_bytes(b"x")
    found, (note,) = find_own(scan, NAME, [tmp_path / "fmriprep"])
    assert found == {}
    assert note.endswith("_xfm.h5 of a derivative is not used: it is not linear")


def test_subjects_in_no_folder_of_a_program_are_a_derivative(scan, tmp_path):
    mask = volume(tmp_path / "raw" / "derivatives" / MASK)
    folders = derivatives_of(tmp_path / "raw")
    assert folders == (tmp_path / "raw" / "derivatives",)
    assert find_own(scan, NAME, folders) == ({"mask": mask}, ())


def test_own_derivatives_of_a_dataset_are_not_taken_unasked(tmp_path):
    place = tmp_path / "derivatives"
    (place / "fmriprep").mkdir(parents=True)
    (place / "notes.txt").write_text("no folder")
    start_derivative(place / "mri7t")
    assert derivatives_of(tmp_path) == (place / "fmriprep",)
    assert named_derivatives([place / "mri7t"]) == (place / "mri7t",)


def test_named_derivative_may_have_a_sign_of_equality_in_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a=b").mkdir()
    Path("c").mkdir()
    assert named_derivatives([Path("a=b"), Path("name=c")]) == (Path("a=b"), Path("c"))
    with pytest.raises(Mri7tError, match="no such folder"):
        named_derivatives([Path("name=none")])
