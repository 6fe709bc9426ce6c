"""4-D files on the command line: without --index a sentence that names it, with it one volume."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.volumes.volume import save_volume


@pytest.fixture
def files(phantom, tmp_path):
    """A 4-D file of two volumes, the second one the phantom, and the phantom alone."""
    small = type(phantom)(phantom.array[8:32, 8:40, 8:24], phantom.affine)
    both = np.stack([small.array**2, small.array], axis=-1)
    nibabel.save(nibabel.Nifti1Image(both, phantom.affine), tmp_path / "series.nii")
    return tmp_path / "series.nii", save_volume(small, tmp_path / "single.nii")


@pytest.mark.parametrize("order", [1, -1], ids=["reference", "estimate"])
def test_one_volume_of_a_series_is_compared(files, run_cli, order):
    first, second = files[::order]
    code, _, error = run_cli("compare", first, second, "--json")
    assert code == 1
    assert "--index" in error
    code, out, error = run_cli("compare", first, second, "--json", "--index", 1)
    assert code == 0, error
    assert json.loads(out)["whole"]["mae"] == 0
    code, out, _ = run_cli("compare", first, second, "--json", "--index", 0)
    assert json.loads(out)["whole"]["mae"] > 0


def test_index_that_is_not_there_is_refused(files, run_cli):
    code, _, error = run_cli("compare", *files, "--index", 2)
    assert code == 1
    assert "0 to 1" in error


def test_one_volume_of_a_series_is_the_reference_of_a_simulation(files, run_cli, tmp_path):
    series, single = files
    code, _, error = run_cli("simulate", single, tmp_path / "a.nii", "--reference", series)
    assert code == 1
    assert "--index" in error
    for name, reference in (("a.nii", series), ("b.nii", single)):
        options = ("--reference", reference, "--index", 1)
        code, _, error = run_cli("simulate", single, tmp_path / name, *options)
        assert code == 0, error
    first, second = (nibabel.load(tmp_path / name).get_fdata() for name in ("a.nii", "b.nii"))
    np.testing.assert_array_equal(first, second)
    sources = json.loads((tmp_path / "a.json").read_text())["Sources"]
    assert [entry.get("Index") for entry in sources] == [None, 1]


@pytest.mark.parametrize("command", ["batch", "pair"])
def test_dicom_series_of_a_folder_of_volumes_is_refused(phantom, run_cli, tmp_path, command):
    (tmp_path / "in").mkdir()
    for name in ("A_3T", "A_7T"):
        save_volume(phantom, tmp_path / f"in/{name}.nii.gz")
    code, _, error = run_cli(command, tmp_path / "in", tmp_path / "out", "--series", 99)
    assert code == 1
    assert error.endswith("holds no DICOM series: choose none (--series)\n")
    assert not (tmp_path / "out").exists()
