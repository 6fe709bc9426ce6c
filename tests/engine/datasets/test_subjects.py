"""Subjects in folders of every layout, and what is wrong with them."""

import json
import os
import unicodedata

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.datasets.folds import leave_one_out
from napari_mri7t.engine.datasets.subjects import (
    Subject,
    check_headers,
    find_subjects,
    load_pair,
)
from napari_mri7t.engine.errors import Mri7tWarning, SubjectError, VolumeError


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


@pytest.mark.parametrize(
    "pair",
    [("S13T", "S17T"), ("S1_B3", "S1_B7"), ("S1_T3", "S1_T7"), ("S13T_T1w", "S17T_T1w"),
     ("anna3t_brain", "anna7t_brain"), ("S13Tesla", "S17Tesla"), ("A3T", "A7T", "B7T"),
     ("P013T", "P017T", "P03_7T")],
)  # fmt: skip
def test_field_strength_that_nothing_sets_apart_is_asked_for(tmp_path, pair):
    for name in pair:
        write(tmp_path / f"{name}.nii.gz")
    with pytest.raises(SubjectError, match=f"{pair[0]}.* and {pair[1]}.* may be of one person"):
        find_subjects(tmp_path)


def test_names_in_either_encoding_are_one_person(tmp_path):
    for form, field in (("NFD", "3T"), ("NFC", "7T")):
        write(tmp_path / f"{unicodedata.normalize(form, 'Müller')}_{field}.nii.gz")
    (subject,) = find_subjects(tmp_path)
    assert subject.source is not None


@pytest.mark.parametrize(
    "people",
    [("sub-TELL0103", "sub-TELL0107"), ("S12T", "S13T", "S17T"), ("S1_B3", "S2_B3"), ("p3", "p7")],
)
def test_numbers_that_are_no_field_strength_are_people(tmp_path, people):
    for name in people:
        write(tmp_path / f"{name}.nii.gz")
    assert names(find_subjects(tmp_path)) == list(people)


def test_two_folders_are_joined_by_equal_names(tmp_path):
    for folder in ("3T_images", "7T_images"):
        for name in ("one", "two"):
            write(tmp_path / folder / f"{name}.nii")
    subjects = find_subjects(tmp_path)
    assert names(subjects) == ["one", "two"]
    assert all(subject.source.parent.name == "3T_images" for subject in subjects)


@pytest.mark.parametrize("name", ["S{n}_{field}T", "sub-{n}_ses-{field}T_T1w", "S{n}_{field}.0T"])
def test_two_folders_are_joined_by_names_that_say_their_field_strength(tmp_path, name):
    for field in "37":
        for n in "12":
            write(tmp_path / f"{field}T_images" / f"{name.format(n=n, field=field)}.nii")
    subjects = find_subjects(tmp_path)
    assert len(subjects) == 2
    for subject in subjects:
        assert subject.source.name.replace("3", "7") == subject.target.name


def test_a_name_that_contradicts_its_folder_has_no_partner(tmp_path):
    write(tmp_path / "3T_images/S1_7T.nii")
    write(tmp_path / "7T_images/S1_3T.nii")
    with pytest.raises(SubjectError, match=r"S1_7T: has no 7T volume"):
        find_subjects(tmp_path)


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
    with pytest.raises(SubjectError, match="one, two: share a file"):
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
    with pytest.raises(SubjectError, match="at least 2 subjects, but a is the only one"):
        leave_one_out([Subject("a", tmp_path / "a")])
    with pytest.raises(SubjectError, match="at least 2 subjects, but there is none"):
        leave_one_out([])


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
    with pytest.raises(VolumeError, match=r"a\.nii\.gz: holds 2 volumes: use a 3-D volume"):
        load_pair(Subject("a", series))
    cut = write(tmp_path / "b.nii")
    cut.write_bytes(cut.read_bytes()[:-50])
    with pytest.raises(VolumeError, match="is cut short"):
        check_headers(Subject("b", cut))


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def bids(n, field, rest):
    return f"sub-{n}/ses-{field}T/anat/sub-{n}_ses-{field}T_{rest}.nii.gz"


