"""Faults 1 to 16 of the reliability list: refused in words, with the file's name, and in time."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volume import Volume, load_series, load_volume

AFFINE = np.diag([1.0, 2, 3, 1])


def refuse(path: Path, *words: str) -> str:
    """Both loaders refuse the file, name it, and say what is wrong and what to do."""
    with pytest.raises(VolumeError) as caught:
        load_volume(path)
    with pytest.raises(VolumeError):
        load_series(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.removeprefix(f"{path}: ").count(": ") >= 1, message
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz", "a.mgh", "a.hdr", "a.img"])
def test_fault_01_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    refuse(tmp_path / name, "is empty")


@pytest.mark.parametrize("kept", [1, 100, 347, 348, 351, 352, 353, 500, 771])
def test_fault_02_truncated_nii_is_refused(make_nifti, kept):
    path = make_nifti()
    data = path.read_bytes()
    assert len(data) == 352 + 5 * 6 * 7 * 2  # 772
    path.write_bytes(data[:kept])
    refuse(path, "copy")


def test_fault_03_gz_truncated_anywhere_is_refused(make_nifti):
    path = make_nifti("scan.nii.gz")
    data = path.read_bytes()
    for kept in range(1, len(data)):
        path.write_bytes(data[:kept])
        refuse(path)


def test_fault_04_flipped_bit_in_gzip_is_refused(make_nifti):
    path = make_nifti("scan.nii.gz")
    data = path.read_bytes()
    reference = load_volume(path)
    refused = 0
    for bit in range(len(data) * 8):
        spoilt = bytearray(data)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        try:
            volume = load_volume(path)
        except VolumeError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
        else:  # the date in gzip's header, or a match that points to other zeros
            np.testing.assert_array_equal(volume.array, reference.array)
    assert refused > 0.95 * (len(data) - 10) * 8


def test_fault_04_flipped_bit_after_the_last_voxel_needed_is_refused(make_nifti):
    path = make_nifti("scan.nii.gz", np.random.default_rng(0).normal(size=(5, 6, 7, 3)))
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="damaged"):
        load_volume(path, index=0)


def test_fault_05_gz_name_without_gzip_is_refused(make_nifti, tmp_path):
    path = make_nifti().rename(tmp_path / "scan.nii.gz")
    refuse(path, "is not", "rename")


def test_fault_05_gzip_without_gz_name_is_refused(make_nifti, tmp_path):
    path = make_nifti("scan.nii.gz").rename(tmp_path / "scan.nii")
    refuse(path, "gzip-compressed", "rename")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20, "web page"),
        (b"\n\n  <html lang='en'>" + b" " * 1000, "web page"),
        (b"subject,age,sex\nsub-01,33,F\n" * 40, "text"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n",
            "git lfs pull",
        ),
        (bytes(1000), "is not a NIfTI"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "is not a NIfTI"),
        (struct.pack("<i", 348) + bytes(1000), "signature"),  # Analyze 7.5
    ],
)
def test_fault_06_html_text_or_pointer_under_nii_name_is_refused(tmp_path, content, word):
    path = tmp_path / "scan.nii"
    path.write_bytes(content)
    refuse(path, word)
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(content))
    refuse(path, word)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("size", [200, 1200, 32767])
def test_fault_07_dimensions_beyond_the_file_are_refused_at_once(make_nifti, name, size):
    path = make_nifti(name, dim=[3, size, size, size, 1, 1, 1, 1])
    started = time.perf_counter()
    refuse(path, "declares")
    assert time.perf_counter() - started < 1


def test_fault_07_tiny_gz_that_declares_gigabytes_takes_little_memory(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((1200, 1300, 1025))
    header.set_data_dtype(np.float32)  # 6.4 GB
    header["magic"], header["vox_offset"] = b"n+1", 352
    path = tmp_path / "huge.nii.gz"
    path.write_bytes(gzip.compress(bytes(header.binaryblock) + bytes(4), mtime=0))
    assert path.stat().st_size < 100
    seconds, growth = load_elsewhere(path)
    assert seconds < 1
    assert growth < 64e6


def test_fault_07_volume_larger_than_the_memory_is_refused(make_nifti, monkeypatch):
    monkeypatch.setattr("napari_mri7t.engine.files.reading.available_memory", lambda: 800)
    refuse(make_nifti(), "memory")  # 210 voxels of 4 bytes: 840


def test_fault_07_failed_allocation_becomes_words(make_nifti, monkeypatch):
    def no_memory(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("napari_mri7t.engine.files.reading.np.empty", no_memory)
    refuse(make_nifti(), "memory")


@pytest.mark.parametrize(
    "dim",
    [
        [3, 0, 6, 7, 1, 1, 1, 1],
        [3, -5, 6, 7, 1, 1, 1, 1],
        [3, -5, -6, 7, 1, 1, 1, 1],
        [4, 5, 6, 7, 0, 1, 1, 1],
        [0, 5, 6, 7, 1, 1, 1, 1],
        [-1, 5, 6, 7, 1, 1, 1, 1],
        [8, 5, 6, 7, 1, 1, 1, 1],
    ],
)
def test_fault_08_zero_or_negative_dimensions_are_refused(make_nifti, dim):
    refuse(make_nifti(dim=dim), "header is damaged")


def bomb(path: Path, start: bytes, n_zeros: int) -> Path:
    """Write a .gz of `start` and then zeros, which compress 1000 to 1."""
    with gzip.open(path, "wb", 9) as file:
        file.write(start)
        block = bytes(1 << 24)
        for _ in range(n_zeros >> 24):
            file.write(block)
    return path


def test_fault_09_gzip_bomb_behind_an_honest_image_is_refused(make_nifti, tmp_path):
    path = bomb(tmp_path / "bomb.nii.gz", make_nifti().read_bytes(), 1 << 30)
    seconds, growth = load_elsewhere(path)
    assert seconds < 2
    assert growth < 64e6


@pytest.mark.parametrize("side", [600, 1000])
def test_fault_09_gzip_bomb_with_a_matching_header_is_refused(tmp_path, side):
    header = nibabel.Nifti1Header()
    header.set_data_shape((side, side, side))
    header.set_data_dtype(np.uint8)
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    start = bytes(header.binaryblock) + bytes(4)
    path = bomb(tmp_path / "bomb.nii.gz", start, side**3)
    seconds, growth = load_elsewhere(path)
    assert seconds < 5
    assert growth < 64e6


def load_elsewhere(path: Path) -> tuple[float, float]:
    """Load in a fresh process, which must refuse; return seconds and growth of its peak memory."""
    code = """
