"""Scans found in folders and BIDS datasets, and the names of their estimates."""

from __future__ import annotations

import gzip
import sys

import pytest

from napari_mri7t.engine.datasets.bids import load_scan
from napari_mri7t.engine.datasets.names import anatomical_suffix
from napari_mri7t.engine.datasets.scans import ScanFilter, find_scans
from napari_mri7t.engine.datasets.unread import NO_FOLDER
from napari_mri7t.engine.errors import Mri7tError, Mri7tWarning
from napari_mri7t.engine.volumes.files.streams import UNLOADED


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


def names(found):
    return [scan.path.name for scan in found.scans]


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


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


@pytest.mark.parametrize(
    ("wanted", "argument"),
    [
        (ScanFilter(participants=("01", "9", "sub-8")), "participant"),
        (ScanFilter(sessions=("a", "9", "8")), "session"),
    ],
)
def test_label_that_does_not_exist_is_named_even_beside_others(dataset, wanted, argument):
    with pytest.raises(Mri7tError, match=rf"has no {argument} 8, 9; it has ") as caught:
        find_scans(dataset, wanted)
    assert caught.value.argument == argument


def test_filter_without_a_match_says_what_is_there(dataset):
    with pytest.raises(Mri7tError, match=r"none of its 5 .*check the participants") as caught:
        find_scans(dataset, ScanFilter(participants=("01",), suffixes=("PDw",)))
    assert caught.value.argument == "suffix"


def test_labels_that_exist_but_not_together_are_said_to(tmp_path):
    for person, session in (("01", "1"), ("02", "2")):
        path = tmp_path / f"sub-{person}/ses-{session}/anat"
        path.mkdir(parents=True)
        (path / f"sub-{person}_ses-{session}_T1w.nii.gz").touch()
    wanted = ScanFilter(participants=("02",), sessions=("1",))
    with pytest.raises(Mri7tError, match="none has the participant and the session at once"):
        find_scans(tmp_path, wanted)


def test_dataset_without_a_t1w_says_so(tmp_path):
    (tmp_path / "sub-01/func").mkdir(parents=True)
    (tmp_path / "sub-01/func/sub-01_task-rest_bold.nii.gz").touch()
    with pytest.raises(Mri7tError, match=r"none of its 1 .*has no T1w") as caught:
        find_scans(tmp_path)
    assert caught.value.argument == "suffix"


def test_folder_above_a_dataset_names_the_raw_data_and_no_derivative(tmp_path):
    for place in ("derivatives/fmriprep", "rawdata"):
        (tmp_path / place / "sub-01/anat").mkdir(parents=True)
        (tmp_path / place / "sub-01/anat/sub-01_T1w.nii.gz").touch()
    with pytest.raises(Mri7tError, match="holds no volume itself, but rawdata/ below it does"):
        find_scans(tmp_path)


def test_plain_folder_gives_all_its_volumes(tmp_path):
    for name in ("b.nii.gz", "a.nii", "c.img", "c.hdr", "notes.txt", ".hidden.nii"):
        (tmp_path / name).touch()
    assert names(find_scans(tmp_path)) == ["a.nii", "b.nii.gz", "c.hdr"]


def test_whatever_looks_like_a_t1w_is_made_or_named(tmp_path):
    made = (
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-02/anat/sub-02_t1w.nii.gz",
        "sub-03/anat/sub-03_T1W.NII.GZ",
        "sub-04/anat/sub-04_T1w.nii.nii.gz",
        "sub-05/anat/sub-05_T1w .nii.gz",
        "sub-06/sub-06_T1w.mgz",
    )
    failed = (
        "sub-07/anat/sub-07_T1w__dup-01.nii.gz",
        "sub-08/anat/sub-08_T1w_brain.nii.gz",
        "sub-08/anat/sub-09_T1w.nii.gz",
        "sub-08/anat/sub-08_T1w.nii.gz.part",
        "sub-08/anat/sub-08_mprage.nii",
        "sub-10_T1w.nii.gz",
        "Sub-11/anat/Sub-11_T1w.nii.gz",
    )
    skipped = (
        "sub-08/anat/c1sub-08_T1w.nii.gz",
        "sub-12/anat/sub-12_UNIT1.nii.gz",
        "sub-13/func/sub-13_task-t1_bold.nii.gz",
    )
    touch(tmp_path, *made, *failed, *skipped, "sub-01/anat/sub-01_T1w.json")
    (tmp_path / "sub-14").mkdir()
    found = find_scans(tmp_path)
    assert [scan.name for scan in found.scans] == [*made]
    assert {*found.failed} == {*failed, "sub-14"}
    assert {*found.skipped} == {*skipped[:2], "sub-13"}