def test_only_t1w_images_are_paired(tmp_path):
    touch(tmp_path, bids(1, 7, "T1w"), bids(1, 3, "T1w"), bids(2, 7, "UNIT1"), bids(2, 3, "t1w"))
    for rest in ("T2w", "FLAIR", "inv-1_MP2RAGE", "part-phase_T1w", "desc-brain_mask", "T1map"):
        touch(tmp_path, bids(1, 7, rest), bids(1, 3, rest), bids(2, 7, rest))
    pairs = [(s.target.name, s.source.name) for s in find_subjects(tmp_path)]
    assert pairs == [
        ("sub-1_ses-7T_T1w.nii.gz", "sub-1_ses-3T_T1w.nii.gz"),
        ("sub-2_ses-7T_UNIT1.nii.gz", "sub-2_ses-3T_t1w.nii.gz"),
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([bids(1, 7, "T1w"), bids(1, 3, "T2w")], r"sub-1_ses-3T_T2w.*: is no 3T T1w"),
        ([bids(1, 7, "FLAIR"), bids(1, 3, "T1w")], "has no 7T volume .*FLAIR"),
        ([bids(1, 7, "T1w"), bids(1, 7, "run-2_T1w")], "two 7T volumes"),
        ([bids(1, 7, "T1w"), bids(1, 7, "T1w__dup-01")], "dup-01.*: is no BIDS name"),
        ([bids(1, 7, "T1w"), "sub-2/anat/notes.txt"], "sub-2: holds no volume"),
        (["a_7T.nii", "a_3T_T2w.nii"], "is no 3T T1w"),
        (
            [bids(1, 7, "T1w"), bids(1, 3, "T1w"), bids(2, 7, "T2w")],
            "sub-2: has no T1w, only .*T2w",
        ),
        (
            [bids(1, 7, "T1w"), "sub-2/func/sub-2_task-x_bold.nii"],
            "sub-2: has no T1w, .* list sub-2/",
        ),
        (
            ["a/b/S1_7T.nii", "a/b/S2_7T.nii"],
            r"holds no volume itself, but a.b/ below it does \(2\)",
        ),
    ],
)
def test_what_is_no_pair_of_t1w_is_refused_by_name(tmp_path, files, message):
    touch(tmp_path, *files)
    with pytest.raises(SubjectError, match=message):
        find_subjects(tmp_path)


@pytest.mark.parametrize("name", ["T1w.json", "sub-1/ses-7T/anat/sub-1_ses-7T_T1w.json"])
@pytest.mark.parametrize(
    ("tesla", "message"),
    [(3, "says 3 tesla"), (2.89, "says 3 tesla"), (1.5, "is 1.5"), (7000, "7000"), (True, "True")],
)
def test_json_that_says_another_field_strength_is_refused(tmp_path, name, tesla, message):
    touch(tmp_path, bids(1, 7, "T1w"), name)
    (tmp_path / name).write_text(json.dumps({"MagneticFieldStrength": tesla}))
    with pytest.raises(SubjectError, match=message):
        find_subjects(tmp_path)


def test_json_decides_where_no_name_says_the_field_strength(tmp_path):
    for session, tesla in (("a", 6.98), ("b", 2.89)):
        name = f"sub-1/ses-{session}/anat/sub-1_ses-{session}_T1w"
        touch(tmp_path, f"{name}.nii")
        (tmp_path / f"{name}.json").write_text(json.dumps({"MagneticFieldStrength": tesla}))
    (tmp_path / "T1w.json").write_text('{"MagneticFieldStrength": 1.5}')  # the nearest counts
    (tmp_path / "T2w.json").write_text('{"MagneticFieldStrength": 9.4}')
    (subject,) = find_subjects(tmp_path)
    assert (subject.target.name, subject.source.name) == (
        "sub-1_ses-a_T1w.nii",
        "sub-1_ses-b_T1w.nii",
    )


@pytest.mark.parametrize(
    "source",
    ["{}_3T_to_7T", "{}_3Tto7T", "{}_3T_T1w_to_7T", "{}_3T_reg7T", "{}_3T_space-7T", "{}_3T_2_7T"],
)
def test_3t_registered_to_7t_is_the_3t(tmp_path, source):
    target = "{}_7T_T1w" if "T1w" in source else "{}_7T"
    for name in ("S1", "sub-2"):
        touch(tmp_path, f"{source.format(name)}.nii", f"{target.format(name)}.nii")
    subjects = find_subjects(tmp_path)
    assert [name.removesuffix("_T1w") for name in names(subjects)] == ["S1", "sub-2"]
    assert [s.source.stem for s in subjects] == [source.format(name) for name in ("S1", "sub-2")]


