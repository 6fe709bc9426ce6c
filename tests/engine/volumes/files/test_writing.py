"""Saving: whole or not at all, never over the input unasked, image and sidecar together."""

from __future__ import annotations

import errno
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

AFFINE = np.array([[0, 2, 0, 5], [-1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])


@pytest.fixture
def volume(make_nifti) -> Volume:
    return load_volume(make_nifti("scan.nii.gz"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz", "OUT.NII.GZ"])
def test_image_and_sidecar_are_saved(volume, tmp_path, name):
    saved = save_volume(volume, str(tmp_path / name), sidecar={"Synthetic": True})
    assert saved == tmp_path / name
    np.testing.assert_array_equal(load_volume(saved).array, volume.array)
    sidecar = tmp_path / f"{name.split('.')[0]}.json"
    assert json.loads(sidecar.read_text())["Synthetic"] is True
    assert len(contents(tmp_path)) == 3


def test_volume_made_in_memory_is_saved_as_it_lies(values, tmp_path):
    saved = nibabel.load(save_volume(Volume(values, AFFINE), tmp_path / "out.nii"))
    np.testing.assert_array_equal(np.asarray(saved.dataobj), values)
    for form in (saved.get_sform(coded=True), saved.get_qform(coded=True)):
        np.testing.assert_allclose(form[0], AFFINE, atol=1e-6)
        assert form[1] == 2
    assert saved.header.get_zooms() == (1, 2, 3)
    assert saved.header.get_xyzt_units() == ("mm", "unknown")


def test_sheared_volume_in_memory_has_no_qform(values, tmp_path):
    sheared = AFFINE.copy()
    sheared[0, 2] = 0.5
    saved = nibabel.load(save_volume(Volume(values, sheared), tmp_path / "out.nii"))
    np.testing.assert_allclose(saved.affine, sheared, atol=1e-6)
    assert saved.header["qform_code"] == 0


def test_same_volume_gives_the_same_bytes(volume, tmp_path, monkeypatch):
    first = save_volume(volume, tmp_path / "a.nii.gz").read_bytes()
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert save_volume(volume, tmp_path / "b.nii.gz").read_bytes() == first


@pytest.mark.parametrize("name", ["out", "out.img", "out.nii.bz2", "out.mgz", "out.png", "nii"])
def test_unknown_extension_is_refused(volume, tmp_path, name):
    before = contents(tmp_path)
    with pytest.raises(VolumeError, match=r"unknown extension .* \.nii\.gz or \.nii"):
        save_volume(volume, tmp_path / name)
    assert contents(tmp_path) == before


def test_missing_folder_is_refused(volume, tmp_path):
    with pytest.raises(VolumeError, match="does not exist: create it first"):
        save_volume(volume, tmp_path / "nowhere" / "out.nii")


def test_existing_output_is_refused_unless_overwritten(volume, tmp_path):
    path = save_volume(volume, tmp_path / "out.nii", sidecar={"n": 1})
    before = contents(tmp_path)
    with pytest.raises(VolumeError, match=r"out\.nii: already exists"):
        save_volume(volume, path, sidecar={"n": 2})
    assert contents(tmp_path) == before
    save_volume(volume.with_array(volume.array + 1), path, overwrite=True, sidecar={"n": 2})
    np.testing.assert_array_equal(load_volume(path).array, volume.array + 1)
    assert json.loads(path.with_suffix(".json").read_text())["n"] == 2


def test_sidecar_of_another_file_is_not_overwritten_unasked(volume, tmp_path):
    (tmp_path / "out.json").write_text("the scanner's own")
    with pytest.raises(VolumeError, match=r"out\.json: was not written by"):
        save_volume(volume, tmp_path / "out.nii", sidecar={})
    assert not (tmp_path / "out.nii").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_fault_29_nan_is_never_saved(volume, tmp_path, bad):
    array = volume.array.copy()
    array[1, 2, 3] = bad
    with pytest.raises(VolumeError, match=r"out\.nii: .*NaN or infinite.*nothing was saved"):
        save_volume(volume.with_array(array), tmp_path / "out.nii")
    assert not (tmp_path / "out.nii").exists()


@pytest.mark.parametrize("how", ["same", "relative", "symbolic", "hard", "dots"])
def test_fault_34_output_on_its_input_is_refused(volume, tmp_path, monkeypatch, how):
    source = tmp_path / "scan.nii.gz"
    before = source.read_bytes()
    output = {"same": source, "relative": Path("scan.nii.gz")}.get(how, tmp_path / "link.nii.gz")
    monkeypatch.chdir(tmp_path)
    if how == "symbolic":
        output.symlink_to(source)
    elif how == "hard":
        os.link(source, output)
    elif how == "dots":
        output = tmp_path / ".." / tmp_path.name / "scan.nii.gz"
    with pytest.raises(VolumeError, match="is the file the volume was read from"):
        save_volume(volume.with_array(volume.array + 1), output, sidecar={})
    assert source.read_bytes() == before
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("linked", [True, False])
def test_fault_34_output_on_its_input_is_replaced_whole_when_told(make_nifti, name, linked):
    source = make_nifti(name)
    source.chmod(0o640)
    output = source.with_name("link" + name) if linked else source
    if linked:
        output.symlink_to(source.name)
    volume = load_volume(output)
    save_volume(volume.with_array(volume.array + 1), output, overwrite=True)
    np.testing.assert_array_equal(load_volume(source).array, volume.array + 1)
    assert output.is_symlink() is linked
    assert source.stat().st_mode & 0o777 == 0o640
    assert not list(source.parent.glob(".mri7t*"))


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("failing", [1, 2])
def test_fault_32_image_and_sidecar_appear_together_or_not_at_all(
    volume, tmp_path, monkeypatch, old, failing
):
    out = tmp_path / "out.nii.gz"
    if old:
        save_volume(volume, out, sidecar={"n": 1})
    before = contents(tmp_path)
    calls = []
    replace_file = os.replace

    def no_space(*args):
        calls.append(args)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace_file(*args)

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(VolumeError, match="No space left on device: free some space"):
        save_volume(volume.with_array(volume.array + 1), out, overwrite=True, sidecar={"n": 2})
    assert contents(tmp_path) == before


def test_fault_33_folder_that_vanished_is_named(volume, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results").rmdir()
    with pytest.raises(VolumeError, match="results does not exist"):
        save_volume(volume, tmp_path / "results" / "out.nii")


@pytest.mark.parametrize(
    "name", ["a b.nii", "Gehirn süß 脳.nii.gz", "deep/" * 20 + "x" * 240 + ".nii", ".nii.gz"]
)
def test_fault_37_any_name_is_written(volume, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_volume(volume, path, sidecar={"Source": name})
    np.testing.assert_array_equal(load_volume(path).array, volume.array)


def test_sidecar_keeps_any_text_and_refuses_nan(volume, tmp_path):
    odd = {"a": "süß 脳", "b": "caf\udce9", "c": '"><script>'}
    path = save_volume(volume, tmp_path / "out.nii", sidecar=odd)
    written = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert written.items() >= odd.items()
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_volume(volume, tmp_path / "b.nii", sidecar={"a": float("nan")})
    assert not list(tmp_path.glob("b.*"))


def test_volume_that_has_left_its_files_grid_is_refused(volume, tmp_path):
    moved = volume.affine.copy()
    moved[0, 3] += 5
    for stray in (
        replace(volume, affine=moved),
        replace(volume, array=volume.array[1:]),
    ):
        with pytest.raises(VolumeError, match="is no longer on the grid of its file"):
            save_volume(stray, tmp_path / "out.nii")
    saved = save_volume(replace(volume, affine=moved, geometry=None), tmp_path / "out.nii")
    np.testing.assert_allclose(load_volume(saved).affine, moved)
