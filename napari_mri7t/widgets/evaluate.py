"""The widget "Evaluate": what a study's held-out estimates are worth, subject by subject."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import napari
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QAction, QDesktopServices, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
)

from napari_mri7t.engine.evaluation.methods import label_of
from napari_mri7t.engine.evaluation.results import SubjectResult
from napari_mri7t.engine.evaluation.scoring import METRICS
from napari_mri7t.engine.evaluation.study_tables import heading
from napari_mri7t.engine.evaluation.table import number
from napari_mri7t.engine.volume import Volume
from napari_mri7t.widgets.controls import EngineWidget, FolderField, explain
from napari_mri7t.widgets.evaluation_jobs import (
    Evaluation,
    evaluation_steps,
    load_subject,
    report_steps,
    tables_as_files,
)
from napari_mri7t.widgets.job_panel import JobPanel
from napari_mri7t.widgets.latest import Latest
from napari_mri7t.widgets.layers import KEY, volume_to_layer
from napari_mri7t.widgets.memory import Memory
from napari_mri7t.widgets.preferences import orient_empty_viewer
from napari_mri7t.widgets.reader import made_by
from napari_mri7t.widgets.worker import Job

COLUMNS = ("brain_psnr", "brain_ssim", "brain_mae", "whole_psnr", "whole_ssim", "whole_mae")
CHOICES = "evaluation"  # section of the memory
TABLE_HEIGHT = 220
PICTURE_WIDTH = 270


class EvaluateWidget(EngineWidget):
    """A run folder: table, box plots, volumes of a subject, export."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        orient_empty_viewer()
        self.memory = Memory()
        self.evaluation: Evaluation | None = None
        self._of_subject = Latest("Load a subject", self)
        self._of_tables = Latest("Write tables", self)
        self._build_run()
        self._build_results()
        self._build_export()
        self.column.addStretch()
        self._connect()
        self.run_field.folder = str(self.memory.recall(CHOICES).get("run", ""))
        self._check()

    def _build_run(self) -> None:
        form = self.group("Study")
        self.run_field = FolderField(
            "Run folder of Train folds or `mri7t train`, or a folder of several to compare"
        )
        self.baselines_box = QCheckBox("Classical denoisers too (slow)")
        self.baselines_box.setToolTip(
            "Non-local means, total variation and others, tuned on the training subjects only;\n"
            "some minutes per subject, once"
        )
        form.addRow("Run folder", self.run_field)
        form.addRow(self.baselines_box)
        self.panel = JobPanel(
            "Evaluate", "Score every held-out estimate; what is known already is only read"
        )
        self.column.addWidget(self.panel)

    def _build_results(self) -> None:
        form = self.group("Results")
        self.summary_label = QLabel()
        self.summary_label.setWordWrap(True)
        self.summary_label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.table = ResultTable()
        self.hint_label = QLabel("Double click: load the subject's volumes")
        self.picture = QLabel()
        self.picture.setToolTip("A box per method, a dot per subject, each subject's dots joined")
        for part in (self.summary_label, self.table, self.hint_label, self.picture):
            form.addRow(part)

    def _build_export(self) -> None:
        form = self.group("Export")
        self.tables_button = QPushButton("Tables...")
        self.report_button = QPushButton("HTML report")
        self.open_button = QPushButton("Open it")
        row = QHBoxLayout()
        for button in (self.tables_button, self.report_button, self.open_button):
            row.addWidget(button)
        form.addRow(row)

    def _connect(self) -> None:
        self.run_field.changed.connect(self._check)
        self.panel.start_requested.connect(self.start)
        self.panel.idle.connect(self._check)
        self.table.cellDoubleClicked.connect(self._on_double_click)
        self.tables_button.clicked.connect(self._ask_tables_folder)
        self.report_button.clicked.connect(self.write_report)
        self.open_button.clicked.connect(self._open_report)
        self._of_subject.answered.connect(self._show_subject)
        self._of_tables.answered.connect(self._on_tables)
        for latest in (self._of_subject, self._of_tables):
            latest.failed.connect(self.panel.fail)

    def _check(self) -> None:
        folder = self.run_field.folder
        self.panel.set_ready(None if folder else "Choose a run folder.")
        why_not = None if self.evaluation else "evaluate a run folder first"
        if self.panel.job is not None:
            why_not = "something is running"
        explain(self.tables_button, why_not, "Every table as CSV, Markdown and LaTeX")
        explain(
            self.report_button,
            why_not,
            "One page with tables, figures and a slice browser, and the figures as files",
        )
        page = None if self.evaluation is None else self.evaluation.run / "report.html"
        has_page = page is not None and page.exists()
        explain(self.open_button, None if has_page else "no report yet", "In the web browser")

    def start(self) -> None:
        """Evaluate in the background."""
        run, with_baselines = self.run_field.folder, self.baselines_box.isChecked()
        if run is None or self.panel.job is not None:
            return
        self.memory.keep(CHOICES, {"run": str(run)})
        job = Job(f"Evaluate {run.name}", lambda: evaluation_steps(run, with_baselines))
        job.succeeded.connect(self._on_evaluated)
        self._run(job)

    def _run(self, job: Job) -> None:
        self.destroyed.connect(job.cancel)
        self.panel.follow(job)
        self._check()
        job.start()

    def _on_evaluated(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self.table.show_results(evaluation.results)
        self.summary_label.setText(_summary_text(evaluation))
        pixmap = QPixmap()
        pixmap.loadFromData(evaluation.boxes)
        self.picture.setPixmap(
            pixmap.scaledToWidth(PICTURE_WIDTH, Qt.TransformationMode.SmoothTransformation)
        )
        subjects = {result.subject for result in evaluation.results}
        self.panel.conclude(f"{len(subjects)} subjects evaluated")

    def _on_double_click(self, row: int, column: int) -> None:
        self.load(self.table.item(row, 0).text())

    def load(self, subject: str) -> None:
        """Load a subject's volumes as layers."""
        if self.evaluation is not None:
            self._of_subject.ask(_named, subject, self.evaluation.run)

    def _show_subject(self, answer: tuple[str, Mapping[str, Volume]]) -> None:
        subject, volumes = answer
        for method, volume in volumes.items():
            name = f"{subject}: {method}"
            data, meta, _ = volume_to_layer(volume, name=name, contrast_limits=(0.0, 1.0))
            if volume.geometry is not None and volume.geometry.path is not None:
                meta["metadata"][KEY]["provenance"] = made_by(volume.geometry.path)
            if name not in self.viewer.layers:
                self.viewer.add_image(data, **meta)

    def _ask_tables_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the tables")
        if folder:
            self.export_tables(Path(folder))

    def export_tables(self, folder: Path) -> None:
        """Write all tables into a folder."""
        if self.evaluation is not None:
            self._of_tables.ask(tables_as_files, self.evaluation, folder)

    def _on_tables(self, folder: Path) -> None:
        self.panel.conclude(f"Tables are in {folder}")

    def write_report(self) -> None:
        """Write the HTML report in the background."""
        evaluation = self.evaluation
        if evaluation is None or self.panel.job is not None:
            return
        job = Job(f"Report of {evaluation.run.name}", lambda: report_steps(evaluation))
        job.succeeded.connect(lambda page: self.panel.conclude(f"Report: {page}"))
        self._run(job)

    def _open_report(self) -> None:
        if self.evaluation is not None:
            page = self.evaluation.run / "report.html"
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(page.resolve())))

    def release(self) -> None:
        """End what runs."""
        for latest in (self._of_subject, self._of_tables):
            latest.drop()
        self.panel.cancel()
        super().release()


