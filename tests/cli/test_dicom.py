"""`mri7t synthesize`, `repeat` and `batch` on folders of DICOM files."""

from __future__ import annotations

import json

import numpy as np

from napari_mri7t.engine.volumes.volume import load_volume, save_volume

QUICK = ("--device", "cpu", "--step", "3", "--prepare", "none", "--allow-out-of-domain")


def test_folder_is_synthesised_and_repeated_without_naming_the_patient(
    dicom_series, tiny_model, tmp_path, run_cli, private_words, caplog
):
    folder, out = tmp_path / "DOE_JANE_19700131", tmp_path / "out"
    out.mkdir()
    dicom_series(folder / "doe")
    dicom_series(
        folder / "loc", array=np.eye(9)[..., None], SeriesNumber=1, SeriesDescription="scout"
    )
    code, said, noted = run_cli(
        "synthesize", folder, out / "e.nii.gz", "--model", tiny_model, *QUICK
    )
    assert code == 0, noted
    scan, estimate = load_volume(folder), load_volume(out / "e.nii.gz")
    assert np.allclose(scan.affine, estimate.affine, atol=1e-6)
    assert json.loads((out / "e.json").read_text())["Sources"][0]["Series"] == 5
    code, repeated, more = run_cli(
        "repeat", out / "e.json", "--input", folder, "--model", tiny_model
    )
    assert code == 0, more
    assert "equal, bit for bit" in repeated
    assert not private_words(out)
    assert not private_words(said + noted + repeated + more + caplog.text)


def test_series_is_asked_for_and_chosen(dicom_series, tiny_model, tmp_path, run_cli, private_words):
    folder = tmp_path / "DOE"
    dicom_series(folder / "a")
    dicom_series(folder / "b", SeriesNumber=6, AcquisitionTime="111111")
    arguments = ("synthesize", folder, tmp_path / "e.nii.gz", "--model", tiny_model, *QUICK)
    code, said, noted = run_cli(*arguments)
    assert code == 1
    assert "(--series)" in noted
    assert not private_words(said + noted)
    assert run_cli(*arguments, "--series", 6)[0] == 0
    assert json.loads((tmp_path / "e.json").read_text())["Sources"][0]["Series"] == 6


def test_batch_of_patients_resumes_and_names_nobody(
    dicom_series, tiny_model, tmp_path, run_cli, private_words, caplog
):
    root, out = tmp_path / "in", tmp_path / "out"
    dicom_series(root / "DOE_JANE_19700131" / "x")
    dicom_series(root / "S2", PatientName="ROE^ROY", PatientID="77123", StudyInstanceUID="1.2.9")
    arguments = ("batch", root, out, "--model", tiny_model, *QUICK[:-1])
    code, said, noted = run_cli(*arguments)
    assert code == 0, noted
    assert "2 written" in said
    assert len(list(out.glob("sub-*/anat/*.nii.gz"))) == 2
    assert not private_words(out)
    code, again, more = run_cli(*arguments)
    assert "0 written, 2 already done" in again
    assert not private_words(said + noted + again + more + caplog.text)


def test_batch_makes_nothing_of_a_volume_named_after_the_patient_until_it_is_renamed(
    dicom_series, phantom, tiny_model, tmp_path, run_cli, private_words, caplog
):
    root, out = tmp_path / "in", tmp_path / "out"
    dicom_series(root / "DOE_JANE" / "x")
    for label, more in (("P1", "_acq-DoeJane"), ("P2", "")):
        (anat := root / f"sub-{label}/anat").mkdir(parents=True)
        save_volume(phantom, anat / f"sub-{label}{more}_T1w.nii.gz")
    arguments = ("batch", root, out, "--model", tiny_model, *QUICK[:-1])
    code, said, noted = run_cli(*arguments)
    assert code == 1
    assert "2 written" in said
    assert "1 failed" in said
    assert noted.count("sub-P1/anat/[file 1 of 1 by name]: its name, or that of its folder, ") == 1
    assert not private_words(out)
    assert not private_words(said + noted + caplog.text)
    (root / "sub-P1/anat/sub-P1_acq-DoeJane_T1w.nii.gz").rename(
        root / "sub-P1/anat/sub-P1_T1w.nii.gz"
    )
    code, said, noted = run_cli(*arguments, "--participant", "P2")
    assert (code, "of 1 by name" in (out / "quality.html").read_text()) == (0, True)
    code, said, noted = run_cli(*arguments)
    assert (code, "0 failed" in said) == (0, True), noted
    assert json.loads(next(out.rglob("batch.json")).read_text())["failed"] == {}
    assert "of 1 by name" not in (out / "quality.html").read_text()


def test_folder_with_an_index_is_simulated_and_compared(dicom_series, tmp_path, run_cli):
    folder, made = tmp_path / "in", tmp_path / "3t.nii.gz"
    dicom_series(folder)
    code, _, noted = run_cli("simulate", folder, made, "--index", 0)
    assert code == 0, noted
    code, _, noted = run_cli("compare", folder, made, "--index", 0)
    assert code == 0, noted