import resource, sys, time
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volume import load_volume
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, started = peak(), time.perf_counter()
try:
    load_volume(sys.argv[1])
except VolumeError as error:
    assert str(error).startswith(sys.argv[1] + ": "), error
    print(time.perf_counter() - started, peak() - before)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    seconds, growth = ran.stdout.split()
    return float(seconds), float(growth)


@pytest.mark.parametrize(
    ("code", "bits", "word"),
    [
        (128, 24, "RGB"),
        (2304, 32, "RGBA"),
        (32, 64, "complex"),
        (1792, 128, "complex"),
        (2048, 256, "complex"),
        (1536, 128, "128-bit"),
        (1, 1, "bits"),
        (0, 0, "datatype 0"),
        (77, 16, "datatype 77"),
        (-4, 16, "datatype -4"),
    ],
)
def test_fault_10_rgb_complex_or_unknown_datatype_is_refused(make_nifti, code, bits, word):
    refuse(make_nifti(datatype=code, bitpix=bits), word)


def test_fault_12_several_volumes_without_an_index_are_refused(make_nifti):
    array = np.arange(5 * 6 * 7 * 3, dtype=np.int16).reshape(5, 6, 7, 3)
    path = make_nifti(array=array)
    with pytest.raises(VolumeError, match=r"scan.nii: holds 3 volumes: .*--index.* 0 to 2"):
        load_volume(path)
    for index in (-1, 3):
        with pytest.raises(VolumeError, match="0 to 2"):
            load_volume(path, index=index)
    np.testing.assert_array_equal(load_volume(path, index=1).array, array[..., 1])


@pytest.mark.parametrize("tail", [(1,), (1, 1), (1, 1, 1, 1)])
def test_fault_12_trailing_ones_are_accepted(make_nifti, values, tail):
    volume = load_volume(make_nifti(array=values.reshape(values.shape + tail)))
    np.testing.assert_array_equal(volume.array, values)


def test_fault_12_fifth_dimension_is_refused(make_nifti):
    refuse(make_nifti(array=np.ones((5, 6, 7, 1, 3))), "more than 4 dimensions")