class ResultTable(QTableWidget):
    """Every subject by every method; a click on a heading sorts, a right click copies."""

    def __init__(self) -> None:
        super().__init__(0, 2 + len(COLUMNS))
        names = [heading(METRICS[key]) for key in COLUMNS]
        self.setHorizontalHeaderLabels(["Subject", "Method", *names])
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.verticalHeader().setVisible(False)
        self.setFixedHeight(TABLE_HEIGHT)
        self.setToolTip("Click on a heading to sort; right click to copy the table")
        copy = QAction("Copy the table", self)
        copy.triggered.connect(lambda: QApplication.clipboard().setText(self.as_text()))
        self.addAction(copy)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)

    def show_results(self, results: list[SubjectResult]) -> None:
        """Fill the table."""
        self.setSortingEnabled(False)
        self.setRowCount(len(results))
        for row, result in enumerate(results):
            self.setItem(row, 0, QTableWidgetItem(result.subject))
            self.setItem(row, 1, QTableWidgetItem(label_of(result.method)))
            for column, key in enumerate(COLUMNS, start=2):
                value = result.metrics.get(key, float("nan"))
                self.setItem(row, column, _Figure(value, METRICS[key].digits))
        self.resizeColumnsToContents()
        self.setSortingEnabled(True)
        self.sortItems(0, Qt.SortOrder.AscendingOrder)

    def as_text(self) -> str:
        """Give the table as it is sorted, with tabs, as spreadsheets take it."""
        columns = range(self.columnCount())
        lines = ["\t".join(self.horizontalHeaderItem(c).text() for c in columns)]
        lines += [
            "\t".join(self.item(row, column).text() for column in columns)
            for row in range(self.rowCount())
        ]
        return "\n".join(lines)


class _Figure(QTableWidgetItem):
    """A figure that sorts by its value, not by its letters."""

    def __init__(self, value: float, digits: int) -> None:
        super().__init__(number(value, digits))
        self.value = value
        self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return self.value < getattr(other, "value", 0.0)


def _summary_text(evaluation: Evaluation) -> str:
    table = evaluation.summary
    names = [name.split(",")[0] for name in table.header[1:]]
    lines = ["In the brain, mean ± standard deviation:"]
    for row in table.rows:
        cells = ", ".join(f"{name} {cell}" for name, cell in zip(names, row[1:], strict=True))
        lines.append(f"{row[0]}: {cells}")
    return "\n".join(lines)


def _named(subject: str, run: Path) -> tuple[str, Mapping[str, Volume]]:
    return subject, load_subject(run, subject)
