"""`mri7t pair`: what it says before and after, and its exit code."""

from __future__ import annotations

import json

import pytest

from napari_mri7t.engine.datasets.bids import LOG_FOLDER
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.volume import save_volume
from napari_mri7t.engine.workflows import pairs
from napari_mri7t.engine.workflows.pair_review import SUMMARY_FILE


@pytest.fixture
def raw(phantom, tmp_path):
    (tmp_path / "raw").mkdir()
    for name in ("A_3T", "A_7T", "B_3T"):
        save_volume(phantom, tmp_path / f"raw/{name}.nii.gz")
    return tmp_path / "raw"


@pytest.fixture
def failing(monkeypatch):
    """No pair can be made, which takes no time."""

    def fail(*_, **__):
        raise VolumeError("the brain is implausible: provide a mask")

    monkeypatch.setattr(pairs, "plan_pair", fail)


def test_pair_says_what_it_does_and_what_failed(raw, tmp_path, run_cli, failing):
    code, out, err = run_cli("pair", raw, tmp_path / "out", "--grid", "0.8")
    assert code == 1
    assert "sub-A: 3T A_3T.nii.gz, 7T A_7T.nii.gz." in out
    assert "rigid registration of the 3T to the 7T, on 0.8 mm around the 7T brain" in out
    assert "skipped: sub-B: has no 7T T1w" in err
    assert "failed: sub-A: the brain is implausible: provide a mask" in err
    assert "0 written, 0 already done, 1 failed" in out
    assert (tmp_path / "out/quality.html").exists()


def test_person_who_is_not_there_is_refused_before_anything_is_written(raw, tmp_path, run_cli):
    code, _, err = run_cli("pair", raw, tmp_path / "out", "--participant", "C")
    assert code == 1
    assert "has no participant sub-C; it has sub-A: check the labels (--participant)" in err
    assert not (tmp_path / "out").exists()


def test_file_that_was_replaced_is_no_failure_after_a_run_of_its_person(
    raw, phantom, tmp_path, run_cli, failing
):
    for name in ("C", "D"):
        (raw / f"{name}_3T.nrrd").write_bytes(b"x")
    run_cli("pair", raw, tmp_path / "out")
    (raw / "C_3T.nrrd").unlink()
    for field in "37":
        save_volume(phantom, raw / f"C_{field}T.nii.gz")
    run_cli("pair", raw, tmp_path / "out", "--participant", "C")
    summary = tmp_path / "out" / LOG_FOLDER / SUMMARY_FILE
    assert list(json.loads(summary.read_text())["failed"]) == ["D_3T.nrrd", "sub-A", "sub-C"]


def test_wrong_settings_are_refused(raw, tmp_path, run_cli):
    code, _, err = run_cli("pair", raw, tmp_path / "out", "--registration", "warp")
    assert (code, "registration must be rigid or affine" in err) == (1, True)
