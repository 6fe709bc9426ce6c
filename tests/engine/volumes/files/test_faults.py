"""Faults 1 to 16 of the reliability list: refused with the file's name, before much is read."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files import reading
from napari_mri7t.engine.volumes.files.headers import HEADER_BYTES
from napari_mri7t.engine.volumes.volume import load_volume

AFFINE = np.diag([1.0, 2, 3, 1])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz", "a.mgh", "a.hdr", "a.img"])
def test_fault_01_empty_file_is_refused(tmp_path, name, refuse):
    (tmp_path / name).touch()
    refuse(tmp_path / name, "is empty")


@pytest.mark.parametrize("kept", [1, 100, 347, 348, 351, 352, 353, 500, 771])
def test_fault_02_truncated_nii_is_refused(make_nifti, kept, refuse):
    path = make_nifti()
    data = path.read_bytes()
    assert len(data) == 352 + 5 * 6 * 7 * 2  # 772
    path.write_bytes(data[:kept])
    refuse(path, "copy")


def test_fault_03_gz_truncated_anywhere_is_refused(make_nifti, refuse):
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
    for bit in range(0, len(data) * 8, 3):
        spoilt = bytearray(data)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        try:
            volume = load_volume(path)
        except VolumeError:
            refused += 1
        else:  # the date in gzip's header, or a match that points to other zeros
            np.testing.assert_array_equal(volume.array, reference.array)
    assert refused > 0.95 * (len(data) - 10) * 8 / 3


def test_fault_04_flipped_bit_after_the_last_voxel_needed_is_refused(make_nifti):
    path = make_nifti("scan.nii.gz", np.random.default_rng(0).normal(size=(5, 6, 7, 3)))
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="damaged"):
        load_volume(path, index=0)


def test_fault_04_flipped_bit_far_behind_the_volume_that_is_read_is_refused(make_nifti):
    """Farther than any buffer reads ahead: the rest of a series is read for its checksum."""
    rest = np.random.default_rng(0).integers(0, 30000, size=(32, 32, 32, 40), dtype=np.int16)
    path = make_nifti("scan.nii.gz", rest)
    data = bytearray(path.read_bytes())
    assert len(data) > 2_000_000
    data[-6] ^= 4  # in the checksum itself
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="damaged"):
        load_volume(path, index=0)


def test_fault_05_gz_name_without_gzip_is_refused(make_nifti, tmp_path, refuse):
    path = make_nifti().rename(tmp_path / "scan.nii.gz")
    refuse(path, "is not", "rename")


def test_fault_05_gzip_without_gz_name_is_refused(make_nifti, tmp_path, refuse):
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
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "PNG picture"),
        (struct.pack("<i", 348) + bytes(1000), "signature"),  # Analyze 7.5
    ],
)
def test_fault_06_html_text_or_pointer_under_nii_name_is_refused(tmp_path, content, word, refuse):
    path = tmp_path / "scan.nii"
    path.write_bytes(content)
    refuse(path, word)
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(content))
    refuse(path, word)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("size", [200, 1200, 32767])
def test_fault_07_dimensions_beyond_the_file_are_refused_by_the_header_alone(
    make_nifti, name, size, refuse, monkeypatch
):
    path = make_nifti(name, dim=[3, size, size, size, 1, 1, 1, 1])
    wanted, read_fully = [], reading.read_fully
    monkeypatch.setattr(
        reading, "read_fully", lambda stream, n: wanted.append(n) or read_fully(stream, n)
    )
    refuse(path, "declares")
    assert wanted == [HEADER_BYTES] * 2  # by each of the two loaders


def test_fault_07_tiny_gz_that_declares_gigabytes_takes_little_memory(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((1200, 1300, 1025))
    header.set_data_dtype(np.float32)  # 6.4 GB
    header["magic"], header["vox_offset"] = b"n+1", 352
    path = tmp_path / "huge.nii.gz"
    path.write_bytes(gzip.compress(bytes(header.binaryblock) + bytes(4), mtime=0))
    assert path.stat().st_size < 100
    n_bytes, growth = load_elsewhere(path)
    assert n_bytes <= HEADER_BYTES
    assert growth < 64e6


def test_fault_07_volume_larger_than_the_memory_is_refused(make_nifti, monkeypatch, refuse):
    monkeypatch.setattr("napari_mri7t.engine.volumes.files.reading.available_memory", lambda: 800)
    refuse(make_nifti(), "memory")  # 210 voxels of 4 bytes: 840


def test_fault_07_failed_allocation_becomes_words(make_nifti, monkeypatch, refuse):
    def no_memory(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("napari_mri7t.engine.volumes.files.reading.np.empty", no_memory)
    refuse(make_nifti(), "memory")


@pytest.mark.parametrize(
    "dim",
    [
        [3, 0, 6, 7, 1, 1, 1, 1],
        [3, -5, 6, 7, 1, 1, 1, 1],
        [3, -5, -6, 7, 1, 1, 1, 1],
        [0, 5, 6, 7, 1, 1, 1, 1],
        [-1, 5, 6, 7, 1, 1, 1, 1],
        [8, 5, 6, 7, 1, 1, 1, 1],
    ],
)
def test_fault_08_zero_or_negative_dimensions_are_refused(make_nifti, dim, refuse):
    refuse(make_nifti(dim=dim), "header is damaged")


@pytest.mark.parametrize(
    ("dim", "words"),
    [
        ([4, 5, 6, 7, 0, 1, 1, 1], ("declares 0 volumes", "5 x 6 x 7 x 0", "dim[4]")),
        ([4, 5, 6, 7, -1, 1, 1, 1], ("declares -1 volumes", "dim[4]")),
        ([5, 5, 6, 7, 1, 0, 1, 1], ("declares 0 volumes", "dim[5]")),
    ],
)
def test_fault_08_zero_volumes_are_named_with_the_field_to_set(make_nifti, dim, words, refuse):
    refuse(make_nifti(dim=dim), *words, "set this size to 1", "convert the scan again")


def bomb(path: Path, start: bytes, n_zeros: int) -> Path:
    """Write a .gz of `start` and then zeros, which compress 1000 to 1."""
    members, rest = divmod(n_zeros, 1 << 24)
    zeros = gzip.compress(bytes(1 << 24)) * members + gzip.compress(bytes(rest))
    path.write_bytes(gzip.compress(start) + zeros)
    return path


def test_fault_09_gzip_bomb_behind_an_honest_image_is_refused(make_nifti, tmp_path):
    path = bomb(tmp_path / "bomb.nii.gz", make_nifti().read_bytes(), 1 << 30)
    n_bytes, growth = load_elsewhere(path)
    assert n_bytes < 16e3
    assert growth < 64e6


@pytest.mark.parametrize(("side", "most_bytes"), [(600, 600**3 + 16e3), (1000, HEADER_BYTES)])
def test_fault_09_gzip_bomb_with_a_matching_header_is_refused(tmp_path, side, most_bytes):
    header = nibabel.Nifti1Header()
    header.set_data_shape((side, side, side))
    header.set_data_dtype(np.uint8)
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    start = bytes(header.binaryblock) + bytes(4)
    path = bomb(tmp_path / "bomb.nii.gz", start, side**3)
    n_bytes, growth = load_elsewhere(path)
    assert n_bytes <= most_bytes
    assert growth < 64e6


def test_fault_09_image_that_decompresses_as_no_image_does_is_refused(
    make_nifti, monkeypatch, refuse
):
    monkeypatch.setattr("napari_mri7t.engine.volumes.files.reading.UNFOLDED_BYTES", 0)
    monkeypatch.setattr("napari_mri7t.engine.volumes.files.reading.UNFOLDED_RATIO", 2)
    refuse(make_nifti("scan.nii.gz"), "would decompress")


def load_elsewhere(path: Path) -> tuple[int, int]:
    """Load in a fresh process, which must refuse; return bytes decompressed and memory grown."""
    code = """
import resource, sys
from isal import igzip
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.volume import load_volume

class Counting(igzip.IGzipFile):
    n_bytes = 0
    def read(self, size=-1):
        data = super().read(size)
        Counting.n_bytes += len(data)
        return data

igzip.IGzipFile = Counting
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
try:
    load_volume(sys.argv[1])
except VolumeError as error:
    assert str(error).startswith(sys.argv[1] + ": "), error
    print(Counting.n_bytes, peak() - before)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    n_bytes, growth = ran.stdout.split()
    return int(n_bytes), int(growth)
