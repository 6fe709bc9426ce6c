"""The widget "Train": a leave-one-out study, watched while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import napari
from qtpy.QtWidgets import QCheckBox

from napari_mri7t.engine.training.config import FINAL
from napari_mri7t.widgets.shared.base import EngineWidget
from napari_mri7t.widgets.shared.command import CommandButton
from napari_mri7t.widgets.shared.controls import (
    ERROR_COLOUR,
    INFORMATION_COLOUR,
    FolderField,
    Notices,
    set_tooltip,
)
from napari_mri7t.widgets.shared.fields import DeviceBox
from napari_mri7t.widgets.shared.job_panel import JobPanel
from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.plots import HeldOutPlot, LossPlot
from napari_mri7t.widgets.shared.settings import (
    OF_EVALUATION,
    OF_SYNTHESIS,
    Memory,
    orient_empty_viewer,
)
from napari_mri7t.widgets.shared.time_label import TimeLabel
from napari_mri7t.widgets.shared.worker import Job, find_job, take_failure
from napari_mri7t.widgets.train.command import train_line
from napari_mri7t.widgets.train.export import ExportButton
from napari_mri7t.widgets.train.fields import FoldList, RecipeFields
from napari_mri7t.widgets.train.jobs import (
    Found,
    Request,
    TrainingState,
    describe_amount,
    describe_step,
    look_into,
    network_names,
    new_training,
    pace_of,
    without_amounts,
)
from napari_mri7t.widgets.train.preview import HeldOutSlice

if TYPE_CHECKING:
    from napari_mri7t.engine.datasets.subjects import Subject
    from napari_mri7t.engine.progress import Progress
    from napari_mri7t.engine.training.loop import TrainProgress
    from napari_mri7t.engine.training.study import Study

CHOICES = "training"  # section of the memory
RECIPE_FIXED = "Set by the study in the run folder; for another recipe choose a new run folder"


class TrainWidget(EngineWidget):
    """Dataset, recipe, folds; start, pause, resume, cancel; curves and a slice while it runs.

    A training continues when the widget is closed; the next widget finds it again.
    """

    closed_while_running = "{name} closed, training continues."

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        orient_empty_viewer()
        self.memory = Memory()
        self._subjects: list[Subject] = []
        self._shapes: dict[str, tuple[int, int, int]] = {}  # of their volumes, by name
        self._study: Study | None = None
        self._found: Request | None = None  # until its folds are shown
        self._fold: int | None = None
        self._last: TrainProgress | None = None  # what is shown
        self._of_data = Latest("Check the dataset", self)
        self._of_networks = Latest("Look for networks", self)
        self._held_out = HeldOutSlice(napari_viewer, self)
        self._shown_of: tuple[Path | None, Path | None] = (None, None)
        self._build_data()
        self._build_recipe()
        self._build_live()
        self._connect()
        self._recall()
        self._of_networks.ask(network_names)
        self._find_again()

    def _build_data(self) -> None:
        form = self.group("Data")
        self.dataset_field = FolderField(
            "Folder of 7T volumes (their 3T is simulated), folder of pairs, or BIDS dataset"
        )
        self.run_field = FolderField("Folder for everything that the training writes")
        self.data_notices = Notices()
        form.addRow("Dataset", self.dataset_field)
        form.addRow("Run folder", self.run_field)
        form.addRow(self.data_notices)

    def _build_recipe(self) -> None:
        self.recipe = RecipeFields()
        self.group("Recipe").addRow(self.recipe)
        form = self.group("Folds")
        self.folds = FoldList()
        self.device_box = DeviceBox("Where to train; a GPU is usually many times faster")
        self.time_label = TimeLabel("Measure a training step", pace_of)
        form.addRow(self.folds)
        form.addRow("Device", self.device_box)
        form.addRow(self.time_label)
        self.panel = JobPanel(
            "Train",
            "Train the selected folds one after the other; a stopped fold resumes",
            pausable=True,
            cancelled="Stopped. Progress is saved; press Train to continue.",
        )
        self.panel.cancel_button.setToolTip("Stop; progress is saved, press Train to continue")
        self.pin(self.panel)
        self.export_button = ExportButton(self.folds)
        self.command_button = CommandButton(self._lines)
        self.panel.add_buttons(self.export_button, self.command_button)

    def _build_live(self) -> None:
        form = self.group("Progress")
        self.plot, self.held_out_plot = LossPlot(), HeldOutPlot()
        self.figures_label = TextLabel()
        self.figures_label.setWordWrap(True)
        self.preview_box = QCheckBox("Show a slice of the held-out brain")
        self.preview_box.setToolTip(
            "After every checkpoint, estimate one slice of the held-out brain on the CPU and show\n"
            "3T, estimate and 7T side by side in one layer"
        )
        form.addRow(self.plot)
        form.addRow(self.held_out_plot)
        form.addRow(self.figures_label)
        self._forget_curves()
        form.addRow(self.preview_box)
        self.column.addStretch()

    def _connect(self) -> None:
        self.dataset_field.changed.connect(self._ask_of_data)
        self.run_field.changed.connect(self._ask_of_data)
        self.recipe.changed.connect(self._check)
        self.folds.changed.connect(self._check)
        self.device_box.currentIndexChanged.connect(self._check)
        export = self.export_button
        self.panel.hear(export.exported, export.failed, self.panel.inform)
        export.exported.connect(lambda text: self.let_others_catch_up())
        self.panel.hear(self.command_button.copied, self.command_button.failed)
        self.panel.start_requested.connect(self.start)
        self.panel.idle.connect(self._ask_of_data)
        self._of_networks.answered.connect(lambda found: self.recipe.offer_networks(*found))
        self._of_data.answered.connect(self._show_data)
        self._of_data.failed.connect(self._on_unread)
        self._held_out.failed.connect(self.panel.warn)

    def _recall(self) -> None:
        known = self.memory.recall(CHOICES)
        self.dataset_field.folder = str(known.get("dataset", ""))
        self.run_field.folder = str(known.get("run", ""))
        self.device_box.choose(known.get("device"))
        self._ask_of_data()

    def _find_again(self) -> None:
        """Show a training that is still running from an earlier widget, or why it failed."""
        job = find_job(TrainingState)
        if job is not None:
            request = self._found = job.state.request
            self.dataset_field.folder, self.run_field.folder = request.dataset, request.run
            self.device_box.choose(request.device)
            self._follow(job)
            self._on_progressed()
        if failure := take_failure(TrainingState):
            self.panel.fail(f"A training failed while this widget was closed: {failure}")

    def _ask_of_data(self) -> None:
        chosen = self.dataset_field.folder, self.run_field.folder
        if self.panel.job is None and chosen != self._shown_of:
            self._forget_curves()
        self._shown_of = chosen
        self._of_data.ask(look_into, self.dataset_field.folder, self.run_field.folder)

    def _forget_curves(self) -> None:
        """Drop what is shown of the training of other folders."""
        self.plot.show_curve([])
        self.held_out_plot.show_curve([])
        self.figures_label.setText("")
        self._last = None

    def _show_data(self, found: Found) -> None:
        """Show what the folders hold; a study that has begun fixes its recipe."""
        self._subjects, self._shapes = found.subjects, found.shapes
        study = self._study = found.study
        self.data_notices.clear()
        for texts, colour in ((found.errors, ERROR_COLOUR), (found.facts, INFORMATION_COLOUR)):
            for text in texts:
                self.data_notices.add(text, colour)
        set_tooltip(self.data_notices, "\n".join(found.pairs))
        done: list[int] = []
        if study is None:
            self.recipe.free()
        else:
            self.recipe.fix(RECIPE_FIXED, study.settings.start_from)
            done = [k for k in (*range(len(study.subjects)), FINAL) if study.is_done(k)]
            self.recipe.choose_network(study.settings.network)
            self.recipe.preset_box.setCurrentText(study.settings.preset)
            self.recipe.show_config(study.settings.config)
            self.recipe.show_network_config(study.settings.network_config)
        self.folds.show_folds([subject.name for subject in self._subjects], done)
        if self._found is not None and self._subjects:
            self.folds.choose(self._found.folds)
            self._found = None
        self.export_button.offer(study)
        self._check()

    def _on_unread(self, why_not: str) -> None:
        """Say why the folders could not be looked into."""
        self.data_notices.clear()
        self.data_notices.add(why_not, ERROR_COLOUR)

    def _check(self, value: object = None) -> None:
        self.panel.about(self.dataset_field.folder, self.run_field.folder)
        self._why_not = self._find_why_not()
        self.panel.set_ready(self._why_not)
        can_start = self._why_not is None and self.panel.job is None
        request = self._request() if can_start else None
        kind = None if request is None else without_amounts(request)
        self.time_label.tell(kind, lambda pace: describe_amount(request, pace))

    def _find_why_not(self) -> str | None:
        if not self._subjects:
            return "Choose a dataset: a folder of 7T volumes or of pairs, or a BIDS dataset."
        if self.run_field.folder is None:
            return "Choose a run folder."
        if not self.folds.chosen():
            is_left = len(self.folds.done()) < self.folds.count()
            return "Select folds to train." if is_left else "All folds are trained."
        return self.recipe.why_not(self.folds.held_out(), self._shapes)

    def _lines(self) -> list[str]:
        """Return the `mri7t` line of what a start would do."""
        if self._why_not is not None:
            raise ValueError(self._why_not)
        return [train_line(self._request(), self.recipe.changes(), self._study)]

    def _request(self) -> Request:
        return Request(
            self.dataset_field.folder,
            self.run_field.folder,
            self.recipe.network_box.currentText(),
            self.recipe.preset_box.currentText(),
            self.recipe.config(),
            self.folds.chosen(),
            self.device_box.device,
            self.recipe.start_chooser.folder,
            self.recipe.network_config(),
        )

    def start(self) -> None:
        """Train in the background; the training outlives the widget."""
        self._check()
        if self._why_not or self.panel.job is not None or find_job(TrainingState) is not None:
            return
        request = self._request()
        folders = {"dataset": str(request.dataset), "run": str(request.run)}
        self.memory.keep(CHOICES, folders | {"device": request.device})
        job = new_training(request)
        self._follow(job)
        job.start()

    def _follow(self, job: Job) -> None:
        self._fold = None
        self._held_out.forget()
        self.panel.follow(job)
        job.progressed.connect(self._on_progressed)
        job.succeeded.connect(self._on_succeeded)
        job.failed.connect(self._on_failed)

    def _on_succeeded(self, n_done: int) -> None:
        request = self.panel.job.state.request
        if set(request.folds) - {FINAL}:
            self.memory.keep(OF_EVALUATION, {"run": str(request.run)})
            self.panel.inform("Trained. Evaluate scores the held-out estimates of this run.")
        if FINAL in request.folds:
            folder = request.run / "final"
            self.memory.keep(OF_SYNTHESIS, {"chosen_model": str(folder)})
            self.panel.inform(f"Trained on all subjects. Synthesize 7T now lists {folder}.")
        self.let_others_catch_up()

    def _on_failed(self, text: str) -> None:
        if not self._released:
            take_failure(TrainingState)  # the panel shows it

    def _on_progressed(self, progress: Progress | None = None) -> None:
        state = None if self.panel.job is None else self.panel.job.state
        if state is None or self._released:
            return
        if state.fold != self._fold:
            self._fold = state.fold
            self._ask_of_data()  # the one before is done now
        if state.last is not None and state.last is not self._last:
            self._show_step(state, state.last)

    def _show_step(self, state: TrainingState, now: TrainProgress) -> None:
        """Show curve and figures, and the held-out slice once per checkpoint."""
        self.plot.show_curve(state.curves[now.fold])
        self.held_out_plot.show_curve(state.held_out[now.fold])
        self._last = now
        self.figures_label.setText("\n".join(describe_step(state, now)))
        if self.preview_box.isChecked():
            self._held_out.follow(state, now)
