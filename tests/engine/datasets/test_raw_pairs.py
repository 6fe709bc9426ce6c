"""Raw pairs of 3T and 7T scans: every layout found, and what is left out named with its reason."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.datasets.bids import load_scan
from napari_mri7t.engine.datasets.files import EMPTY
from napari_mri7t.engine.datasets.pair_table import read_pairs
from napari_mri7t.engine.datasets.raw_pairs import find_raw_pairs
from napari_mri7t.engine.datasets.unread import UNKNOWN_EXTENSION
from napari_mri7t.engine.errors import Mri7tError, SubjectError
from napari_mri7t.engine.volumes.volume import save_volume

SMALL = np.linspace(0, 1, 8 * 9 * 6).reshape(8, 9, 6)


@pytest.fixture
def scan(tmp_path):
    """Write a small volume at a path below `raw`; gives the path."""

    def write(name, size=6):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.random.default_rng(0).random((size, size, size), np.float32)
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
        return path

    return write


@pytest.fixture
def raw(scan, tmp_path):
    """A BIDS dataset with one whole pair."""
    for field in "37":
        scan(f"sub-01/ses-{field}T/anat/sub-01_ses-{field}T_T1w.nii.gz")
    return tmp_path / "raw"


def names(found):
    return [pair.name for pair in found.pairs]


def test_sessions_of_bids_say_the_field_strength(raw, scan):
    scan("sub-01/ses-3T/anat/sub-01_ses-3T_T2w.nii.gz")
    (pair,) = find_raw_pairs(raw).pairs
    assert pair.name == "sub-01"
    assert pair.source.name == "sub-01/ses-3T/anat/sub-01_ses-3T_T1w.nii.gz"
    assert pair.target.name == "sub-01/ses-7T/anat/sub-01_ses-7T_T1w.nii.gz"
    assert pair.describe() == "3T sub-01_ses-3T_T1w.nii.gz, 7T sub-01_ses-7T_T1w.nii.gz"


def test_3t_of_dicom_is_paired_with_a_7t_of_nifti(dicom_series, scan, tmp_path):
    scan("sub-01/ses-7T/anat/sub-01_ses-7T_UNIT1.nii.gz")
    scan("sub-01/ses-3T/func/sub-01_ses-3T_bold.nii.gz")
    dicom_series(tmp_path / "raw/sub-01/ses-3T/dcm/DOE", array=SMALL)
    found = find_raw_pairs(tmp_path / "raw")
    (pair,) = found.pairs
    assert pair.describe() == "3T sub-01_ses-3T_T1w, 7T sub-01_ses-7T_UNIT1.nii.gz"
    assert (pair.source.dicom is None, found.failed) == (False, {})


def test_dicom_that_a_session_was_converted_from_is_not_used_and_named(dicom_series, raw, tmp_path):
    dicom_series(raw / "sub-01/ses-3T/dcm", array=SMALL)
    found = find_raw_pairs(raw)
    assert found.pairs[0].source.dicom is None
    assert list(found.skipped) == ["sub-01/ses-3T/sub-01_ses-3T_T1w"]
    assert "holds volumes" in found.skipped["sub-01/ses-3T/sub-01_ses-3T_T1w"]


def sessions_of(dicom_series, person, sessions, **facts):
    """A study for each session, of `MagneticFieldStrength` as told."""
    for name, tesla in sessions.items():
        study = f"1.2.{sum(map(ord, name))}.{tesla[0]}"
        facts |= {"MagneticFieldStrength": tesla, "StudyInstanceUID": study}
        dicom_series(person / name / "d", array=SMALL, **facts)


@pytest.mark.parametrize(
    ("patient", "number", "is_kept"),
    [
        ("Anon", "S01", True),
        ("STUDY^S01", "S01", True),
        ("S01", "MR2024-77", False),
        ("S01^Ewa", "9", False),
    ],
)
def test_dicom_of_a_person_whose_label_is_in_the_headers_is_one_pair(
    dicom_series, tmp_path, patient, number, is_kept
):
    facts = {"PatientName": patient, "PatientID": number}
    sessions = {"ses-3T": "3", "ses-7T": "7"}
    sessions_of(dicom_series, tmp_path / "raw/sub-S01", sessions, **facts)
    found = find_raw_pairs(tmp_path / "raw")
    assert (found.pairs[0].name == "sub-S01") is is_kept
    assert (len(found.pairs), found.failed, found.skipped) == (1, {}, {})


def test_folder_named_after_a_patient_of_dicom_is_in_no_reason(
    dicom_series, raw, private_words, tmp_path
):
    sessions_of(dicom_series, raw / "sub-Doe", {"ses-3T": "3"})
    (raw / "sub-Jane").mkdir()
    found = find_raw_pairs(raw)
    assert not private_words(f"{found.skipped} {found.failed}")
    assert list(found.skipped.values()) == [
        "has no 7T T1w (DICOM files in [folder 2 of 3 by name])"
    ]
    assert list(found.failed.values()) == [EMPTY]


@pytest.mark.parametrize(
    ("sessions", "n_pairs", "why"),
    [
        ({"ses-1": "2.89", "ses-2": "6.98"}, 1, []),
        (
            {"ses-3T": "6.98", "ses-7T": "3"},
            0,
            [
                "its name says 3T, but its DICOM header 7 tesla",
                "its name says 7T, but its DICOM header 3 tesla",
            ],
        ),
    ],
)
def test_dicom_headers_say_the_field_strength(dicom_series, raw, sessions, n_pairs, why):
    sessions_of(dicom_series, raw / "sub-02", sessions)
    found = find_raw_pairs(raw)
    assert len(found.pairs) == 1 + n_pairs
    assert sorted(found.failed.values()) == why


def test_person_whose_dicom_cannot_be_read_fails_with_the_reason(raw, scan):
    scan("sub-02/ses-7T/anat/sub-02_ses-7T_T1w.nii.gz")
    for folder in ("sub-02/ses-3T/dcm", "sub-03/dcm"):
        (raw / folder).mkdir(parents=True)
        (raw / folder / "IM1.dcm").symlink_to("/nowhere")
    failed = find_raw_pairs(raw).failed
    assert "1 of its DICOM files are links that lead nowhere" in failed["sub-02"]
    assert "1 of its DICOM files are links" in failed["sub-03/sub-03_T1w"]


def test_json_says_the_field_strength_where_sessions_do_not(scan, tmp_path):
    for session, tesla in (("a", 2.89), ("b", 6.98)):
        path = scan(f"sub-1/ses-{session}/anat/sub-1_ses-{session}_T1w.nii.gz")
        path.with_name(f"sub-1_ses-{session}_T1w.json").write_text(
            json.dumps({"MagneticFieldStrength": tesla})
        )
    (pair,) = find_raw_pairs(tmp_path / "raw").pairs
    assert ("ses-a" in pair.source.name, "ses-b" in pair.target.name) == (True, True)


def test_scan_of_unknown_field_strength_fails_and_does_not_count_as_7t(raw, scan):
    scan("sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz")
    scan("sub-02/ses-3T/anat/sub-02_ses-3T_T1w.nii.gz")
    found = find_raw_pairs(raw)
    assert names(found) == ["sub-01"]
    (failed,) = found.failed.items()
    assert failed[0] == "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz"
    assert "nothing says its field strength" in failed[1]


def test_uniform_image_of_an_mp2rage_comes_with_both_inversions(raw, scan):
    scan("sub-02/ses-3T/anat/sub-02_ses-3T_T1w.nii.gz")
    for end in ("UNIT1", "inv-1_MP2RAGE", "inv-2_part-mag_MP2RAGE", "inv-2_part-phase_MP2RAGE"):
        scan(f"sub-02/ses-7T/anat/sub-02_ses-7T_{end}.nii.gz")
    pair = find_raw_pairs(raw, ["02"]).pairs[0]
    assert pair.target.name.endswith("ses-7T_UNIT1.nii.gz")
    assert [scan.name.split("ses-7T_")[1] for scan in pair.inversions] == [
        "inv-1_MP2RAGE.nii.gz",
        "inv-2_part-mag_MP2RAGE.nii.gz",
    ]
    assert "with both inversions of the 7T" in pair.describe()


def test_t1w_goes_before_the_uniform_image(raw, scan):
    scan("sub-01/ses-7T/anat/sub-01_ses-7T_UNIT1.nii.gz")
    found = find_raw_pairs(raw)
    assert found.pairs[0].target.name.endswith("_T1w.nii.gz")
    assert found.skipped == {
        "sub-01/ses-7T/anat/sub-01_ses-7T_UNIT1.nii.gz": "another image of its session is used"
    }


def test_person_without_a_7t_is_skipped_and_one_with_two_3t_fails(raw, scan):
    scan("sub-02/ses-3T/anat/sub-02_ses-3T_T1w.nii.gz")
    scan("sub-02/ses-7T/anat/sub-02_ses-7T_T2w.nii.gz")
    for end in ("ses-3T_run-1", "ses-3T_run-2", "ses-7T"):
        scan(f"sub-03/{end[:6]}/anat/sub-03_{end}_T1w.nii.gz")
    found = find_raw_pairs(raw)
    assert names(found) == ["sub-01"]
    assert found.skipped["sub-02"] == "has no 7T T1w (sub-02_ses-7T_T2w.nii.gz: no T1w)"
    assert found.failed["sub-03"].startswith("two 3T volumes, sub-03_ses-3T_run-1_T1w.nii.gz and")


def test_what_bidsignore_lists_is_left_out_and_named(raw, scan):
    extra = scan("sub-01/ses-3T/anat/sub-01_ses-3T_run-2_T1w.nii.gz")
    (raw / ".bidsignore").write_text("*_run-2_*\n")
    found = find_raw_pairs(raw)
    assert names(found) == ["sub-01"]
    assert found.skipped == {extra.relative_to(raw).as_posix(): "is listed in .bidsignore"}


def test_misnamed_t1w_fails_by_name(raw, scan):
    scan("sub-01/ses-3T/anat/sub-01_ses-3T_T1w_defaced.nii.gz")
    (failed,) = find_raw_pairs(raw).failed
    assert failed.endswith("_T1w_defaced.nii.gz")


def test_own_masks_and_transforms_are_taken_from_the_derivatives(raw, scan):
    for session in ("3T", "7T"):
        end = f"sub-01/ses-{session}/anat/sub-01_ses-{session}"
        scan(f"derivatives/bet/{end}_desc-brain_mask.nii.gz", 6 if session == "3T" else 5)
    transform = raw / "derivatives/bet/sub-01/ses-3T/anat/sub-01_from-3T_to-7T_mode-image_xfm.txt"
    transform.write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    (pair,) = find_raw_pairs(raw).pairs
    assert set(pair.own) == {"source_mask", "transform"}
    assert pair.notes == (
        "sub-01_ses-7T_desc-brain_mask.nii.gz of a derivative is not used: it is on another grid",
    )
    assert "with your mask of the 3T, your transform sub-01_from-3T_to-7T_" in pair.describe()


def own_transform(raw, name):
    path = raw / "derivatives/mine" / f"{name}_from-3T_to-7T_mode-image_xfm.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    return path


@pytest.mark.parametrize("end", ["", "_3T", "_T1w"])
def test_each_person_of_a_flat_folder_gets_the_own_transform(scan, tmp_path, end):
    for name in ("S1", "S10", "S2", "S3"):
        for field in "37":
            scan(f"{name}_{field}T{'_T1w' if end == '_T1w' else ''}.nii")
    own = [own_transform(tmp_path / "raw", f"{name}{end}") for name in ("S1", "S10", "S2")]
    found = find_raw_pairs(tmp_path / "raw").pairs
    assert [pair.transform for pair in found] == [*own, None]
    assert f"with your transform {own[1].name}" in found[1].describe()


def test_transform_of_another_run_is_not_used(scan, tmp_path):
    for field in "37":
        scan(f"sub-01/ses-{field}T/anat/sub-01_ses-{field}T_run-1_T1w.nii.gz")
    own_transform(tmp_path / "raw", "sub-01/ses-3T/anat/sub-01_run-2")
    own_transform(tmp_path / "raw", "sub-01/ses-3T/anat/sub-02_run-1")
    assert find_raw_pairs(tmp_path / "raw").pairs[0].own == {}
    one = own_transform(tmp_path / "raw", "sub-01/ses-3T/anat/sub-01_ses-3T_run-1")
    assert find_raw_pairs(tmp_path / "raw").pairs[0].own == {"transform": one}


@pytest.mark.parametrize("place", ["", "anat", "xfm", "ses-3T/anat", "ses-7T/anat"])
def test_transform_is_found_anywhere_below_its_person_or_named(raw, place):
    folder = raw / "derivatives/mine/sub-01" / place
    folder.mkdir(parents=True)
    path = folder / "sub-01_from-3T_to-7T_mode-image_xfm.txt"
    path.touch()
    other = folder / "sub-01_ses-7T_from-3T_to-7T_mode-image_xfm.txt"
    other.touch()
    warp = folder / "sub-01_from-3T_to-7T_mode-image_xfm.h5"
    warp.touch()
    (pair,) = find_raw_pairs(raw).pairs
    assert pair.transform == path
    assert [note.split(" of a derivative is not used: ") for note in pair.notes] == [
        [warp.name, "a linear transform has the extension .txt, .tfm, .mat"],
        [other.name, "its name does not begin like that of the 3T scan"],
    ]


def test_several_transforms_of_one_person_are_named_and_none_is_used(raw):
    for name in ("sub-01", "sub-01_ses-3T"):
        own_transform(raw, f"sub-01/ses-3T/anat/{name}")
    (pair,) = find_raw_pairs(raw).pairs
    assert pair.own == {}
    assert pair.notes == (
        "sub-01_from-3T_to-7T_mode-image_xfm.txt, sub-01_ses-3T_from-3T_to-7T_mode-image_xfm.txt "
        "of the derivatives are not used: keep one of them",
    )


def test_mask_of_a_uniform_image_may_have_the_plain_name(raw, scan):
    scan("sub-02/ses-3T/anat/sub-02_ses-3T_T1w.nii.gz")
    scan("sub-02/ses-7T/anat/sub-02_ses-7T_UNIT1.nii.gz")
    scan("derivatives/bet/sub-02/ses-7T/anat/sub-02_ses-7T_desc-brain_mask.nii.gz")
    assert set(find_raw_pairs(raw, ["sub-02"]).pairs[0].own) == {"target_mask"}


@pytest.mark.parametrize(
    "files",
    [
        ("3T_images/Anna 1.nii.gz", "7T_images/Anna 1.nii.gz"),
        ("3T_images/A1_3T.nii.gz", "7T_images/A1_7T.nii.gz"),
        ("A1_3T.nii.gz", "A1_7T.nii.gz"),
    ],
)
def test_layouts_that_train_takes_are_taken(scan, tmp_path, files):
    for name in files:
        scan(name)
    (pair,) = find_raw_pairs(tmp_path / "raw").pairs
    assert pair.name in ("sub-Anna1", "sub-A1")
    assert (pair.source.name, pair.target.name) == files


def test_absent_participant_is_refused_by_name(raw):
    with pytest.raises(Mri7tError, match="has no participant sub-09; it has sub-01") as caught:
        find_raw_pairs(raw, ["09"])
    assert caught.value.argument == "participant"


def test_folder_without_a_pair_is_refused_with_the_reason(scan, tmp_path):
    scan("sub-01/ses-3T/anat/sub-01_ses-3T_T1w.nii.gz")
    with pytest.raises(Mri7tError, match=r"holds no pair .*sub-01: has no 7T T1w"):
        find_raw_pairs(tmp_path / "raw")


@pytest.fixture
def table(scan, tmp_path):
    def write(text, name="pairs.tsv"):
        for each in ("a.nii.gz", "b.nii.gz", "mask.nii.gz"):
            scan(each)
        path = tmp_path / "raw" / name
        path.write_text(text, encoding="utf-8-sig")
        return path

    return write


@pytest.mark.parametrize(("name", "sign"), [("pairs.tsv", "\t"), ("pairs.csv", ";")])
def test_table_names_scans_masks_and_transforms(table, name, sign):
    rows = [["Subject", "3T", "7T", "mask_7T", "transform"], ["01", "a.nii.gz", "b.nii.gz",
            "mask.nii.gz", "n/a"]]  # fmt: skip
    (pair,) = read_pairs(table("\n".join(map(sign.join, rows)), name)).pairs
    assert (pair.name, pair.source.path.name, pair.target.path.name) == (
        "sub-01", "a.nii.gz", "b.nii.gz"
    )  # fmt: skip
    assert {name: path.name for name, path in pair.own.items()} == {"target_mask": "mask.nii.gz"}


def test_rows_that_cannot_be_used_are_named(table):
    rows = ["subject\t3T\t7T\tinv1", "01\ta.nii.gz\tb.nii.gz\t", "02\ta.nii.gz\tgone.nii.gz\t",
            "03\ta.nii.gz\t\t", "1\ta.nii.gz\tb.nii.gz\ta.nii.gz", "01\ta.nii.gz\tb.nii.gz\t",
            "\ta.nii.gz\tb.nii.gz\t"]  # fmt: skip
    found = read_pairs(table("\n".join(rows)))
    assert names(found) == ["sub-01"]
    assert "gone.nii.gz: the 7T is missing" in found.failed["sub-02"]
    assert found.failed["sub-1"].startswith("has one inversion")
    assert found.failed["line 6"] == "sub-01 has a row already: keep one row a person"
    assert found.failed["line 7"] == "has no subject: name one"
    assert found.skipped == {"sub-03": "has no 7T scan in the table"}


def test_spreadsheet_is_no_table(tmp_path):
    (tmp_path / "pairs.xlsx").write_bytes(b"PK")
    with pytest.raises(SubjectError, match=r"pairs\.xlsx: is no table of text: save it as \.tsv"):
        find_raw_pairs(tmp_path / "pairs.xlsx")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("sep=;\nsubject;3T;7T\n1.0;a.nii.gz;b.nii.gz\n", "utf-8"),
        ("subject\t3T\t7T\n1.0\ta.nii.gz\tb.nii.gz\n", "utf-16"),
    ],
)
def test_table_of_a_spreadsheet_is_read(table, scan, text, encoding):
    path = table("")
    path.write_text(text, encoding=encoding)
    found = read_pairs(path)
    assert (names(found), found.failed) == (["sub-1"], {})


def test_files_whose_hidden_names_are_equal_are_all_named(dicom_series, tmp_path):
    array = np.linspace(0, 1, 8 * 9 * 6).reshape(8, 9, 6)
    dicom_series(tmp_path / "sub-01" / "ses-3T", array=array)
    for name in ("doe_T1w.nrrd", "jane_T1w.nrrd"):
        (tmp_path / "sub-01" / name).write_bytes(b"x")
    found = find_raw_pairs(tmp_path)
    assert sorted(found.failed) == [f"sub-01/[file {n} of 2 by name]" for n in (1, 2)]


def test_scans_of_two_patients_by_their_headers_are_noted(dicom_series, tmp_path):
    array = np.linspace(0, 1, 8 * 9 * 6).reshape(8, 9, 6)
    people = {"3": ("EVE^X", "E1"), "7": ("BOB^Y", "B1")}
    for label in ("01", "02"):
        for tesla, (name, number) in people.items():
            given = {"PatientName": name, "PatientID": number} if label == "01" else {}
            dicom_series(
                tmp_path / f"sub-{label}" / f"ses-{tesla}T",
                array=array,
                MagneticFieldStrength=tesla,
                StudyInstanceUID=f"1.2.{label}.{tesla}",
                **given,
            )
    one, other = find_raw_pairs(tmp_path).pairs
    assert "name different patients" in " ".join((*one.notes, *other.notes))
    assert bool(one.notes) != bool(other.notes)


def test_pair_of_which_one_scan_has_a_contrast_agent_is_noted(raw, scan, table):
    scan("sub-02/ses-3T/anat/sub-02_ses-3T_ce-gad_T1w.nii.gz")
    scan("sub-02/ses-7T/anat/sub-02_ses-7T_T1w.nii.gz")
    told = "contrast agents differ by name (3T: gad, 7T: none): pair scans of one contrast"
    assert [pair.notes for pair in find_raw_pairs(raw).pairs] == [(), (told,)]
    for name in ("a_ce-gad_T1w.nii.gz", "b_T1w.nii.gz"):
        scan(name)
    (pair,) = read_pairs(table("subject,3T,7T\n01,a_ce-gad_T1w.nii.gz,b_T1w.nii.gz")).pairs
    assert pair.notes == (told,)


def test_comment_in_a_table_is_no_person_and_blank_lines_count(table):
    rows = ["subject,3T,7T", "", "#02,a.nii.gz,b.nii.gz", "01,a.nii.gz,b.nii.gz", "", ",a.nii.gz,"]
    found = read_pairs(table("\n".join(rows), "pairs.csv"))
    assert names(found) == ["sub-01"]
    assert found.skipped == {"line 3": 'begins with "#": taken for a comment'}
    assert found.failed == {"line 6": "has no subject: name one"}


def test_people_whose_names_share_their_ascii_letters_are_told_apart(table, scan, tmp_path):
    people = ["S1_1", "S11", "張_1", "李_1"]
    rows = [f"{name}\t{n}.nii.gz\t{n}b.nii.gz" for n, name in enumerate(people)]
    for n in range(4):
        scan(f"{n}.nii.gz")
        scan(f"{n}b.nii.gz")
    found = read_pairs(table("\n".join(["subject\t3T\t7T", *rows])))
    assert (len({*names(found)}), found.failed) == (4, {})
    assert "sub-S11" in names(found)
    again = read_pairs(table("\n".join(["subject\t3T\t7T", *rows[::-1]])))
    assert {p.name: p.source.name for p in found.pairs} == {
        p.name: p.source.name for p in again.pairs
    }


def test_field_strength_with_a_decimal_matches_its_partner(scan, tmp_path):
    for name in ("P3_3.0T", "P3_7.0T", "P4_2.89T", "P4_7T"):
        scan(f"{name}.nii.gz")
    assert names(find_raw_pairs(tmp_path / "raw")) == ["sub-P3", "sub-P4"]


def test_a_table_that_exchanges_or_repeats_scans_is_refused_row_by_row(table, scan):
    path = table(
        "subject\t3T\t7T\n01\ta.nii.gz\tb.nii.gz\n02\ta.nii.gz\tc.nii.gz\n"
        "03\tc.nii.gz\t./c.nii.gz\n04\td_7T.nii.gz\tc.nii.gz\n05\tc.nii.gz\te.nii.gz"
    )
    for name in ("c.nii.gz", "d_7T.nii.gz", "e.nii.gz"):
        scan(name)
    (path.parent / "e.json").write_text('{"MagneticFieldStrength": 3}')
    found = read_pairs(path)
    assert names(found) == ["sub-01"]
    assert "a.nii.gz: is a scan of sub-01, too" in found.failed["sub-02"]
    assert "c.nii.gz: is both the 3T and the 7T" in found.failed["sub-03"]
    assert "d_7T.nii.gz: stands for the 3T, but is 7T" in found.failed["sub-04"]
    assert "e.nii.gz: stands for the 7T, but is 3T" in found.failed["sub-05"]


@pytest.mark.parametrize("text", ["subject\t3T\n01\ta.nii.gz", "subject\t3T\t7T\tage\n",
                                  "subject\t3T\t7T\t7T\n"])  # fmt: skip
def test_table_without_its_columns_is_refused(table, text):
    with pytest.raises(Mri7tError, match="a table of pairs has the columns subject, 3T, 7T"):
        read_pairs(table(text))


def test_row_with_more_cells_than_columns_is_refused(table):
    with pytest.raises(Mri7tError, match="line 3 has more cells than the heading: name every"):
        read_pairs(table("subject\t3T\t7T\n01\ta.nii\tb.nii\t\n02\tc.nii\td.nii\tmask.nii\n"))


def test_missing_table_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such table"):
        read_pairs(tmp_path / "gone.tsv")


def test_dicom_of_a_table_stands_for_its_own_field_strength(dicom_series, raw, table):
    for person in ("x", "y"):
        sessions_of(dicom_series, raw / person, {"a": "3", "b": "7"}, PatientID=person)
    found = read_pairs(table("subject\t3t\t7t\n01\tx/a\tx/b\n02\ty/b\ty/a\n"))
    assert names(found) == ["sub-01"]
    assert found.failed["sub-02"] == "its 3T is a 7T scan by its DICOM header"


def test_series_of_pairs_without_dicom_is_refused(raw, table):
    path = table("subject\t3T\t7T\n01\ta.nii.gz\tb.nii.gz")
    for read, place in ((find_raw_pairs, raw), (read_pairs, path)):
        with pytest.raises(Mri7tError, match="holds no DICOM series: choose none") as caught:
            read(place, series="99")
        assert caught.value.argument == "series"


def test_scan_whose_name_contradicts_its_folder_is_in_no_pair(raw, scan):
    scan("sub-02/ses-3T/anat/sub-01_ses-3T_T1w.nii.gz")
    scan("sub-02/ses-7T/anat/sub-02_ses-7T_T1w.nii.gz")
    found = find_raw_pairs(raw)
    assert names(found) == ["sub-01"]
    (why,) = found.failed.values()
    assert why.startswith("is sub-01 by its name, and sub-02 by its folder")


def test_people_in_odd_folders_are_named(raw, scan):
    for field in "37":
        scan(f"Sub-02/ses-{field}T/anat/Sub-02_ses-{field}T_T1w.nii.gz")
        scan(f"site2/sub-03/ses-{field}T/anat/sub-03_ses-{field}T_T1w.nii.gz")
        scan(f"sub-04_ses-{field}T_T1w.nii.gz")
        scan(f"Sub-05/ses-{field}T/anat/Sub-05_ses-{field}T_T2w.nii.gz")  # no T1w
    (raw / "sub-01/ses-3T/anat/sub-01_ses-3T_acq-b_T1w.mha").write_bytes(b"0")
    found = find_raw_pairs(raw)
    assert names(found) == ["sub-01"]
    assert {name.split("/")[0][:6] for name in found.failed} == {"Sub-02", "sub-04", "sub-01"}
    assert {name.split("/")[1] for name in found.skipped} == {"sub-03"}
    assert "is in no folder sub-*" in found.failed["sub-04_ses-3T_T1w.nii.gz"]


@pytest.mark.parametrize("layout", ["S1_{}T.nii", "{}T_images/S1.nii"])
def test_what_lies_beside_the_pairs_of_a_plain_folder_is_named(layout, scan, tmp_path):
    for field in "37":
        scan(layout.format(field))
        scan(f"more/S2_{field}T.nii")
        scan(layout.format(field).replace("S1", "other/S4"))
    (tmp_path / "raw" / layout.format("3").replace("S1", "S3")).with_suffix(".mha").write_bytes(
        b"0"
    )
    found = find_raw_pairs(tmp_path / "raw")
    assert names(found) == ["sub-S1"]
    assert list(found.failed.values()) == [UNKNOWN_EXTENSION]
    assert {name.split("/")[-1].split("_")[0][:2] for name in found.skipped} == {"S2", "S4"}


def test_files_of_a_dicom_study_that_are_named_as_a_t1w_are_no_unread_volumes(
    dicom_series, scan, tmp_path
):
    folder = tmp_path / "raw/sub-01/ses-3T"
    dicom_series(folder, array=SMALL, MagneticFieldStrength=3)
    scan("sub-01/ses-7T/anat/sub-01_ses-7T_T1w.nii.gz")
    for n, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"t1_{n}")
    found = find_raw_pairs(tmp_path / "raw")
    assert (names(found), found.failed) == (["sub-01"], {})


LAYOUTS = ["{person}/{tesla}T", "{tesla}T/{person}", "dicom/{tesla}T/{person}/data/t1",
           "{tesla}T_images/{person}", "ses-{tesla}T/{person}"]  # fmt: skip


def people_of(dicom_series, root, layout, people):
    """A DICOM study at each field strength of each person, all of the name that is given."""
    for n, (person, patient) in enumerate(people.items()):
        for tesla in "37":
            dicom_series(
                root / layout.format(person=person, tesla=tesla),
                array=SMALL,
                MagneticFieldStrength=tesla,
                StudyInstanceUID=f"1.2.{n}.{tesla}",
                PatientName=patient,
                PatientID=f"9{n}7",
            )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("people", [("S1",), ("S1", "S2")])
def test_dicom_folders_of_a_person_and_a_field_strength_are_paired(
    dicom_series, tmp_path, layout, people
):
    people_of(dicom_series, tmp_path / "in", layout, dict.fromkeys(people, "Roe^Ann"))
    found = find_raw_pairs(tmp_path / "in")
    assert (names(found), found.failed, found.skipped) == ([f"sub-{p}" for p in people], {}, {})
    assert all("3T" in pair.source.name and "7T" in pair.target.name for pair in found.pairs)


@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_dicom_of_people_in_folders_of_their_names_is_paired_under_keys(
    dicom_series, tmp_path, layout, private_words
):
    people = {"DOE_JANE": "Doe^Jane", "Roe": "Roe^Ann"}
    people_of(dicom_series, tmp_path / "in", layout, people)
    found = find_raw_pairs(tmp_path / "in")
    assert (len(found.pairs), found.failed, found.skipped) == (2, {}, {})
    for pair in found.pairs:
        assert pair.source.dicom.patient == pair.target.dicom.patient
    assert not private_words([(p.name, p.source.name, p.target.name) for p in found.pairs])


def test_studies_of_one_patient_are_paired_whatever_their_folders(dicom_series, tmp_path):
    layouts = {
        "S1/Prisma_3T S1/Terra_7T": ["sub-S1"],
        "3T 7T": ["sub-raw"],
        "3T_images 7T_images": ["sub-raw"],
        "before/3T/DOE_JANE after/7T/DoeJ": None,
    }
    for n, (layout, expected) in enumerate(layouts.items()):
        for folder, tesla in zip(layout.split(), "37", strict=True):
            facts = {"MagneticFieldStrength": tesla, "StudyInstanceUID": f"1.2.{n}.{tesla}"}
            dicom_series(tmp_path / f"{n}/raw" / folder, array=SMALL, **facts)
        found = find_raw_pairs(tmp_path / f"{n}/raw")
        assert (len(found.pairs), found.failed, found.skipped) == (1, {}, {}), layout
        assert expected in (None, names(found))


def test_studies_of_patients_without_number_are_not_paired_for_their_headers(
    dicom_series, tmp_path
):
    for folder, tesla in (("S1/Prisma_3T", "3"), ("S2/Terra_7T", "7")):
        facts = {"PatientName": "anon", "PatientID": "1", "MagneticFieldStrength": tesla}
        dicom_series(tmp_path / folder, array=SMALL, StudyInstanceUID=f"1.{tesla}", **facts)
    with pytest.raises(Mri7tError, match="holds no pair of a 3T and a 7T scan"):
        find_raw_pairs(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dicom_folder_of_another_field_strength_than_its_header_is_refused(
    dicom_series, tmp_path, layout
):
    for folder, tesla in (("3", "7"), ("7", "3")):
        place = tmp_path / "in" / layout.format(person="S1", tesla=folder)
        facts = {"MagneticFieldStrength": tesla, "StudyInstanceUID": f"1.2.{tesla}"}
        dicom_series(place, array=SMALL, **facts)
    found = find_raw_pairs(tmp_path / "in")
    assert not found.pairs
    assert sorted(found.failed.values()) == [
        "its name says 3T, but its DICOM header 7 tesla",
        "its name says 7T, but its DICOM header 3 tesla",
    ]


def test_two_3t_scans_of_a_person_in_both_layouts_are_refused(dicom_series, tmp_path):
    people_of(dicom_series, tmp_path / "in", LAYOUTS[0], {"S1": "Roe^Ann"})
    dicom_series(tmp_path / "in/3T/S1", array=SMALL, StudyInstanceUID="1.3", PatientID="917")
    found = find_raw_pairs(tmp_path / "in")
    assert not found.pairs
    assert found.failed["sub-S1"].startswith("two 3T volumes, ")


def test_own_masks_and_transforms_of_dicom_are_taken_from_the_derivatives(dicom_series, tmp_path):
    raw = tmp_path / "in"
    people_of(dicom_series, raw, "sub-{person}/ses-{tesla}T/dcm", {"01": "Roe^Ann"})
    scan = load_scan(find_raw_pairs(raw).pairs[0].source, None)
    mask = scan.with_array(scan.array > 0)
    elsewhere = mask.moved(np.eye(4) + 2 * np.eye(4, k=3))
    anat = "derivatives/bet/sub-01/ses-{0}T/anat/sub-01_ses-{0}T"
    for field, volume in (("3", mask), ("7", elsewhere)):
        path = raw / f"{anat.format(field)}_desc-brain_mask.nii.gz"
        path.parent.mkdir(parents=True)
        save_volume(volume, path)
    linear = raw / f"{anat.format('3')}_from-3T_to-7T_mode-image_xfm.txt"
    to_mni = raw / f"{anat.format('7')}_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.txt"
    for path in (linear, to_mni):
        path.write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    (pair,) = find_raw_pairs(raw).pairs
    assert pair.own == {
        "source_mask": raw / f"{anat.format('3')}_desc-brain_mask.nii.gz",
        "transform": linear,
        "to_mni": to_mni,
    }
    assert pair.notes == (
        "sub-01_ses-7T_desc-brain_mask.nii.gz of a derivative is not used: it is on another grid",
    )


@pytest.mark.parametrize("name", ["sub-S1/ses-3T/anat/sub-S1_ses-3T", "3T_S1", "S1_3T"])
def test_own_mask_of_a_plain_dicom_folder_has_the_name_of_the_person_or_scan(
    dicom_series, tmp_path, name
):
    raw = tmp_path / "in"
    people_of(dicom_series, raw, "{tesla}T/{person}", {"S1": "Roe^Ann", "S2": "Poe^Bea"})
    scan = load_scan(find_raw_pairs(raw).pairs[0].source, None)
    mask = raw / f"derivatives/bet/{name}_desc-brain_mask.nii.gz"
    mask.parent.mkdir(parents=True)
    save_volume(scan.with_array(scan.array > 0), mask)
    one, other = find_raw_pairs(raw).pairs
    assert (one.own, other.own) == ({"source_mask": mask}, {})


def test_dicom_study_that_fails_is_told_by_its_folder(dicom_series, tmp_path, private_words):
    """Although that is named after the patient, and the study by a key alone."""
    people = {"Adam": "Poe^Bea", "DOE_JANE": "Doe^Jane"}
    people_of(dicom_series, tmp_path / "in", "{person}/{tesla}T", people)
    facts = {"StudyInstanceUID": "1.2.1.7", "PatientID": "917", "PatientName": "Doe^Jane"}
    second = {"SeriesNumber": 6, "AcquisitionTime": "111111", "MagneticFieldStrength": "7"}
    dicom_series(tmp_path / "in/DOE_JANE/7T/b", array=SMALL, **facts, **second)
    found = find_raw_pairs(tmp_path / "in")
    (why,) = found.failed.values()
    assert "series look like a 3-D T1w: choose one of 5 " in why
    assert why.endswith(" (DICOM files in [folder 2 of 2 by name]/7T)")
    assert not private_words([found.failed, found.skipped])


@pytest.mark.parametrize(
    "layout",
    ["{}T_images/MUELLER_HANS.nii", "MUELLER_HANS_{}T.nii", "hans-müller_{}T_T1w.nii.gz",
     "sub-HansMueller/ses-{0}T/anat/sub-HansMueller_ses-{0}T_T1w.nii.gz"],
)  # fmt: skip
def test_volumes_named_after_a_patient_of_dicom_are_in_no_pair_and_told_once(
    dicom_series, scan, tmp_path, layout
):
    for field in "37":
        scan(layout.format(field))
    people = {"S1": "Müller^Hans"}
    people_of(dicom_series, tmp_path / "raw", "{tesla}T/{person}", people)
    found = find_raw_pairs(tmp_path / "raw")
    hidden = [why for why in found.failed.values() if "holds the full name of a patient" in why]
    assert len(hidden) == 2
    assert not found.skipped.keys() & found.failed.keys()
    told = f"{found.failed} {found.skipped}".casefold()
    assert not [word for word in ("mueller", "hans") if word in told]


def test_dicom_of_a_session_is_used_where_its_volume_bears_the_name_of_the_patient(
    dicom_series, scan, tmp_path
):
    people = {"HansRoe": "Roe^Hans"}
    people_of(dicom_series, tmp_path / "raw", "sub-{person}/ses-{tesla}T/dcm", people)
    scan("sub-HansRoe/ses-7T/anat/sub-HansRoe_ses-7T_T1w.nii.gz")
    found = find_raw_pairs(tmp_path / "raw")
    (pair,) = found.pairs
    assert (pair.target.dicom is not None, "Hans" in pair.name) == (True, False)
    assert list(found.failed) == ["[folder 1 of 1 by name]/ses-7T/anat/[file 1 of 1 by name]"]


def test_person_of_whom_one_volume_is_refused_for_its_name_has_no_other_reason(
    dicom_series, raw, scan
):
    dicom_series(raw / "sub-09/dcm", array=SMALL, PatientName="Roe^Hans")
    scan("sub-02/ses-3T/anat/sub-02_ses-3T_acq-RoeHans_T1w.nii.gz")
    scan("sub-02/ses-7T/anat/sub-02_ses-7T_T1w.nii.gz")
    scan("sub-HansRoe/anat/sub-HansRoe_T2w.nii.gz")
    scan("sub-RoeHans/ses-3T/anat/sub-RoeHans_ses-3T_T1w.nii.gz")
    (raw / ".bidsignore").write_text("sub-RoeHans/\n")
    found = find_raw_pairs(raw)
    assert list(found.failed) == ["sub-02/ses-3T/anat/[file 1 of 1 by name]"]
    assert found.skipped == {
        "[folder 5 of 5 by name]/ses-3T/anat/[file 1 of 1 by name]": "is listed in .bidsignore",
        "sub-09": "has no 7T T1w",
    }


def test_dicom_in_plain_folders_beside_a_bids_dataset_is_paired(dicom_series, raw):
    people_of(dicom_series, raw, "{person}/{tesla}T", {"S1": "Roe^Hans"})
    found = find_raw_pairs(raw)
    assert (names(found), found.failed, found.skipped) == (["sub-01", "sub-S1"], {}, {})


def test_dicom_folders_of_a_code_are_paired_with_its_volumes(dicom_series, scan, tmp_path):
    who = {"PatientName": "S01", "PatientID": "S01", "MagneticFieldStrength": "3"}
    dicom_series(tmp_path / "raw/S01/3T", array=SMALL, **who)
    scan("S01_7T.nii.gz")
    found = find_raw_pairs(tmp_path / "raw")
    assert (names(found), found.failed) == (["sub-S01"], {})


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("DOE_JANE/3T\tDOE_JANE_7T.nii.gz\tn/a", "7T"),
        ("DOE_JANE/3T\tDOE/7T.nii.gz\tDoeJane_to7t.txt", "transform"),
        ("DOE_JANE/3T\tDOE/7T.nii.gz\tDOE_to7t.txt", ""),
    ],
)
def test_row_with_the_full_name_of_a_patient_of_dicom_is_refused_by_its_number(
    dicom_series, scan, table, tmp_path, row, told, private_words
):
    dicom_series(tmp_path / "raw/DOE_JANE/3T", array=SMALL, MagneticFieldStrength="3")
    for name in ("DOE_JANE_7T.nii.gz", "DOE/7T.nii.gz"):
        scan(name)
    for name in ("DoeJane_to7t.txt", "DOE_to7t.txt"):
        (tmp_path / "raw" / name).write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    found = read_pairs(table(f"subject\t3T\t7T\ttransform\nA1\t{row}\n"))
    assert len(found.pairs) == (not told)
    for why in found.failed.values():
        assert why.startswith(f"line 2: the path of its {told} holds the full name of a patient")
    assert not private_words(found.failed)


@pytest.mark.parametrize("tesla", ["1.5", "9.4"])
def test_dicom_of_another_magnet_is_in_no_pair(tesla, dicom_series, tmp_path, table):
    place = tmp_path / "raw/sub-01"
    sessions_of(dicom_series, place, {"ses-3T": "3", "ses-7T": tesla}, PatientID="x")
    found = find_raw_pairs(tmp_path / "raw")
    assert not found.pairs
    told = f"its DICOM header says {tesla} tesla, expected 3 or 7"
    assert found.failed == {"sub-01/ses-7T/sub-01_ses-7T_T1w": told}
    found = read_pairs(table("subject\t3t\t7t\n01\tsub-01/ses-3T\tsub-01/ses-7T\n"))
    assert found.failed["sub-01"] == f"its 7T is a {tesla}T scan by its DICOM header"


def test_scan_of_another_magnet_in_a_table_is_refused_but_an_odd_name_is_not(scan, table):
    for name in ("a.nii", "b.nii", "c_1.5T.nii", "d.nii", "e_3T_7T.nii", "f_3T_7T.nii"):
        scan(name)
    (scan("a.nii").with_suffix(".json")).write_text('{"MagneticFieldStrength": 1.5}')
    rows = "01\ta.nii\tb.nii\n02\tc_1.5T.nii\td.nii\n03\te_3T_7T.nii\tf_3T_7T.nii\n"
    found = read_pairs(table(f"subject\t3T\t7T\n{rows}"))
    assert names(found) == ["sub-03"]
    assert "MagneticFieldStrength is 1.5" in found.failed["sub-01"]
    assert "its name says 1.5T" in found.failed["sub-02"]


def test_one_image_for_both_inversions_of_a_table_is_refused(scan, table):
    for name in ("a.nii", "b.nii", "i.nii"):
        scan(name)
    found = read_pairs(table("subject\t3T\t7T\tinv1\tinv2\n01\ta.nii\tb.nii\ti.nii\ti.nii\n"))
    assert found.failed["sub-01"].endswith("is both inversions of the 7T: correct the table")


@pytest.mark.parametrize(
    "layout", ["S1_{}T.nii", "{}T_images/S1.nii", "sub-S1/ses-{}T/anat/T1w.nii"]
)
def test_what_stands_for_scans_beside_the_pairs_is_named(layout, scan, tmp_path):
    root = tmp_path / "raw"
    for field in "37":
        scan(layout.format(field).replace("T1w.nii", f"sub-S1_ses-{field}T_T1w.nii"))
    first = root / layout.format("3")
    stem = "sub-S1_ses-3T_run-2_T1w" if "sub-" in layout else "S3_3T"
    odd = [first.with_name(name) for name in (f".{stem}.nii.gz.icloud", f"{stem}_nii.gz")]
    packed = first.with_name("sub-S4.zip") if "sub-" not in layout else root / "sub-S4.zip"
    for path in (*odd, packed):
        path.write_bytes(b"0")
    found = find_raw_pairs(root)
    assert names(found) == ["sub-S1"]
    named = {(root / name): why for name, why in {**found.failed, **found.skipped}.items()}
    assert named.keys() == {*odd, packed}
    assert "iCloud" in named[odd[0]]
    assert (packed in {root / name for name in found.failed}) == ("sub-" in layout)