def test_name_that_says_both_field_strengths_is_refused(tmp_path):
    touch(tmp_path, "S1_3T_7T.nii", "S1_7T.nii")
    with pytest.raises(SubjectError, match="says 3T and 7T"):
        find_subjects(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        ("sub-A.nii", "sub-a.nii.gz"),
        ("sub-01_ses-1.nii", "sub-01_ses-2.nii"),
        ("sub-01_run-1_T1w.nii", "SUB-01_run-2_T1w.nii"),
        ("S1_ses-1.nii", "s1_ses-2.nii"),
        ("sub-A/anat/sub-A_T1w.nii", "sub-a/anat/sub-a_T1w.nii"),
        ("sub-01_desc-a_T1w.nii", "sub-01_ses-1_T1w_brain_mni.nii"),
        ("sub-M\u00fcller_ses-1_T1w.nii", "sub-Mu\u0308ller_ses-2.nii"),
    ],
)
def test_fault_19_person_under_two_names_is_one_subject(tmp_path, files):
    touch(tmp_path, *files)
    with pytest.raises(SubjectError, match="are one person"):
        leave_one_out(find_subjects(tmp_path))


@pytest.mark.parametrize(
    "files",
    [
        ("sub-ctrl-01/anat/sub-ctrl-01_T1w.nii", "sub-ctrl-02/anat/sub-ctrl-02_T1w.nii"),
        ("sub-patient_01_7T.nii", "sub-patient_02_7T.nii"),
        ("sub-M\u00fcller.nii", "sub-M\u00e4rk.nii"),
        ("courses-1.nii", "courses-2.nii"),
        ("sub-x_T1w_1.nii", "sub-x_T1w_2.nii"),
    ],
)
def test_fault_19_people_with_names_alike_are_not_one(tmp_path, files):
    touch(tmp_path, *files)
    assert len(leave_one_out(find_subjects(tmp_path))) == 2


def test_only_what_can_be_a_t1w_needs_a_field_strength(tmp_path):
    touch(tmp_path, bids(1, 7, "T1w"), bids(1, 7, "task-x_bold"), bids(1, 7, "T2w"))
    touch(tmp_path, bids(1, 3, "task-x_bold"), "sub-1/anat/sub-1_space-T1w_desc-x_boldref.nii")
    for name in ("bold.json", "T2w.json"):
        (tmp_path / name).write_text('{"MagneticFieldStrength": 1.5}')
    (subject,) = find_subjects(tmp_path)
    assert (subject.target.name, subject.source) == ("sub-1_ses-7T_T1w.nii.gz", None)


@pytest.mark.parametrize(
    "files",
    [
        (bids(1, 7, "UNIT1"), bids(1, 3, "UNIT1"), bids(1, 7, "T1w")),
        ("S1_7T_MP2RAGE.nii", "S1_3T_MP2RAGE.nii"),
        ("S1_7T_FLASH.nii", "S1_3T_FLASH.nii"),
        ("7T_images/S1_FLASH.nii", "3T_images/S1_FLASH.nii"),
        ("S1_7T_T1w.nii", "S1_3T_T1w.nii", "S1_7T_FLASH.nii", "S1_3T_FLASH.nii"),
    ],
)
def test_both_sides_of_one_contrast_like_t1w_are_a_pair(tmp_path, files):
    touch(tmp_path, *files)
    (subject,) = find_subjects(tmp_path)
    target, source = (tmp_path / name for name in files[:2])
    assert (subject.target, subject.source) == (target, source)


@pytest.mark.parametrize("kind", ["brainmask", "T2w"])
def test_subject_of_which_only_other_images_are_there_is_refused(tmp_path, kind):
    touch(tmp_path, "S1_3T.nii", "S1_7T.nii", f"S1_7T_{kind}.nii", "c1S1_7T.nii")
    assert names(find_subjects(tmp_path)) == ["S1"]
    touch(tmp_path, f"S5_3T_{kind}.nii", f"S5_7T_{kind}.nii")
    with pytest.raises(SubjectError, match=r"S5_3T.*its subject has none"):
        find_subjects(tmp_path)


