"""Saving over what is there: only the file that the user named in the dialog is replaced."""

from __future__ import annotations

import json
from pathlib import Path

import napari
import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.errors import Mri7tError, VolumeError
from napari_mri7t.engine.volumes.provenance import Execution, read_sidecar, sidecar
from napari_mri7t.engine.volumes.volume import save_volume
from napari_mri7t.widgets.io.reader import read
from napari_mri7t.widgets.io.writer import write_image, write_layers
from napari_mri7t.widgets.layers.layers import KEY, estimate_to_layer, layer_to_volume

SHAPE = (5, 6, 7)
SCANNER = '{"EchoTime": 0.003}'


@pytest.fixture
def scan(tmp_path):
    """A layer, opened from a scan in a folder of its own."""
    (tmp_path / "in").mkdir()
    values = np.arange(210, dtype=np.float32).reshape(SHAPE)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1, 1, 1, 1.0])), tmp_path / "in/t1.nii.gz")
    ((data, meta, _),) = read(tmp_path / "in/t1.nii.gz")
    return napari.layers.Image(data, **meta)


@pytest.fixture
def estimate(scan):
    volume = layer_to_volume(scan)
    facts = sidecar("synthesize", [volume], Execution(model="m", model_sha256="0"))
    return estimate_to_layer(volume.with_array(volume.array / 300), scan, facts)


@pytest.fixture
def told(monkeypatch):
    sentences = []
    for name in ("reader.show_warning", "writer.show_info"):
        monkeypatch.setattr(f"napari_mri7t.widgets.io.{name}", sentences.append)
    return sentences


def named(layer, name: str):
    data, meta, kind = layer if isinstance(layer, tuple) else layer.as_layer_data_tuple()
    return data, meta | {"name": name}, kind


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "existing", ["study_t1.nii.gz", "study_t1.json", "study_t1.nii", "STUDY_T1.NII.GZ"]
)
def test_several_layers_get_new_names_where_files_exist(scan, tmp_path, told, existing):
    (tmp_path / existing).write_text("work of three weeks")
    layers = [named(scan, "t1"), named(scan, "T1"), named(scan, "other")]
    saved = write_layers(str(tmp_path / "study.nii.gz"), layers)
    names = [Path(path).name for path in saved]
    assert names == ["study_t1-2.nii.gz", "study_T1-3.nii.gz", "study_other.nii.gz"]
    assert (tmp_path / existing).read_text() == "work of three weeks"
    assert told == [
        "Saved under new names, since files exist: study_t1-2.nii.gz, study_T1-3.nii.gz."
    ]


def test_names_that_a_disk_may_not_tell_apart_are_numbered(scan, tmp_path, told):
    """Where case or the form of an accent does not count, one layer would replace another."""
    (tmp_path / "study_e\u0301.nii").write_text("mine")
    layers = [named(scan, name) for name in ("T1", "t1", "\u00e9")]
    saved = write_layers(str(tmp_path / "study.nii"), layers)
    names = [Path(path).name for path in saved]
    assert names == ["study_T1.nii", "study_t1-2.nii", "study_\u00e9-2.nii"]
    assert len(told) == 1


def test_derivative_saved_twice_keeps_the_first_estimate(scan, estimate, tmp_path, told):
    folder = tmp_path / "out"
    layers = [named(scan, "sub-01_T1w"), named(estimate, "sub-01_T1w")]
    first = write_layers(str(folder), layers)
    (folder / "README").write_text("mine")
    before = contents(folder)
    second = write_layers(str(folder), layers)
    assert [Path(path).name for path in second] == [
        "sub-01_desc-input2_T1w.nii.gz",
        "sub-01_desc-synth7T2_T1w.nii.gz",
    ]
    assert contents(folder).items() >= before.items()
    assert len(contents(folder)) == len(before) + 4
    assert all(read_sidecar(path) for path in (*first, *second))
    assert len(told) == 1


@pytest.mark.parametrize("name", ["_desc-synth7T_T1w.json", "_desc-synth7T_T1w.nii"])
def test_derivative_leaves_part_of_an_estimate_alone(estimate, tmp_path, told, name):
    folder = tmp_path / "out/sub-01/anat"
    folder.mkdir(parents=True)
    (folder / f"sub-01{name}").write_text("mine")
    (saved,) = write_layers(str(tmp_path / "out"), [named(estimate, "sub-01_T1w")])
    assert Path(saved).name == "sub-01_desc-synth7T2_T1w.nii.gz"
    assert (folder / f"sub-01{name}").read_text() == "mine"