@pytest.mark.parametrize(
    "dim", [[2, 5, 42, 1, 1, 1, 1, 1], [1, 210, 1, 1, 1, 1, 1, 1], [3, 5, 42, 1, 1, 1, 1, 1]]
)
def test_fault_13_two_dimensional_image_is_refused(make_nifti, dim):
    refuse(make_nifti(dim=dim), "2-D")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e20])
@pytest.mark.parametrize("form", ["sform", "qform"])
def test_fault_14_affine_with_nan_is_refused(make_nifti, form, bad):
    if form == "sform":
        path = make_nifti(srow_y=[0, 2, bad, 0])
    else:
        path = make_nifti(sform_code=0, qoffset_y=bad)
    refuse(path, f"its {form}")


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1e-7, 0, 5]])
def test_fault_14_singular_affine_is_refused(make_nifti, row):
    refuse(make_nifti(srow_y=row), "its sform")


def test_fault_14_quaternion_that_is_no_rotation_is_refused(make_nifti):
    refuse(make_nifti(sform_code=0, quatern_b=0.9, quatern_c=0.9), "its qform")


@pytest.mark.parametrize("affine", [np.full((4, 4), np.nan), np.zeros((4, 4)), np.eye(3)])
def test_fault_14_affine_of_a_volume_in_memory_is_checked(values, affine):
    with pytest.raises(VolumeError, match="brain: its affine"):
        Volume(values, affine, name="brain")


@pytest.mark.parametrize("size", [0, np.nan, np.inf])
def test_fault_15_voxel_size_zero_or_nan_is_refused(make_nifti, size):
    refuse(make_nifti(pixdim=[1, 1, size, 3, 0, 0, 0, 0]), "voxel size")


def test_fault_15_mgh_voxel_size_zero_is_refused(tmp_path, values):
    path = tmp_path / "scan.mgh"
    nibabel.save(nibabel.MGHImage(values.astype(np.float32), AFFINE), path)
    data = bytearray(path.read_bytes())
    data[30:34] = bytes(4)  # delta of x
    path.write_bytes(data)
    refuse(path, "voxel size of 0")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 7])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_fault_16_all_nan_constant_or_empty_image_is_refused(make_nifti, name, value):
    word = "one value" if np.isfinite(value) else "finite"
    refuse(make_nifti(name, np.full((5, 6, 7), value, np.float32)), word)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.nii: no such file"):
        load_volume(tmp_path / "nowhere.nii")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_volume(tmp_path / "file.nii" / "below.nii")


def test_folder_device_or_socket_in_place_of_a_file_is_refused(tmp_path):
    refuse(tmp_path, "folder")
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    refuse(tmp_path / "zero.nii", "regular")
    os.mkfifo(tmp_path / "pipe.nii")  # reading one waits for ever
    refuse(tmp_path / "pipe.nii", "regular")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.nii"))
        refuse(tmp_path / "s.nii", "regular")


def test_unknown_extension_lists_the_known_ones(tmp_path):
    (tmp_path / "scan.dcm").write_bytes(b"DICM")
    refuse(tmp_path / "scan.dcm", ".nii.gz", "dcm2niix")


def test_path_that_the_system_refuses_is_put_into_words(tmp_path):
    refuse(tmp_path / ("n" * 300 + ".nii"))
    refuse(tmp_path / "null\0byte.nii")


def test_input_output_error_while_reading_is_put_into_words(make_nifti, monkeypatch):
    path = make_nifti()

    def fail(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("napari_mri7t.engine.files.reading.read_fully", fail)
    refuse(path, "Input/output error")


def test_file_longer_than_declared_is_refused(make_nifti):
    path = make_nifti()
    data = path.read_bytes()
    path.write_bytes(data + bytes(4096))  # padding to a block
    load_volume(path)
    path.write_bytes(data + bytes(4097))
    refuse(path, "declares")
    packed = path.with_name("scan.nii.gz")
    packed.write_bytes(gzip.compress(data + bytes(4097)))
    refuse(packed, "goes on after its last voxel")


def test_gzip_of_several_members_is_read_whole(make_nifti, values):
    data = make_nifti().read_bytes()
    path = make_nifti("scan.nii.gz")
    path.write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]) + bytes(512))
    np.testing.assert_array_equal(load_volume(path).array, values)
    path.write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:])[:-3])
    refuse(path)


def test_wrong_length_or_checksum_at_the_end_of_gzip_is_refused(make_nifti):
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
