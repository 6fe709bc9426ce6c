"""Faults 11 and 22 to 28: put into plain words, recorded, and no obstacle."""

from __future__ import annotations

import re

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.volumes.volume import Volume, load_series, load_volume, save_volume


def only_warning(volume) -> str:
    assert len(volume.warnings) == 1, volume.warnings
    return volume.warnings[0]


def test_sound_file_has_no_warnings(make_nifti):
    assert load_volume(make_nifti()).warnings == ()


@pytest.mark.parametrize("size", [0, 8, 24, -16, 1 << 30])
def test_fault_11_extension_flag_without_extension_is_a_warning(make_nifti, values, size):
    path = make_nifti()
    data = bytearray(path.read_bytes())
    data[348] = 1
    data[352:352] = int(size).to_bytes(4, "little", signed=True) + bytes(12)
    data[108:112] = np.float32(368).tobytes()  # vox_offset
    path.write_bytes(data)
    volume = load_volume(path)
    assert "extension" in only_warning(volume)
    np.testing.assert_array_equal(volume.array, values)


def test_fault_11_extension_flag_without_room_is_a_warning(make_nifti):
    path = make_nifti()
    data = bytearray(path.read_bytes())
    data[348] = 1
    path.write_bytes(data)
    assert "extension" in only_warning(load_volume(path))


def test_real_extension_is_read_over_and_not_copied(tmp_path, values):
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    image.header["descrip"], image.header["db_name"] = b"Jane Doe", b"Clinic"
    image.header["aux_file"], image.header["intent_name"] = b"jane.txt", b"jane"
    nibabel.save(image, tmp_path / "scan.nii")
    volume = load_volume(tmp_path / "scan.nii")
    assert volume.warnings == ()
    saved = save_volume(volume, tmp_path / "out.nii").read_bytes()
    assert b"Jane Doe" in (tmp_path / "scan.nii").read_bytes()
    for word in (b"Jane", b"jane", b"Clinic"):
        assert word not in saved


def test_offset_that_leaves_few_levels_in_single_precision_is_a_warning(make_nifti, values):
    far = load_volume(make_nifti(array=1e9 + values.astype(np.float64)))
    assert "have no more than 3 levels in single precision" in only_warning(far)
    assert load_volume(make_nifti(array=1000 + values.astype(np.float64))).warnings == ()


def test_intensities_that_span_more_than_single_precision_holds_are_read(tmp_path):
    array = np.random.default_rng(0).random((6, 6, 6)).astype(np.float32)
    array[0, 0, :2] = 3e38, -3e38
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "x.nii")
    assert load_volume(tmp_path / "x.nii").array.max() == np.float32(3e38)


def test_fault_22_forms_that_disagree_are_a_warning_with_the_distance(make_nifti):
    volume = load_volume(make_nifti(qoffset_y=-11))
    assert "by up to 11.0 mm" in only_warning(volume)
    assert volume.affine[1, 3] == 0  # the sform counts
    assert load_volume(make_nifti(qoffset_y=-0.05)).warnings == ()


def test_fault_22_distance_is_the_largest_inside_the_volume(make_nifti):
    # A turn by 90 degrees about z: of (4, 10, 18) mm to (-10, 4, 18) mm; hypot(14, 6).
    half = np.float32(np.sqrt(0.5))
    volume = load_volume(make_nifti(quatern_d=half))
    assert f"by up to {np.hypot(14, 6):.1f} mm (0.0 mm at the first" in only_warning(volume)


def test_voxel_size_that_the_sform_contradicts_is_a_warning_without_a_qform(make_nifti):
    path = make_nifti(qform_code=0, pixdim=[1, 2, 2.01, 3, 1, 1, 1, 1])
    assert "voxels of 2 x 2.01 x 3, its sform 1 x 2 x 3" in only_warning(load_volume(path))


def test_fault_22_without_sform_the_qform_counts(make_nifti):
    volume = load_volume(make_nifti(sform_code=0, qoffset_x=-11))
    assert volume.warnings == ()
    assert volume.affine[0, 3] == -11


@pytest.mark.parametrize("bad", [np.nan, 0.9])
def test_fault_22_qform_that_is_no_rotation_is_a_warning_beside_an_sform(make_nifti, bad):
    volume = load_volume(make_nifti(quatern_b=bad, quatern_c=0.9))
    assert "qform is not a rotation" in only_warning(volume)