def test_layers_are_saved_all_or_none(scan, estimate, tmp_path, monkeypatch):
    def fill(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")

    calls: list[int] = []
    monkeypatch.setattr("napari_mri7t.engine.atomic.os.fsync", fill)
    with pytest.raises(Mri7tError, match="free some space"):
        write_layers(str(tmp_path / "a.nii"), [named(scan, "b"), named(estimate, "c")])
    assert contents(tmp_path).keys() == {"in/t1.nii.gz"}


def test_derivative_named_as_a_file_is_refused(scan, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(VolumeError, match="out: is a file"):
        write_layers(str(tmp_path / "out"), [named(scan, "b")])


@pytest.mark.parametrize("name", ["t1.nii", "t1.nii.gz"])
def test_estimate_saved_beside_a_scan_leaves_the_scanner_s_json(scan, estimate, tmp_path, name):
    (tmp_path / "in/t1.json").write_text(SCANNER)
    before = contents(tmp_path / "in")
    with pytest.raises(VolumeError, match=r"t1\.json: was not written by .*choose another name"):
        write_image(str(tmp_path / "in" / name), *estimate[:2])
    assert contents(tmp_path / "in") == before
    data, meta, _ = scan.as_layer_data_tuple()
    write_image(str(tmp_path / "in/t1.nii.gz"), data, meta)
    assert (tmp_path / "in/t1.json").read_text() == SCANNER


def test_scan_beside_an_estimate_of_its_stem_is_opened_as_a_scan(estimate, tmp_path, told):
    write_image(str(tmp_path / "in/t1.nii"), *estimate[:2])
    for name, is_synthetic in (("t1.nii.gz", False), ("t1.nii", True)):
        ((_, meta, _),) = read(tmp_path / "in" / name)
        assert ("provenance" in meta["metadata"][KEY]) is is_synthetic
    assert told == ["t1: its sidecar describes other content, and is not used."]


@pytest.mark.parametrize("left", ["none", "of another image"])
def test_estimate_without_its_sidecar_stays_synthetic(estimate, tmp_path, told, left):
    (saved,) = write_image(str(tmp_path / "e.nii.gz"), *estimate[:2])
    if left == "none":
        (tmp_path / "e.json").unlink()
    else:  # as a kill leaves them between the two
        facts = json.loads((tmp_path / "e.json").read_text())
        facts["Image"]["SHA256"] = "0" * 64
        (tmp_path / "e.json").write_text(json.dumps(facts))
    ((data, meta, _),) = read(saved)
    (text,) = told
    assert "its header says that it is synthetic, but no sidecar records how it was made" in text
    assert ("describes other content" in text) is (left != "none")
    (copy,) = write_image(str(tmp_path / "copy.nii"), data, meta)
    assert read_sidecar(copy)["Synthetic"] is True
    assert read_sidecar(copy)["Sources"][0]["File"] == "e.nii.gz"
    (image,) = write_layers(str(tmp_path / "out"), [(data, meta, "image")])
    assert Path(image).name == "sub-e_desc-unrecorded_T1w.nii.gz"


def test_sidecar_that_was_edited_to_say_no_is_not_taken_for_a_yes(estimate, tmp_path, told):
    (saved,) = write_image(str(tmp_path / "e.nii.gz"), *estimate[:2])
    facts = json.loads((tmp_path / "e.json").read_text())
    (tmp_path / "e.json").write_text(json.dumps(facts | {"Synthetic": "no"}))
    read(saved)
    assert "no sidecar records how it was made" in told[0]


def test_sidecar_of_version_0_1_is_opened_with_its_estimate(estimate, tmp_path, told):
    (saved,) = write_image(str(tmp_path / "e.nii.gz"), *estimate[:2])
    facts = json.loads((tmp_path / "e.json").read_text())
    del facts["Image"]
    (tmp_path / "e.json").write_text(json.dumps(facts))
    ((_, meta, _),) = read(saved)
    assert meta["metadata"][KEY]["provenance"]["Model"]["Name"] == "m"
    assert told == []
    (tmp_path / "e.nii").write_bytes(b"another")
    read(saved)
    (text,) = told
    assert "its sidecar was written by version 0.1, which recorded no digest of the image" in text


def test_old_sidecar_goes_with_the_image_that_a_scan_replaces(scan, estimate, tmp_path):
    write_image(str(tmp_path / "e.nii"), *estimate[:2])
    data, meta, _ = scan.as_layer_data_tuple()
    write_image(str(tmp_path / "e.nii"), data, meta)
    assert not (tmp_path / "e.json").exists()
    save_volume(layer_to_volume(scan), tmp_path / "e.nii", overwrite=True)
    ((_, meta, _),) = read(tmp_path / "e.nii")
    assert "provenance" not in meta["metadata"][KEY]
