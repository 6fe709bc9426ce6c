"""One finder of volumes for scans and subjects alike."""

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.datasets.files import find_files, find_volumes, subject_folders
from napari_mri7t.engine.datasets.scans import find_scans
from napari_mri7t.engine.datasets.subjects import find_subjects


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(paths):
    return [path.name for path in paths]


def test_every_format_counts_once_and_nothing_else(tmp_path):
    touch(tmp_path, "a.nii", "B.NII.GZ", "c.mgz", "d.mgh.gz", "pair.hdr", "pair.img")
    touch(tmp_path, "a.json", "notes.txt", "c.png", ".hidden.nii", "e_desc-synth7T_T1w.nii")
    (tmp_path / "folder.nii").mkdir()
    found = ["B.NII.GZ", "a.nii", "c.mgz", "d.mgh.gz", "pair.hdr"]
    assert names(find_volumes(tmp_path)) == found


def test_links_to_files_count_also_dead_ones(tmp_path):
    touch(tmp_path, "store/a.nii")
    (tmp_path / "link.nii").symlink_to("store/a.nii")
    (tmp_path / "dead.nii").symlink_to("store/none.nii")
    assert names(find_volumes(tmp_path)) == ["dead.nii", "link.nii"]


def test_hidden_folder_below_the_root_is_skipped_but_not_the_root_itself(tmp_path):
    root = tmp_path / ".cache" / "data"
    touch(root, "sub-1/anat/a.nii", "sub-1/.git/b.nii")
    assert names(find_files(root, subject_folders(root))[0]) == ["a.nii"]


def test_half_a_pair_is_not_overlooked(tmp_path):
    touch(tmp_path, "a.nii", "lonely.img")
    assert names(find_volumes(tmp_path)) == ["a.nii", "lonely.img"]
    with pytest.raises(FileNotFoundError, match=r"lonely\.hdr: is missing beside lonely\.img"):
        find_subjects(tmp_path)


@pytest.mark.parametrize("folder", ["", "sub-1/ses-7T/anat"])
def test_scans_and_subjects_are_found_by_the_same_rules(tmp_path, folder):
    place = tmp_path / folder
    stems = ("sub-1_T1w",) if folder else ("sub-1_T1w", "sub-2_T1w")
    touch(place, *(f"{stem}.nii" for stem in stems), ".sub-3_T1w.nii")
    touch(place, "sub-1_desc-synth7T_T1w.nii")
    (place / "sub-4_T1w.nii").mkdir()
    found = [f"{stem}.nii" for stem in stems]
    assert [scan.path.name for scan in find_scans(tmp_path).scans] == found
    assert [subject.target.name for subject in find_subjects(tmp_path)] == found


def test_subject_stored_as_a_pair_is_known_by_its_voxels(tmp_path):
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    nibabel.save(nibabel.Nifti1Pair(array, np.eye(4)), tmp_path / "a.img")
    (subject,) = find_subjects(tmp_path)
    assert subject.target.name == "a.img"


def test_linked_folders_are_entered_once_and_never_outwards(tmp_path):
    root = tmp_path / "ds"
    touch(tmp_path, "store/ses-1/anat/a.nii", "other/private.nii")
    touch(root, "sub-2/anat/b.nii")
    (root / "sub-1").mkdir()
    for link, to in (
        ("sub-1/ses-1", "../../store/ses-1"),
        ("sub-0", "sub-2"),  # before the folder itself
        ("sub-3", ".."),
        ("sub-4", "."),
        ("sub-2/up", ".."),
        ("sub-5", "nowhere"),
        ("../store/ses-1/anat/up", "../.."),
    ):
        (root / link).symlink_to(to)
    files, problems = find_files(root, subject_folders(root))
    assert [path.relative_to(root).as_posix() for path in files] == [
        "sub-1/ses-1/anat/a.nii",
        "sub-2/anat/b.nii",
    ]
    reasons = {path.relative_to(root).as_posix(): why for path, why in problems.items()}
    assert "same folder as sub-2" in reasons.pop("sub-0")
    assert "datalad get" in reasons.pop("sub-5")
    assert set(reasons) == {"sub-3", "sub-4", "sub-2/up", "sub-1/ses-1/anat/up"}
    assert all("contains it" in why for why in reasons.values())
