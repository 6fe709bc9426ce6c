"""The reader: what arrives in napari, and the words for files that cannot."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import napari
import nibabel
import numpy as np
import pytest
from napari.layers.utils.stack_utils import stack_to_images
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.digests import voxel_digest
from napari_mri7t.engine.volumes.provenance import Execution, sidecar
from napari_mri7t.widgets.io.reader import get_reader, read
from napari_mri7t.widgets.layers.layers import KEY, layer_to_volume
from napari_mri7t.widgets.shared.settings import open_nifti_by_default

SHAPE = (5, 6, 7)


def save(path: Path, shape: tuple[int, ...] = SHAPE, affine: np.ndarray | None = None) -> Path:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    image = nibabel.Nifti1Image(values, np.diag([1.0, 2, 3, 1]) if affine is None else affine)
    if path.suffix.lower() in (".mgz", ".mgh"):
        image = nibabel.MGHImage(values, image.affine)
    elif path.suffix.lower() in (".img", ".hdr"):
        image = nibabel.Nifti1Pair(values, image.affine)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize(
    "name", ["a.nii", "a.nii.gz", "A.NII.GZ", "a b ü.Nii", "a.img", "a.HDR", "a.mgz", "a.MGH"]
)
def test_reader_takes_volumes_by_name_in_any_case(name):
    assert get_reader(name) is read
    assert get_reader([name, "b.nii"]) is read


@pytest.mark.parametrize("path", ["a.tif", "nii", "a.nii.txt", ["a.nii", "a.tif"]])
def test_reader_leaves_other_files_to_others(path):
    assert get_reader(path) is None


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img", "a.hdr", "a.mgz", "a.mgh"])
def test_every_format_arrives_with_size_unit_and_axes(tmp_path, name):
    ((data, meta, kind),) = read(save(tmp_path / name))
    assert kind == "image"
    assert data.shape == (7, 6, 5)
    np.testing.assert_array_equal(data.T, np.arange(210).reshape(SHAPE))
    assert meta["name"] == "a"
    assert meta["scale"] == (3, 2, 1)
    assert meta["units"] == ("mm",) * 3
    assert meta["axis_labels"] == ("S", "A", "R")
    np.testing.assert_array_equal(meta["metadata"][KEY]["affine"], np.diag([1, 2, 3, 1]))


def test_upper_case_name_is_read(tmp_path):
    path = save(tmp_path / "a.nii.gz").rename(tmp_path / "A.NII.GZ")
    ((_, meta, _),) = read(path)
    assert meta["name"] == "A"


def test_series_arrives_as_one_layer_with_a_volume_axis(tmp_path):
    ((data, meta, _),) = read(save(tmp_path / "a.nii", (*SHAPE, 4)))
    assert data.shape == (4, 7, 6, 5)
    assert meta["axis_labels"] == ("T", "S", "A", "R")
    assert meta["scale"] == (1, 3, 2, 1)
    np.testing.assert_array_equal(data[2].T, np.arange(840).reshape(*SHAPE, 4)[..., 2])


def test_part_of_a_split_series_is_known_by_its_voxels_not_as_the_first(tmp_path):
    """napari's "Split Stack" copies the metadata of the series to every part."""
    path = save(tmp_path / "a.nii", (*SHAPE, 4))
    ((data, meta, _),) = read(path)
    series = napari.layers.Image(data, **meta)
    for index, part in enumerate(stack_to_images(series, 0)):
        whole = layer_to_volume(series, index)
        (chosen,) = sidecar("synthesize", [whole], Execution())["Sources"]
        assert (chosen["File"], chosen["Index"]) == ("a.nii", index)
        volume = layer_to_volume(part)
        (found,) = sidecar("synthesize", [volume], Execution())["Sources"]
        assert found == {"Name": f"a layer {index}", "VoxelsSHA256": voxel_digest(whole)}
        assert volume.geometry.path == path


def test_series_of_one_arrives_as_a_volume(tmp_path):
    ((data, _, _),) = read(save(tmp_path / "a.nii", (*SHAPE, 1)))
    assert data.shape == (7, 6, 5)


def test_several_files_become_several_layers_and_a_pair_one(tmp_path):
    save(tmp_path / "a.nii")
    save(tmp_path / "b.img")
    layers = read([tmp_path / "a.nii", tmp_path / "b.img", tmp_path / "b.hdr"])
    assert [meta["name"] for _, meta, _ in layers] == ["a", "b"]


