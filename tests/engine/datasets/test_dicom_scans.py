"""DICOM studies in a folder become scans, under names that tell no patient."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.datasets.bids import load_scan, scan_digests
from napari_mri7t.engine.datasets.dicom_scans import DicomFound
from napari_mri7t.engine.datasets.scans import ScanFilter, find_scans
from napari_mri7t.engine.volumes.files.identity import Identity

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


def test_volumes_and_dicom_may_be_mixed(dicom_series, tmp_path):
    nifti(tmp_path / "S1_T1w.nii.gz")
    dicom_series(tmp_path / "S2", array=SMALL)
    assert [scan.name for scan in find_scans(tmp_path).scans] == ["S1_T1w.nii.gz", "S2"]


def test_subject_with_volumes_is_not_converted_again(dicom_series, tmp_path):
    nifti(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    dicom_series(tmp_path / "sub-01" / "raw", array=SMALL)
    found = find_scans(tmp_path)
    assert [scan.dicom for scan in found.scans] == [None]


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


def test_every_part_of_a_path_that_names_the_patient_is_hidden_and_no_other():
    found = DicomFound(identity=Identity.of({"PatientName": ["Doe^Jane"]}))
    assert found.hide("site_1/DOE_JANE/t1/jane.nii") == "site_1/.../t1/..."
