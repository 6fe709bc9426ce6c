"""`Volume` itself, and whether two of them share a grid."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mri7t.engine.errors import GridError, VolumeError
from napari_mri7t.engine.volumes.files.geometry import from_ras, ras_grid, to_ras
from napari_mri7t.engine.volumes.volume import (
    Volume,
    load_volume,
    same_grid,
    save_volume,
    shares_grid,
)

AFFINE = np.array([[0, 2, 0, 5], [-1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])


@pytest.fixture
def brain(values) -> Volume:
    return Volume(values, AFFINE, name="brain")


def test_volume_holds_float32_and_knows_its_grid(brain, values):
    assert brain.array.dtype == np.float32
    np.testing.assert_array_equal(brain.array, values)
    assert brain.shape == values.shape
    assert brain.voxel_size == (1, 2, 3)
    assert brain.orientation == "PRS"


def test_float32_array_is_not_copied(values):
    array = values.astype(np.float32)
    assert Volume(array, AFFINE).array is array


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((4, 4)), "3 dimensions"),
        (np.zeros((4, 4, 4, 1)), "3 dimensions"),
        (np.zeros((4, 0, 4)), "needs voxels"),
        (np.zeros((4, 4, 4), complex), "real numbers"),
        (np.full((4, 4, 4), "a"), "real numbers"),
    ],
)
def test_array_that_is_no_volume_is_refused(array, word):
    with pytest.raises(VolumeError, match=f"brain: .*{word}"):
        Volume(array, AFFINE, name="brain")


def test_with_array_keeps_grid_geometry_and_warnings(make_nifti):
    volume = load_volume(make_nifti(qoffset_x=50))
    other = volume.with_array(volume.array * 2, name="twice")
    assert other.name == "twice"
    assert volume.with_array(volume.array).name == volume.name
    assert other.warnings == volume.warnings != ()
    assert other.geometry is not None
    assert volume.geometry is not None
    assert other.geometry.affine is volume.geometry.affine
    assert (volume.geometry.computed, other.geometry.computed) == (False, True)
    same_grid(volume, other)


def test_with_array_refuses_another_shape(brain):
    with pytest.raises(GridError, match=r"brain: expected shape \(5, 6, 7\), got \(5, 6, 8\)"):
        brain.with_array(np.zeros((5, 6, 8)))


def test_file_geometry_tells_the_files_own_facts(make_nifti):
    path = make_nifti(xyzt_units=2 | 16, sform_code=4)
    geometry = load_volume(path).geometry
    assert geometry is not None
    assert geometry.path == path
    assert geometry.shape == (5, 6, 7)
    assert geometry.orientation == "RAS"
    assert (geometry.spatial_unit, geometry.time_unit) == ("mm", "msec")
    assert (geometry.sform_code, geometry.qform_code, geometry.version) == (4, 1, 1)
    np.testing.assert_array_equal(geometry.sform, np.diag([1, 2, 3, 1]))
    np.testing.assert_array_equal(geometry.qform, np.diag([1, 2, 3, 1]))


def test_one_grid_is_accepted_up_to_a_thousandth_of_a_mm(brain):
    near = AFFINE.copy()
    near[0, 3] += 0.9e-3
    same_grid(brain, Volume(brain.array, near))
    assert shares_grid(brain, Volume(brain.array, near))


@pytest.mark.parametrize("entry", [(0, 3), (1, 1), (2, 0)])
def test_other_affine_is_another_grid(brain, entry):
    far = AFFINE.copy()
    far[entry] += 2e-3
    with pytest.raises(GridError, match=r"brain and other .* differ by up to 0.002 .*register"):
        same_grid(brain, Volume(brain.array, far, name="other"))
    assert not shares_grid(brain, Volume(brain.array, far))


def test_other_shape_is_another_grid(brain):
    with pytest.raises(GridError, match=r"brain and other .* \(5, 6, 7\) and \(5, 6, 6\)"):
        same_grid(brain, Volume(brain.array[..., :6], AFFINE, name="other"))
    assert not shares_grid(brain, Volume(brain.array[..., :6], AFFINE))


angles = st.floats(-180, 180)


@given(turns=st.tuples(angles, angles, angles), flips=st.tuples(*[st.booleans()] * 3))
def test_any_affine_goes_to_ras_and_back(turns, flips):
    matrix = np.diag([-1.0 if flip else 1.0 for flip in flips])
    for axis, degrees in enumerate(turns):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.eye(3)
        others = [n for n in range(3) if n != axis]
        turn[np.ix_(others, others)] = [[c, -s], [s, c]]
        matrix = turn @ matrix
    affine = np.eye(4)
    affine[:3, :3] = matrix
    array = np.arange(24).reshape(2, 3, 4)
    moved, (ras, shape) = to_ras(array, affine), ras_grid(affine, array.shape)
    assert moved.shape == shape
    np.testing.assert_array_equal(from_ras(moved, affine), array)
    for index in np.ndindex(shape):  # every voxel is where it was
        old = np.argwhere(array == moved[index])[0]
        place = affine @ [*old, 1]
        np.testing.assert_allclose(ras @ [*index, 1], place, atol=1e-9)


def test_reading_a_volume_loads_neither_torch_nor_qt(make_nifti):
    code = (
        "import sys; from napari_mri7t.engine.volumes.volume import load_volume;"
        "load_volume(sys.argv[1]);"
        "print([n for n in ('torch', 'napari', 'qtpy', 'PyQt6') if n in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(make_nifti())]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_path_and_image_are_saved_as_their_volume_is(make_nifti, tmp_path):
    path = make_nifti()
    forms = (load_volume(path), path, str(path), load_volume(path).to_nibabel())
    files = [save_volume(form, tmp_path / f"{n}.nii") for n, form in enumerate(forms)]
    assert len({file.read_bytes() for file in files}) == 1


def test_array_without_an_affine_is_not_saved(brain, tmp_path):
    with pytest.raises(TypeError, match=r"got ndarray: turn an array into a Volume"):
        save_volume(brain.array, tmp_path / "array.nii")
    assert not list(tmp_path.iterdir())


def test_masked_array_is_refused_before_its_mask_is_lost():
    masked = np.ma.masked_less(np.arange(24.0).reshape(2, 3, 4), 5)
    with pytest.raises(VolumeError, match="is a masked array: fill it with the background first"):
        Volume(masked, np.eye(4))
