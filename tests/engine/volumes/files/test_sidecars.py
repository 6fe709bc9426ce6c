"""A sidecar belongs to one image, by its bytes; a JSON of another program is not ours."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.sidecars import check_sidecar_target, unreadable_beside
from napari_mri7t.engine.volumes.provenance import (
    Execution,
    is_marked_synthetic,
    read_sidecar,
    sidecar,
    why_not_believed,
)
from napari_mri7t.engine.volumes.volume import Volume, save_volume, save_volumes

FOREIGN = {
    "of a scanner": b'{"EchoTime": 0.003, "ConversionSoftware": "dcm2niix"}',
    "of another program": b'{"GeneratedBy": [{"Name": "fMRIPrep"}], "Synthetic": true}',
    "with a byte order mark": b'\xef\xbb\xbf{"EchoTime": 0.003}',
    "a list": b'[{"Name": "napari-mri7t"}]',
    "a number": b"7",
    "no JSON": b"napari-mri7t",
    "no UTF-8": b"\xff\xfe",
    "makers as text": b'{"GeneratedBy": "napari-mri7t"}',
    "empty": b"",
}


@pytest.fixture
def brain(values) -> Volume:
    return Volume(values, np.diag([1, 2, 3, 1.0]), name="brain")


@pytest.fixture
def facts() -> dict:
    return sidecar("synthesize", [], Execution())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "Ärztin 脳.NII.GZ"])
def test_sidecar_names_its_image_and_holds_its_digest(brain, facts, tmp_path, name):
    path = save_volume(brain, tmp_path / name, sidecar=facts)
    assert read_sidecar(path)["Image"] == {
        "File": name,
        "SHA256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert read_sidecar(path).items() >= facts.items()


def test_sidecar_is_believed_for_the_bytes_of_its_image_alone(brain, facts, tmp_path):
    path = save_volume(brain, tmp_path / "a.nii", sidecar=facts)
    copy = tmp_path / "copy.nii"
    copy.write_bytes(path.read_bytes())
    assert read_sidecar(copy) is None
    (tmp_path / "copy.json").write_bytes((tmp_path / "a.json").read_bytes())
    assert read_sidecar(copy)["Image"]["File"] == "a.nii"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert read_sidecar(path) is None
    path.write_bytes(b"")
    assert read_sidecar(path) is None
    path.unlink()
    assert read_sidecar(path) is None


@pytest.mark.parametrize("image", ["scan", 7, None, {}, {"File": "a.nii"}, {"SHA256": 1}])
def test_edited_name_of_an_image_is_not_believed(brain, facts, tmp_path, image):
    path = save_volume(brain, tmp_path / "a.nii", sidecar=facts)
    (tmp_path / "a.json").write_text(json.dumps(facts | {"Image": image}))
    assert read_sidecar(path) is None
    save_volume(brain, path, sidecar=facts, overwrite=True)
    assert read_sidecar(path) is not None


@pytest.mark.parametrize("other", ["a.nii", "a.IMG", "A.nii"])
def test_sidecar_of_version_0_1_counts_for_the_only_image_if_it_is_marked(
    brain, facts, tmp_path, other
):
    path = save_volume(brain, tmp_path / "a.nii.gz", sidecar=facts)
    (tmp_path / "a.json").write_text(json.dumps(facts))
    assert read_sidecar(path) == facts
    assert why_not_believed(path) == ""
    (tmp_path / other).touch()
    assert (read_sidecar(path) is None) is other.startswith("a")
    (tmp_path / other).unlink()
    save_volume(brain, tmp_path / "b.nii.gz")
    (tmp_path / "b.nii.gz").replace(path)
    assert read_sidecar(path) is None
    assert why_not_believed(path).startswith("its sidecar was written by version 0.1")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_json_of_another_program_is_never_replaced(brain, facts, tmp_path, content, name):
    (tmp_path / "a.json").write_bytes(content)
    save_volume(brain, tmp_path / "a.nii")
    before = contents(tmp_path)
    with pytest.raises(VolumeError, match=r"a\.json: was not written by .* another name"):
        save_volume(brain, tmp_path / name, overwrite=True, sidecar=facts)
    assert read_sidecar(tmp_path / "a.nii") is None
    assert contents(tmp_path) == before


def test_json_that_leads_nowhere_is_never_replaced(brain, facts, tmp_path):
    """As git-annex leaves one whose content is elsewhere."""
    (tmp_path / "a.json").symlink_to("annexed.json")
    with pytest.raises(VolumeError, match="was not written by"):
        save_volume(brain, tmp_path / "a.nii", sidecar=facts)
    assert not (tmp_path / "annexed.json").exists()


@pytest.mark.parametrize(("first", "second"), [("a.nii", "a.nii.gz"), ("a.nii.gz", "a.nii")])
def test_sidecar_of_another_image_of_the_stem_is_kept(brain, facts, tmp_path, first, second):
    path = save_volume(brain, tmp_path / first, sidecar=facts)
    before = contents(tmp_path)
    with pytest.raises(VolumeError, match=rf"a\.json: describes {first}: choose another name"):
        save_volume(brain, tmp_path / second, sidecar=facts, overwrite=True)
    assert contents(tmp_path) == before
    save_volume(brain, tmp_path / second)  # has no sidecar, and leaves that of the other
    assert read_sidecar(path) is not None
    assert read_sidecar(tmp_path / second) is None
    path.unlink()
    save_volume(brain, tmp_path / second, sidecar=facts, overwrite=True)
    assert read_sidecar(tmp_path / second) is not None


def test_image_under_two_names_is_not_another_one(brain, facts, tmp_path):
    """As a file system without capitals, or a link, makes it."""
    path = save_volume(brain, tmp_path / "a.nii", sidecar=facts)
    (tmp_path / "a.nii.gz").hardlink_to(path)
    check_sidecar_target(tmp_path / "a.nii.gz")


def test_image_replaced_by_one_without_a_sidecar_loses_its_own(brain, facts, tmp_path):
    path = save_volume(brain, tmp_path / "a.nii", sidecar=facts)
    assert is_marked_synthetic(path)
    save_volume(brain, path, overwrite=True)
    assert contents(tmp_path).keys() == {"a.nii"}
    assert not is_marked_synthetic(path)


def test_sidecar_that_may_not_be_read_is_not_called_another_program_s(
    brain, facts, tmp_path, monkeypatch
):
    save_volume(brain, tmp_path / "a.nii", sidecar=facts)

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("napari_mri7t.engine.regular.os.open", refuse)
    with pytest.raises(
        VolumeError, match=r"a\.json: cannot be read \(Permission denied\): make it"
    ):
        check_sidecar_target(tmp_path / "a.nii")


def test_sidecar_is_placed_before_its_image(brain, facts, tmp_path, monkeypatch):
    """Else a kill between the two leaves a synthetic image that nothing calls synthetic."""
    placed, replace = [], os.replace
    monkeypatch.setattr(
        "napari_mri7t.engine.atomic.os.replace",
        lambda *names: (placed.append(Path(names[1]).name), replace(*names)),
    )
    save_volume(brain, tmp_path / "a.nii", sidecar=facts, overwrite=True)
    assert placed == ["a.json", "a.nii"]


def test_images_saved_together_may_not_share_a_sidecar(brain, facts, tmp_path):
    parts = [(brain, tmp_path / name, facts) for name in ("a.nii", "a.nii.gz")]
    with pytest.raises(VolumeError, match=r"a\.nii\.gz: used for two outputs"):
        save_volumes(parts)
    assert contents(tmp_path) == {}


def test_two_images_share_no_sidecar_through_a_linked_folder(brain, facts, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    parts = [(brain, tmp_path / place, facts) for place in ("there/a.nii", "link/a.nii.gz")]
    with pytest.raises(VolumeError, match=r"link/a\.nii\.gz: used for two outputs"):
        save_volumes(parts)
    assert not contents(tmp_path / "there")


def test_only_a_sidecar_that_cannot_be_read_is_told(tmp_path):
    image = tmp_path / "a.nii.gz"
    assert unreadable_beside(image) == ""
    (tmp_path / "a.json").write_text("{}")
    assert unreadable_beside(image) == ""
    (tmp_path / "a.json").write_text("{")
    assert "a.json" in unreadable_beside(image)
