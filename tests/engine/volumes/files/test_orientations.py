"""Every orientation, type, NIfTI version and compression goes in and comes out as it was."""

from __future__ import annotations

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff

from napari_mri7t.engine.volumes.volume import load_volume, save_volume

SHAPE = (4, 5, 6)
DTYPES = ["u1", "i2", "u2", "i4", "f4", "f8"]
ORIENTATIONS = [
    "".join(codes) for axes in permutations(("LR", "PA", "IS")) for codes in product(*axes)
]
IMAGE_CLASSES = {1: nibabel.Nifti1Image, 2: nibabel.Nifti2Image}


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Turns about the three axes one after the other, degrees."""
    result = np.eye(3)
    for axis, degrees in enumerate((x, y, z)):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.eye(3)
        others = [n for n in range(3) if n != axis]
        turn[np.ix_(others, others)] = [[c, -s], [s, c]]
        result = turn @ result
    return result


def oblique(codes: str) -> np.ndarray:
    """An affine with voxels of 0.7 x 0.8 x 1.25 mm, 12 to 20 degrees off the given orientation."""
    affine = np.eye(4)
    flips = inv_ornt_aff(axcodes2ornt(codes), SHAPE)
    affine[:3, :3] = rotation(12, -15, 20) @ np.linalg.inv(flips)[:3, :3]
    order = [int(axis) for axis in np.abs(affine[:3, :3]).argmax(axis=0)]
    affine[:3, :3] *= np.array([0.7, 0.8, 1.25])[order]
    affine[:3, 3] = -83.125, 41.7, -12.03
    return affine


def stored(codes: str, kind: str, version: int, path) -> nibabel.Nifti1Image:
    """Write a file with everything that must survive."""
    rng = np.random.default_rng(ORIENTATIONS.index(codes))
    array = rng.integers(0, 200, SHAPE).astype(kind)
    if kind.startswith("f"):
        array += rng.integers(0, 256, SHAPE).astype(kind) / 256  # exact in float32 too
    image = IMAGE_CLASSES[version](array, oblique(codes))
    image.set_sform(image.affine, 4)
    image.set_qform(image.affine, 1)
    image.header.set_xyzt_units("mm", "msec")
    nibabel.save(image, path)
    return nibabel.load(path)


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48
    for codes in ORIENTATIONS:
        assert "".join(nibabel.aff2axcodes(oblique(codes))) == codes


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", DTYPES)
def test_all_48_orientations_come_back_voxel_by_voxel(tmp_path, kind, version, suffix):
    for codes in ORIENTATIONS:
        path = tmp_path / f"{codes}{suffix}"
        image = stored(codes, kind, version, path)
        volume = load_volume(path)
        canonical = nibabel.as_closest_canonical(image)
        assert volume.orientation == "RAS"
        assert volume.warnings == ()
        np.testing.assert_array_equal(volume.array, np.asarray(canonical.dataobj))
        np.testing.assert_allclose(volume.affine, canonical.affine, rtol=0, atol=1e-12)

        saved = nibabel.load(save_volume(volume, tmp_path / f"{codes}_out{suffix}"))
        assert type(saved) is IMAGE_CLASSES[version]
        np.testing.assert_array_equal(np.asarray(saved.dataobj), np.asarray(image.dataobj))
        assert_same_geometry(saved, image)


def assert_same_geometry(saved: nibabel.Nifti1Image, image: nibabel.Nifti1Image) -> None:
    """Bit for bit, which is more than the 1e-6 asked for."""
    np.testing.assert_array_equal(saved.affine, image.affine)
    for form in ("get_sform", "get_qform"):
        after, code = getattr(saved, form)(coded=True)
        before, expected_code = getattr(image, form)(coded=True)
        assert code == expected_code
        np.testing.assert_array_equal(after, before)
    assert saved.header.get_zooms() == image.header.get_zooms()
    space, time = image.header.get_xyzt_units()
    assert saved.header.get_xyzt_units() == ("mm" if space == "unknown" else space, time)


@pytest.mark.parametrize("codes", ["LAS", "PIR", "SLP"])
@pytest.mark.parametrize(("sform_code", "qform_code"), [(0, 1), (2, 0), (4, 3), (1, 1), (5, 5)])
def test_each_combination_of_form_codes_survives(tmp_path, codes, sform_code, qform_code):
    path = tmp_path / "scan.nii"
    image = nibabel.Nifti1Image(np.arange(120, dtype="i2").reshape(SHAPE), oblique(codes))
    other = image.affine.copy()
    other[:3, 3] += 7
    image.set_qform(other, qform_code)
    image.set_sform(image.affine, sform_code)
    nibabel.save(image, path)
    volume = load_volume(path)
    assert volume.geometry is not None
    assert volume.geometry.orientation == codes
    saved = nibabel.load(save_volume(volume, tmp_path / "out.nii"))
    assert_same_geometry(saved, nibabel.load(path))


def test_computed_volume_keeps_the_grid_of_its_source(tmp_path):
    image = stored("ILP", "i2", 1, tmp_path / "scan.nii.gz")
    volume = load_volume(tmp_path / "scan.nii.gz")
    estimate = volume.with_array(volume.array * 0.5, name="estimate")
    saved = nibabel.load(save_volume(estimate, tmp_path / "estimate.nii.gz"))
    np.testing.assert_array_equal(np.asarray(saved.dataobj), np.asarray(image.dataobj) * 0.5)
    assert_same_geometry(saved, image)


def test_one_volume_of_a_series_is_saved_alone_on_its_grid(tmp_path):
    array = np.arange(4 * 120, dtype="i2").reshape((*SHAPE, 4))
    image = nibabel.Nifti1Image(array, oblique("PSR"))
    nibabel.save(image, tmp_path / "bold.nii")
    volume = load_volume(tmp_path / "bold.nii", index=2)
    saved = nibabel.load(save_volume(volume, tmp_path / "out.nii"))
    assert saved.shape == SHAPE
    np.testing.assert_array_equal(np.asarray(saved.dataobj), array[..., 2])
    np.testing.assert_array_equal(saved.affine, nibabel.load(tmp_path / "bold.nii").affine)


def test_mgh_is_saved_as_nifti_in_its_own_orientation(tmp_path):
    array = np.arange(120, dtype="f4").reshape(SHAPE)
    nibabel.save(nibabel.MGHImage(array, oblique("LIA")), tmp_path / "scan.mgz")
    saved = nibabel.load(save_volume(load_volume(tmp_path / "scan.mgz"), tmp_path / "out.nii.gz"))
    assert type(saved) is nibabel.Nifti1Image
    assert nibabel.aff2axcodes(saved.affine) == tuple("LIA")
    np.testing.assert_array_equal(np.asarray(saved.dataobj), array)
    expected = nibabel.load(tmp_path / "scan.mgz").affine
    for found in (saved.get_sform(), saved.get_qform()):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)  # float32 quaternion
    assert saved.header["sform_code"] == saved.header["qform_code"] == 1


def test_axis_longer_than_nifti_1_can_say_is_saved_as_nifti_2(tmp_path):
    array = np.arange(40000 * 4, dtype="f4").reshape(40000, 2, 2)
    image = nibabel.Nifti2Image(array, oblique("RAS"))
    nibabel.save(image, tmp_path / "long.nii")
    saved = nibabel.load(save_volume(load_volume(tmp_path / "long.nii"), tmp_path / "out.nii"))
    assert type(saved) is nibabel.Nifti2Image
    np.testing.assert_array_equal(np.asarray(saved.dataobj), array)
