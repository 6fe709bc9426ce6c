"""Digests: what counts in them, and what is said of a file that is not there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.digests import (
    content_digest,
    file_digest,
    image_digest,
    voxel_digest,
)
from napari_mri7t.engine.volumes.volume import Volume, load_volume


def test_voxel_digest_does_not_depend_on_memory_order(values):
    array = values.astype(np.float32)
    expected = hashlib.sha256(np.eye(4).tobytes() + array.tobytes()).hexdigest()
    assert voxel_digest(Volume(array, np.eye(4))) == expected
    assert voxel_digest(Volume(np.asfortranarray(array), np.eye(4))) == expected


def stored(array: np.ndarray, path: Path, kind: type, dtype: type, codes: str) -> Path:
    flip = nibabel.orientations.axcodes2ornt(codes)
    image = kind(array.astype(dtype), np.diag([1, 2, 3, 1.0])).as_reoriented(flip)
    nibabel.save(image, path)
    return path


def test_content_digest_is_of_the_voxels_alone(values, tmp_path):
    first = stored(values, tmp_path / "a.nii", nibabel.Nifti1Image, np.int16, "RAS")
    other = stored(values, tmp_path / "b.nii.gz", nibabel.Nifti2Image, np.float64, "PIL")
    assert content_digest(first) == content_digest(other) == content_digest(load_volume(first))
    changed = values.copy()
    changed[4, 5, 6] += 1
    longer = np.stack([values, values], axis=-1)
    for name, array in (("c", changed), ("d", values[::-1]), ("e", longer)):
        path = tmp_path / f"{name}.nii"
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 2, 3, 1.0])), path)
        assert content_digest(path) != content_digest(first)
    flat = Volume(values.reshape(7, 6, 5), np.eye(4))
    assert content_digest(flat) != content_digest(first)
    zero = Volume(values * np.float32(-0.0), np.eye(4))
    assert content_digest(zero) == content_digest(zero.with_array(np.zeros(zero.shape)))


def test_file_that_is_not_there_is_told_from_one_that_must_be_fetched(tmp_path):
    path = tmp_path / "scan.nii"
    with pytest.raises(VolumeError, match=r"scan\.nii: no such file: check the name"):
        file_digest(path)
    path.symlink_to(".git/annex/objects/x")
    with pytest.raises(VolumeError, match=r"fetch that file with 'git annex get'"):
        file_digest(path)


def test_digest_of_an_image_in_two_files_changes_with_either(values, tmp_path):
    path = tmp_path / "mask.hdr"
    nibabel.save(nibabel.Nifti1Pair(values.astype(np.uint8), np.eye(4)), path)
    first = image_digest(path)
    assert first == image_digest(path.with_suffix(".img"))
    assert first not in {file_digest(path), file_digest(path.with_suffix(".img"))}
    for part in (path.with_suffix(".img"), path):
        content = bytearray(part.read_bytes())
        content[-1] ^= 1
        before = image_digest(path)
        part.write_bytes(content)
        assert image_digest(path) != before
    single = tmp_path / "mask.nii"
    nibabel.save(nibabel.Nifti1Image(values.astype(np.uint8), np.eye(4)), single)
    assert image_digest(single) == file_digest(single)
