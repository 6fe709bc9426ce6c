"""The fields of the widget "Prepare pairs", and the buttons that judge a pair."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mri7t.engine.datasets.paired import VERDICTS
from napari_mri7t.engine.preparation.pair import PairConfig
from napari_mri7t.widgets.pair.jobs import PairRequest
from napari_mri7t.widgets.shared.controls import (
    FileField,
    FolderField,
    choice,
    overwrite_box,
    set_enabled,
)
from napari_mri7t.widgets.shared.icons import icon_button
from napari_mri7t.widgets.shared.selection import SelectionBox

FOLDER, TABLE = "A folder", "A table of paths"
REGISTRATIONS = {"rigid": "Rigid", "affine": "Affine"}
VOXELS = "voxels"
GRIDS = {"mni": "MNI space, 1 mm", "7t": "The 7T scan's own grid", VOXELS: "Upright, voxels of"}
MODES = {
    "auto": "As needed (auto)",
    "none": "Nothing (none)",
    "full": "Every step (full)",
}
VERDICT_ICONS = dict(zip(VERDICTS, ("check", "cross", "look"), strict=True))
VERDICT_TIPS = dict(
    zip(
        VERDICTS,
        (
            "Train on this pair, even if it is flagged",
            "Leave this pair out of training",
            "Decide later; until then the pair is left out of training",
        ),
        strict=True,
    )
)
BLENDED, BOARD = "Blended", "Checkerboard"


class PairFields(QWidget):
    """Raw scans, output folder, and how pairs are made of them."""

    changed = Signal()

    def __init__(self, remembered: dict[str, Any]) -> None:
        super().__init__()
        self._build_places()
        self._build_settings()
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        for label, field in (
            ("From", self.mode_box),
            ("Raw scans", self.folder_field),
            ("Table", self.table_field),
            ("Output folder", self.output_field),
            ("Registration", self.registration_box),
            ("Grid", self.grid_box),
            ("Voxel size", self.voxel_box),
            ("Prepare", self.prepare_box),
            ("Save masks and\ntransforms to", self.keep_field),
            ("", self.coarse_box),
            ("", self.overwrite_box),
            ("", self.selection),
        ):
            self._form.addRow(*([label] if label else []), field)
        self._recall(remembered)
        for box in (self.mode_box, self.registration_box, self.grid_box, self.prepare_box):
            box.currentIndexChanged.connect(self._refresh)
        for line in (self.folder_field, self.table_field, self.output_field, self.keep_field):
            line.changed.connect(self._refresh)
        for tick in (self.coarse_box, self.overwrite_box):
            tick.toggled.connect(self._refresh)
        self.voxel_box.valueChanged.connect(self._refresh)
        self.selection.changed.connect(self._refresh)
        self._refresh()

    def _build_places(self) -> None:
        self.mode_box = choice({FOLDER: FOLDER, TABLE: TABLE})
        self.folder_field = FolderField(
            "3T and 7T scans of the same people: sessions ses-3T and ses-7T of a BIDS dataset,\n"
            "or names that say 3T and 7T",
            "the folder of raw scans",
        )
        self.table_field = FileField(
            "One row per person: participant, 3T scan, 7T scan and, if you have them, masks",
            "Tables (*.tsv *.csv)",
        )
        self.output_field = FolderField(
            "Becomes a dataset that Train takes as it is.\nA second run skips existing pairs."
        )

    def _build_settings(self) -> None:
        self.registration_box = choice(REGISTRATIONS)
        self.registration_box.setToolTip(
            "Of the 3T to the 7T. Rigid keeps sizes; affine also corrects a scanner's scaling."
        )
        self.grid_box = choice(GRIDS)
        self.grid_box.setToolTip("Voxels that both images of a pair get, by one interpolation")
        self.voxel_box = QDoubleSpinBox()
        self.voxel_box.setRange(0.3, 2.0)
        self.voxel_box.setSingleStep(0.1)
        self.voxel_box.setValue(0.7)
        self.voxel_box.setSuffix(" mm")
        self.prepare_box = choice(MODES)
        self.prepare_box.setToolTip("Brain extraction and bias field correction of both scans")
        self.keep_field = FolderField("Masks, bias fields and transforms, which later runs reuse")
        self.keep_field.line.setPlaceholderText("not saved")
        self.coarse_box = QCheckBox("Process scans with coarse voxels, too")
        self.overwrite_box = overwrite_box(
            "pairs that were made from other scans, masks or settings"
        )
        self.selection = SelectionBox(of_scans=False)

    def _recall(self, remembered: dict[str, Any]) -> None:
        for name, field in self._places().items():
            field.folder = str(remembered.get(name, ""))
        for name, box in self._boxes().items():
            box.setCurrentIndex(max(0, box.findData(remembered.get(name))))

    def _places(self) -> dict[str, FolderField]:
        return {
            "folder": self.folder_field,
            "table": self.table_field,
            "output": self.output_field,
            "keep": self.keep_field,
        }

    def _boxes(self) -> dict[str, QComboBox]:
        return {
            "from": self.mode_box,
            "registration": self.registration_box,
            "grid": self.grid_box,
            "prepare": self.prepare_box,
        }

    def values(self) -> dict[str, Any]:
        """Return the choices to restore in the next session."""
        places = {name: str(field.folder or "") for name, field in self._places().items()}
        return places | {name: box.currentData() for name, box in self._boxes().items()}

    def _refresh(self, value: object = None) -> None:
        is_table = self.mode_box.currentData() == TABLE
        self._form.setRowVisible(self.folder_field, not is_table)
        self._form.setRowVisible(self.table_field, is_table)
        self._form.setRowVisible(self.voxel_box, self.grid_box.currentData() == VOXELS)
        self.changed.emit()

    def why_not(self) -> str | None:
        """Return what is missing before anything can start."""
        if self.mode_box.currentData() == FOLDER and self.folder_field.why_not():
            return self.folder_field.why_not()
        table = self.table_field.folder
        if self.mode_box.currentData() == TABLE and (table is None or not table.is_file()):
            return "Choose a table." if table is None else f"Table {table} does not exist."
        return None if self.output_field.folder else "Choose an output folder."

    def request(self) -> PairRequest:
        """Return the choices, if nothing is missing."""
        is_table = self.mode_box.currentData() == TABLE
        grid = self.grid_box.currentData()
        config = PairConfig(
            grid=self.voxel_box.value() if grid == VOXELS else grid,
            registration=self.registration_box.currentData(),
            prepare=self.prepare_box.currentData(),
            allow_out_of_domain=self.coarse_box.isChecked(),
        )
        return PairRequest(
            self.table_field.folder if is_table else self.folder_field.folder,
            self.output_field.folder,
            config,
            self.overwrite_box.isChecked(),
            self.keep_field.folder,
            self.selection.wanted,
            self.selection.index,
        )


class ReviewButtons(QWidget):
    """How the opened pair is shown, and the verdict on it.

    Signals: `view_changed` (`BLENDED` or `BOARD`), `judged` (a verdict).
    """

    view_changed = Signal(str)
    judged = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.open_button = QPushButton("Open pair")
        self.view_box = choice({BLENDED: BLENDED, BOARD: BOARD})
        self.view_box.setAccessibleName("View of the pair")
        self.view_box.setToolTip(
            "Blended: the 3T in green over the 7T in magenta; where both agree it is grey.\n"
            "Checkerboard: edges continue from square to square where both agree."
        )
        self.view_box.currentTextChanged.connect(self.view_changed)
        first, second = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.open_button)
        first.addWidget(self.view_box)
        self.buttons: dict[str, QPushButton] = {}
        for verdict in VERDICTS:
            button = icon_button(VERDICT_ICONS[verdict], verdict.capitalize())
            button.clicked.connect(lambda checked=False, which=verdict: self.judged.emit(which))
            self.buttons[verdict] = button
            second.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(first)
        column.addLayout(second)

    def allow(self, why_not: str | None) -> None:
        """Offer to open and to judge the chosen pair, or say why not."""
        set_enabled(self.open_button, why_not, "Open its layers in place of those of the last pair")
        for verdict, button in self.buttons.items():
            set_enabled(button, why_not, VERDICT_TIPS[verdict])