def test_bidsignore_holds_in_folders_of_pairs_too(tmp_path):
    touch(tmp_path, *(f"{folder}_images/{name}.nii" for folder in ("3T", "7T") for name in "ab"))
    (tmp_path / ".bidsignore").write_text("*/b.nii\n")
    assert names(find_subjects(tmp_path)) == ["a"]


def test_fault_19_hard_link_to_another_subject_is_found(tmp_path):
    touch(tmp_path, "a_7T.nii", "a_3T.nii", "b_7T.nii")
    (tmp_path / "b_3T.nii").hardlink_to(tmp_path / "a_3T.nii")
    with pytest.raises(SubjectError, match="a, b: share a file"):
        leave_one_out(find_subjects(tmp_path))


def test_subject_without_a_t1w_that_is_listed_is_left_out_with_a_warning(tmp_path):
    touch(tmp_path, bids(1, 7, "T1w"), bids(2, 7, "T2w"))
    (tmp_path / ".bidsignore").write_text("sub-2/\n")
    with pytest.warns(Mri7tWarning, match="sub-2: left out"):
        assert names(find_subjects(tmp_path)) == ["sub-1"]


@pytest.mark.parametrize("kind", ["MP2RAGE", "FLASH", "UNIT1"])
def test_7t_volumes_of_a_contrast_like_t1w_need_no_partner(tmp_path, kind):
    touch(tmp_path, f"S1_7T_{kind}.nii", f"S2_7T_{kind}.nii")
    assert [subject.source for subject in find_subjects(tmp_path)] == [None, None]


def test_names_that_differ_in_zeros_only_are_warned_of(tmp_path):
    subjects = [Subject(name, tmp_path / name) for name in ("sub-1", "sub-01", "sub-10", "sub-100")]
    with pytest.warns(Mri7tWarning, match="^sub-01, sub-1: differ only in zeros") as told:
        leave_one_out(subjects)
    assert len(told) == 1


@pytest.mark.parametrize(
    "name", ["S1_1.5T.nii", "S1_9.4T.nii", "sub-1_acq-4T_T1w.nii", "S1_1p5T.nii"]
)
def test_another_field_strength_in_a_name_is_no_7t(tmp_path, name):
    touch(tmp_path, name, "S2_7T.nii")
    with pytest.raises(SubjectError, match=r"its name says [149](\.[45]|p5)?T, expected 3T or 7T"):
        find_subjects(tmp_path)


def test_names_that_differ_in_a_visit_or_a_copy_only_are_warned_of(tmp_path):
    names = ("S1_v1", "S1_v2", "S2", "S2_copy", "S3_flip", "S3", "S4_(1)", "S4", "S5_t1x", "S5_v")
    with pytest.warns(Mri7tWarning, match="what may be a visit, a sequence or a copy") as told:
        leave_one_out([Subject(name, tmp_path / name) for name in names])
    assert [str(warning.message).split(":")[0] for warning in told] == [
        "S1_v1, S1_v2", "S2, S2_copy", "S3, S3_flip", "S4, S4_(1)",
    ]  # fmt: skip


def test_visits_that_are_all_that_names_have_are_people(tmp_path, recwarn):
    leave_one_out([Subject(name, tmp_path / name) for name in ("study_v1", "study_v2")])
    assert not recwarn.list


def test_a_t2_by_its_plain_name_is_no_target(tmp_path):
    touch(tmp_path, "S1_7T_T2.nii", "S1_3T.nii", "S2_7T.nii", "S2_3T.nii")
    with pytest.raises(SubjectError, match="S1: has no 7T volume"):
        find_subjects(tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sub-2/ses-7T/anat/sub-1_ses-7T_T1w.nii", "is sub-1 by its name, and sub-2 by its folder"),
        ("sub-2/ses-1/anat/sub-2_ses-2_T1w.nii", "is ses-2 by its name, and ses-1 by its folder"),
    ],
)
def test_name_that_contradicts_its_folder_is_an_error(tmp_path, name, told):
    touch(tmp_path, bids(1, 7, "T1w"), name)
    with pytest.raises(SubjectError, match=told):
        find_subjects(tmp_path)


