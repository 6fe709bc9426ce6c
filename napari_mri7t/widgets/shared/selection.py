"""Which scans of a folder are taken, and which volume of each: a folded group of fields."""

from __future__ import annotations

import re
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit, QSpinBox

from napari_mri7t.engine.datasets.scans import ScanFilter
from napari_mri7t.widgets.shared.fold import FoldBox

TITLE = "Select scans"
TOOLTIP = "Some participants only, a DICOM series by its number, or a volume of 4-D files"
ANY = -1  # of the volume's box
MOST_VOLUMES = 9999
LABELS = re.compile(r"[\s,;]+")  # between two


class SelectionBox(FoldBox):
    """Participants, sessions, kind of image, DICOM series and volume; empty means all, or the only.

    Parameters
    ----------
    of_scans : bool
        Also by session and kind of image, as `mri7t batch`; without them as `mri7t pair`.
    """

    changed = Signal()

    def __init__(self, of_scans: bool) -> None:
        super().__init__(TITLE, TOOLTIP)
        self.participants = _line("all", "Labels, with or without sub-, separated by commas")
        self.sessions = _line("all", "Labels, with or without ses-, separated by commas")
        self.suffixes = _line("T1w", "Kinds of image, separated by commas")
        self.series = _line("the only T1w", "Number of the series to take of each DICOM study")
        self.index_box = QSpinBox()
        self.index_box.setRange(ANY, MOST_VOLUMES)
        self.index_box.setValue(ANY)
        self.index_box.setSpecialValueText("the only one")
        self.index_box.setToolTip("Index of the volume to take of a 4-D file, from 0")
        for label, field, is_offered in (
            ("Participants", self.participants, True),
            ("Sessions", self.sessions, of_scans),
            ("Suffixes", self.suffixes, of_scans),
            ("DICOM series", self.series, True),
            ("Volume", self.index_box, True),
        ):
            if is_offered:
                self.form.addRow(label, field)
        for line in (self.participants, self.sessions, self.suffixes, self.series):
            line.textChanged.connect(self._on_changed)
        self.index_box.valueChanged.connect(self._on_changed)

    def _on_changed(self, value: object) -> None:
        self._tell()
        self.changed.emit()

    def _tell(self) -> None:
        """Say in the head what is selected, which counts also while it is folded."""
        wanted, index = self.wanted, self.index
        labels = (*wanted.participants, *wanted.sessions, *wanted.suffixes)
        series = [f"series {wanted.series}"] if wanted.series else []
        volume = [] if index is None else [f"volume {index}"]
        told = ", ".join([*labels, *series, *volume])
        self.head.setText(f"{TITLE}: {told}" if told else TITLE)

    @property
    def wanted(self) -> ScanFilter:
        """The scans to take."""
        lines = self.participants, self.sessions, self.suffixes
        return ScanFilter(*(tuple(_labels(line)) for line in lines), self.series.text().strip())

    @property
    def index(self) -> int | None:
        """Which volume of a 4-D file; None where there is only one."""
        index = self.index_box.value()
        return None if index == ANY else index


def selection_options(wanted: ScanFilter, index: int | None) -> dict[str, Any]:
    """Return the options of `mri7t batch` and `mri7t pair` that select the same."""
    chosen = {
        "index": index,
        "series": wanted.series or None,
        "participant": wanted.participants or None,
        "session": wanted.sessions or None,
        "suffix": wanted.suffixes or None,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _line(nothing: str, tooltip: str) -> QLineEdit:
    line = QLineEdit()
    line.setPlaceholderText(nothing)
    line.setToolTip(tooltip)
    return line


def _labels(line: QLineEdit) -> list[str]:
    return [label for label in LABELS.split(line.text()) if label]
