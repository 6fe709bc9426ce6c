"""A layer that the user moved counts where it is shown, or is refused; the same for every layer."""

from __future__ import annotations

from pathlib import Path

import napari
import nibabel
import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.layers.utils.stack_utils import stack_to_images
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat

from napari_mri7t.engine.errors import GridError, VolumeError
from napari_mri7t.engine.volumes.digests import voxel_digest
from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.widgets.compare.jobs import difference
from napari_mri7t.widgets.io.reader import read
from napari_mri7t.widgets.io.writer import write_image, write_layers
from napari_mri7t.widgets.layers.layers import (
    KEY,
    estimate_to_layer,
    layer_to_volume,
    volume_to_layer,
)
from napari_mri7t.widgets.layers.masks import brain_of

SHAPE = (5, 6, 7)
FILE = from_matvec(np.diag([-1.0, 2.0, 3.0]), [4.0, -20.0, -30.0])  # LAS, as scanners store it
TURN = euler2mat(0.1, -0.2, 0.3)
REVERSED = np.eye(4)[[2, 1, 0, 3]]  # S, A, R <-> R, A, S


def in_napari(motion: np.ndarray) -> np.ndarray:
    """Return a motion in R, A, S as an affine of axes S, A, R."""
    return REVERSED @ motion @ REVERSED


@pytest.fixture
def values() -> np.ndarray:
    return np.arange(210, dtype=np.float32).reshape(SHAPE)


