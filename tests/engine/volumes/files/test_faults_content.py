"""Faults 10 to 16 of the reliability list: what a sound file holds may still be no volume."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.volume import Volume, load_volume

AFFINE = np.diag([1.0, 2, 3, 1])


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
def test_fault_10_rgb_complex_or_unknown_datatype_is_refused(make_nifti, code, bits, word, refuse):
    refuse(make_nifti(datatype=code, bitpix=bits), word)


def test_fault_12_several_volumes_without_an_index_are_refused(make_nifti):
    array = np.arange(5 * 6 * 7 * 3, dtype=np.int16).reshape(5, 6, 7, 3)
    path = make_nifti(array=array)
    with pytest.raises(VolumeError, match=r"scan.nii: holds 3 volumes: .*index, 0 to 2") as caught:
        load_volume(path)
    assert caught.value.argument == "index"
    for index in (-1, 3):
        with pytest.raises(VolumeError, match="0 to 2"):
            load_volume(path, index=index)
    np.testing.assert_array_equal(load_volume(path, index=1).array, array[..., 1])


@pytest.mark.parametrize("tail", [(1,), (1, 1), (1, 1, 1, 1)])
def test_fault_12_trailing_ones_are_accepted(make_nifti, values, tail):
    volume = load_volume(make_nifti(array=values.reshape(values.shape + tail)))
    np.testing.assert_array_equal(volume.array, values)


def test_fault_12_fifth_dimension_is_refused(make_nifti, refuse):
    refuse(make_nifti(array=np.ones((5, 6, 7, 1, 3))), "more than 4 dimensions")


@pytest.mark.parametrize(
    "dim", [[2, 5, 42, 1, 1, 1, 1, 1], [1, 210, 1, 1, 1, 1, 1, 1], [3, 5, 42, 1, 1, 1, 1, 1]]
)
def test_fault_13_two_dimensional_image_is_refused(make_nifti, dim, refuse):
    refuse(make_nifti(dim=dim), "2-D")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e20])
@pytest.mark.parametrize("form", ["sform", "qform"])
def test_fault_14_affine_with_nan_is_refused(make_nifti, form, bad, refuse):
    if form == "sform":
        path = make_nifti(srow_y=[0, 2, bad, 0])
    else:
        path = make_nifti(sform_code=0, qoffset_y=bad)
    refuse(path, f"its {form}")


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1e-7, 0, 5]])
def test_fault_14_singular_affine_is_refused(make_nifti, row, refuse):
    refuse(make_nifti(srow_y=row), "its sform")


def test_fault_14_quaternion_that_is_no_rotation_is_refused(make_nifti, refuse):
    refuse(make_nifti(sform_code=0, quatern_b=0.9, quatern_c=0.9), "its qform")


@pytest.mark.parametrize("affine", [np.full((4, 4), np.nan), np.zeros((4, 4)), np.eye(3)])
def test_fault_14_affine_of_a_volume_in_memory_is_checked(values, affine):
    with pytest.raises(VolumeError, match="brain: its affine"):
        Volume(values, affine, name="brain")


@pytest.mark.parametrize("size", [0, np.nan, np.inf])
def test_fault_15_voxel_size_zero_or_nan_is_refused(make_nifti, size, refuse):
    refuse(make_nifti(pixdim=[1, 1, size, 3, 0, 0, 0, 0]), "voxel size")


def test_fault_15_mgh_voxel_size_zero_is_refused(tmp_path, values, refuse):
    path = tmp_path / "scan.mgh"
    nibabel.save(nibabel.MGHImage(values.astype(np.float32), AFFINE), path)
    data = bytearray(path.read_bytes())
    data[30:34] = bytes(4)  # delta of x
    path.write_bytes(data)
    refuse(path, "voxel size of 0")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 7])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_fault_16_all_nan_constant_or_empty_image_is_refused(make_nifti, name, value, refuse):
    word = "one value" if np.isfinite(value) else "finite"
    refuse(make_nifti(name, np.full((5, 6, 7), value, np.float32)), word)
