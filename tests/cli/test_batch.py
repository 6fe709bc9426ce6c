"""`mri7t batch`: what it writes, says, and exits with."""

from __future__ import annotations

import json
import shutil
from functools import partial

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.models.card import DEFAULT_MODEL
from napari_mri7t.engine.volumes.volume import load_volume, save_volume


@pytest.fixture
def run(run_cli):
    """Run `mri7t batch` with arguments; gives (exit code, stdout, stderr)."""
    return partial(run_cli, "batch")


@pytest.fixture
def folder(phantom, tmp_path):
    place = tmp_path / "in"
    small = type(phantom)(phantom.array[8:32, 8:40, 12:20], phantom.affine)
    for name in ("sub-01_ses-a_T1w.nii.gz", "sub-02_ses-b_T1w.nii.gz"):
        place.mkdir(exist_ok=True)
        save_volume(small, place / name)
    return place


def test_batch_makes_a_derivative_and_then_has_nothing_to_do(run, folder, model_folder, tmp_path):
    options = ("--model", model_folder, "--device", "cpu", "--step", 3)
    code, out, _ = run(folder, tmp_path / "out", *options, "--participant", "01")
    assert code == 0
    assert "1 written" in out
    image = tmp_path / "out/sub-01/ses-a/anat/sub-01_ses-a_desc-synth7T_T1w.nii.gz"
    assert load_volume(image).shape == (24, 32, 8)
    assert (tmp_path / "out/dataset_description.json").exists()
    code, out, _ = run(folder, tmp_path / "out", *options)
    assert code == 0
    assert "1 written" in out
    assert "1 already done, 0 failed" in out


def test_failed_scan_shows_in_exit_code_and_summary(run, folder, model_folder, tmp_path):
    shutil.copy(folder / "sub-02_ses-b_T1w.nii.gz", folder / "sub-03_T1w.nii.gz")
    for name in ("sub-01_ses-a_T1w.nii.gz", "sub-02_ses-b_T1w.nii.gz"):
        (folder / name).write_bytes(b"<html>")
    code, out, error = run(folder, tmp_path / "out", "--model", model_folder, "--step", 3)
    assert code == 1
    assert "1 written" in out
    assert "2 failed" in out
    assert error.count("failed: sub-0") == 2
    summary = json.loads((tmp_path / "out/logs/batch.json").read_text())
    assert summary["written"] == ["sub-03_T1w.nii.gz"]
    assert sorted(summary["failed"]) == ["sub-01_ses-a_T1w.nii.gz", "sub-02_ses-b_T1w.nii.gz"]


def test_volume_of_a_series_is_chosen(run, folder, model_folder, tmp_path):
    series = folder / "sub-01_ses-a_T1w.nii.gz"
    image = nibabel.load(series)
    both = np.stack([image.get_fdata() / 2, image.get_fdata()], axis=-1)
    nibabel.save(nibabel.Nifti1Image(both, image.affine), series)
    options = ("--model", model_folder, "--step", 3, "--participant", "01")
    code, _, error = run(folder, tmp_path / "out", *options)
    assert code == 1
    assert "--index" in error
    code, out, _ = run(folder, tmp_path / "out", *options, "--index", 1)
    assert code == 0
    assert "1 written" in out


def test_batch_without_a_model_leaves_it_to_each_scan(run, folder, tmp_path):
    words = (folder, tmp_path / "out", "--participant", "01", "--noise-factor", 2)
    code, _, error = run(*words)
    assert code == 0, error
    (sidecar,) = (tmp_path / "out").glob("sub-01/**/*_T1w.json")
    facts = json.loads(sidecar.read_text())
    assert (facts["Model"]["Name"], facts["RequestedModel"]) == (DEFAULT_MODEL, "by the scan")
    assert facts["Settings"]["noise_factor"] == 2
    assert "1 already done" in run(*words)[1]
    code, _, error = run(*words, "--planes", "axial")
    assert code == 1, "other planes are another estimate"
    assert "--overwrite" in error