@pytest.mark.parametrize("more", ["ce-gad", "dir-AP", "proc-x", "ses-2", "run-2", "desc-y"])
def test_entities_of_one_label_are_one_person(tmp_path, more):
    touch(tmp_path, "sub-1_7T.nii", f"sub-1_{more}_7T.nii", "sub-2_7T.nii")
    with pytest.raises(SubjectError, match="are one person"):
        leave_one_out(find_subjects(tmp_path))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna", "Anna(1)"),
        ("Anna", "Anna_brain"),
        ("A_T1w", "A_MPRAGE"),
        ("Anna_20200101", "Anna_20210101"),
        ("01", "sub-01"),
        ("sub_01", "sub01"),
    ],
)
def test_names_that_may_be_one_person_are_warned_of(tmp_path, one, other):
    with pytest.warns(Mri7tWarning, match="differ only in"):
        leave_one_out([Subject(name, tmp_path / name) for name in (one, other, "Bert")])


def test_patients_whose_group_is_called_as_a_contrast_are_trained_on(tmp_path, recwarn):
    people = ["HC_001", "HC_002", "PD_001", "PD_002"]
    touch(tmp_path, *(f"{person}_{field}T.nii" for person in people for field in "37"))
    subjects = find_subjects(tmp_path)
    leave_one_out(subjects)
    assert names(subjects) == people
    assert not recwarn.list


@pytest.mark.parametrize("field", [3, 7])
def test_pair_of_which_one_scan_has_a_contrast_agent_is_warned_of(tmp_path, field, recwarn):
    touch(tmp_path, *(bids(n, f, "T1w") for n in (1, 2) for f in (3, 7) if (n, f) != (1, field)))
    touch(tmp_path, bids(3, 3, "ce-gad_T1w"), bids(3, 7, "ce-gad_T1w"))
    touch(tmp_path, bids(1, field, "ce-gad_T1w"))
    find_subjects(tmp_path)
    (told,) = recwarn.list
    agents = "3T: gad, 7T: none" if field == 3 else "3T: none, 7T: gad"
    assert f"sub-1: contrast agents differ by name ({agents})" in str(told.message)


def test_full_width_letters_are_the_same_letters(tmp_path):
    subjects = [Subject(name, tmp_path / name) for name in ("\uff21nna", "Anna", "Bert")]
    with pytest.raises(SubjectError, match="are one person"):
        leave_one_out(subjects)


@pytest.mark.parametrize(
    ("stray", "why"),
    [
        ("Sub-03/anat/sub-03_ses-7T_T1w.nii", "in no folder where subjects are looked for"),
        ("sub-03_ses-7T_T1w.nii", "in no folder where subjects are looked for"),
        ("rawdata/sub-03/anat/sub-03_ses-7T_T1w.nii", "in no folder where subjects are looked"),
        ("sub-2/ses-7T/anat/sub-2_ses-7T_run-2_T1w.nii.gz.old", "unknown extension"),
        ("sub-2/ses-7T/anat/sub-2_ses-7T_run-2_T1w.nii.gz.part", "is an unfinished download"),
    ],
)
def test_t1w_that_is_left_out_of_a_dataset_is_named(tmp_path, stray, why, recwarn):
    touch(tmp_path, bids(1, 7, "T1w"), bids(2, 7, "T1w"), "sub-2/ses-7T/anat/sub-2_T1w.png")
    assert names(find_subjects(tmp_path)) == ["sub-1", "sub-2"]
    assert not recwarn.list
    touch(tmp_path, stray)
    with pytest.warns(Mri7tWarning, match=f"left out: {stray}: {why}"):
        assert names(find_subjects(tmp_path)) == ["sub-1", "sub-2"]


def test_volumes_in_folders_beside_those_of_pairs_are_named(tmp_path):
    for name in ("3T_images", "7T_images"):
        touch(tmp_path, f"{name}/A.nii", f"{name}/B.nii")
    touch(tmp_path, "C_7T.nii", "3T_images/x/D.nii", "7T_images/A_mask.nii")
    told = r"left out: C_7T.nii, 3T_images/x/D.nii: in no folder"
    with pytest.warns(Mri7tWarning, match=told):
        assert names(find_subjects(tmp_path)) == ["A", "B"]