def test_fault_23_both_codes_zero_is_a_warning_and_follows_nibabel(make_nifti):
    path = make_nifti(sform_code=0, qform_code=0)
    volume = load_volume(path)
    assert "neither sform nor qform" in only_warning(volume)
    assert volume.geometry is not None
    np.testing.assert_array_equal(volume.geometry.affine, nibabel.load(path).affine)
    saved = nibabel.load(save_volume(volume, path.with_name("out.nii")))
    np.testing.assert_array_equal(saved.affine, nibabel.load(path).affine)
    assert saved.header["sform_code"] == saved.header["qform_code"] == 0


@pytest.mark.parametrize("code", [-1, 6, 1000])
def test_form_code_that_nifti_does_not_know_is_a_warning(make_nifti, code):
    path = make_nifti(sform_code=code)
    assert f"sform code {code} is unknown" in only_warning(load_volume(path))


def test_fault_24_shear_is_a_warning_and_survives(make_nifti):
    path = make_nifti(srow_x=[1, 0.3, 0, 0], qform_code=0)
    volume = load_volume(path)
    assert "shear" in only_warning(volume)
    saved = nibabel.load(save_volume(volume, path.with_name("out.nii")))
    np.testing.assert_array_equal(saved.affine, nibabel.load(path).affine)


@pytest.mark.parametrize("slope", [0, np.nan, np.inf])
def test_fault_25_slope_zero_or_nan_means_no_scaling_with_a_warning(make_nifti, values, slope):
    volume = load_volume(make_nifti(scl_slope=slope, scl_inter=100))
    assert "slope" in only_warning(volume)
    np.testing.assert_array_equal(volume.array, values)


def test_fault_25_huge_slope_is_applied_with_a_warning(make_nifti, values):
    volume = load_volume(make_nifti(scl_slope=1e9, scl_inter=0))
    assert "huge" in only_warning(volume)
    np.testing.assert_array_equal(volume.array, values * np.float32(1e9))


def test_fault_25_slope_beyond_float32_leaves_the_stored_numbers(make_nifti, values):
    volume = load_volume(make_nifti(scl_slope=3e38, scl_inter=0))
    assert any("stored values were used" in note for note in volume.warnings)
    np.testing.assert_array_equal(volume.array, values)


@pytest.mark.parametrize("kind", ["i2", "f4", "f8"])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_fault_25_scaling_beyond_float32_in_one_volume_counts_for_all(
    make_nifti, values, kind, name
):
    """Found by atheris: a volume read alone and one read with the others differed."""
    array = np.stack([values % 2, values], axis=-1).astype(kind)  # 2e38 fits, 4e38 does not
    path = make_nifti(name, array=array, scl_slope=2e38, scl_inter=0)
    series = load_series(path)
    for index in (0, 1):
        volume = load_volume(path, index=index)
        np.testing.assert_array_equal(volume.array, array[..., index])
        np.testing.assert_array_equal(series[index].array, volume.array)
        assert series.warnings == volume.warnings


def test_fault_25_intercept_that_is_no_number_is_a_warning(make_nifti, values):
    volume = load_volume(make_nifti(scl_slope=2, scl_inter=np.nan))
    assert "intercept" in only_warning(volume)
    np.testing.assert_array_equal(volume.array, values * 2)


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "f8"])
def test_fault_26_float_is_saved_as_float_whatever_the_source_was(make_nifti, values, kind):
    path = make_nifti(array=(values % 100).astype(kind), scl_slope=2, scl_inter=1)
    volume = load_volume(path)
    estimate = volume.with_array(volume.array / 7)
    saved = nibabel.load(save_volume(estimate, path.with_name("out.nii")))
    assert saved.get_data_dtype() == np.float32
    assert saved.dataobj.slope == 1
    np.testing.assert_array_equal(np.asarray(saved.dataobj), estimate.array)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_fault_28_some_nan_voxels_become_background_with_a_warning(make_nifti, bad):
    array = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    array[0, 0, :3] = bad
    volume = load_volume(make_nifti(array=array))
    assert only_warning(volume).startswith("3 of 210 voxels were NaN or infinite")
    assert (volume.array[0, 0, :3] == 0).all()
    np.testing.assert_array_equal(volume.array[1:], array[1:])


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_fault_28_nan_voxels_get_the_background_of_a_scan_on_another_scale(make_nifti, name):
    array = np.full((9, 10, 11), -0.75, np.float32)
    array[2:-2, 2:-2, 2:-2] = np.random.default_rng(0).normal(size=(5, 6, 7))
    array[0] = array[4, 5, 5] = np.nan
    path = make_nifti(name, array=array)
    expected = np.where(np.isfinite(array), array, np.float32(-0.75))
    for volume in (load_volume(path), Volume.from_nibabel(nibabel.Nifti1Image(array, np.eye(4)))):
        assert only_warning(volume).endswith("they were set to the background, -0.75")
        np.testing.assert_array_equal(volume.array, expected)


