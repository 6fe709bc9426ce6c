"""The list in which a user chooses DICOM series."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mri7t.engine.volumes.files.dicom import DicomSeries
from napari_mri7t.engine.volumes.files.dicom_t1w import looks_t1w

TITLE = "Open DICOM series"


class SeriesDialog(QDialog):
    """A list of series, of which the user chooses one or several.

    Parameters
    ----------
    series : sequence of DicomSeries
    why : str
        Why there is something to choose.
    parent : QWidget
    """

    def __init__(self, series: Sequence[DicomSeries], why: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setWindowTitle(TITLE)
        self.series = series
        what = why.split(":")[1].strip()
        told = QLabel(f"{what[0].upper()}{what[1:]}. Which series do you want to open?")
        told.setTextFormat(Qt.TextFormat.PlainText)
        told.setWordWrap(True)
        self.list = QListWidget()
        self.list.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)
        for one in series:
            item = QListWidgetItem(f"{one.number}   {one.description}   {one.n_slices} slices")
            self.list.addItem(item)
            item.setSelected(looks_t1w(one) and not self.list.selectedItems())
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.list.itemDoubleClicked.connect(self.accept)
        layout = QVBoxLayout(self)
        for part in (told, self.list, buttons):
            layout.addWidget(part)

    def chosen(self) -> list[DicomSeries]:
        """Return the selected series."""
        rows = sorted(self.list.row(item) for item in self.list.selectedItems())
        return [self.series[row] for row in rows]
