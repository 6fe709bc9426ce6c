"""DICOM folders and files into layers: the T1w, or the series that the user chooses in a list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from napari.utils.notifications import show_error

from napari_mri7t.engine.errors import Mri7tError, VolumeError, in_words
from napari_mri7t.engine.volumes.files.dicom import DicomSeries, find_series, series_of_file
from napari_mri7t.engine.volumes.files.dicom_t1w import choose_t1w
from napari_mri7t.engine.volumes.volume import Series, load_dicom_series

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


def read_dicom(path: Path) -> list[Series]:
    """Load the series of a file, or the T1w of a folder; a list is shown if that is not clear.

    Returns
    -------
    list of Series
        Empty if nothing was chosen, if the series of the file is open already, or after an error
        that was shown.

    Raises
    ------
    Mri7tError
        Where no window is open to show a list, or the error, in.
    """
    window = _window()
    try:
        if not path.is_dir() and _is_open(path):
            return []
        return [part for one in _choose(path, window) for part in load_dicom_series(one)]
    except (Mri7tError, OSError) as error:
        if window is None:
            raise
        show_error(in_words(error))  # napari's own message would name the folder
        return []


def _choose(path: Path, window: QWidget | None) -> Sequence[DicomSeries]:
    found = find_series(path)
    if not path.is_dir() and len(found) == 1:
        return found
    try:
        return [choose_t1w(found)]
    except VolumeError as error:
        if window is None:
            raise
        from napari_mri7t.widgets.io.series_dialog import SeriesDialog

        dialog = SeriesDialog(found, str(error), window)
        return dialog.chosen() if dialog.exec() else []


def _window() -> QWidget | None:
    """Return a window that the user sees, in which a list can be shown; None in a script."""
    try:
        from qtpy.QtWidgets import QApplication
    except ImportError:  # no Qt at all
        return None
    if QApplication.instance() is None:
        return None
    seen = (w for w in QApplication.topLevelWidgets() if w.isVisible() and w.isWindow())
    return next(seen, None)


def _is_open(path: Path) -> bool:
    """Return whether another file of the series is open: files dropped together are one volume."""
    viewer = napari.current_viewer()
    places = [layer.source.path for layer in viewer.layers] if viewer else []
    beside = {Path(place) for place in places if place and Path(place).parent == path.parent}
    return series_of_file(path) in {series_of_file(one) for one in beside if one.is_file()}
