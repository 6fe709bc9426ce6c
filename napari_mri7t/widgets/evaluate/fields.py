"""The fields of the widget "Evaluate", a run folder or two layers, and its table of results."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import partial
from itertools import takewhile

import napari
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QAction, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mri7t.engine.evaluation.results import StudyResults, label_of
from napari_mri7t.engine.metrics.scoring import METRICS
from napari_mri7t.engine.report.tables import number
from napari_mri7t.widgets.evaluate.jobs import LayersToScore, evaluate_layers, evaluate_run
from napari_mri7t.widgets.layers.layers import is_single_volume
from napari_mri7t.widgets.layers.likely import likely_source
from napari_mri7t.widgets.shared.command import command_line
from napari_mri7t.widgets.shared.controls import FolderField, LayerChooser, paragraph
from napari_mri7t.widgets.shared.fields import PairFields
from napari_mri7t.widgets.shared.worker import Job

RUN_FOLDER, TWO_LAYERS = "Run folder", "Two layers"
COLUMNS = ("brain_psnr", "brain_ssim", "brain_mae", "whole_psnr", "whole_ssim", "whole_mae")
REGIONS = {"brain": "Inside the brain", "whole": "Whole volume"}
HEIGHT = 220
SUBJECT_PREFIX = "sub-"  # of every subject of a BIDS dataset: not shown
NAME = Qt.ItemDataRole.UserRole  # of a subject or a method, whole
GAP, WIDEST = 12, 110  # of a column, pixels
#: Of all columns, pixels: with short names of subjects and methods, and with names of 15 letters.
LEAST_WIDTH, WANTED_WIDTH = 305, 430
SORT_MARK = 14  # pixels beside the heading of a sorted column


class EvaluationFields(QWidget):
    """A choice between run folder and layers, and the fields of either."""

    changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.of_box = QComboBox()
        self.of_box.addItems([RUN_FOLDER, TWO_LAYERS])
        self.of_box.setAccessibleName("What to evaluate")
        self.of_box.setToolTip("The held-out estimates of a training, or any estimate and its 7T")
        self._study, study = _part()
        self._layers, layers = _part()
        self.run_field = FolderField(
            "Run folder of Train or `mri7t train`, or a folder of several to compare",
            "a run folder",
        )
        self.baselines_box = QCheckBox("Include classical denoisers (slow)")
        self.baselines_box.setToolTip(
            "Non-local means, total variation and others, tuned on the training subjects only;\n"
            "a few minutes per subject, the first time only"
        )
        study.addRow("Folder", self.run_field)
        study.addRow(self.baselines_box)
        self.volumes = PairFields(viewer, layers)
        self.source_chooser = LayerChooser(
            viewer,
            is_single_volume,
            "The 3T scan, scored as a second row for comparison",
            optional="none",
        )
        layers.addRow("3T as is", self.source_chooser)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.of_box, self._study, self._layers):
            column.addWidget(part)
        self.of_box.currentTextChanged.connect(self._on_of_changed)
        self.run_field.changed.connect(self.changed)
        self.baselines_box.toggled.connect(lambda is_on: self.changed.emit())
        self.source_chooser.layer_changed.connect(lambda layer: self.changed.emit())
        self.volumes.changed.connect(self.changed)
        self._on_of_changed()

    @property
    def is_of_layers(self) -> bool:
        """Whether two layers are to be scored."""
        return bool(self.of_box.currentText() == TWO_LAYERS)

    def why_not(self) -> str | None:
        """Return what is missing; None if nothing is."""
        if not self.is_of_layers:
            return self.run_field.why_not()
        return None if self.volumes.pair else "Choose two different volumes."

    def chosen(self) -> tuple[object, ...]:
        """Return what the results are of: others are of something else."""
        if not self.is_of_layers:
            return (self.run_field.folder, self.baselines_box.isChecked())
        volumes = self.volumes
        return (volumes.pair, volumes.mask, volumes.data_range, self.source_chooser.layer)

    def n_voxels(self) -> int | None:
        """Return the voxels to score; None for a run folder, whose earlier results are reused."""
        if not self.is_of_layers or self.volumes.pair is None:
            return None
        n_layers = 1 if self.source_chooser.layer is None else 2
        return n_layers * int(self.volumes.pair[0].data.size)

    def lines(self) -> list[str]:
        """Return the `mri7t` line of what a start would do.

        Raises
        ------
        ValueError, VolumeError
            If something is missing, or a layer is not in a file.
        """
        if why_not := self.why_not():
            raise ValueError(why_not)
        if not self.is_of_layers:
            run, has_baselines = self.run_field.folder.absolute(), self.baselines_box.isChecked()
            return [command_line("evaluate", run, no_baselines=not has_baselines)]
        return [self.volumes.command()]

    def job(self) -> Job:
        """Return the job for the current choice, if nothing is missing."""
        if self.is_of_layers:
            volumes, source = self.volumes, self.source_chooser.layer
            asked = LayersToScore(*volumes.pair, source, volumes.mask, volumes.data_range)
            return Job(f"Evaluate {asked.estimate.name}", partial(evaluate_layers, asked))
        run, with_baselines = self.run_field.folder, self.baselines_box.isChecked()
        return Job(f"Evaluate {run.name}", partial(evaluate_run, run, with_baselines))

    def _on_of_changed(self, text: str = "") -> None:
        self._study.setVisible(not self.is_of_layers)
        self._layers.setVisible(self.is_of_layers)
        if self.is_of_layers and self.volumes.pair is None:
            self.volumes.propose()
        if self.is_of_layers and self.volumes.pair and self.source_chooser.layer is None:
            reference, estimate = self.volumes.pair
            source = likely_source(self._viewer.layers, reference)
            self.source_chooser.layer = None if source is estimate else source
        self.changed.emit()


def _part() -> tuple[QWidget, QFormLayout]:
    part = QWidget()
    form = QFormLayout(part)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return part, form


class ResultTable(QTableWidget):
    """Every subject by every method; click a heading to sort, right-click to copy.

    It shows the figures of one region, which fit the widget, and copies those of both.
    """

    def __init__(self) -> None:
        super().__init__(0, 2 + len(COLUMNS))
        self.setHorizontalHeaderLabels(["Subject", "Method", *map(_narrow_heading, COLUMNS)])
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Results")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.verticalHeader().setVisible(False)
        self.setFixedHeight(HEIGHT)
        self.setMinimumWidth(LEAST_WIDTH)
        self.setToolTip("Click a heading to sort; right-click to copy the table")
        copy = QAction("Copy table", self)
        copy.triggered.connect(lambda: QApplication.clipboard().setText(self.as_text()))
        self.addAction(copy)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)

    def show_results(self, results: StudyResults) -> None:
        """Fill the table."""
        self.setSortingEnabled(False)
        self.setRowCount(len(results))
        subjects = {result.subject.removeprefix(SUBJECT_PREFIX) for result in results}
        start, end = _shared_start(subjects), _shared_end(subjects)
        for row, result in enumerate(results):
            for column, name in enumerate((result.subject, label_of(result.method))):
                shown = name.removeprefix(SUBJECT_PREFIX).removesuffix(end)
                item = QTableWidgetItem(shown.removeprefix("" if column else start))
                item.setToolTip(paragraph(name))
                item.setData(NAME, name)
                self.setItem(row, column, item)
            for column, key in enumerate(COLUMNS, start=2):
                value = result.metrics.get(key, float("nan"))
                self.setItem(row, column, _Figure(value, METRICS[key].digits))
        self._fit()
        self.setSortingEnabled(True)
        self.sortItems(0, Qt.SortOrder.AscendingOrder)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the width that names and figures need."""
        return QSize(WANTED_WIDTH, HEIGHT)

    def subject(self, row: int) -> str:
        """Return the name of the subject of a row, of which a part is shown."""
        return str(self.item(row, 0).data(NAME))

    def _fit(self) -> None:
        """Make every column but the first as wide as its texts; the first gets the rest.

        A method takes more than `WIDEST` only of what the subjects leave.
        """
        needed = [max(self.sizeHintForColumn(n), self._heading(n)) for n in range(2 + len(COLUMNS))]
        for column, width in enumerate(needed[1:], start=1):
            self.setColumnWidth(column, min(width, WIDEST))
        shown = [n for n in range(1, self.columnCount()) if not self.isColumnHidden(n)]
        rest = self.viewport().width() - sum(map(self.columnWidth, shown))
        spare = min(rest - needed[0] - SORT_MARK, needed[1] - self.columnWidth(1))
        if spare > 0:
            self.setColumnWidth(1, self.columnWidth(1) + spare)
        lacking = self._heading(0) + SORT_MARK - rest  # of the first, whose heading must be read
        if lacking > 0:
            self.setColumnWidth(1, max(self.columnWidth(1) - lacking, self._heading(1)))

    def _heading(self, column: int) -> int:
        """Return the width of a heading, pixels."""
        lines = self.horizontalHeaderItem(column).text().splitlines()
        return max(self.fontMetrics().horizontalAdvance(line) for line in lines) + GAP

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Divide the new width."""
        super().resizeEvent(event)
        self._fit()

    def show_region(self, region: str) -> None:
        """Show the figures of one of `REGIONS`."""
        for column, key in enumerate(COLUMNS, start=2):
            self.setColumnHidden(column, not key.startswith(region))
        self._fit()

    def as_text(self) -> str:
        """Return the whole table as sorted, tab-separated for spreadsheets."""
        columns = range(self.columnCount())
        lines = ["\t".join(["Subject", "Method", *(METRICS[key].heading for key in COLUMNS)])]
        lines += [
            "\t".join([self.subject(row), *(self.item(row, n).text() for n in columns[1:])])
            for row in range(self.rowCount())
        ]
        return "\n".join(lines)


def _shared_start(names: Collection[str]) -> str:
    """Return the letters that numbered names begin with, as in TELL0101 and TELL0102."""
    letters = zip(min(names, default=""), max(names, default=""), strict=False)
    shared = takewhile(lambda pair: pair[0] == pair[1], letters)
    start = "".join(letter for letter, _ in shared).rstrip("0123456789")
    are_numbered = all(name.removeprefix(start)[:1].isdigit() for name in names)
    return start if are_numbered and len(names) > 1 else ""


def _shared_end(names: Collection[str]) -> str:
    """Return what all of several names end in, from a "_" on: it tells none apart."""
    first = min(names, default="")
    ends = (first[n:] for n, letter in enumerate(first) if letter == "_")
    shared = (end for end in ends if all(name.endswith(end) for name in names))
    return next(shared, "") if len(names) > 1 else ""


def _narrow_heading(key: str) -> str:
    """Return a metric's heading on two lines, without its region."""
    metric = METRICS[key]
    name, _, rest = metric.heading.replace(metric.label, "").strip(" ,").rpartition(" ")
    return f"{metric.label.split(',')[0]}\n{name} {rest}".replace("\n ", "\n")


class _Figure(QTableWidgetItem):
    """A number that sorts by its value, not as text; missing ones come last."""

    def __init__(self, value: float, digits: int) -> None:
        super().__init__(number(value, digits))
        self.value = value
        self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        theirs = getattr(other, "value", math.nan)
        is_missing, is_other_missing = math.isnan(self.value), math.isnan(theirs)
        if not (is_missing or is_other_missing):
            return self.value < theirs
        # Where the largest comes first, Qt asks the other way round.
        header = self.tableWidget().horizontalHeader()
        is_falling = header.sortIndicatorOrder() == Qt.SortOrder.DescendingOrder
        return not (is_other_missing if is_falling else is_missing)
