"""Reading: what stands where a file should be, streams, formats, paths."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.system import available_memory
from napari_mri7t.engine.volumes.files import reading
from napari_mri7t.engine.volumes.volume import load_series, load_volume

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
    (tmp_path / "scan.dcm").write_bytes(bytes(range(256)))
    refuse(tmp_path / "scan.dcm", ".nii.gz", "dcm2niix")


def test_path_that_the_system_refuses_is_put_into_words(tmp_path, refuse):
    refuse(tmp_path / ("n" * 300 + ".nii"))
    refuse(tmp_path / "null\0byte.nii")


def test_input_output_error_while_reading_is_put_into_words(make_nifti, monkeypatch, refuse):
    path = make_nifti()

    def fail(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("napari_mri7t.engine.volumes.files.reading.read_fully", fail)
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
    refuse(packed, "continues after its last voxel")


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


def test_slope_and_intercept_are_applied_once_and_precisely(make_nifti, values):
    path = make_nifti(scl_slope=0.1, scl_inter=-3)
    expected = (values * np.float64(np.float32(0.1)) - 3).astype(np.float32)
    np.testing.assert_array_equal(load_volume(path).array, expected)


def test_large_gz_is_proved_before_it_is_read(make_nifti, values, monkeypatch, refuse):
    monkeypatch.setattr("napari_mri7t.engine.volumes.files.reading.TRUSTED_BYTES", 0)
    monkeypatch.setattr("napari_mri7t.engine.volumes.files.reading.TRUSTED_RATIO", 0)
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


def test_free_memory_is_known_and_a_container_may_have_less(tmp_path, monkeypatch):
    machine = available_memory()
    assert machine is not None
    assert machine > 1e6
    for name, text in (
        ("memory.max", "5000"),
        ("memory.current", "4000"),
        ("memory.stat", "anon 1000\ninactive_file 300\n"),  # cache that is given back on demand
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("napari_mri7t.engine.system.CONTROL_GROUP", tmp_path)
    assert available_memory() == 1300
    (tmp_path / "memory.max").write_text("max")
    assert available_memory() > 1e6
    monkeypatch.setattr("napari_mri7t.engine.system.MEMORY_FACTS", tmp_path / "none")
    assert available_memory() > 1e6  # what the machine has, in all
    monkeypatch.setattr("napari_mri7t.engine.system.MEMORY_FACTS", tmp_path / "memory.max")
    assert available_memory() is None


def test_file_that_vanishes_while_it_is_read_is_put_into_words(make_nifti, monkeypatch, refuse):
    path = make_nifti()
    parse = reading.parse_nifti

    def parse_and_remove(*args, **kwargs):
        header = parse(*args, **kwargs)
        path.rename(path.with_name("elsewhere"))
        return header

    monkeypatch.setattr(reading, "parse_nifti", parse_and_remove)
    with pytest.raises(VolumeError, match=r"scan\.nii: cannot be read"):
        load_volume(path)


def test_file_without_permission_is_put_into_words(make_nifti, monkeypatch, refuse):
    path = make_nifti()

    def forbid(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", forbid)  # root passes every real permission
    refuse(path, "Permission denied")


def test_volume_of_a_file_without_a_stem_has_a_name(make_nifti):
    assert load_volume(make_nifti(".nii.gz")).name == ".nii.gz"
