"""Formats beside the usual one: pairs, MGH, every type in either byte order."""

from __future__ import annotations

import gzip
import struct

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.volume import load_volume

AFFINE = np.diag([1.0, 2, 3, 1])


@pytest.mark.parametrize("image_class", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("kind", [".hdr", ".img"])
def test_pair_is_read_from_either_file(tmp_path, values, image_class, suffix, kind):
    nibabel.save(image_class(values, AFFINE), tmp_path / f"scan.img{suffix}")
    volume = load_volume(tmp_path / f"scan{kind}{suffix}")
    np.testing.assert_array_equal(volume.array, values)
    np.testing.assert_array_equal(volume.affine, AFFINE)


def test_pair_without_its_other_file_says_which(tmp_path, values):
    nibabel.save(nibabel.Nifti1Pair(values, AFFINE), tmp_path / "scan.img")
    (tmp_path / "scan.img").unlink()
    with pytest.raises(FileNotFoundError, match=r"scan\.img: is missing beside scan\.hdr"):
        load_volume(tmp_path / "scan.hdr")


def test_pair_with_a_cut_or_damaged_file_is_refused(tmp_path, values, refuse):
    nibabel.save(nibabel.Nifti1Pair(values, AFFINE), tmp_path / "scan.img.gz")
    for name in ("scan.img.gz", "scan.hdr.gz"):
        path = tmp_path / name
        data = path.read_bytes()
        spoilt = bytearray(data)
        spoilt[-6] ^= 1
        for content in (data[:-9], spoilt):
            path.write_bytes(content)
            with pytest.raises(VolumeError, match=name):
                load_volume(tmp_path / "scan.img.gz")
        path.write_bytes(data)


def test_header_of_a_pair_under_a_single_name_is_refused(tmp_path, values, make_nifti, refuse):
    nibabel.save(nibabel.Nifti1Pair(values, AFFINE), tmp_path / "scan.img")
    (tmp_path / "scan.hdr").rename(tmp_path / "alone.nii")
    refuse(tmp_path / "alone.nii", "only the header of a pair", "rename it to .hdr")
    single = make_nifti("one.hdr")
    single.with_suffix(".img").write_bytes(b"x" * 1000)
    refuse(single, "holds the voxels, too", "rename it to .nii")
    single.write_bytes(single.read_bytes()[:352])
    refuse(single, "ends after the header", "convert the scan again")


def test_magic_of_a_pair_in_a_file_that_holds_voxels_is_named(make_nifti, refuse):
    refuse(make_nifti(magic=b"ni1"), "magic is ni1", "convert the scan again", "to n+1")


@pytest.mark.parametrize("name", ["scan.mgh", "scan.mgz", "SCAN.MGZ"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32, np.uint16])
def test_mgh_is_read_as_nibabel_reads_it(tmp_path, values, name, kind):
    affine = np.array([[-1, 0, 0.1, 5], [0, 0.1, 1, -6], [0, -1, 0.1, 7], [0, 0, 0, 1.0]])
    image = nibabel.MGHImage(values.astype(kind), affine)
    nibabel.save(image, tmp_path / "scan.mgz")
    data = (tmp_path / "scan.mgz").read_bytes()
    (tmp_path / name).write_bytes(data if name.lower().endswith("z") else gzip.decompress(data))
    volume = load_volume(tmp_path / name)
    expected = nibabel.as_closest_canonical(nibabel.load(tmp_path / "scan.mgz"))
    np.testing.assert_array_equal(volume.array, np.asarray(expected.dataobj))
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-5)  # MGH holds float32


def test_mgh_without_orientation_gets_freesurfers_with_a_warning(tmp_path, values):
    path = tmp_path / "scan.mgh"
    nibabel.save(nibabel.MGHImage(values, AFFINE), path)
    data = bytearray(path.read_bytes())
    data[28:30] = bytes(2)  # goodRASFlag
    path.write_bytes(data)
    volume = load_volume(path)
    assert volume.geometry is not None
    # FreeSurfer's MGH page: x runs left, y down, z to the front; nibabel turns y and z round.
    expected = [[-1, 0, 0, 2.5], [0, 0, 1, -3.5], [0, -1, 0, 3], [0, 0, 0, 1]]
    np.testing.assert_array_equal(volume.geometry.affine, expected)
    assert "orientation" in volume.warnings[0]


@pytest.mark.parametrize(
    ("start", "bad", "word"),
    [
        (0, 2, "not a file of the format MGH"),
        (4, 0, "below 1"),
        (20, 9, "datatype 9"),
        (12, 1, "2-D"),
    ],
)
def test_mgh_with_a_spoilt_header_is_refused(tmp_path, values, refuse, start, bad, word):
    path = tmp_path / "scan.mgh"
    nibabel.save(nibabel.MGHImage(values, AFFINE), path)
    data = bytearray(path.read_bytes())
    data[start : start + 4] = struct.pack(">i", bad)
    path.write_bytes(data)
    refuse(path, word)
    path.write_bytes(data[:100])
    refuse(path)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("image_class", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_every_type_and_byte_order_is_read(tmp_path, values, order, kind, image_class):
    header = image_class.header_class(endianness=order)
    header.set_data_dtype(np.dtype(kind))
    image = image_class((values % 100).astype(kind), AFFINE, header)
    nibabel.save(image, tmp_path / "scan.nii")
    np.testing.assert_array_equal(load_volume(tmp_path / "scan.nii").array, values % 100)


def test_header_of_a_pair_that_never_ends_is_refused(tmp_path, values, monkeypatch, refuse):
    monkeypatch.setattr("napari_mri7t.engine.volumes.files.reading.LARGEST_EXTENSION", 1000)
    nibabel.save(nibabel.Nifti1Pair(values, AFFINE), tmp_path / "scan.img")
    path = tmp_path / "scan.hdr"
    path.write_bytes(path.read_bytes() + bytes(2000))
    refuse(path, "too long")