UNREAD = (
    "S3.nii.gz.part", "S4_nii.gz", "S5.nrrd", ".S6.nii.gz.icloud", "S7.nii.gz.bak", "S8.mha",
    "S9.nii.zst", "S10_T1w.nifti", "S11.NIFTI", "S12.mif", "S13_T1w.gz", "S14_T1w",
)  # fmt: skip


@pytest.mark.parametrize("places", [[""], ["3T_images", "7T_images"], ["3T_images"], ["7T_images"]])
def test_what_is_no_volume_by_its_end_is_left_out_by_name(tmp_path, places, recwarn):
    for place in ("3T_images", "7T_images") if places != [""] else ("",):
        touch(tmp_path / place, "S1.nii.gz", "S2.nii.gz", "notes.txt", "S1.png", ".DS_Store")
        touch(tmp_path / place, *(f"S1.nii.gz{end}" for end in (".sha1", ".sig", ".bak", "~")))
    find_subjects(tmp_path)
    assert not recwarn.list
    for place in places:
        touch(tmp_path / place, *UNREAD)
    assert names(find_subjects(tmp_path)) == ["S1", "S2"]
    told = " ".join(str(warning.message) for warning in recwarn.list)
    for place in places:
        for name in UNREAD:
            assert f"{place}/{name}".removeprefix("/") in told
    assert "is in iCloud" in told
    (tmp_path / ".bidsignore").write_text("\n".join(UNREAD))
    recwarn.clear()
    find_subjects(tmp_path)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("stray", "why"),
    [
        ("sub-2/ses-7T/anat/.sub-2_ses-7T_run-2_T1w.nii.gz.icloud", "is in iCloud"),
        ("sub-3.tar", "is an archive: unpack it"),
    ],
)
def test_what_stands_for_people_of_a_dataset_is_left_out_by_name(tmp_path, stray, why):
    touch(tmp_path, bids(1, 7, "T1w"), bids(2, 7, "T1w"), stray)
    with pytest.warns(Mri7tWarning, match=f"left out: {stray}: {why}"):
        assert names(find_subjects(tmp_path)) == ["sub-1", "sub-2"]


@pytest.mark.parametrize("place", ["sub-3", "sub-2/ses-3T", "sub-2/ses-3T/anat"])
@pytest.mark.parametrize("is_text", [True, False])
def test_folder_that_is_empty_or_a_text_in_place_of_a_link_stops_a_training(
    tmp_path, place, is_text
):
    touch(tmp_path, bids(1, 7, "T1w"), bids(2, 7, "T1w"))
    (tmp_path / place).parent.mkdir(exist_ok=True)
    if is_text:
        (tmp_path / place).write_text("../store/sub-3")
    else:
        (tmp_path / place).mkdir()
    why = "'../store/sub-3' in place of a link" if is_text else "is empty: fetch it"
    with pytest.raises(SubjectError, match=f"{place}: .*{why}"):
        find_subjects(tmp_path)
    (tmp_path / ".bidsignore").write_text(f"{place}\n")
    find_subjects(tmp_path)


def test_more_volumes_in_a_subfolder_of_a_flat_folder_are_named(tmp_path):
    touch(tmp_path, "A_7T.nii", "B_7T.nii", *(f"more/C{n}_7T.nii" for n in range(7)))
    with pytest.warns(Mri7tWarning, match="more/C4_7T.nii and 2 more: in no folder"):
        find_subjects(tmp_path)


def test_files_of_one_number_on_two_disks_are_two(tmp_path, monkeypatch):
    subjects = [Subject(name, write(tmp_path / f"{name}.nii")) for name in ("A", "B")]
    stat = type(tmp_path).stat

    def of_disks(path, **how):
        found = stat(path, **how)
        return os.stat_result((*found[:1], 7, ord(path.name[0]), *found[3:]))

    monkeypatch.setattr(type(tmp_path), "stat", of_disks)
    assert len(leave_one_out(subjects)) == 2
