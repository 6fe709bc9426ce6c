"""nibabel images: the same volume as from the file, refused for the same faults, and back."""

from __future__ import annotations

import gzip
import io

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.volume import Volume, as_volume, load_volume, save_volume

OBLIQUE = np.array([[-0.8, 0.6, 0, 5], [0.6, 0.8, 0, -6], [0, 0, 1.1, 7], [0, 0, 0, 1]])


def in_memory(path) -> nibabel.Nifti1Image:
    """The image of a file without the file: header, affine and scaled voxels."""
    image = nibabel.load(path)
    return type(image)(np.asanyarray(image.dataobj), image.affine, image.header)


def assert_same(found: Volume, expected: Volume):
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_array_equal(found.affine, expected.affine)
    assert (found.name, found.warnings) == (expected.name, expected.warnings)
    for name in ("shape", "sform_code", "qform_code", "quaternion", "zooms", "units", "version"):
        assert getattr(found.geometry, name) == getattr(expected.geometry, name), name


@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image", "MGHImage"])
@pytest.mark.parametrize("axes", ["RAS", "LPI", "SAR"])
def test_image_gives_the_volume_of_its_file(values, tmp_path, kind, axes):
    image = getattr(nibabel, kind)(values.astype(np.float32), OBLIQUE)
    order = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))
    image = image.as_reoriented(order)
    path = tmp_path / ("scan.mgz" if kind == "MGHImage" else "scan.nii.gz")
    nibabel.save(image, path)
    expected = load_volume(path)
    loaded = Volume.from_nibabel(nibabel.load(path))
    assert_same(loaded, expected)
    assert loaded.geometry.path == path
    alone = Volume.from_nibabel(in_memory(path), "scan")
    np.testing.assert_allclose(alone.affine, expected.affine, atol=1e-5)  # MGH is float32
    np.testing.assert_array_equal(alone.array, expected.array)
    assert alone.orientation == "RAS"
    assert alone.geometry.path is None


def test_scaled_voxels_units_codes_and_oddities_are_those_of_the_file(make_nifti):
    path = make_nifti(scl_slope=0.1, scl_inter=-3, xyzt_units=3, sform_code=4, qoffset_x=5e4)
    expected = load_volume(path)
    assert len(expected.warnings) == 2
    assert_same(Volume.from_nibabel(nibabel.load(path)), expected)
    assert_same(Volume.from_nibabel(in_memory(path), "scan"), expected)


def test_affine_of_the_image_counts_over_its_header_and_its_file(make_nifti):
    image = nibabel.load(make_nifti())
    moved = Volume.from_nibabel(nibabel.Nifti1Image(image.dataobj, OBLIQUE, image.header))
    np.testing.assert_allclose(moved.affine, OBLIQUE @ np.diag([-1, 1, 1, 1]) @ shift(4), atol=1e-6)
    image.header.set_sform(OBLIQUE, 2)  # nibabel writes image.affine all the same
    np.testing.assert_array_equal(Volume.from_nibabel(image).affine, np.diag([1, 2, 3, 1]))


def shift(voxels: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[0, 3] = -voxels
    return matrix


def test_damaged_file_is_refused_though_nibabel_would_load_it(make_nifti):
    path = make_nifti("scan.nii.gz", np.random.default_rng(0).random((30, 30, 30)))
    data = bytearray(path.read_bytes())
    data[-8] ^= 1  # the checksum
    path.write_bytes(data)
    image = nibabel.load(path)
    assert np.isfinite(image.dataobj[..., :29]).all()
    with pytest.raises(VolumeError, match=r"scan\.nii\.gz: is damaged"):
        Volume.from_nibabel(image)


def test_stream_that_ends_early_is_refused(make_nifti):
    data = gzip.decompress(make_nifti("scan.nii.gz").read_bytes())[:-10]
    file = nibabel.FileHolder(fileobj=io.BytesIO(data))
    with pytest.raises(VolumeError, match=r"(?s)volume: cannot be read \(.*load the image again"):
        Volume.from_nibabel(nibabel.Nifti1Image.from_file_map({"image": file, "header": file}))


def image_of(array, affine=OBLIQUE, kind=nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    return kind(array, affine)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (image_of(np.zeros((4, 5, 6, 2), "f4")), r"holds 2 volumes: choose one with index"),
        (image_of(np.zeros((4, 5, 1), "f4")), "is 2-D"),
        (image_of(np.zeros((4, 5, 6, 1, 3), "f4")), "more than 4 dimensions"),
        (image_of(np.ones((4, 5, 6), "f4")), r"all voxels have one value \(1\)"),
        (image_of(np.full((4, 5, 6), np.nan)), "no voxel is a finite number"),
        (image_of(np.ones((4, 5, 6), complex)), "stores complex numbers"),
        (image_of(np.zeros((4, 5, 6), [(c, "u1") for c in "RGB"])), "stores RGB colours"),
        (image_of(np.zeros((4, 5, 6), "f4"), kind=nibabel.MGHImage), "one value"),
        (image_of(np.ones((4, 5, 6), "f4"), kind=nibabel.AnalyzeImage), "no NIfTI signature"),
        (image_of(np.ones((4, 5, 6), "f4"), kind=nibabel.Spm99AnalyzeImage), "no NIfTI signature"),
    ],
)  # fmt: skip
def test_image_is_refused_as_its_file_would_be(image, words):
    with pytest.raises(VolumeError, match=f"brain: .*({words})"):
        Volume.from_nibabel(image, "brain")


