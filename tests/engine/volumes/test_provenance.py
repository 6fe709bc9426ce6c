"""The sidecar: enough to make the image again, nothing about the person who made it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

import napari_mri7t
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.preparation.prepare import PreparationConfig, plan_preparation
from napari_mri7t.engine.volumes import provenance
from napari_mri7t.engine.volumes.digests import file_digest, voxel_digest
from napari_mri7t.engine.volumes.provenance import NOTICE, Execution, sidecar
from napari_mri7t.engine.volumes.volume import Volume, as_volume, load_volume, save_volume


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_sidecar_names_what_made_the_image(make_nifti):
    path = make_nifti("sub-01_T1w.nii.gz", qoffset_x=50)
    volume = load_volume(path)
    execution = Execution("cuda:0", "bfloat16", seed=7, model="watnet", model_sha256="ab12")
    content = sidecar(
        "synthesize", [volume], execution, settings={"step": 1}, warnings=["not brain-extracted"]
    )
    assert content["Synthetic"] is True
    assert content["Notice"] == NOTICE
    (generator,) = content["GeneratedBy"]
    assert generator["Name"] == "napari-mri7t"
    assert generator["Version"] == napari_mri7t.__version__
    assert generator["Description"] == "synthesize"
    assert content["Sources"] == [{"File": "sub-01_T1w.nii.gz", "SHA256": digest(path)}]
    assert content["Model"] == {"Name": "watnet", "SHA256": "ab12"}
    assert (content["Device"], content["Precision"], content["Seed"]) == ("cuda:0", "bfloat16", 7)
    assert content["Settings"] == {"step": 1}
    assert content["Warnings"] == [*volume.warnings, "not brain-extracted"]
    assert content["Versions"]["numpy"] == np.__version__
    assert content["Versions"]["nibabel"] == nibabel.__version__
    assert {"python", "torch"} <= set(content["Versions"])


def test_notice_says_what_it_must():
    for word in ("Synthetic", "lesions", "research", "not for diagnosis", "face", "identifiable"):
        assert word in NOTICE


def test_library_that_is_missing_is_recorded_as_such(monkeypatch):
    monkeypatch.setattr(
        "napari_mri7t.engine.volumes.provenance.LIBRARIES", ("numpy", "no-such-library")
    )
    found = sidecar("x", [], Execution())["Versions"]
    assert set(found) == {"python", "numpy", "no-such-library"}
    assert found["no-such-library"] == "not installed"


def test_no_folder_reaches_the_sidecar(make_nifti, tmp_path):
    settings = {
        "model": tmp_path / "my models" / "watnet",
        "reference": str(make_nifti("a.nii")),
        "windows": r"C:\Users\jane\b.nii",
        "nested": {"paths": [tmp_path / "c.nii"]},
        "relative": "watnet",
    }
    content = sidecar("simulate", [make_nifti()], Execution(), settings=settings)
    text = json.dumps(content)
    assert str(tmp_path) not in text
    assert "jane" not in text
    assert content["Settings"] == {
        "model": "watnet",
        "reference": "a.nii",
        "windows": "b.nii",
        "nested": {"paths": ["c.nii"]},
        "relative": "watnet",
    }


@dataclass(frozen=True)
class Config:
    low: float = 0.5
    sizes: tuple[int, ...] = (1, 2)


def test_settings_become_what_json_knows(tmp_path, make_nifti):
    settings = {
        "config": Config(),
        "scalar": np.float32(0.5),
        "array": np.arange(2),
        "flag": np.bool_(True),
        "nothing": None,
        "endless": float("inf"),
        "kind": np.dtype("f4"),
    }
    content = sidecar("x", [], Execution(), settings=settings)
    assert content["Settings"] == {
        "config": {"low": 0.5, "sizes": [1, 2]},
        "scalar": 0.5,
        "array": [0, 1],
        "flag": True,
        "nothing": None,
        "endless": "inf",
        "kind": "float32",
    }
    saved = save_volume(load_volume(make_nifti()), tmp_path / "out.nii", sidecar=content)
    image = {"File": "out.nii", "SHA256": file_digest(saved)}
    assert json.loads(saved.with_suffix(".json").read_text()) == content | {"Image": image}


def test_volume_in_memory_and_computed_volume_are_named_by_their_voxels(make_nifti, phantom):
    assert sidecar("x", [phantom], Execution())["Sources"] == [
        {"Name": "phantom", "VoxelsSHA256": voxel_digest(phantom)}
    ]
    loaded = load_volume(make_nifti())
    computed = loaded.with_array(loaded.array + 1, name="noisy")
    (facts,) = sidecar("x", [computed], Execution())["Sources"]
    assert facts == {"Name": "noisy", "VoxelsSHA256": voxel_digest(computed)}
    assert voxel_digest(computed) != voxel_digest(loaded)


def test_one_volume_of_a_series_and_a_pair_of_files_are_told(make_nifti, tmp_path, values):
    path = make_nifti("bold.nii", np.random.default_rng(0).normal(size=(5, 6, 7, 3)))
    (facts,) = sidecar("x", [load_volume(path, index=2)], Execution())["Sources"]
    assert facts == {"File": "bold.nii", "SHA256": digest(path), "Index": 2}
    nibabel.save(nibabel.Nifti1Pair(values, np.eye(4)), tmp_path / "pair.img")
    facts = sidecar("x", [tmp_path / "pair.img"], Execution())["Sources"]
    assert [entry["File"] for entry in facts] == ["pair.hdr", "pair.img"]


@pytest.mark.parametrize("event", ["another scan in its place", "removed"])
def test_file_that_changes_after_it_was_read_is_not_recorded_as_the_source(make_nifti, event):
    path = make_nifti()
    volume = load_volume(path)
    path.unlink()
    if event != "removed":
        make_nifti(path.name, np.arange(210.0).reshape(5, 6, 7))
    facts = sidecar("x", [volume], Execution())
    assert facts["Sources"] == [{"Name": "scan", "VoxelsSHA256": voxel_digest(volume)}]
    assert [text for text in facts["Warnings"] if "changed or removed after it was read" in text]


def test_path_that_has_vanished_is_named(make_nifti):
    path = make_nifti()
    path.unlink()
    with pytest.raises(VolumeError, match=r"scan\.nii: no such file"):
        sidecar("x", [path], Execution())


def test_same_run_gives_the_same_sidecar(make_nifti):
    path = make_nifti()
    first, second = (sidecar("x", [load_volume(path)], Execution(seed=1)) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_provenance_does_not_load_torch():
    code = "import sys; from napari_mri7t.engine.volumes import provenance as p; p.versions()"
    command = [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def test_synthetic_image_without_its_sidecar_still_says_so(phantom_file):
    facts = provenance.unrecorded(phantom_file)
    assert facts["Synthetic"] is True
    assert "not for diagnosis" in facts["Notice"]
    assert facts["Sources"][0]["File"] == phantom_file.name


def made_by(command, phantom, folder):
    facts = provenance.sidecar(command, [phantom], Execution())
    return save_volume(phantom, folder / f"{command}.nii.gz", sidecar=facts)


@pytest.mark.parametrize(
    ("command", "warned"), [("synthesize", True), ("simulate", False), ("prepare", False)]
)
def test_a_model_is_warned_of_what_a_model_has_made(phantom, tmp_path, command, warned):
    image = made_by(command, phantom, tmp_path)
    assert provenance.maker_of(image) == command
    assert bool(provenance.check_is_scan(load_volume(image))) == warned


@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_json_that_cannot_be_read_beside_a_scan_is_warned_of(phantom, tmp_path, content):
    image = save_volume(phantom, tmp_path / "sub-01_T1w.nii.gz")
    beside = tmp_path / "sub-01_T1w.json"
    beside.write_bytes(content.encode("utf-8", "surrogateescape"))
    (warning,) = plan_preparation(image, PreparationConfig(prepare="none")).warnings
    assert warning.startswith("sub-01_T1w.json: ")
    assert warning.endswith(": mend or remove it")
    beside.write_text('{"MagneticFieldStrength": 3}')
    assert plan_preparation(image, PreparationConfig(prepare="none")).warnings == ()


def test_a_renamed_estimate_is_known_by_its_header(phantom, phantom_file, tmp_path):
    renamed = made_by("synthesize", phantom, tmp_path).rename(tmp_path / "sub-01_T1w.nii.gz")
    assert provenance.maker_of(renamed) == provenance.UNRECORDED
    (warning,) = plan_preparation(renamed, PreparationConfig(prepare="none")).warnings
    assert "synthetic already" in warning
    assert provenance.maker_of(phantom_file) == ""
    assert provenance.check_is_scan(load_volume(phantom_file)) == ()
    assert provenance.check_is_scan(phantom) == ()


def test_an_estimate_in_memory_is_known_also_once_it_was_moved_or_scaled(phantom):
    made = Volume(phantom.array, phantom.affine, made_by="synthesize")
    for volume in (made, made.moved(np.diag([-1, 1, 1, 1])), made.with_array(2 * made.array)):
        (warning,) = provenance.check_is_scan(as_volume(volume))
        assert "synthetic already" in warning
    assert not provenance.is_estimate(Volume(phantom.array, phantom.affine, made_by="simulate"))


def test_versions_are_told_as_text():
    parts = provenance.describe_versions().split(", ")
    assert parts[0] == f"napari-mri7t {napari_mri7t.__version__}"
    assert f"numpy {np.__version__}" in parts