def test_fault_28_mask_of_nan_and_one_is_an_image(make_nifti):
    array = np.full((5, 6, 7), np.nan, np.float32)
    array[2:] = 1
    assert load_volume(make_nifti(array=array)).array.sum() == 3 * 42


@pytest.mark.parametrize(("units", "word", "factor"), [(1, "meter", 1000), (3, "micron", 1e-3)])
def test_lengths_in_another_unit_become_mm_in_memory_and_stay_in_the_file(
    make_nifti, units, word, factor
):
    zooms = np.array([1, 2, 3]) / factor
    path = make_nifti(
        xyzt_units=units | 8, pixdim=[1, *zooms, 0, 0, 0, 0],
        srow_x=[zooms[0], 0, 0, 0], srow_y=[0, zooms[1], 0, 0], srow_z=[0, 0, zooms[2], 0],
    )  # fmt: skip
    volume = load_volume(path)
    assert only_warning(volume).startswith(f"lengths are stored in {word}; they were converted")
    np.testing.assert_allclose(volume.voxel_size, [1, 2, 3])
    saved = nibabel.load(save_volume(volume, path.with_name("out.nii")))
    assert saved.header.get_xyzt_units() == (word, "sec")
    np.testing.assert_allclose(saved.header.get_zooms(), zooms)
    np.testing.assert_array_equal(saved.affine, nibabel.load(path).affine)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, ("in meter", "1000 x 2000 x 3000 mm")),
        (3, ("in micron", "0.001 x 0.002 x 0.003 mm")),
        (5, ("code 5",)),
    ],
)
def test_unit_that_the_voxel_size_contradicts_is_named_and_mm_taken(make_nifti, code, words):
    path = make_nifti(xyzt_units=code | 16)
    volume = load_volume(path)
    assert all(word in only_warning(volume) for word in (*words, "taken as mm"))
    np.testing.assert_allclose(volume.voxel_size, [1, 2, 3])
    saved = save_volume(volume, path.with_name("out.nii"))
    assert nibabel.load(saved).header.get_xyzt_units() == ("mm", "msec")
    assert load_volume(saved).warnings == ()


def test_negative_voxel_size_and_wrong_bit_count_are_warnings(make_nifti):
    volume = load_volume(make_nifti(pixdim=[1, -1, 2, 3, 0, 0, 0, 0]))
    assert "negative" in only_warning(volume)
    assert "datatype was used" in only_warning(load_volume(make_nifti(bitpix=32)))


@pytest.fixture
def brain_file(tmp_path):
    """A ball of tissue with air around it, in a file without a checksum."""
    array = np.random.default_rng(0).integers(50, 200, (40, 40, 40)).astype(np.int16)
    distance = np.sqrt(np.square(np.indices(array.shape) - 19.5).sum(axis=0))
    nibabel.save(
        nibabel.Nifti1Image(np.where(distance < 17, array, 0), np.eye(4)), tmp_path / "x.nii"
    )
    return tmp_path / "x.nii"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ((0.6, 1.0), "the last 16 of 40 slices are 0, and the image ends abruptly at them"),
        ((0.51, 0.62), r"\d of 40 slices are 0, and the image ends abruptly at them"),
    ],
)
def test_zeros_that_an_interrupted_copy_left_are_a_warning(brain_file, part, words):
    content = bytearray(brain_file.read_bytes())
    size = len(content) - 352
    start, stop = (352 + int(share * size) for share in part)
    content[start:stop] = bytes(stop - start)
    brain_file.write_bytes(content)
    assert re.search(words, only_warning(load_volume(brain_file)))


def test_empty_slices_around_a_brain_a_part_or_lesions_are_no_warning(brain_file):
    array = nibabel.load(brain_file, mmap=False).get_fdata()
    places = np.indices(array.shape) - 19.5
    lesions = sum(np.square(places + n).sum(axis=0) < 20 for n in (-6, 6)).astype(np.int16)
    for usual in (array, np.pad(array[:, :, 12:25], ((0, 0), (0, 0), (9, 9))), lesions):
        nibabel.save(nibabel.Nifti1Image(usual, np.eye(4)), brain_file)
        assert not load_volume(brain_file).warnings