def truncated(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes())[:-30])


def web_page(path: Path) -> None:
    path.write_text("<html>404</html>")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("a.nii", empty, "is empty"),
        ("a.nii", web_page, "is a web page"),
        ("a.nii.gz", web_page, "is a web page"),
        ("a.nii.gz", truncated, "is cut short"),
    ],
)
def test_bad_file_is_refused_in_one_sentence_that_names_it(tmp_path, name, damage, words):
    path = tmp_path / name
    save(tmp_path / "a.nii").rename(path) if name != "a.nii" else save(path)
    damage(path)
    with pytest.raises(VolumeError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.nii: no such file"):
        read(tmp_path / "a.nii")


def test_one_bad_file_does_not_keep_the_others_away(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("napari_mri7t.widgets.io.reader.show_error", told.append)
    save(tmp_path / "a.nii")
    empty(tmp_path / "b.nii")
    layers = read([tmp_path / "b.nii", tmp_path / "a.nii"])
    assert [meta["name"] for _, meta, _ in layers] == ["a"]
    assert len(told) == 1
    assert "b.nii: is empty" in told[0]


def test_oblique_volume_is_shown_straight_and_the_user_is_told(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("napari_mri7t.widgets.io.reader.show_warning", told.append)
    affine = from_matvec(euler2mat(x=0.2) @ np.diag([1.0, 2, 3]), [1, 2, 3])
    ((_, meta, _),) = read(save(tmp_path / "a.nii", affine=affine))
    assert min(meta["scale"]) > 0
    assert "rotate" not in meta
    assert "affine" not in meta
    np.testing.assert_allclose(meta["metadata"][KEY]["affine"], affine, atol=1e-6)
    assert len(told) == 1
    assert told[0].startswith("a: it is oblique, which napari cannot show")


def test_straight_volume_is_opened_without_a_word(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("napari_mri7t.widgets.io.reader.show_warning", told.append)
    read(save(tmp_path / "a.nii"))
    assert told == []


def test_reader_loads_no_torch(tmp_path):
    path = save(tmp_path / "a.nii.gz")
    code = (
        "import sys; from napari_mri7t.widgets.io.reader import get_reader\n"
        f"layers = get_reader({str(path)!r})({str(path)!r})\n"
        "assert len(layers) == 1 and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gui
def test_viewer_opens_a_file_with_anterior_up(make_napari_viewer, tmp_path):
    viewer = make_napari_viewer()
    viewer.open(save(tmp_path / "a.nii.gz"), plugin="napari-mri7t")
    layer = viewer.layers["a"]
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    assert viewer.dims.axis_labels == ("S", "A", "R")
    assert [str(side) for side in viewer.scene.camera.orientation2d] == ["up", "right"]


def drop(target: QWidget, paths: list[Path]) -> None:
    """Let files fall, as a file manager does: no plugin is named."""
    files = QMimeData()
    files.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    place = target.rect().center()
    rest = (
        Qt.DropAction.CopyAction,
        files,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    enters = QDragEnterEvent(place, *rest)
    QApplication.sendEvent(target, enters)
    assert enters.isAccepted()
    QApplication.sendEvent(target, QDropEvent(QPointF(place), *rest))


@pytest.mark.gui
def test_viewer_opens_dropped_files_each_as_a_layer(make_napari_viewer, tmp_path):
    viewer = make_napari_viewer()
    open_nifti_by_default()  # napari would ask which of two readers
    paths = [save(tmp_path / "a.nii"), save(tmp_path / "b.mgz"), save(tmp_path / "c.nii.gz")]
    drop(viewer.window._qt_viewer, paths)  # with Shift held, napari would stack them
    assert [layer.name for layer in viewer.layers] == ["a", "b", "c"]
    assert all(KEY in layer.metadata for layer in viewer.layers)


@pytest.mark.gui
def test_viewer_shows_the_reader_s_own_words_for_a_bad_file(make_napari_viewer, tmp_path):
    viewer = make_napari_viewer()
    empty(tmp_path / "a.nii")
    with pytest.raises(VolumeError, match=r"a\.nii: is empty"):
        viewer.open(tmp_path / "a.nii", plugin="napari-mri7t")
    assert not viewer.layers