def test_only_options_that_the_command_has_are_named(run, run_cli, phantom, model_folder, tmp_path):
    """`synthesize` and `batch` have --end-slices; `train` has no --index."""
    places = {name: tmp_path / name for name in ("thin", "series")}
    for place in places.values():
        place.mkdir()
    thin = places["thin"] / "sub-01_T1w.nii.gz"
    save_volume(type(phantom)(phantom.array[:, :, 15:17], phantom.affine), thin)
    for name in ("sub-01.nii.gz", "sub-02.nii.gz"):
        both = np.stack([phantom.array] * 2, axis=-1)
        nibabel.save(nibabel.Nifti1Image(both, phantom.affine), places["series"] / name)
    options = ("--model", model_folder, "--device", "cpu")
    code, _, error = run_cli("synthesize", thin, tmp_path / "o.nii", *options)
    assert (code, "use another volume" in error, "--" in error) == (1, True, False)
    ends = ("--end-slices", "1")
    code, _, error = run_cli("synthesize", thin, tmp_path / "o.nii", *options, *ends)
    assert (code, error.endswith(" (--end-slices)\n")) == (1, True)
    code, _, error = run(places["thin"], tmp_path / "out", *options, *ends)
    assert (code, "fewer" in error, "(--end-slices)" in error) == (1, True, True)
    code, _, error = run_cli("train", places["series"], tmp_path / "run", "--device", "cpu")
    assert (code, "volumes" in error, "--" in error) == (1, True, False)


def test_wrong_input_is_refused_before_a_model_is_loaded(run, tmp_path):
    code, out, error = run(tmp_path / "none", tmp_path / "out", "--model", "no-such-model")
    assert (code, out) == (1, "")
    assert "no such folder" in error
    assert not (tmp_path / "out").exists()


def test_dry_run_shows_what_goes_to_slurm_and_starts_nothing(run, tmp_path):
    pytest.importorskip("dask_jobqueue", reason="needs napari-mri7t[cluster]")
    place = "slurm:jobs=2,queue=gpu"
    code, out, _ = run(tmp_path, tmp_path / "out", "--cluster", place, "--dry-run")
    assert code == 0
    assert out.startswith("#!")
    assert "#SBATCH -p gpu" in out
    assert not (tmp_path / "out").exists()
    code, _, error = run(tmp_path, tmp_path / "out", "--dry-run")
    assert code == 1
    assert "--cluster slurm" in error


def test_scheduler_on_another_machine_is_refused_without_tls(run, tmp_path):
    code, _, error = run(tmp_path, tmp_path / "out", "--scheduler", "tcp://10.0.0.5:8786")
    assert code == 1
    assert "tls://" in error


def test_kept_files_do_not_go_among_the_scans(run, folder, tmp_path):
    before = sorted(folder.rglob("*"))
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    for keep in (folder, tmp_path / "link"):
        code, _, error = run(folder, tmp_path / "out", "--keep", keep)
        assert (code, "is the input: choose another folder" in error) == (1, True)
    assert sorted(folder.rglob("*")) == before
    assert not (tmp_path / "out").exists()


def test_folder_in_which_nothing_is_kept_is_named(run, folder, model_folder, tmp_path):
    options = ("--model", model_folder, "--step", 3, "--keep", tmp_path / "kept")
    told = f"{tmp_path / 'kept'}: nothing is kept, since no preparation was requested"
    assert told not in run(folder, tmp_path / "a", *options)[2]
    assert told in run(folder, tmp_path / "b", *options, "--prepare", "none")[2]


def test_derivative_that_does_not_exist_is_refused_before_anything_is_written(
    run, folder, tmp_path
):
    for typo in (tmp_path / "fmriprp", f"fmriprep={tmp_path / 'fmriprp'}"):
        code, _, error = run(folder, tmp_path / "out", "--derivatives", typo)
        assert code == 1
        wanted = f"{tmp_path / 'fmriprp'}: no such folder: choose a BIDS derivative (--derivatives)"
        assert wanted in " ".join(error.split())
    assert not (tmp_path / "out").exists()