@pytest.fixture
def path(values, tmp_path):
    nibabel.save(nibabel.Nifti1Image(values, FILE), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.fixture
def scan(path) -> Image:
    ((data, meta, _),) = read(path)
    return Image(data, **meta)


def kinds(scan: Image) -> dict[str, napari.layers.Layer]:
    """Return a layer of every kind on the grid of the scan."""
    volume = layer_to_volume(scan)
    facts = {"Synthetic": True, "GeneratedBy": [{"Name": "napari-mri7t"}]}
    data, meta, _ = estimate_to_layer(volume, scan, facts)
    place = {"scale": scan.scale, "translate": scan.translate, "units": scan.units}
    return {
        "scan": scan,
        "estimate": Image(data, **meta),
        "labels": Labels(np.asarray(scan.data, int), metadata=dict(scan.metadata), **place),
        "painted": Labels(np.asarray(scan.data, int), name="painted", **place),
        "script": Image(scan.data, name="script", **place),
    }


KINDS = ["scan", "estimate", "labels", "painted", "script"]
MOTIONS = {
    "shift": from_matvec(np.eye(3), [1, -2, 3.5]),
    "turn": from_matvec(TURN, [10, 0, 0]),
    "shear": np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    "mirror": np.diag([-1.0, 1, 1, 1]),
    "quarter": from_matvec([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [0, 5, 0]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("motion", MOTIONS.values(), ids=MOTIONS)
def test_moved_layer_is_saved_where_it_is_shown(scan, values, tmp_path, kind, motion):
    layer = kinds(scan)[kind]
    layer.affine = in_napari(motion)
    (saved,) = write_layers(str(tmp_path / "out.nii"), [layer.as_layer_data_tuple()])
    volume = load_volume(saved)
    for voxel in ((0, 0, 0), (4, 5, 6), (1, 2, 3)):  # of the layer's data: R, A, S
        shown = layer.data_to_world(voxel[::-1])[::-1]
        there = np.linalg.solve(volume.affine, [*shown, 1])[:3]
        np.testing.assert_allclose(there, np.round(there), atol=1e-4)
        assert volume.array[tuple(np.round(there).astype(int))] == layer.data[voxel[::-1]]
    if kind not in ("painted", "script"):  # the order of the old file is kept
        back = nibabel.load(saved)
        np.testing.assert_allclose(back.affine, motion @ FILE, atol=1e-5)
        np.testing.assert_array_equal(np.asarray(back.dataobj), values)


SETTINGS = {
    "scale": ((6, 4, 2), np.diag([2.0, 2, 2, 1])),
    "translate": ((-20, -10, 6), from_matvec(np.eye(3), [6, 10, 10])),
    "rotate": (TURN, None),
    "shear": ((0.1, 0.2, 0.3), None),
    "units": (("cm",) * 3, np.diag([10.0, 10, 10, 1])),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_of_a_layer_counts(scan, name):
    before = layer_to_volume(scan)
    value, _ = SETTINGS[name]
    setattr(scan, name, value)
    after = layer_to_volume(scan)
    np.testing.assert_array_equal(after.array, before.array)
    factor = 10 if name == "units" else 1
    for voxel in ((0, 0, 0), (4, 5, 6)):
        shown = np.array(scan.data_to_world(voxel[::-1])[::-1]) * factor
        np.testing.assert_allclose(after.affine @ [*voxel, 1], [*shown, 1], atol=1e-9)
    assert any("was moved in napari" in text for text in after.warnings)


def test_layer_that_was_moved_back_is_as_opened(scan, path, tmp_path):
    scan.affine = in_napari(MOTIONS["turn"])
    scan.translate = scan.translate + 5
    scan.affine = np.eye(4)
    scan.translate = scan.translate - 5
    ((data, meta, _),) = read(path)
    first = write_image(str(tmp_path / "a.nii"), data, meta)
    data, meta, _ = scan.as_layer_data_tuple()
    second = write_image(str(tmp_path / "b.nii"), data, meta)
    assert Path(*first).read_bytes() == Path(*second).read_bytes()
    assert layer_to_volume(scan).warnings == ()


def test_moved_volume_is_no_longer_known_by_its_file(scan):
    scan.translate = scan.translate + 1
    volume = layer_to_volume(scan)
    assert volume.geometry.computed
    assert voxel_digest(volume) != voxel_digest(load_volume(volume.geometry.path))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("motion", ["mirror", "quarter"])
def test_layer_with_other_axes_is_refused_where_results_would_lie_on_it(scan, kind, motion):
    layer = kinds(scan)[kind]
    layer.affine = in_napari(MOTIONS[motion])
    with pytest.raises(VolumeError, match=r"turned or mirrored.*save it and open the saved file"):
        layer_to_volume(layer)


@pytest.mark.parametrize("name", ["affine", "scale", "translate"])
@pytest.mark.parametrize("as_labels", [True, False])
def test_moved_oblique_layer_is_refused(values, tmp_path, name, as_labels):
    """It is shown along its own axes, so that where it belongs once moved is not known."""
    affine = from_matvec(TURN @ np.diag([1.0, 2.0, 3.0]), [1, 2, 3])
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "tilted.nii")
    ((data, meta, _),) = read(tmp_path / "tilted.nii")
    keys = ("name", "scale", "translate", "units", "metadata")
    own = {key: meta[key] for key in keys}
    layer = Labels(np.asarray(data, int), **own) if as_labels else Image(data, **meta)
    np.testing.assert_array_equal(
        layer_to_volume(layer).affine, load_volume(tmp_path / "tilted.nii").affine
    )
    value = in_napari(MOTIONS["shift"]) if name == "affine" else getattr(layer, name) * 1.5
    setattr(layer, name, value)
    for use in (
        layer_to_volume,
        lambda moved: write_layers(str(tmp_path / "out.nii"), [moved.as_layer_data_tuple()]),
    ):
        with pytest.raises(VolumeError, match=r"tilted: is oblique and was moved: .* reset its"):
            use(layer)


@pytest.mark.parametrize("value", [1e-9, np.nan, 1e12])
def test_layer_moved_to_where_nothing_can_lie_is_refused(scan, value):
    scan.affine = np.diag([value, 1, 1, 1])
    with pytest.raises(VolumeError, match=r"scan: its affine as moved .*reset"):
        layer_to_volume(scan)


def test_volume_of_a_moved_series_counts_and_so_does_a_split_one(values, tmp_path):
    series = np.stack([values, values + 1], axis=-1)
    nibabel.save(nibabel.Nifti1Image(series, FILE), tmp_path / "series.nii")
    ((data, meta, _),) = read(tmp_path / "series.nii")
    layer = Image(data, **meta)
    before = layer_to_volume(layer, 1).affine
    layer.translate = layer.translate + (0, 3, 2, 1)
    expected = from_matvec(np.eye(3), [1, 2, 3]) @ before
    np.testing.assert_allclose(layer_to_volume(layer, 1).affine, expected)
    for part in stack_to_images(layer, 0):
        np.testing.assert_allclose(layer_to_volume(part).affine, expected)
    skew = np.eye(5)
    skew[1, 0] = 4  # each volume elsewhere
    layer.affine = skew
    with pytest.raises(VolumeError, match="its volumes are shown in different places"):
        layer_to_volume(layer, 1)


def test_estimate_of_a_moved_scan_lies_on_it_and_moves_on_its_own(scan):
    scan.affine = in_napari(MOTIONS["turn"])
    volume = layer_to_volume(scan)
    data, meta, _ = estimate_to_layer(volume.with_array(volume.array / 2), scan, {})
    layer = Image(data, **meta)
    np.testing.assert_allclose(layer_to_volume(layer).affine, volume.affine, atol=1e-12)
    assert not any(text.startswith("estimate") for text in layer_to_volume(layer).warnings)
    layer.affine = in_napari(MOTIONS["shift"] @ MOTIONS["turn"])
    expected = MOTIONS["shift"] @ volume.affine
    np.testing.assert_allclose(layer_to_volume(layer).affine, expected, atol=1e-9)


def test_estimate_of_a_scan_that_is_moved_meanwhile_counts_where_it_is_shown(scan):
    volume = layer_to_volume(scan)
    scan.affine = in_napari(MOTIONS["turn"])
    data, meta, _ = estimate_to_layer(volume, scan, {})
    expected = MOTIONS["turn"] @ volume.affine
    np.testing.assert_allclose(layer_to_volume(Image(data, **meta)).affine, expected, atol=1e-9)


def test_difference_of_moved_layers_lies_on_them(scan):
    scan.affine = in_napari(MOTIONS["turn"])
    other = Image(
        np.asarray(scan.data) * 2,
        **dict(
            zip(
                ("scale", "translate", "affine", "metadata"),
                (scan.scale, scan.translate, scan.affine, scan.metadata),
                strict=True,
            )
        ),
    )
    (data, meta, _), _ = difference(scan, other)
    layer = Image(data, **meta)
    for corner in ((0, 0, 0), (6, 5, 4)):
        np.testing.assert_allclose(layer.data_to_world(corner), scan.data_to_world(corner))


def test_scores_of_two_layers_need_both_moved_alike(scan, path):
    ((data, meta, _),) = read(path)
    other = Image(data + 1, **meta)
    scan.translate = scan.translate + 2
    with pytest.raises(GridError, match="affines differ by up to 2 mm"):
        difference(scan, other)
    other.affine = in_napari(from_matvec(np.eye(3), [2, 2, 2]))
    difference(scan, other)


@pytest.mark.parametrize("kind", ["labels", "painted"])
@pytest.mark.parametrize("motion", ["shift", "turn"])
def test_mask_counts_where_it_is_shown_beside_a_moved_scan(scan, kind, motion):
    mask = kinds(scan)[kind]
    mask.affine = scan.affine = in_napari(MOTIONS[motion])
    brain = brain_of(layer_to_volume(scan), scan, mask)
    np.testing.assert_array_equal(brain.array, np.asarray(scan.data).T > 0)
    for layer in (scan, mask):
        layer.affine = np.eye(4)
        with pytest.raises((GridError, VolumeError), match="grid"):
            brain_of(layer_to_volume(scan), scan, mask)
        layer.affine = in_napari(MOTIONS[motion])


def test_layer_keeps_where_it_was_opened_when_it_is_duplicated(scan):
    copy = Image(scan.data, scale=scan.scale, translate=scan.translate, metadata=scan.metadata)
    assert copy.metadata[KEY]["shown"] is scan.metadata[KEY]["shown"]
    _, meta, _ = volume_to_layer(layer_to_volume(copy))
    assert meta["scale"] == tuple(scan.scale)
