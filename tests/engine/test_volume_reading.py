"""Reading: what stands where a file should be, streams, formats, paths."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volume import load_series, load_volume

AFFINE = np.diag([1.0, 2, 3, 1])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.nii: no such file"):
        load_volume(tmp_path / "nowhere.nii")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_volume(tmp_path / "file.nii" / "below.nii")


def test_folder_device_or_socket_in_place_of_a_file_is_refused(tmp_path, refuse):
    refuse(tmp_path, "folder")
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    refuse(tmp_path / "zero.nii", "regular")
    os.mkfifo(tmp_path / "pipe.nii")  # reading one waits for ever
    refuse(tmp_path / "pipe.nii", "regular")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.nii"))
        refuse(tmp_path / "s.nii", "regular")


def test_unknown_extension_lists_the_known_ones(tmp_path, refuse):
    (tmp_path / "scan.dcm").write_bytes(b"DICM")
    refuse(tmp_path / "scan.dcm", ".nii.gz", "dcm2niix")


def test_path_that_the_system_refuses_is_put_into_words(tmp_path, refuse):
    refuse(tmp_path / ("n" * 300 + ".nii"))
    refuse(tmp_path / "null\0byte.nii")


def test_input_output_error_while_reading_is_put_into_words(make_nifti, monkeypatch, refuse):
    path = make_nifti()

    def fail(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("napari_mri7t.engine.files.reading.read_fully", fail)
    refuse(path, "Input/output error")


def test_file_longer_than_declared_is_refused(make_nifti, refuse):
    path = make_nifti()
    data = path.read_bytes()
    path.write_bytes(data + bytes(4096))  # padding to a block
    load_volume(path)
    path.write_bytes(data + bytes(4097))
    refuse(path, "declares")
    packed = path.with_name("scan.nii.gz")
    packed.write_bytes(gzip.compress(data + bytes(4097)))
    refuse(packed, "goes on after its last voxel")


def test_gzip_of_several_members_is_read_whole(make_nifti, values, refuse):
    data = make_nifti().read_bytes()
    path = make_nifti("scan.nii.gz")
    path.write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]) + bytes(512))
    np.testing.assert_array_equal(load_volume(path).array, values)
    path.write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:])[:-3])
    refuse(path)


def test_wrong_length_or_checksum_at_the_end_of_gzip_is_refused(make_nifti, refuse):
    path = make_nifti("scan.nii.gz")
    data = path.read_bytes()
    body = data[:-8]
    size = len(gzip.decompress(data))
    right = zlib.crc32(gzip.decompress(data))
    path.write_bytes(body + struct.pack("<II", right, size))
    load_volume(path)
    path.write_bytes(body + struct.pack("<II", right, size + 1))
    refuse(path, "damaged")
    path.write_bytes(body + struct.pack("<II", right ^ 1, size))
    refuse(path, "damaged")


@pytest.mark.parametrize(
    "name",
    [
        "scan.nii", "scan.nii.gz", "SCAN.NII", "SCAN.NII.GZ", "a b.nii", "Gehirn süß 脳.nii.gz",
        "deep/" * 20 + "x" * 200 + ".nii", ".nii", "sub-01_T1w.v2.nii.gz",
    ],
)  # fmt: skip
def test_fault_37_any_name_is_read_as_path_or_text(make_nifti, values, name):
    path = make_nifti(name)
    for given in (path, str(path)):
        np.testing.assert_array_equal(load_volume(given).array, values)


def test_fault_37_name_that_is_not_unicode_is_read_and_named(make_nifti, values, refuse):
    path = Path(os.fsdecode(os.fsencode(make_nifti().parent) + b"/caf\xe9.nii"))
    try:
        path.write_bytes(make_nifti().read_bytes())
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    np.testing.assert_array_equal(load_volume(path).array, values)
    path.write_bytes(b"")
    refuse(path)


def test_name_of_a_volume_is_its_stem(make_nifti):
    assert load_volume(make_nifti("sub-01_T1w.nii.gz")).name == "sub-01_T1w"
    assert load_volume(make_nifti("Brain.v2.NII")).name == "Brain.v2"


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
    refuse(tmp_path / "alone.nii", "pair")
    single = make_nifti("one.hdr")
    single.with_suffix(".img").write_bytes(b"x" * 1000)
    refuse(single, "one file")


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
    [(0, 2, "version 1"), (4, 0, "below 1"), (20, 9, "datatype 9"), (12, 1, "2-D")],
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


def test_slope_and_intercept_are_applied_once_and_precisely(make_nifti, values):
    path = make_nifti(scl_slope=0.1, scl_inter=-3)
    expected = (values * np.float64(np.float32(0.1)) - 3).astype(np.float32)
    np.testing.assert_array_equal(load_volume(path).array, expected)


def test_large_gz_is_proved_before_it_is_read(make_nifti, values, monkeypatch, refuse):
    monkeypatch.setattr("napari_mri7t.engine.files.reading.TRUSTED_BYTES", 0)
    monkeypatch.setattr("napari_mri7t.engine.files.reading.TRUSTED_RATIO", 0)
    path = make_nifti("scan.nii.gz")
    np.testing.assert_array_equal(load_volume(path).array, values)
    refuse(make_nifti("scan.nii.gz", dim=[3, 5, 6, 70, 1, 1, 1, 1]), "cut short")
    refuse(make_nifti("scan.nii.gz", np.ones((5, 6, 7))), "one value")


def test_series_gives_every_volume_on_one_grid(make_nifti):
    array = np.random.default_rng(0).normal(size=(5, 6, 7, 4)).astype(np.float32)
    path = make_nifti("bold.nii.gz", array)
    series = load_series(path)
    assert len(series) == 4
    assert series.array.shape == (5, 6, 7, 4)
    for index, volume in enumerate(series):
        np.testing.assert_array_equal(volume.array, array[..., index])
        alone = load_volume(path, index=index)
        np.testing.assert_array_equal(alone.array, volume.array)
        for one in (alone, volume):
            assert one.geometry is not None
            assert (one.geometry.series_index, one.geometry.series_length) == (index, 4)
    np.testing.assert_array_equal(series[-1].array, array[..., 3])
    with pytest.raises(IndexError):
        series[4]


def test_series_of_a_3d_file_has_one_volume(make_nifti, values):
    (volume,) = load_series(make_nifti())
    np.testing.assert_array_equal(volume.array, values)