@pytest.mark.parametrize("kind", ["mgz", "nii"])
@pytest.mark.parametrize(
    ("row", "words"),
    [((1, 0, 0, 1), "voxel size"), ((np.nan, 0, 0, 1), "NaN"), ((1, 1, 0, 0), "singular")],
)
def test_affine_that_places_no_volume_is_refused(make_nifti, values, kind, row, words):
    image = nibabel.load(make_nifti(srow_x=row, srow_y=row))
    if kind == "mgz":
        affine = np.eye(4)
        affine[0] = affine[1] = row
        image = nibabel.MGHImage(values.astype("f4"), None)
        image._affine = affine
    with pytest.raises(VolumeError, match=f"brain: its affine .*{words}"):
        Volume.from_nibabel(image, "brain")


def test_complex_voxels_behind_a_real_header_are_refused():
    header = nibabel.Nifti1Header()
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), complex), OBLIQUE, header)
    with pytest.raises(VolumeError, match="volume: holds complex128: a volume holds real numbers"):
        Volume.from_nibabel(image)


def test_voxels_that_are_no_number_become_background(values):
    array = values.astype(np.float64)
    array[1, 2, 3], array[0, 0, 0] = np.nan, 1e300
    volume = Volume.from_nibabel(nibabel.Nifti1Image(array, np.eye(4)))
    assert (volume.array[1, 2, 3], volume.array[0, 0, 0]) == (0, 0)
    assert any("2 of 210 voxels were NaN or infinite" in note for note in volume.warnings)


def test_fourth_axis_of_one_volume_is_dropped(values):
    volume = Volume.from_nibabel(nibabel.Nifti1Image(values[..., np.newaxis], np.eye(4)))
    np.testing.assert_array_equal(volume.array, values)
    assert volume.name == "volume"


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.mgz"])
def test_volume_goes_to_nibabel_as_it_would_be_saved(values, tmp_path, name):
    kind = nibabel.MGHImage if name.endswith("mgz") else nibabel.Nifti2Image
    nibabel.save(kind(values.astype("f4"), OBLIQUE), tmp_path / name)
    for volume in (load_volume(tmp_path / name), Volume(values, OBLIQUE)):
        image = volume.to_nibabel()
        saved = nibabel.load(save_volume(volume, tmp_path / "out.nii", overwrite=True))
        assert type(image) is type(saved)
        np.testing.assert_array_equal(np.asarray(image.dataobj), np.asarray(saved.dataobj))
        np.testing.assert_array_equal(image.affine, saved.affine)
        for form in ("sform", "qform"):
            assert image.header[f"{form}_code"] == saved.header[f"{form}_code"]
        assert image.header.get_xyzt_units() == saved.header.get_xyzt_units()
        assert image.get_data_dtype() == np.float32
        nibabel.save(image, tmp_path / "by_nibabel.nii")
        again = load_volume(tmp_path / "by_nibabel.nii")
        np.testing.assert_array_equal(again.array, load_volume(tmp_path / "out.nii").array)


def test_image_goes_round_bit_for_bit(make_nifti):
    image = nibabel.load(make_nifti(sform_code=4, qform_code=3, xyzt_units=10))
    again = Volume.from_nibabel(image).to_nibabel()
    for field in ("srow_x", "srow_y", "srow_z", "quatern_b", "qoffset_x", "pixdim", "xyzt_units"):
        np.testing.assert_array_equal(again.header[field], image.header[field])
    np.testing.assert_array_equal(again.get_fdata(), image.get_fdata())


def test_scan_is_taken_in_every_form(make_nifti, values):
    path = make_nifti()
    volume = load_volume(path)
    assert as_volume(volume) is volume
    for scan in (path, str(path), nibabel.load(path)):
        np.testing.assert_array_equal(as_volume(scan).array, volume.array)
    with pytest.raises(TypeError, match="a path, a nibabel image or a Volume, got ndarray"):
        as_volume(values)


@pytest.mark.parametrize("codes", ["PSR", "LAS", "LPI"])
def test_volume_made_of_an_array_in_any_order_counts_as_its_file_does(phantom, codes):
    image = phantom.to_nibabel()
    there = axcodes2ornt(codes)
    here = nibabel.io_orientation(image.affine)
    turned = image.as_reoriented(ornt_transform(here, there))
    made = as_volume(Volume(turned.get_fdata(), turned.affine))
    of_image = as_volume(turned)
    assert made.orientation == "RAS"
    np.testing.assert_array_equal(made.array, of_image.array)
    np.testing.assert_array_equal(made.to_nibabel().get_fdata(), turned.get_fdata())


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_volume_of_an_array_that_is_not_finite_is_refused(phantom, tmp_path, value):
    array = phantom.array.astype(np.float64)
    array[3, 4, 5] = value
    with np.errstate(over="ignore"):
        volume = Volume(array, phantom.affine, name="head")
    with pytest.raises(VolumeError, match=r"head: 1 of .* NaN or infinite"):
        as_volume(volume)
    with pytest.raises(VolumeError, match="NaN or infinite"):
        save_volume(volume, tmp_path / "a.nii.gz")
    assert not list(tmp_path.iterdir())
