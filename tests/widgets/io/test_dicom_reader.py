"""DICOM folders and files in napari's reader."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QWidget

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files import dicom_conversion
from napari_mri7t.engine.volumes.files.dicom import find_series
from napari_mri7t.engine.volumes.volume import load_series
from napari_mri7t.widgets.io import dicom
from napari_mri7t.widgets.io.reader import NOTHING, get_reader, read
from napari_mri7t.widgets.io.series_dialog import SeriesDialog
from napari_mri7t.widgets.layers.layers import KEY

SMALL = np.linspace(0, 1, 8 * 9 * 6).reshape(8, 9, 6)


def test_folder_opens_as_its_t1w(dicom_series, tmp_path, private_words):
    folder = tmp_path / "DOE_JANE"
    dicom_series(folder / "a", array=SMALL)
    dicom_series(folder / "b", array=SMALL, SeriesNumber=6, SeriesDescription="t2_tse")
    ((data, meta, kind),) = get_reader(str(folder))(str(folder))
    assert (meta["name"], kind) == ("series-5_t1_mprage_sag", "image")
    assert data.shape == SMALL.shape[::-1]
    assert meta["metadata"][KEY]["geometry"].path is None
    assert not private_words(meta)


def test_folders_whose_names_differ_after_a_dot_are_opened_each(dicom_series, tmp_path):
    for number in (1, 2):
        dicom_series(tmp_path / f"1.2.840.{number}", array=SMALL, SeriesNumber=number)
    paths = [str(tmp_path / f"1.2.840.{number}") for number in (1, 2)]
    assert [meta["name"][:8] for _, meta, _ in read(paths)] == ["series-1", "series-2"]


def test_file_opens_its_series_once_among_files_dropped_together(dicom_series, tmp_path):
    paths = [str(path) for path in dicom_series(tmp_path, array=SMALL, SeriesDescription="t2_tse")]
    assert len(read(paths[2])) == 1
    assert len(get_reader(paths)(paths)) == 1


def test_images_of_several_grids_are_opened_each_after_one_conversion(
    dicom_series, tmp_path, monkeypatch
):
    import pydicom

    run, runs = dicom_conversion._run, []
    monkeypatch.setattr(
        dicom_conversion, "_run", lambda *given: runs.append(run(*given)) or runs[-1]
    )

    dicom_series(tmp_path, array=SMALL)
    for path in dicom_series(tmp_path, array=SMALL[:7, :8], names="more{}"):
        found = pydicom.dcmread(path)
        found.SOPInstanceUID = f"{found.SOPInstanceUID[:50]}.1{found.InstanceNumber}"
        found.save_as(path)
    layers = read(str(tmp_path))
    assert [data.shape for data, _, _ in layers] == [(6, 9, 8), (6, 8, 7)]
    assert [meta["metadata"][KEY]["geometry"].series_index for _, meta, _ in layers] == [0, 1]
    assert len(runs) == 1
    with pytest.raises(VolumeError, match="2 images of several grids: choose one by index"):
        load_series(tmp_path)


@pytest.mark.parametrize("name", ["a.tif", "a.dcm", "a", "a.txt"])
def test_what_is_no_dicom_is_left_to_other_readers(tmp_path, name):
    (tmp_path / name).write_bytes(b"II*\0" + bytes(300))
    assert get_reader(str(tmp_path)) is None
    assert get_reader(str(tmp_path / name)) is None


def test_only_the_first_files_of_a_folder_are_looked_into(tmp_path, monkeypatch):
    for number in range(200):
        (tmp_path / f"{number:03d}").write_bytes(b"x")
    looked = []
    monkeypatch.setattr(
        "napari_mri7t.engine.volumes.files.dicom.is_dicom_file", lambda path: looked.append(path)
    )
    assert get_reader(str(tmp_path)) is None
    assert 0 < len(looked) < 100


def test_several_t1w_are_listed_where_there_is_no_window(dicom_series, tmp_path, monkeypatch):
    monkeypatch.setattr(dicom, "_window", lambda: None)
    dicom_series(tmp_path / "a", array=SMALL)
    dicom_series(tmp_path / "b", array=SMALL, SeriesNumber=6, AcquisitionTime="111111")
    with pytest.raises(VolumeError, match='5 "t1_mprage_sag", 6 slices; 6 "t1_mprage_sag"'):
        read(str(tmp_path))


def test_several_t1w_are_chosen_from_in_a_window(dicom_series, tmp_path, monkeypatch, qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    monkeypatch.setattr(dicom, "_window", lambda: window)
    dicom_series(tmp_path / "a", array=SMALL)
    dicom_series(tmp_path / "b", array=SMALL, SeriesNumber=6, AcquisitionTime="111111")
    monkeypatch.setattr(SeriesDialog, "exec", lambda self: self.list.selectAll() or 1)
    assert [meta["name"][:8] for _, meta, _ in read(str(tmp_path))] == ["series-5", "series-6"]
    monkeypatch.setattr(SeriesDialog, "exec", lambda self: 0)
    assert read(str(tmp_path)) == NOTHING


def test_list_shows_number_description_and_slices(dicom_series, tmp_path, qtbot):
    dicom_series(tmp_path / "a", array=SMALL, SeriesNumber=3, SeriesDescription="t2_tse")
    dicom_series(tmp_path / "b", array=SMALL)
    dialog = SeriesDialog(find_series(tmp_path), "the DICOM folder: two: choose", None)
    qtbot.addWidget(dialog)
    texts = [dialog.list.item(row).text().split() for row in range(2)]
    assert texts == [["3", "t2_tse", "6", "slices"], ["5", "t1_mprage_sag", "6", "slices"]]
    assert [one.number for one in dialog.chosen()] == [5]


def test_error_in_a_window_does_not_name_the_folder(dicom_series, tmp_path, monkeypatch, qtbot):
    window, told = QWidget(), []
    qtbot.addWidget(window)
    monkeypatch.setattr(dicom, "_window", lambda: window)
    monkeypatch.setattr(dicom, "show_error", told.append)
    dicom_series(tmp_path / "DOE", array=SMALL, skip=(2,))
    assert read(str(tmp_path / "DOE")) == NOTHING
    assert told[0].startswith('series 5 "t1_mprage_sag": 1 of its slices are missing')
