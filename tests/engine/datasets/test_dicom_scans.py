"""DICOM studies in a folder become scans, under names that tell no patient."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.datasets.bids import load_scan, scan_digests
from napari_mri7t.engine.datasets.dicom_studies import DicomFound
from napari_mri7t.engine.datasets.doubts import scan_doubts
from napari_mri7t.engine.datasets.raw_pairs import find_raw_pairs
from napari_mri7t.engine.datasets.scans import ScanFilter, find_scans
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.volumes.files.identity import Identity
from napari_mri7t.engine.volumes.volume import load_volume, save_volume
from napari_mri7t.engine.workflows.outlook import reason_of

SMALL = np.linspace(0, 1, 8 * 9 * 6).reshape(8, 9, 6)
ROY = {"PatientName": "ROE^ROY", "PatientID": "77123", "StudyInstanceUID": "1.2.9"}


def nifti(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(SMALL.astype(np.float32), np.eye(4)), path)


def test_each_study_is_a_scan_named_after_its_folder_if_that_tells_nobody(
    dicom_series, tmp_path, private_words
):
    dicom_series(tmp_path / "DOE_JANE" / "t1", array=SMALL)
    dicom_series(tmp_path / "P002" / "dicom" / "t1", array=SMALL, **ROY)
    dicom_series(
        tmp_path / "P002" / "t2", array=SMALL, **ROY, SeriesNumber=6, SeriesDescription="T2"
    )
    found = find_scans(tmp_path)
    assert found.failed == found.skipped == {}
    roy, jane = sorted(found.scans, key=lambda scan: scan.output)
    assert (roy.name, roy.output) == ("P002", "sub-P002/anat/sub-P002_desc-synth7T_T1w.nii.gz")
    assert not private_words(f"{jane.name} {jane.output}")
    assert jane.output.startswith(f"sub-{jane.name}/")
    assert load_scan(roy, None).shape == load_scan(roy, 3).shape == SMALL.shape
    assert scan_digests(roy) == [load_scan(roy, None).geometry.dicom.sha256]


def test_one_uid_for_all_people_makes_a_scan_of_each(dicom_series, tmp_path):
    """As programs that remove names leave it."""
    same = {"PatientName": "anon", "PatientID": "anon", "StudyInstanceUID": "1.2.3"}
    made_by = {"01": {"ImageType": ["ORIGINAL", "PRIMARY", "M"]}, "02": {}}
    for n, (label, more) in enumerate(made_by.items()):
        for session in ("1", "2"):
            folder = tmp_path / f"sub-{label}/ses-{session}/t1"
            number = 10 * n + int(session)
            dicom_series(folder, array=SMALL, SeriesNumber=number, **same, **more)
    found = find_scans(tmp_path)
    assert found.failed == found.skipped == {}
    names = [f"sub-{p}/ses-{s}/sub-{p}_ses-{s}_T1w" for p in made_by for s in ("1", "2")]
    assert sorted(scan.name for scan in found.scans) == names
    assert len({tuple(scan_digests(scan)) for scan in found.scans}) == 4


@pytest.mark.parametrize(("tesla", "n_warnings"), [("3", 0), ("2.89", 0), ("6.98", 1)])
def test_series_of_a_7t_scanner_is_warned_of(dicom_series, tmp_path, tesla, n_warnings):
    dicom_series(tmp_path, array=SMALL, MagneticFieldStrength=tesla)
    told = scan_doubts(load_volume(tmp_path))
    assert len(told) == n_warnings
    assert all("this is a 7T scan by its DICOM header" in text for text in told)


def test_series_of_another_contrast_is_warned_of_although_it_was_asked_for(dicom_series, tmp_path):
    dicom_series(tmp_path, array=SMALL, SeriesDescription="Sag_3D_FLAIR", SeriesNumber=7)
    assert scan_doubts(load_volume(tmp_path, series=7)) == (
        "this is no T1w scan by its DICOM header (FLAIR), and the models are for T1w scans",
    )


def test_index_is_ignored_for_a_folder_of_one_volume(dicom_series, tmp_path):
    dicom_series(tmp_path, array=SMALL)
    assert load_scan(tmp_path, 3).shape == load_scan(tmp_path, None).shape == SMALL.shape


def test_labels_of_bids_are_kept_and_selected_by(dicom_series, tmp_path):
    for name in ("01", "02"):
        alone = {"PatientName": f"sub-{name}", "PatientID": f"sub-{name}"}
        dicom_series(tmp_path / f"sub-{name}" / "ses-A" / "raw", array=SMALL, **alone)
    found = find_scans(tmp_path, ScanFilter(participants=("02",)))
    (scan,) = found.scans
    assert scan.output == "sub-02/ses-A/anat/sub-02_ses-A_desc-synth7T_T1w.nii.gz"


def test_label_of_bids_that_names_the_patient_is_replaced(dicom_series, tmp_path, private_words):
    dicom_series(tmp_path / "sub-DoeJane" / "raw", array=SMALL)
    nifti(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    found = find_scans(tmp_path)
    assert len(found.scans) == 2
    assert found.skipped == found.failed == {}
    assert not private_words([(scan.name, scan.output) for scan in found.scans])


def test_sessions_of_a_patient_share_the_label_that_replaces_the_name(
    dicom_series, tmp_path, private_words
):
    for n, session in enumerate("AB"):
        folder = tmp_path / "sub-Doe" / f"ses-{session}"
        dicom_series(folder, array=SMALL, StudyInstanceUID=f"1.2.{n}")
    outputs = [scan.output for scan in find_scans(tmp_path).scans]
    assert len({output.split("/")[0] for output in outputs}) == 1
    assert [output.split("/")[1] for output in outputs] == ["ses-A", "ses-B"]
    assert not private_words(str(outputs))


def test_volumes_and_dicom_may_be_mixed(dicom_series, tmp_path):
    nifti(tmp_path / "S1_T1w.nii.gz")
    dicom_series(tmp_path / "S2", array=SMALL)
    assert [scan.name for scan in find_scans(tmp_path).scans] == ["S1_T1w.nii.gz", "S2"]


def test_subject_with_volumes_is_not_converted_again(dicom_series, tmp_path):
    nifti(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    dicom_series(tmp_path / "sub-01" / "raw", array=SMALL)
    found = find_scans(tmp_path)
    assert [scan.dicom for scan in found.scans] == [None]


def test_session_of_dicom_is_a_scan_beside_a_session_of_volumes(dicom_series, tmp_path):
    nifti(tmp_path / "sub-01" / "ses-A" / "anat" / "sub-01_ses-A_T1w.nii.gz")
    dicom_series(tmp_path / "sub-01" / "ses-B" / "raw" / "t1", array=SMALL)
    found = find_scans(tmp_path)
    assert [scan.output.split("_desc")[0] for scan in found.scans] == [
        "sub-01/ses-A/anat/sub-01_ses-A",
        "sub-01/ses-B/anat/sub-01_ses-B",
    ]
    assert found.failed == found.skipped == {}


@pytest.mark.parametrize("listed", ["sub-01/ses-B/", "sub-01/ses-B/raw/t1/", "*.dcm"])
def test_dicom_that_bidsignore_lists_is_left_out_and_named(dicom_series, tmp_path, listed):
    nifti(tmp_path / "sub-01" / "ses-A" / "anat" / "sub-01_ses-A_T1w.nii.gz")
    dicom_series(tmp_path / "sub-01" / "ses-B" / "raw" / "t1", array=SMALL)
    (tmp_path / ".bidsignore").write_text(f"{listed}\n")
    found = find_scans(tmp_path)
    assert [scan.dicom for scan in found.scans] == [None]
    assert found.skipped == {"sub-01/ses-B/sub-01_ses-B_T1w": "is listed in .bidsignore"}


def test_link_to_a_folder_around_is_not_entered(dicom_series, tmp_path):
    dicom_series(tmp_path / "other" / "patient", array=SMALL)
    nifti(tmp_path / "ours" / "a.nii.gz")
    (tmp_path / "ours" / "up").symlink_to("..")
    found = find_scans(tmp_path / "ours")
    assert [scan.name for scan in found.scans] == ["a.nii.gz"]


def link_nowhere(folder, n=3):
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        (folder / f"IM{k}.dcm").symlink_to(f"/nowhere/annex/{k}")


def test_folder_of_links_that_lead_nowhere_fails_by_name(dicom_series, tmp_path):
    dicom_series(tmp_path / "P001", array=SMALL)
    for part in ("a", "b"):
        link_nowhere(tmp_path / "P002" / part)
    found = find_scans(tmp_path)
    assert [scan.name for scan in found.scans] == ["P001"]
    assert list(found.failed) == ["P002"]
    assert found.failed["P002"].startswith("6 of its DICOM files are links that lead nowhere: fe")


def test_folder_of_nothing_but_links_that_lead_nowhere_fails_by_name(tmp_path):
    link_nowhere(tmp_path / "P002")
    assert list(find_scans(tmp_path).failed) == ["P002"]


def test_links_of_each_session_stand_for_it(tmp_path):
    nifti(tmp_path / "sub-01" / "ses-A" / "anat" / "sub-01_ses-A_T1w.nii.gz")
    for session in "AB":
        link_nowhere(tmp_path / "sub-01" / f"ses-{session}" / "raw")
    found = find_scans(tmp_path)
    assert list(found.failed) == ["sub-01/ses-B/sub-01_ses-B_T1w"]
    assert "holds volumes" in found.skipped["sub-01/ses-A/sub-01_ses-A_T1w"]


def test_files_without_the_mark_of_dicom_fail_without_naming_the_patient(
    dicom_series, tmp_path, private_words
):
    dicom_series(tmp_path / "P001", array=SMALL, **ROY)
    for folder in ("P002", "DOE_JANE"):
        tags = {"StudyInstanceUID": "1.2.3" if folder == "P002" else "1.2.4"}
        for path in dicom_series(tmp_path / folder, array=SMALL, names="IM{}.IMA", **tags):
            path.write_bytes(path.read_bytes()[132:])
    found = find_scans(tmp_path)
    assert len(found.failed) == 2
    assert "6 of its DICOM files are damaged or lack the DICOM preamble" in found.failed["P002"]
    assert not private_words(found.failed)
    assert [scan.name for scan in found.scans] == ["P001"]


def test_unreadable_files_beside_a_series_are_warned_of(dicom_series, tmp_path):
    dicom_series(tmp_path / "P001", array=SMALL)
    link_nowhere(tmp_path / "P001")
    found = find_scans(tmp_path)
    assert found.failed == {}
    assert any(
        "3 .dcm or .ima files in its folder" in text for text in found.scans[0].dicom.warnings
    )


@pytest.mark.parametrize(
    ("good", "lost", "name"),
    [
        ("P001/t1", "P001/loc", "P001_loc"),
        ("sub-01/ses-A/dcm/t1", "sub-01/ses-A/dcm/loc", "sub-01/ses-A/sub-01_ses-A_acq-x"),
    ],
)
def test_links_beside_the_series_that_is_used_are_named_and_change_no_name(
    dicom_series, tmp_path, good, lost, name
):
    dicom_series(tmp_path / good, array=SMALL)
    (before,) = find_scans(tmp_path).scans
    link_nowhere(tmp_path / lost)
    found = find_scans(tmp_path)
    assert ([scan.output for scan in found.scans], found.failed) == ([before.output], {})
    (skipped,) = found.skipped
    assert skipped.startswith(name)


def test_folder_of_damaged_headers_fails_by_name(dicom_series, tmp_path):
    dicom_series(tmp_path / "P001", array=SMALL)
    (tmp_path / "P002").mkdir()
    (tmp_path / "P002" / "IM1").write_bytes(bytes(128) + b"DICM" + bytes(range(1, 200)))
    (tmp_path / "P001" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    found = find_scans(tmp_path)
    assert list(found.failed) == ["P002"]
    assert found.failed["P002"].startswith("1 of its DICOM files are damaged")


def test_copy_of_a_study_in_the_folder_of_another_person_fails(dicom_series, tmp_path):
    for folder in ("P001/t1", "P001/again", "P002/t1"):
        dicom_series(tmp_path / folder, array=SMALL)
    found = find_scans(tmp_path)
    assert [scan.name for scan in found.scans] == ["P001"]
    assert list(found.failed) == ["P002"]
    assert found.failed["P002"].startswith("holds copies of images of P001, which are used there")


@pytest.mark.parametrize(
    ("patient", "is_kept"),
    [
        ({"PatientName": "", "PatientID": "0012"}, True),
        ({"PatientName": "sub-12", "PatientID": "0012"}, True),
        ({"PatientName": "DOE^JANE", "PatientID": "0012"}, True),  # three digits at most
    ],
)
def test_label_without_the_zeros_of_the_number_is_the_number(
    dicom_series, tmp_path, patient, is_kept
):
    dicom_series(tmp_path / "sub-12" / "raw", array=SMALL, **patient)
    assert (find_scans(tmp_path).scans[0].name == "sub-12/sub-12_T1w") is is_kept


def test_study_without_a_clear_t1w_fails_with_its_series_listed(dicom_series, tmp_path):
    dicom_series(tmp_path / "S1" / "a", array=SMALL)
    dicom_series(tmp_path / "S1" / "b", array=SMALL, SeriesNumber=6, AcquisitionTime="111111")
    found = find_scans(tmp_path)
    assert found.failed["S1"].startswith("2 series look like a 3-D T1w: choose one of 5")
    assert found.arguments == {"S1": "series"}
    (scan,) = find_scans(tmp_path, ScanFilter(series="6")).scans
    assert scan.dicom.number == 6


def test_studies_in_one_folder_are_told_apart(dicom_series, tmp_path, private_words):
    dicom_series(tmp_path / "all", array=SMALL)
    dicom_series(tmp_path / "all", array=SMALL, names="x{}", **ROY)
    scans = find_scans(tmp_path).scans
    assert len({scan.output for scan in scans}) == 2
    assert not private_words([(scan.name, scan.output) for scan in scans])


def test_what_bids_keeps_apart_is_not_looked_into(dicom_series, tmp_path):
    nifti(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    dicom_series(tmp_path / "sourcedata" / "sub-02", array=SMALL)
    assert [scan.dicom for scan in find_scans(tmp_path).scans] == [None]


@pytest.mark.parametrize("place", ["DOE_JANE/t1.nii", "DOE_JANE/deep/doe_T1w.nii.gz"])
def test_volumes_beside_dicom_are_not_named_after_the_patient(
    dicom_series, tmp_path, private_words, place
):
    dicom_series(tmp_path / "DOE_JANE" / "raw", array=SMALL)
    nifti(tmp_path / place)
    found = find_scans(tmp_path)
    assert not private_words(f"{found.failed} {found.skipped}")
    assert len(found.scans) == 1


@pytest.mark.parametrize(
    ("name", "is_used"),
    [
        ("MUELLER_HANS_T1w.nii.gz", False),
        ("Hans-Müller_brain.nii", False),
        ("HansMueller1.nii", False),
        ("hansmuller_T1w.nii.gz", False),
        ("t1_Otto Müller.nii.gz", False),
        ("hans_schulze.nii.gz", False),
        ("Hans1.nii.gz", True),
        ("Mueller_T1w.nii.gz", True),
        ("t1_1970-01-31.nii", True),
        ("4711_T1w.nii.gz", True),
        ("S7_T1w.nii.gz", True),
        ("t1_hand_image.nii", True),
    ],
)
def test_volume_with_the_full_name_of_a_patient_of_the_dicom_files_beside_it_fails_unnamed(
    dicom_series, tmp_path, name, is_used
):
    dicom_series(
        tmp_path / "in/S1",
        array=SMALL,
        PatientName="Müller^Hans Otto^^Dr",
        PatientBirthName="Schulze",
        PatientID="4711",
        SpecificCharacterSet="ISO_IR 192",
    )
    nifti(tmp_path / "in" / name)
    nifti(tmp_path / "in/A_T1w.nii.gz")
    found = find_scans(tmp_path / "in")
    assert (len(found.scans) == 3) is is_used
    place = sorted(["A_T1w.nii.gz", name], key=str.casefold).index(name) + 1
    assert list(found.failed) == ([] if is_used else [f"[file {place} of 2 by name]"])
    assert all("a patient of the DICOM files here" in why for why in found.failed.values())


ORDINARY = [  # names and numbers in headers, and names of scans of other people
    ("Can^Li", "7", ["scan01", "S2_T1w"]),
    ("Smith^Pat", "77777", ["patient07_T1w", "Patrick_Smithson"]),
    ("Lee^Ana", "77777", ["analysis_S1", "anatomy_S2"]),
    ("Rai^Li", "77777", ["brain2_T1w", "S3_Brain1"]),
    ("Con^Xi", "77777", ["control01"]),
    ("HC001", "PROJ_HC001", ["HC001", "HC002", "S001"]),
    ("P01", "20230512a", ["P01", "P02"]),
    ("Pilot_01", "20230512a", ["Pilot_01_T1w", "Pilot_02_T1w"]),
    ("Volunteer 03", "V03", ["S03_T1w", "Volunteer03"]),
    ("Mprage^Test", "77777", ["S2_mprage", "test_mprage"]),
    ("Healthy^Volunteer", "77777", ["healthy01", "healthy_volunteer_2"]),
    ("Control 1", "77777", ["control2"]),
    ("MPI Leipzig 03", "77777", ["MPI_Leipzig_04"]),
    ("Head^Brain", "77777", ["S1_brain_head"]),
]


@pytest.mark.parametrize(("patient", "number", "names"), ORDINARY)
@pytest.mark.parametrize("layout", ["{}.nii.gz", "sub-{0}/anat/sub-{0}_T1w.nii.gz"])
def test_ordinary_names_beside_dicom_are_used(
    dicom_series, tmp_path, patient, number, names, layout
):
    dicom_series(tmp_path / "X1", array=SMALL, PatientName=patient, PatientID=number)
    labels = [name.replace("_", "") if "sub-" in layout else name for name in names]
    for label in labels:
        nifti(tmp_path / layout.format(label))
    found = find_scans(tmp_path)
    assert (len(found.scans), found.failed, found.skipped) == (len(names) + 1, {}, {})


@pytest.mark.parametrize(("patient", "number", "names"), ORDINARY)
def test_ordinary_names_beside_dicom_are_paired(dicom_series, tmp_path, patient, number, names):
    dicom_series(tmp_path / "X1", array=SMALL, PatientName=patient, PatientID=number)
    for name in names:
        for field in "37":
            nifti(tmp_path / f"{name}_{field}T.nii.gz")
    found = find_raw_pairs(tmp_path)
    assert (len(found.pairs), found.failed) == (len(names), {})


@pytest.mark.parametrize(
    ("birth", "name"),
    [
        ("20100201", "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz"),
        ("20050205", "sub-05/ses-02/anat/sub-05_ses-02_T1w.nii.gz"),
        ("19700131", "sub-03/anat/sub-03_acq-19700131_T1w.nii.gz"),
    ],
)
def test_dates_are_not_looked_for_in_names_of_volumes(dicom_series, tmp_path, birth, name):
    facts = {"PatientName": "sub-09", "PatientID": "09", "PatientBirthDate": birth}
    dicom_series(tmp_path / "sub-09/dcm", array=SMALL, **facts)
    nifti(tmp_path / name)
    found = find_scans(tmp_path)
    assert (len(found.scans), found.failed, found.skipped) == (2, {}, {})


@pytest.mark.parametrize(
    ("label", "patient", "number", "is_kept"),
    [
        ("DoeJane", "DOE^JANE", "", False),
        ("DoeJane", "DOE^JANE", "anonymous", False),
        ("DoeJane", "DOE^JANE", "DOE JANE", False),
        ("DoeJane1", "DOE^JANE1", "DoeJane1", False),
        ("Jane", "JANE", "JANE", False),
        ("19700131", "anon", "19700131", False),
        ("310170", "310170", "", False),
        ("4711", "DOE^JANE", "4711", False),
        ("S01", "S01", "S01", True),
        ("S01", "STUDY^S01", "S01", True),
        ("phantom", "phantom", "phantom", True),
        ("anonymous", "anonymous", "anonymous", True),
        ("01", "sub-01", "sub-01", True),
        ("01", "sub-01", "MRN8812", True),
    ],
)
@pytest.mark.parametrize("layout", ["sub-{}/dcm", "sub-{}/ses-A/dcm", "{}/dcm"])
def test_label_is_kept_only_if_it_is_a_code(
    dicom_series, tmp_path, layout, label, patient, number, is_kept
):
    facts = {"PatientName": patient, "PatientID": number, "PatientBirthDate": "19700131"}
    dicom_series(tmp_path / "in" / layout.format(label), array=SMALL, **facts)
    (scan,) = find_scans(tmp_path / "in").scans
    assert scan.output.startswith(f"sub-{label}/") is is_kept
    assert (label in f"{scan.name} {scan.output} {scan.where}") is is_kept


@pytest.mark.parametrize("number", ["", "anonymous", "Doe"])
def test_session_named_after_a_patient_is_replaced(dicom_series, tmp_path, private_words, number):
    who = {"PatientName": "Doe", "PatientID": number}
    dicom_series(tmp_path / "in/sub-01/ses-Doe/dcm", array=SMALL, **who)
    (scan,) = find_scans(tmp_path / "in").scans
    assert scan.output.startswith("sub-01/ses-x")
    assert not private_words([scan.name, scan.output, scan.where])


@pytest.mark.parametrize("number", ["{}", "sub-{}"])
def test_sessions_have_numbers_that_other_patients_have(dicom_series, tmp_path, number):
    for n, (person, session) in enumerate((p, s) for p in ("01", "02") for s in ("01", "02")):
        who = {"PatientName": "anon", "PatientID": number.format(person)}
        folder = tmp_path / f"sub-{person}/ses-{session}/dcm"
        dicom_series(folder, array=SMALL, StudyInstanceUID=f"1.{n}", **who)
    found = find_scans(tmp_path, ScanFilter(sessions=("02",)))
    assert [scan.output.split("/anat")[0] for scan in found.scans] == [
        "sub-01/ses-02",
        "sub-02/ses-02",
    ]


@pytest.mark.parametrize(("folder", "number"), [("S01", "S01"), ("P002", "002"), ("7", "7")])
def test_plain_folder_of_a_code_keeps_its_name(dicom_series, tmp_path, folder, number):
    who = {"PatientName": number, "PatientID": number}
    dicom_series(tmp_path / folder / "t1", array=SMALL, **who)
    dicom_series(tmp_path / "X1", array=SMALL, **ROY)
    assert folder in [scan.name for scan in find_scans(tmp_path).scans]


def test_archives_beside_dicom_are_counted_whatever_their_extension(dicom_series, tmp_path):
    dicom_series(tmp_path / "P1", array=SMALL)
    for name in ("a.zip", "b.tar", "c.tgz", "d.7z", "e.xz", "f.zst", "g.bz2", "IM1.dcm.gz"):
        (tmp_path / "P1" / name).write_bytes(b"x")
    (told,) = find_scans(tmp_path).skipped
    assert told == "8 packed files (.7z, .bz2, .dcm.gz, .tar, .tgz, .xz, .zip, .zst)"


def test_refused_files_whose_folders_are_hidden_too_are_all_told(dicom_series, tmp_path):
    dicom_series(tmp_path / "in/S1", array=SMALL, PatientName="Roe^Hans")
    for name in ("sub-02 (2)/anat/sub-02_RoeHans_run-{}", "sub-03/anat (old)/sub-03_HansRoe{}"):
        for n in "12":
            nifti(tmp_path / f"in/{name.format(n)}_T1w.nii.gz")
    failed = list(find_scans(tmp_path / "in").failed)
    assert failed == [
        "sub-02 (2)/anat/[file 1 of 2 by name]",
        "sub-02 (2)/anat/[file 2 of 2 by name]",
        "sub-03/anat (old)/[file 1 of 2 by name]",
        "sub-03/anat (old)/[file 2 of 2 by name]",
    ]


def test_label_of_a_volume_that_is_a_pseudonym_of_the_headers_is_kept(dicom_series, tmp_path):
    for label in ("S01", "02"):
        folder = tmp_path / f"in/sub-{label}"
        who = {
            "PatientName": f"sub-{label}",
            "PatientID": label,
            "StudyInstanceUID": f"1.{int(label[-1])}",
        }
        dicom_series(folder / "ses-B/dcm", array=SMALL, **who)
        nifti(folder / f"ses-A/anat/sub-{label}_ses-A_run-02_T1w.nii.gz")
    found = find_scans(tmp_path / "in")
    assert (len(found.scans), found.failed, found.skipped) == (4, {}, {})


def test_person_whose_name_is_a_word_of_bids_costs_no_scan(dicom_series, tmp_path):
    dicom_series(tmp_path / "in/sub-01/ses-B/dcm", array=SMALL, PatientName="Ana^Run")
    nifti(tmp_path / "in/sub-01/ses-A/anat/sub-01_ses-A_run-1_T1w.nii.gz")
    found = find_scans(tmp_path / "in")
    assert (len(found.scans), found.failed) == (2, {})
    dicom_series(tmp_path / "plain/S1", array=SMALL, PatientName="Rai^Can")
    nifti(tmp_path / "plain/S2_brain_scan.nii.gz")
    found = find_scans(tmp_path / "plain")
    assert (len(found.scans), found.failed) == (2, {})


def test_labels_that_tell_a_patient_are_not_listed(dicom_series, tmp_path, private_words):
    dicom_series(tmp_path / "in/sub-DoeJane/dcm", array=SMALL)
    dicom_series(tmp_path / "in/sub-01/dcm", array=SMALL, **ROY)
    with pytest.raises(Mri7tError, match="has no participant 09; it has 01, ") as caught:
        find_scans(tmp_path / "in", ScanFilter(participants=("09",)))
    assert not private_words(str(caught.value).replace(str(tmp_path), ""))


def test_scan_that_fails_later_is_told_by_its_folder(dicom_series, tmp_path):
    dicom_series(tmp_path / "in/DOE_JANE/t1", array=SMALL, skip=(3,))
    dicom_series(tmp_path / "in/P1", array=SMALL, **ROY)
    jane, roy = sorted(find_scans(tmp_path / "in").scans, key=lambda scan: not scan.where)
    assert (jane.where, roy.where) == ("[folder 1 of 2 by name]", "")
    assert reason_of(jane, Mri7tError("series 5: slices are missing")) == (
        f"series 5: slices are missing (DICOM files in {jane.where})"
    )


def test_every_part_of_a_path_that_names_the_patient_is_told_by_its_place_and_no_other(tmp_path):
    nifti(tmp_path / "site_1/DOE_JANE/t1/jane.nii")
    found = DicomFound(identity=Identity.of({"PatientName": ["Doe^Jane"]}), root=tmp_path)
    assert found.hide("site_1/DOE_JANE/t1/jane.nii") == (
        "site_1/[folder 1 of 1 by name]/t1/[file 1 of 1 by name]"
    )


def test_people_whose_files_are_packed_or_lack_the_mark_are_told(dicom_series, tmp_path):
    dicom_series(tmp_path / "P1", array=SMALL)
    other = {"PatientName": "Roe^Richard", "PatientID": "2"}
    for path in dicom_series(tmp_path / "P2", array=SMALL, names="IM{:04d}", **other):
        path.write_bytes(path.read_bytes()[132:])
    (tmp_path / "P2" / "CHANGES").write_text("sorts before IM0000")
    for path in dicom_series(tmp_path / "P3", array=SMALL, names="ROE_{:03d}.dcm", **other):
        path.with_suffix(".dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for name in ("Roe_Richard.zip", "P3/Roe.ZIP"):
        (tmp_path / name).write_bytes(b"PK")
    (tmp_path / "P1" / "README").write_text("no scan")
    found = find_scans(tmp_path)
    assert [scan.name for scan in found.scans] == ["P1"]
    assert "lack the DICOM preamble" in found.failed["P2"]
    n_slices = SMALL.shape[2]
    assert found.skipped == {
        f"{n_slices + 2} packed files (.dcm.gz, .zip)": "not looked into: unpack them"
    }, "none of their names"
    assert found.skipped.items() <= find_raw_pairs(tmp_path).skipped.items()


def test_volume_beside_subjects_of_dicom_files_is_no_scan(dicom_series, tmp_path):
    dicom_series(tmp_path / "sub-01" / "ses-3T", array=SMALL)
    (tmp_path / "sub-03" / "anat").mkdir(parents=True)
    (tmp_path / "sub-03" / "anat" / "sub-03_T1w.nrrd").write_bytes(b"x")
    nifti(tmp_path / "template.nii.gz")
    found = find_scans(tmp_path)
    assert len(found.scans) == 1
    assert "is in no folder sub-*" in found.failed["template.nii.gz"]
    assert {*found.failed, *found.skipped} == {
        "template.nii.gz", "sub-03/anat/sub-03_T1w.nrrd",
    }  # fmt: skip


def test_archives_beside_volumes_are_named(phantom, tmp_path):
    save_volume(phantom, tmp_path / "a.nii.gz")
    (tmp_path / "b.zip").write_bytes(b"PK")
    assert find_scans(tmp_path).skipped == {
        "b.zip": "is an archive: unpack it to use what is in it"
    }
