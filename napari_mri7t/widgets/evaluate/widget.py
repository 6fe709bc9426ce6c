"""The widget "Evaluate": the quality of estimates, subject by subject."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import napari
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton

from napari_mri7t.engine.evaluation.results import StudyResults
from napari_mri7t.engine.texts import visible_lines
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.widgets.evaluate.fields import REGIONS, EvaluationFields, ResultTable
from napari_mri7t.widgets.evaluate.jobs import (
    Evaluation,
    load_subject,
    on_background,
    report_pair,
    report_run,
    save_tables,
    time_of,
)
from napari_mri7t.widgets.io.reader import made_by
from napari_mri7t.widgets.layers.layers import KEY, volume_to_layer
from napari_mri7t.widgets.layers.opened import OpenedLayers
from napari_mri7t.widgets.shared.base import EngineWidget
from napari_mri7t.widgets.shared.command import CommandButton
from napari_mri7t.widgets.shared.controls import choice, open_in_browser, set_enabled
from napari_mri7t.widgets.shared.icons import icon_button
from napari_mri7t.widgets.shared.job_panel import JobPanel
from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.settings import OF_EVALUATION, Memory, orient_empty_viewer
from napari_mri7t.widgets.shared.time_label import TimeLabel
from napari_mri7t.widgets.shared.worker import Job

PICTURE_WIDTH = 270


class EvaluateWidget(EngineWidget):
    """A run folder or two layers: table, box plots, volumes of a subject, report."""

    preferred_width = 450  # of all the table's columns

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        orient_empty_viewer()
        self.memory = Memory()
        self.evaluation: Evaluation | None = None
        self._recalled = ""  # the run folder that was evaluated or trained last
        self._pair_page: Path | None = None  # the report of two layers, once there is one
        self._of: tuple[object, ...] = ()  # what the results are of
        self._opened = OpenedLayers(self.viewer)
        self._opened_of: Evaluation | None = None
        self._of_subject = Latest("Load a subject", self)
        self._of_tables = Latest("Write tables", self)
        self._build_asked()
        self._build_results()
        self._build_export()
        self.column.addStretch()
        self._connect()
        self._show_region()
        self._recall()
        self._check()

    def catch_up(self) -> None:
        """Take the run folder of a training that has ended since."""
        if self.panel.job is None:
            self._recall()

    def _recall(self) -> None:
        known = str(self.memory.recall(OF_EVALUATION).get("run", ""))
        if known != self._recalled:
            self._recalled = known
            self.asked.run_field.folder = known

    def _build_asked(self) -> None:
        form = self.group("What to evaluate")
        self.asked = EvaluationFields(self.viewer)
        form.addRow(self.asked)
        self.time_label = TimeLabel("Time a part of a brain", time_of)
        form.addRow(self.time_label)
        self.panel = JobPanel(
            "Evaluate", "Score every held-out estimate; earlier results are reused"
        )
        self.pin(self.panel)
        self.command_button = CommandButton(self.asked.lines)
        self.panel.add_buttons(self.command_button)

    def _build_results(self) -> None:
        form = self.group("Results")
        self.summary_label = TextLabel()
        self.summary_label.setWordWrap(True)
        self.summary_label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.region_box = choice(REGIONS)
        self.region_box.setToolTip("Part of the volume that the table describes")
        self.region_box.setAccessibleName("Region")
        self.table = ResultTable()
        self.hint_label = QLabel("Double-click a row to load its volumes")
        self.picture = QLabel()
        self.picture.setToolTip(
            "One box per method, one dot per subject; lines join each subject's dots"
        )
        parts = (
            self.summary_label, self.region_box, self.table, self.hint_label, self.picture,
        )  # fmt: skip
        for part in parts:
            form.addRow(part)

    def _build_export(self) -> None:
        form = self.group("Export")
        self.tables_button = icon_button("save", "Tables...")
        self.report_button = icon_button("save", "HTML report")
        self.open_button = QPushButton("Open report")
        row = QHBoxLayout()
        for button in (self.tables_button, self.report_button, self.open_button):
            row.addWidget(button)
        form.addRow(row)

    def _connect(self) -> None:
        self.asked.changed.connect(self._check)
        self.viewer.events.theme.connect(self._show_boxes)
        self.region_box.currentIndexChanged.connect(self._show_region)
        self.panel.hear(self.command_button.copied, self.command_button.failed)
        self.panel.start_requested.connect(self.start)
        self.panel.idle.connect(self._check)
        self.table.cellDoubleClicked.connect(lambda row, column: self.load(self.table.subject(row)))
        self.tables_button.clicked.connect(self._ask_tables_folder)
        self.report_button.clicked.connect(self.write_report)
        self.open_button.clicked.connect(self._open_report)
        self._of_subject.answered.connect(self._show_subject)
        self._of_tables.answered.connect(self._on_tables)
        for latest in (self._of_subject, self._of_tables):
            latest.failed.connect(self.panel.fail)

    def _check(self) -> None:
        self.panel.set_ready(self.asked.why_not())
        self.time_label.tell(self.asked.n_voxels() if self.panel.job is None else None)
        if self.panel.job is None:
            self._forget_others()
        evaluation = self.evaluation
        why_not = None if evaluation else "evaluate first"
        if self.panel.job is not None:
            why_not = "a job is running"
        set_enabled(self.tables_button, why_not, "Every table as CSV, Markdown and LaTeX")
        set_enabled(
            self.report_button,
            why_not,
            "One page with tables, figures and a slice browser; the figures also as files",
        )
        page = self._page()
        has_page = page is not None and page.exists()
        set_enabled(
            self.open_button, None if has_page else "no report yet", "Open in the web browser"
        )

    def _forget_others(self) -> None:
        """Drop the results once something else is chosen than what they are of."""
        chosen = self.asked.chosen()
        if chosen != self._of:
            self.evaluation = self._pair_page = None
            self._of_subject.drop()
            self.table.show_results(StudyResults())
            self.summary_label.setText("")
            self._show_boxes()
        self._of = chosen
        self.panel.about(*chosen)

    def _show_region(self, index: int = 0) -> None:
        self.table.show_region(self.region_box.currentData())

    def _page(self) -> Path | None:
        run = None if self.evaluation is None else self.evaluation.run
        return self._pair_page if run is None else run / "report.html"

    def start(self) -> None:
        """Evaluate in the background."""
        if self.asked.why_not() is not None or self.panel.job is not None:
            return
        if not self.asked.is_of_layers:
            self._recalled = str(self.asked.run_field.folder)
            self.memory.keep(OF_EVALUATION, {"run": self._recalled})
        job = self.asked.job()
        job.succeeded.connect(self._on_evaluated)
        self._run(job)

    def _run(self, job: Job) -> None:
        self.destroyed.connect(job.cancel)
        self.panel.follow(job)
        self._check()
        job.start()

    def _on_evaluated(self, evaluation: Evaluation) -> None:
        self.evaluation, self._pair_page = evaluation, None
        self._of_subject.drop()
        self.table.show_results(evaluation.results)
        self.summary_label.setText(visible_lines(_summary_text(evaluation)))
        self.hint_label.setVisible(evaluation.run is not None)
        self._show_boxes()
        for text in evaluation.warnings:
            self.panel.warn(text)
        self.panel.conclude(f"Evaluated {_counted(evaluation)}")

    def _show_boxes(self, event: object = None) -> None:
        """Draw the box plots on the theme's own background."""
        boxes = None if self.evaluation is None else self.evaluation.boxes
        self.picture.setVisible(boxes is not None)
        if boxes is None:
            return
        theme = get_theme(self.viewer.theme)
        pixels = on_background(boxes, theme.background.as_rgb_tuple()[:3], theme.type == "dark")
        height, width = pixels.shape[:2]
        image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        self.picture.setPixmap(
            QPixmap.fromImage(image).scaledToWidth(
                PICTURE_WIDTH, Qt.TransformationMode.SmoothTransformation
            )
        )

    def load(self, subject: str) -> None:
        """Load a subject's volumes as layers."""
        if self.evaluation is not None and self.evaluation.run is not None:
            self._of_subject.ask(load_subject, self.evaluation.run, subject)

    def _show_subject(self, answer: tuple[str, Mapping[str, Volume]]) -> None:
        """Add a subject's volumes; those of an earlier evaluation have the same names, and go."""
        if self._opened_of is not self.evaluation:
            self._opened.clear()
            self._opened_of = self.evaluation
        subject, volumes = answer
        for method, volume in volumes.items():
            name = f"{subject}: {method}"
            if self._opened.holds(name):
                continue
            data, meta, kind = volume_to_layer(volume, name=name, contrast_limits=(0.0, 1.0))
            if volume.geometry is not None and volume.geometry.path is not None:
                meta["metadata"][KEY]["provenance"] = made_by(volume.geometry.path)
            self._opened.add((data, meta, kind))

    def _ask_tables_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the tables")
        if folder:
            self.export_tables(Path(folder))

    def export_tables(self, folder: Path) -> None:
        """Write all tables into a folder."""
        if self.evaluation is not None:
            self._of_tables.ask(save_tables, self.evaluation.results, folder)

    def _on_tables(self, folder: Path) -> None:
        self.panel.mention(f"Tables: {folder}")

    def write_report(self) -> None:
        """Write the HTML report in the background: into the run folder, or one to choose."""
        evaluation = self.evaluation
        if evaluation is None or self.panel.job is not None:
            return
        if evaluation.run is not None:
            work = partial(report_run, evaluation.run, evaluation.results)
        elif folder := QFileDialog.getExistingDirectory(self, "Folder for the report"):
            work = partial(report_pair, evaluation, Path(folder))
        else:
            return
        job = Job("Write the report", work)
        job.succeeded.connect(self._on_report)
        self._run(job)

    def _on_report(self, page: Path) -> None:
        if self.evaluation is not None and self.evaluation.run is None:
            self._pair_page = page
        self.panel.conclude(f"Report: {page}")

    def _open_report(self) -> None:
        page = self._page()
        if page is not None and (why_not := open_in_browser(page)):
            self.panel.fail(why_not)

    def release(self) -> None:
        """Stop running work."""
        self.viewer.events.theme.disconnect(self._show_boxes)
        self.asked.volumes.release()
        self.panel.release()
        self.evaluation = self._opened_of = None  # its volumes may be large
        super().release()


def _counted(evaluation: Evaluation) -> str:
    n, n_all = len(evaluation.results.subjects), evaluation.n_subjects
    if n < n_all:
        return f"{n} of {n_all} subjects"
    return "1 subject" if n == 1 else f"{n} subjects"


def _summary_text(evaluation: Evaluation) -> str:
    table = evaluation.summary
    names = [name.split(",")[0] for name in table.header[1:]]
    is_one = len(evaluation.results.subjects) == 1
    lines = ["Inside the brain:" if is_one else "Inside the brain, mean ± standard deviation:"]
    for row in table.rows:
        cells = ", ".join(f"{name} {cell}" for name, cell in zip(names, row[1:], strict=True))
        lines.append(f"{row[0]}: {cells}")
    return "\n".join(lines)
