"""Bad files where a window is: the reader refuses or warns in words, the writer loses nothing."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
from pathlib import Path

import napari
import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.errors import Mri7tError, VolumeError
from napari_mri7t.widgets.io.reader import read
from napari_mri7t.widgets.io.writer import write_image
from napari_mri7t.widgets.layers.layers import estimate_to_layer, layer_to_volume

REFUSED = {
    "01": "is empty",
    "02": "is cut short",
    "03": "is cut short",
    "04": "is damaged",
    "05": "is not compressed, although its name ends in .gz",
    "06": "is a web page",
    "07": "more than",
    "08": "a size below 1",
    "09": "continues after its last voxel",
    "10": "complex",
    "13": "is 2-D",
    "14": "sform",
    "15": "a voxel size of 0",
    "16": "all voxels have one value",
}
WARNED = {
    "11": "declares an extension",
    "22": "disagree",
    "23": "neither sform nor qform is set",
    "24": "shear",
    "25": "slope is 0",
}


@pytest.fixture(scope="module")
def files():
    """The module that makes the same faults for the command line."""
    path = Path(__file__).parents[2] / "cli/test_faults.py"
    spec = importlib.util.spec_from_file_location("cli_faults_files", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def told(monkeypatch):
    """What napari would show in its corner."""
    sentences = []
    for name in ("show_error", "show_warning"):
        monkeypatch.setattr(f"napari_mri7t.widgets.io.reader.{name}", sentences.append)
    return sentences


@pytest.mark.parametrize("number", [pytest.param(n, id=f"fault_{n}") for n in REFUSED])
def test_file_that_cannot_be_read_is_refused_by_the_reader(files, tmp_path, told, number):
    name, content = files.REFUSED[number]
    path = tmp_path / name
    path.write_bytes(content)
    good = tmp_path / "good.nii"
    good.write_bytes(files.nifti())
    with pytest.raises(VolumeError, match=REFUSED[number]) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    (layer,) = read([path, good])  # the others are opened all the same
    assert layer[1]["name"] == "good"
    assert told == [str(caught.value)]


@pytest.mark.parametrize("number", [pytest.param(n, id=f"fault_{n}") for n in WARNED])
def test_odd_header_is_told_when_opened_and_stays_with_the_layer(files, tmp_path, told, number):
    data = bytearray(files.nifti(**files.WARNED[number]))
    if number == "11":
        data[348] = 1
    (tmp_path / "a.nii").write_bytes(data)
    ((values, meta, _),) = read(tmp_path / "a.nii")
    (text,) = told
    assert text.startswith("a: ")
    assert WARNED[number] in text
    volume = layer_to_volume(napari.layers.Image(values, **meta))
    assert any(WARNED[number] in note for note in volume.warnings)


def test_fault_28_voxels_that_are_no_numbers_are_background_and_told(files, tmp_path, told):
    array = files.noise((5, 6, 7))
    array[0] = np.nan
    (tmp_path / "a.nii").write_bytes(files.nifti(array))
    ((values, _, _),) = read(tmp_path / "a.nii")
    assert not values[..., 0].any()
    assert "42 of 210 voxels were NaN" in told[0]


@pytest.fixture
def layer(files, tmp_path):
    """A layer of whole numbers, from a file that the writer must not harm."""
    (tmp_path / "a.nii").write_bytes(files.nifti())
    ((values, meta, _),) = read(tmp_path / "a.nii")
    return napari.layers.Image(values, **meta)


@pytest.fixture
def estimate(layer):
    """The data and metadata of an estimate: 300ths, which no integer holds."""
    volume = layer_to_volume(layer)
    facts = {"Synthetic": True}
    return estimate_to_layer(volume.with_array(volume.array / 300), layer, facts)[:2]


def test_fault_26_estimate_of_whole_numbers_is_saved_as_float(estimate, tmp_path):
    (saved,) = write_image(str(tmp_path / "e.nii"), *estimate)
    image = nibabel.load(saved)
    assert image.get_data_dtype() == np.float32
    expected = np.arange(210, dtype=np.float32).reshape(5, 6, 7) / 300
    np.testing.assert_array_equal(np.asarray(image.dataobj), expected)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        pytest.param(errno.ENOSPC, "free some space", id="fault_32"),
        pytest.param(errno.EROFS, "choose a folder that can be written to", id="fault_33"),
    ],
)
@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_disk_that_takes_no_file_leaves_the_old_one(
    estimate, tmp_path, monkeypatch, code, advice, step
):
    (saved,) = write_image(str(tmp_path / "e.nii"), *estimate)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    original = getattr(os, step)

    def refuse(*arguments, **options):
        if step == "open" and not arguments[1] & os.O_CREAT:  # reading goes on
            return original(*arguments, **options)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(f"napari_mri7t.engine.atomic.os.{step}", refuse)
    data, meta = estimate
    with pytest.raises(Mri7tError, match=advice) as caught:
        write_image(saved, data + 1, meta)
    assert str(caught.value).startswith(f"{tmp_path}/e.")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_fault_34_layer_saved_over_its_own_file_replaces_it_whole(layer, tmp_path):
    """napari has asked before it overwrites."""
    layer.data = layer.data / 300
    data, meta, _ = layer.as_layer_data_tuple()
    write_image(str(tmp_path / "a.nii"), data, meta)
    back = np.asarray(nibabel.load(tmp_path / "a.nii").dataobj)
    np.testing.assert_array_equal(back, np.arange(210, dtype=np.float32).reshape(5, 6, 7) / 300)
    assert os.listdir(tmp_path) == ["a.nii"]


@pytest.mark.parametrize("name", ["mon cerveau", "脳", "e\u0301 é", "b" * 245, "🧠 '\"$&;"])
def test_fault_37_any_name_is_opened_and_saved(files, estimate, tmp_path, name):
    folder = tmp_path / "ein Ordner – フォルダ"
    folder.mkdir()
    (folder / f"{name}.nii").write_bytes(files.nifti())
    ((_, meta, _),) = read(folder / f"{name}.nii")
    assert meta["name"] == name
    (saved,) = write_image(str(folder / f"{name[:240]}7T.nii"), *estimate)
    assert nibabel.load(saved).shape == (5, 6, 7)
    assert json.loads((folder / f"{name[:240]}7T.json").read_text())["Synthetic"] is True