def test_names_without_a_suffix_are_named_also_beside_a_t1w(tmp_path):
    stems = ("sub-01_ses-2", "sub-01_acq-mprage", "sub-01_rec-T1w")
    touch(tmp_path / "sub-01/anat", "sub-01_T1w.nii.gz", *(f"{stem}.nii.gz" for stem in stems))
    found = find_scans(tmp_path)
    assert names(found) == ["sub-01_T1w.nii.gz"]
    told = {**found.failed, **found.skipped}
    assert {name.split("/")[-1] for name in told} == {f"{stem}.nii.gz" for stem in stems}


def test_other_formats_of_a_plain_folder_are_named(tmp_path):
    others = ("b.nrrd", "c.mha", "d.HEAD", "e.BRIK", "f.PAR", "g.mnc")
    archives = ("h.zip", "i.tar.gz", "j.dcm.zip")
    touch(tmp_path, "a.nii.gz", *others, *archives, "notes.txt", "k.pdf")
    found = find_scans(tmp_path)
    assert names(found) == ["a.nii.gz"]
    assert set(found.failed) == set(others)
    assert set(found.skipped) == set(archives)


def test_link_of_git_annex_without_its_content_is_a_scan_to_be_reported(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/notes.txt")
    link = tmp_path / "sub-02/anat/sub-02_T1w.nii.gz"
    link.symlink_to("../../.git/annex/objects/x/MD5E-s1--2.nii.gz")
    assert names(find_scans(tmp_path)) == ["sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz"]
    with pytest.raises(FileNotFoundError, match="git annex get"):
        load_scan(link, None)


@pytest.mark.parametrize("folder", ["sub-01/anat/", ""])
@pytest.mark.parametrize(
    "stem",
    [
        "sub-01_part-phase_T1w",
        "sub-01_part-real_T1w",
        "sub-01_part-imag_T1w",
        "sub-01_label-GM_T1w",
        "sub-01_hemi-L_T1w",
        "sub-01_inv-1_T1w",
        "sub-01_T1w_mask",
        "sub-01_T1w_desc-brain_mask",
        "sub-01_T1w_defacemask",
        "sub-01_T1w_dseg",
        "sub-01_label-GM_T1w_probseg",
    ],
)
def test_maps_masks_and_parts_are_no_t1w_and_are_named(tmp_path, folder, stem):
    touch(tmp_path, f"{folder}sub-01_T1w.nii.gz", f"{folder}{stem}.nii.gz")
    found = find_scans(tmp_path)
    assert names(found) == ["sub-01_T1w.nii.gz"]
    assert [*found.skipped] == [f"{folder}{stem}.nii.gz"]


def test_other_contrasts_of_a_plain_folder_are_named_unless_asked_for(tmp_path):
    touch(tmp_path, "a.nii", "b_T2w.nii", "c_flair.nii", "T1map_d.nii", "e_INV1.nii", "wm.nii")
    found = find_scans(tmp_path)
    assert names(found) == ["a.nii"]
    assert len(found.skipped) == 5
    assert names(find_scans(tmp_path, ScanFilter(suffixes=("T2w",)))) == ["b_T2w.nii"]


def test_bidsignore_is_read_as_git_reads_its_own(tmp_path):
    touch(tmp_path, *(f"sub-{n}/anat/sub-{n}_T1w.nii" for n in "123"))
    touch(tmp_path, *(f"sub-1/anat/sub-1_run-{n}_T1w.nii" for n in "12"))
    text = "# comment\nsub-2/\n*_run-*\n!*_run-2_*\n"
    (tmp_path / ".bidsignore").write_text(text)
    found = find_scans(tmp_path)
    assert names(found) == ["sub-1_T1w.nii", "sub-1_run-2_T1w.nii", "sub-3_T1w.nii"]
    assert {*found.skipped.values()} == {"is listed in .bidsignore"}


@pytest.mark.parametrize(
    "stems",
    [
        ("S11.nii", "S1_1.nii", "S1-1.nii"),
        ("a.nii", "a.nii.gz", "A.nii"),
        ("sub-01_desc-a_T1w.nii", "sub-01_desc-b_T1w.nii", "sub-01_T1w.nii"),
        ("sub-1/anat/sub-1_T1w.nii", "sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_t1w.nii"),
    ],
)
def test_names_that_would_clash_are_told_apart_and_stay_so(tmp_path, stems):
    touch(tmp_path, *stems)
    first = {scan.name: scan.output for scan in find_scans(tmp_path).scans}
    assert {*first} == {*stems}
    assert len({output.casefold() for output in first.values()}) == len(stems)
    (tmp_path / stems[0]).unlink()
    before = {scan.name: scan.output for scan in find_scans(tmp_path).scans}
    touch(tmp_path, stems[0])
    after = {scan.name: scan.output for scan in find_scans(tmp_path, known=before).scans}
    assert before.items() <= after.items()
    assert len({output.casefold() for output in after.values()}) == len(stems)


def test_only_what_cannot_be_told_apart_is_refused_alone(tmp_path):
    touch(tmp_path, "b.nii", "caf\u00e9.nii", "cafe\u0301.nii")
    found = find_scans(tmp_path)
    assert len(found.scans) == 2
    assert "same estimate" in " ".join(found.failed.values())


def test_participants_whose_label_bids_does_not_allow_are_scans(tmp_path):
    labels = {
        "sub-ctrl-01": "sub-ctrl01",
        "sub-M\u00fcller": "sub-Muller",
        "sub-M\u00e4rk": "sub-Mark",
    }
    made = [f"{sub}/ses-1/anat/{sub}_ses-1_T1w.nii.gz" for sub in labels]
    wrong = ["sub-ctrl-01/anat/sub-ctrl-02_T1w.nii", "sub-ctrl-01/anat/sub-01_T1w.nii"]
    touch(tmp_path, *made, *wrong)
    found = find_scans(tmp_path)
    outputs = {scan.name: scan.output for scan in found.scans}
    assert outputs == {
        name: f"{sub}/ses-1/anat/{sub}_ses-1_desc-synth7T_T1w.nii.gz"
        for name, sub in zip(made, labels.values(), strict=True)
    }
    assert {*found.failed} == {*wrong}
    (one,) = find_scans(tmp_path, ScanFilter(participants=("ctrl-01",), sessions=("1",))).scans
    assert one.name == made[0]


def test_sessions_and_other_entities_that_bids_does_not_allow_stay_in_the_names(tmp_path):
    made = {
        "sub-1/ses-pre-op/anat/sub-1_ses-pre-op_T1w": "sub-1/ses-preop/anat/sub-1_ses-preop",
        "sub-1/ses-post-op/anat/sub-1_ses-post-op_T1w": "sub-1/ses-postop/anat/sub-1_ses-postop",
        "sub-2/anat/sub-2_acq-mp-rage_T1w": "sub-2/anat/sub-2_acq-mprage",
        "sub-3/ses-M\u00e4rz/anat/sub-3_ses-M\u00e4rz_T1w": "sub-3/ses-Marz/anat/sub-3_ses-Marz",
    }
    touch(tmp_path, *(f"{stem}.nii" for stem in made))
    outputs = {scan.name: scan.output for scan in find_scans(tmp_path).scans}
    assert outputs == {f"{a}.nii": f"{b}_desc-synth7T_T1w.nii.gz" for a, b in made.items()}
    touch(tmp_path, "sub-2/anat/sub-2_acq-mprage_T1w.nii")
    marked = {scan.path.stem: scan.output for scan in find_scans(tmp_path).scans}
    assert marked["sub-2_acq-mprage_T1w"] == "sub-2/anat/sub-2_acq-mprage_desc-synth7T_T1w.nii.gz"
    assert "_acq-mprage_desc-synth7T" in marked["sub-2_acq-mp-rage_T1w"]
    assert len({*marked.values()}) == 5


def test_estimate_keeps_the_name_that_lacks_its_session(tmp_path):
    name = "sub-1/ses-pre-op/anat/sub-1_ses-pre-op_T1w.nii"
    touch(tmp_path, name)
    known = {name: "sub-1/anat/sub-1_desc-synth7T_T1w.nii.gz"}
    (scan,) = find_scans(tmp_path, known=known).scans
    assert scan.output == known[name]


def test_what_lies_in_the_space_of_a_t1w_or_beside_anat_does_not_look_like_one(tmp_path):
    touch(
        tmp_path,
        "sub-1/anat/sub-1_T1w.nii",
        "sub-1/func/sub-1_task-x_space-T1w_boldref.nii",
        "sub-1/dwi/sub-1_T1_dwiref.nii",
        "sub-1/perf/sub-1_space-T1w_cbf.nii",
        "sub-1/anat/sub-1_from-T1w_to-x_warped.nii",
    )
    found = find_scans(tmp_path)
    assert (names(found), found.failed, found.skipped) == (["sub-1_T1w.nii"], {}, {})


def test_scan_stored_anew_under_another_extension_has_no_second_estimate(tmp_path):
    touch(tmp_path, "sub-1_T1w.nii.gz")
    (before,) = find_scans(tmp_path).scans
    (tmp_path / "sub-1_T1w.nii.gz").rename(tmp_path / "sub-1_T1w.nii")
    known = {before.name: before.output}
    (after,) = find_scans(tmp_path, known=known).scans
    assert after.output == before.output
    touch(tmp_path, "sub-1_T1w.nii.gz")
    known[after.name] = after.output
    assert len({scan.output for scan in find_scans(tmp_path, known=known).scans}) == 2


@pytest.mark.parametrize("first", ["a_T1w.nii", "sub-1/anat/sub-1_T1w.nii"])
def test_volumes_in_other_folders_are_named(tmp_path, first):
    elsewhere = ("more/b_T1w.nii.gz", "P2/anat/P2_T1w.nii.gz")
    touch(tmp_path, first, *elsewhere, "derivatives/x/c_T1w.nii", "P2/P2_T1w_mask.nii")
    found = find_scans(tmp_path)
    assert len(found.scans) == 1
    assert {*found.skipped} == {*elsewhere}


@pytest.mark.parametrize(
    "stem",
    ["c1sub-1_T1w", "mwc2S1_T1w", "S1_rec-phase_T1w", "S1_acq-phase_T1w", "GRE_PHA", "Phase_T1"]
    + ["smwc1S1", "mwp1sub01", "m0wp1S1", "p0sub01", "S1_CorticalThickness", "S1_Posteriors2"]
    + ["S1_T1w_phase2", "S1_T1w_prob", "S1_lesion"]
    + [f"{tissue}S1_T1w" for tissue in ("wc1", "rc3", "mwp2", "m0wp3")],
)
def test_tissues_phases_and_lesions_are_no_t1w(tmp_path, stem):
    touch(tmp_path, "a.nii", f"{stem}.nii")
    assert [*find_scans(tmp_path).skipped] == [f"{stem}.nii"]


def test_names_like_those_of_maps_are_scans(tmp_path):
    stems = ["brainmask", "c1", "c12_T1w", "p0T1w", "p1T1w", "sub-ctrl-mask_T1w"]
    touch(tmp_path, *(f"{stem}.mgz" for stem in stems))
    assert [scan.path.stem for scan in find_scans(tmp_path).scans] == stems


def test_folder_without_volumes_is_refused(tmp_path):
    with pytest.raises(Mri7tError, match="holds no volume"):
        find_scans(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_scans(tmp_path / "none")


def test_folder_whose_subfolders_hold_the_volumes_is_told_where_they_are(tmp_path):
    touch(tmp_path, "visit 1/a.nii", "visit 1/b.nii", ".trash/c.nii")
    with pytest.raises(Mri7tError, match=r"itself, but visit 1/ below it does \(2\)"):
        find_scans(tmp_path)


def test_t1w_whose_name_joins_suffix_and_subject_by_a_dash_is_named(dataset):
    touch(dataset, "sub-03/anat/sub-03-T1w.nii.gz")
    assert "ends with its suffix" in find_scans(dataset).failed["sub-03/anat/sub-03-T1w.nii.gz"]


def test_plain_t2_in_a_folder_is_named_and_not_made(tmp_path):
    touch(tmp_path, "T1.nii", "T2.nii", "anna_t2_tse.nii.gz", "tof.nii")
    found = find_scans(tmp_path)
    assert names(found) == ["T1.nii"]
    assert found.skipped["anna_t2_tse.nii.gz"].startswith("is a T2w by its name")
    assert found.skipped["tof.nii"].startswith("is a angio")


@pytest.mark.parametrize("mark", ["", "0a1b2c"])
def test_kept_bias_field_is_no_scan(tmp_path, mark):
    kept = f"sub-1/anat/sub-1_desc-biasfield{mark}_T1w.nii.gz"
    touch(tmp_path, kept, "sub-1/anat/sub-1_T1w.nii", "sub-2/anat/sub-2_desc-biasfieldcor_T1w.nii")
    found = find_scans(tmp_path)
    assert names(found) == ["sub-1_T1w.nii", "sub-2_desc-biasfieldcor_T1w.nii"]
    assert found.skipped == {kept: "desc-biasfield: a bias field: rename it if it is a scan"}


def test_patients_whose_group_is_called_as_a_contrast_are_made(tmp_path):
    stems = ("HC_001", "HC_002", "PD_001", "PD_002")
    touch(tmp_path, *(f"{stem}.nii" for stem in stems), "HC_001_PD.nii")
    found = find_scans(tmp_path)
    assert [scan.path.stem for scan in found.scans] == [*stems]
    assert [*found.skipped] == ["HC_001_PD.nii"]
    assert found.scans[2].output == "sub-PD001/anat/sub-PD001_desc-synth7T_T1w.nii.gz"


def test_contrasts_that_are_numbered_are_no_patients(tmp_path):
    touch(tmp_path, "T1_001.nii", "PD_001.nii", "T2_001.nii")
    found = find_scans(tmp_path)
    assert [scan.path.name for scan in found.scans] == ["T1_001.nii"]
    assert [*found.skipped] == ["PD_001.nii", "T2_001.nii"]


def test_series_of_a_folder_without_dicom_is_refused(dataset):
    with pytest.raises(Mri7tError, match="holds no DICOM series: choose none") as caught:
        find_scans(dataset, ScanFilter(series="99"))
    assert caught.value.argument == "series"


def test_t1w_of_unknown_extensions_and_spellings_are_named_beside_another(tmp_path):
    touch(tmp_path, "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz")
    failed = ("T1w.nii_gz", "T1w.nii.gz.part", "3DT1.nii.gz", "T1ce.nii.gz", "tfl3d.nii.gz",
              "T1w.mif", "T1w.nifti", "T1w.NIFTI", "T1w.mif.gz", "T1w.gz", "T1w")  # fmt: skip
    skipped = ("T1w.vmr", "anat.nii.gz")
    others = ("T1w.json", "T1w.png", "T1w.mat", "desc-x_volume.nii.gz", "dwi.mif")
    for end in (*failed, *skipped, *others):
        touch(tmp_path, f"sub-01/ses-2/anat/sub-01_ses-2_{end}")
    found = find_scans(tmp_path)
    place = "sub-01/ses-2/anat/sub-01_ses-2_"
    named = {name.removeprefix(place) for name in (*found.failed, *found.skipped)}
    assert named == {*failed, *skipped}
    assert {name.removeprefix(place) for name in found.failed} == {*failed}
    assert len(found.scans) == 1


def test_volume_of_a_plain_folder_without_its_extension_is_named(tmp_path):
    touch(tmp_path, "S0.nii")
    failed = [
        "S1_T1w_a.nifti",
        "S1_T1w_b.NIFTI",
        "S1_T1w.mif",
        "S1.nifti.gz",
        "S1_T1w.gz",
        "S2_T1w",
    ]
    header = (348).to_bytes(4, "little") + bytes(340) + b"n+1" + bytes(165)
    for name, content in (("S3", header), ("S4.gz", gzip.compress(header)), ("S5.old", header)):
        (tmp_path / name).write_bytes(content)
        failed.append(name)
    skipped = ("S6_T1w.vmr",)
    others = ("README", "table.tsv.gz", "S0_T1w.mat", "S1_dwi.mif", "S0.seg.nrrd", ".S7_T1w.x")
    touch(tmp_path, *(name for name in failed if name[1] in "12"), *skipped, *others)
    found = find_scans(tmp_path)
    assert names(found) == ["S0.nii"]
    assert {*found.failed} == {*failed}
    assert {*found.skipped} == {*skipped}


@pytest.mark.parametrize(
    ("stem", "suffix"),
    [
        ("Anna-T2w", "T2w"),
        ("Anna(T2w)", "T2w"),
        ("Anna_t2tse", "T2w"),
        ("Anna_T2wi", "T2w"),
        ("t2-tse-sag_5", "tse"),
        ("Anna-FLAIR", "FLAIR"),
        ("Anna_QSM", "qsm"),
        ("Anna_flair1", "FLAIR"),
        ("sub-1_dwi02", "dwi"),
        ("flair1-Anna", "T1w"),
        ("Anna_bold5000", "T1w"),
        ("localizer-Anna_localizer", "localizer"),
        ("ct-01", "T1w"),
        ("PD-17", "T1w"),
        ("PD_001", "T1w"),
        ("pd_001_7T", "T1w"),
        ("patient_PD_01", "T1w"),
        ("Patients-MTS02", "T1w"),
        ("PD_001_FLAIR", "FLAIR"),
        ("PD_001_PD", "PD"),
        ("PD", "PD"),
        ("PD_3T", "PD"),
        ("PD_1.5mm", "PD"),
        ("PD_Anna_1", "PD"),
        ("sub01_PD", "PD"),
        ("sub01_PD_2", "PD"),
        ("S1_PDw", "PDw"),
        ("PDw_001", "PDw"),
        ("sub-01_ses-2_acq-tse_T1w", "T1w"),
        ("Anna", "T1w"),
    ],
)
def test_contrast_in_a_plain_name_is_known_behind_any_sign(stem, suffix):
    assert anatomical_suffix(stem) == suffix


@pytest.mark.parametrize("stem", ["Anna_wmparc", "Anna_mask2", "Anna_phasemap"])
def test_maps_of_a_plain_folder_are_named(tmp_path, stem):
    touch(tmp_path, "Bert.nii.gz", f"{stem}.nii.gz")
    assert list(find_scans(tmp_path).skipped) == [f"{stem}.nii.gz"]


def test_plain_names_beside_the_subjects_are_named(tmp_path):
    names = ("Anna.nii.gz", "sub-04.nii.gz")
    for name in (*names, "sub-01/anat/sub-01_T1w.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"0")
    assert find_scans(tmp_path).failed.keys() == set(names)


def test_what_stands_for_a_volume_is_named_with_what_helps(tmp_path):
    """Of macOS in iCloud, and of a copy by rsync that was broken off; not of Finder or masks."""
    cloud, torn = ".{}.nii.gz.icloud", ".{}.nii.gz.Ab3dEf"
    others = ("._{}.nii.gz.icloud", ".{}_mask.nii.gz.icloud", ".{}.nii.gz", ".{}.json.icloud")
    for folder, stem in (("bids/sub-01/ses-2/anat", "sub-01_ses-2_T1w"), ("flat", "S2")):
        touch(tmp_path, "bids/sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "flat/S1.nii.gz")
        touch(tmp_path / folder, *(name.format(stem) for name in (cloud, torn, *others)))
        root = tmp_path / folder.split("/")[0]
        place = (tmp_path / folder).relative_to(root)
        found = find_scans(root)
        told = {(root / name).relative_to(root): why for name, why in found.failed.items()}
        assert told.keys() == {place / cloud.format(stem), place / torn.format(stem)}
        assert "iCloud, not on this disk: choose 'Download Now'" in told[place / cloud.format(stem)]
        assert "unfinished copy: copy the file again" in told[place / torn.format(stem)]
        assert len(found.scans) == 1
        assert not found.skipped


def test_names_that_are_not_read_as_utf_8_are_warned_of(tmp_path, monkeypatch, recwarn):
    touch(tmp_path, "Müller.nii.gz")
    find_scans(tmp_path)
    assert not recwarn.list
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    with pytest.warns(Mri7tWarning, match=r"names of files are read as ascii.*PYTHONUTF8=1"):
        find_scans(tmp_path)


@pytest.mark.parametrize("end", ["part", "crdownload", "tmp", "download"])
def test_a_download_that_is_unfinished_is_named_as_such(tmp_path, end):
    touch(
        tmp_path,
        *("bids/sub-01/anat/sub-01_T1w.nii", f"bids/sub-02/anat/sub-02_T1w.nii.gz.{end}"),
        f"bids/sub-01/func/sub-01_bold.nii.gz.{end}",
        *("flat/S1.nii.gz", f"flat/S2.nii.gz.{end}", f"flat/S2_mask.nii.gz.{end}"),
    )
    for root, name in (("bids", "sub-02/anat/sub-02_T1w.nii.gz"), ("flat", "S2.nii.gz")):
        failed = find_scans(tmp_path / root).failed
        assert failed.keys() == {f"{name}.{end}"}
        assert failed[f"{name}.{end}"].startswith("is an unfinished download")


@pytest.mark.parametrize("end", ["bz2", "xz", "zst", "zip", "7z", "Z"])
def test_compressed_volume_is_to_be_decompressed(tmp_path, end):
    touch(tmp_path, "flat/S1.nii", f"flat/S2.nii.{end}")
    touch(tmp_path, "bids/sub-1/anat/sub-1_T1w.nii", f"bids/sub-2/anat/sub-2_T1w.nii.{end}")
    for root in ("flat", "bids"):
        (why,) = find_scans(tmp_path / root).failed.values()
        assert why == "is compressed: decompress it, and use the image in it"


def test_download_that_is_named_without_its_extension_is_unfinished(tmp_path):
    touch(tmp_path, "S1.nii", "S2_T1w.crdownload")
    touch(tmp_path / "bids/sub-1/anat", "sub-1_T1w.nii", "sub-1_run-2_T1w.aria2")
    header = (348).to_bytes(4, "little") + bytes(340) + b"n+1" + bytes(165)
    (tmp_path / "Unconfirmed 1234.crdownload").write_bytes(header)
    failed = find_scans(tmp_path).failed
    assert failed == dict.fromkeys(("S2_T1w.crdownload", "Unconfirmed 1234.crdownload"), UNLOADED)
    assert [*find_scans(tmp_path / "bids").failed.values()] == [UNLOADED]


def test_bold_in_the_cloud_costs_no_batch_of_t1w(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii", "sub-01/func/.sub-01_bold.nii.gz.icloud")
    assert not find_scans(tmp_path).failed


@pytest.mark.parametrize("place", ["sub-02", "sub-01/ses-2", "sub-01/ses-2/anat"])
def test_link_that_became_a_text_is_named(tmp_path, place):
    """As git makes it of a linked folder with core.symlinks=false."""
    touch(tmp_path, "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("../store/sub-02")
    found = find_scans(tmp_path)
    assert list(found.failed) == [place]
    assert "'../store/sub-02' in place of a link: clone" in found.failed[place]
    (tmp_path / place).write_bytes(b"?" * 10_000)
    assert find_scans(tmp_path).failed[place] == NO_FOLDER
    (tmp_path / ".bidsignore").write_text(f"{place}\n")
    assert not find_scans(tmp_path).failed


@pytest.mark.parametrize("place", ["sub-01/ses-2", "sub-01/ses-2/anat", "sub-02/anat"])
def test_empty_folder_is_named_beside_a_good_one(tmp_path, place):
    """As a subdataset that is not installed."""
    touch(tmp_path, "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "sub-02/func/x.json")
    (tmp_path / place).mkdir(parents=True)
    touch(tmp_path / place, ".DS_Store")
    found = find_scans(tmp_path)
    assert "is empty: fetch it with 'datalad get'" in found.failed[place]
    assert len(found.scans) == 1
    assert place not in find_scans(tmp_path, ScanFilter(sessions=("1",))).failed
    (tmp_path / ".bidsignore").write_text(f"{place}/\n")
    assert place not in find_scans(tmp_path).failed


def test_packed_subjects_are_named(tmp_path):
    packed = ("sub-02.tar", "sub-03.zip", "sub-01/ses-2.tar.gz", "sub-01/anat.7z")
    touch(tmp_path, "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", *packed, "more.tgz")
    touch(tmp_path, "sub-01/eeg/raw.zip", "README", "participants.tsv")
    found = find_scans(tmp_path)
    assert set(found.failed) == set(packed)
    assert list(found.skipped) == ["more.tgz"]
    told = "is an archive: unpack it to use what is in it"
    assert {*found.failed.values(), *found.skipped.values()} == {told}


@pytest.mark.parametrize("first", ["sub-01/anat/sub-01_T1w.nii.gz", "S1.nii.gz"])
def test_odd_ends_of_a_volume_are_named_and_texts_beside_it_are_not(tmp_path, first):
    touch(tmp_path, first)
    whole = tmp_path / first
    start = first.removesuffix(".nii.gz")
    for end in (".nii.gz.txt", "_nii.gz", ",nii.gz", ".niigz", ".nii_.gz", "2.nii.gz.bak"):
        odd = tmp_path / f"{start}{end}"
        odd.write_bytes(b"\x1f\x8b and more")
        assert list(find_scans(tmp_path).failed) == [f"{start}{end}"], end
        odd.unlink()
    for end, content in ((".txt", "from the scanner"), (".md5", "0" * 32), (".json", "{}")):
        whole.with_name(f"{whole.name}{end}").write_text(content)
    for end in ("sha1", "sha512", "b3", "sig", "par2", "bak", "BAK", "old2", "orig", "dvc", "~1~"):
        whole.with_name(f"{whole.name}.{end}").write_bytes(b"\x1f\x8b and more")
    for name in (f"{whole.name}~", f"#{whole.name}#"):
        whole.with_name(name).write_bytes(b"\x1f\x8b and more")
    whole.with_name(f"{whole.name}.log").write_text("Copied", encoding="utf-16")
    found = find_scans(tmp_path)
    assert not found.failed
    assert not found.skipped
