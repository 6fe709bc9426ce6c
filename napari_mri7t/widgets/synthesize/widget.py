"""The widget "Synthesize 7T": a 3T layer in, a 7T-like layer out; or a folder, scan by scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from napari.layers import Layer

from napari_mri7t.engine.progress import Progress
from napari_mri7t.engine.volumes.volume import shares_grid
from napari_mri7t.widgets.compare.before_after import BeforeAfter
from napari_mri7t.widgets.layers.layers import estimate_to_layer
from napari_mri7t.widgets.shared.base import EngineWidget
from napari_mri7t.widgets.shared.command import CommandButton
from napari_mri7t.widgets.shared.job_panel import JobPanel
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.model_chooser import ModelChooser
from napari_mri7t.widgets.shared.save import ResultLine, SaveButton
from napari_mri7t.widgets.shared.settings import (
    OF_SYNTHESIS,
    DefaultReaderButton,
    Memory,
    orient_empty_viewer,
    preferred,
)
from napari_mri7t.widgets.shared.worker import Job
from napari_mri7t.widgets.synthesize.choices import Choices, title_of
from napari_mri7t.widgets.synthesize.computation import DEFAULTS, ComputationFields
from napari_mri7t.widgets.synthesize.fields import SourceFields
from napari_mri7t.widgets.synthesize.folder import FolderPanel
from napari_mri7t.widgets.synthesize.folder_jobs import FolderRequest, synthesize_folder
from napari_mri7t.widgets.synthesize.following import AutomaticModel, OpenedScans
from napari_mri7t.widgets.synthesize.jobs import (
    Finished,
    Planned,
    ScanCheck,
    check_layers,
    synthesize_layers,
)
from napari_mri7t.widgets.synthesize.outlook import Outlook
from napari_mri7t.widgets.synthesize.pace import pace_of
from napari_mri7t.widgets.synthesize.passing import PassingWords
from napari_mri7t.widgets.synthesize.preparation import PreparationFields
from napari_mri7t.widgets.synthesize.preview import PreviewBar
from napari_mri7t.widgets.synthesize.quality import QualityPanel
from napari_mri7t.widgets.synthesize.uncertainty import add_uncertainty

if TYPE_CHECKING:
    from napari_mri7t.engine.workflows.summary import BatchSummary


class SynthesizeWidget(EngineWidget):
    """Choose layers and a model, run, cancel; every result is a new layer."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        orient_empty_viewer()
        self.memory = Memory()
        self._places: tuple[object, ...] = ()  # what was chosen last
        self._layers: list[Layer] = []
        self._question: tuple[object, ...] = ()  # that what is shown of the scan answers
        self._about: list[Layer] = []  # the last run's scans and results
        remembered = self.memory.recall(OF_SYNTHESIS)
        self._latest = Latest("Check of the scan", self)
        self.source = SourceFields(self.viewer, remembered)
        self.folder = FolderPanel(self.viewer)
        scan = self.group("3T image")
        scan.addRow(self.source)
        scan.addRow(self.folder)
        self.model_chooser = ModelChooser()
        self.automatic = AutomaticModel(self.model_chooser)
        self.group("Model").addRow(self.model_chooser)
        self.preparation = PreparationFields(self.viewer, remembered)
        self.computation = ComputationFields(remembered)
        self.choices = Choices(self.source, self.model_chooser, self.preparation, self.computation)
        self.choices.recall_model(remembered)
        self.panel = JobPanel(
            "Synthesize", "Make the 7T-like volume; it becomes a new layer on the same grid"
        )
        self.outlook = Outlook(self.memory, self.panel.notices, self)
        scan.addRow(self.outlook.notices)  # in sight as the scan is chosen
        form = self.group("Preparation")
        form.addRow(self.preparation)
        form.addRow(self.outlook.preparation)
        form = self.group("Computation")
        form.addRow(self.computation)
        form.addRow(self.outlook.passes)
        self._build_actions()
        self.quality = QualityPanel(self.viewer)
        self.column.addWidget(self.quality)
        self.column.addStretch()
        self.column.addWidget(DefaultReaderButton())
        self._connect()
        self._check()

    def catch_up(self) -> None:
        """Offer a model that was trained since."""
        self.choices.recall_model(self.memory.recall(OF_SYNTHESIS))

    def _build_actions(self) -> None:
        self.pin(self.panel)
        self.preview = PreviewBar(self.viewer, self.choices.preview_request, self)
        self.panel.add_buttons(self.preview.button, self.preview.live_box)
        self.save_button = SaveButton(self.viewer, lambda facts: "Model" in facts)
        self.command_button = CommandButton(self.choices.lines)
        self.before_after = BeforeAfter(self.viewer, self)
        self.panel.add_buttons(self.before_after.button, self.save_button, self.command_button)
        self.panel.add_buttons(ResultLine(self.save_button, self.before_after))

    def _connect(self) -> None:
        for part in (self.source, self.model_chooser, self.preparation, self.computation):
            part.changed.connect(self._check)
        for part in (self.before_after, self.quality, self.folder):
            part.failed.connect(self.panel.fail)
        self.panel.start_requested.connect(self.start)
        self.panel.hear(self.save_button.saved, self.save_button.failed)
        self.panel.hear(self.command_button.copied, self.command_button.failed)
        self.panel.hear(self.preview.done, self.preview.failed)
        self.preview.progressed.connect(self.panel.show_status)
        self.preview.prepared.connect(self.outlook.pace.keep_steps)
        self.preview.prepared.connect(lambda seconds: self._check())  # the full run reuses it
        self.quality.mask_accepted.connect(self._use_mask)
        self.quality.mask_kept.connect(self.panel.warn)
        self._latest.answered.connect(self._show_checks)
        self._latest.failed.connect(self.automatic.give_up)
        self._latest.failed.connect(self.outlook.tell_preparation)
        self.outlook.timed.connect(self._tell_time)
        self.folder.changed.connect(self._show_folder)
        self.folder.shown.connect(self.before_after.offer_pair)
        self.folder.shown.connect(lambda scan, estimate: self.save_button.offer(estimate))
        self.panel.idle.connect(self._check)
        self.opened = OpenedScans(self.viewer, self.source, self._may_follow)
        self.passing = PassingWords(self.panel, self.preparation.mask_chooser)

    def _may_follow(self) -> bool:
        """Return whether another scan may be chosen: nothing runs, no mask belongs to this one."""
        is_busy = self.panel.job is not None or self.preview.is_preparing
        return not is_busy and not self.preparation.has_own_of_scan

    def _check(self) -> None:
        """Show what will happen, and allow the start only if it can succeed."""
        layers, is_folder = self.source.layers(), self.choices.is_folder
        self._forget_others(layers)
        self.choices.offer_what_the_model_has()
        self.preparation.serve_folder(is_folder)
        self.folder.setVisible(is_folder)
        self._why_not = why_not = self.choices.why_not()
        self.panel.set_ready(why_not)
        self.preview.set_ready(self._why_no_preview())
        question = layers, self.choices.places(), self.choices.values()
        if question != self._question:
            self.panel.drop_failure()
        if why_not is not None or question != self._question:  # else it stays until it is answered
            self.outlook.clear(in_place=why_not is None and question[:2] == self._question[:2])
            self.preparation.offer_coarse(False)
        self._question = question
        if why_not is None:
            self.automatic.examine(layers)
        self._tell_time()
        if self.panel.job is None:
            is_asked = is_folder and why_not is None
            self.folder.ask(self.choices.folder_request() if is_asked else None)
        if why_not is None and layers:
            is_left = self.model_chooser.choice is None
            card = None if is_left else self.model_chooser.card
            asked = self.preparation.asked()
            self._latest.ask(check_layers, self.source.sources(), card, asked)
        else:
            self._latest.drop()
            self.automatic.forget()

    def _why_no_preview(self) -> str | None:
        if self.panel.job is not None:
            return "a synthesis is running"
        return self._why_not or ("set From to One layer" if self.choices.is_folder else None)

    def _forget_others(self, layers: list[Layer]) -> None:
        """Drop what was said of other scans, another folder or another model than those chosen."""
        places = self.choices.places()
        is_about_them = places == self._places and (
            layers == self._layers
            or any(layer in self._about for layer in layers)
            or (self.source.chooses_none() and any(x in self.viewer.layers for x in self._about))
        )
        self._places, self._layers = places, layers
        if self.panel.job is None and not is_about_them:
            self.panel.forget()
            self.quality.clear()

    def _tell_time(self) -> None:
        """Show what goes through the model, and how long that takes."""
        if self._why_not is not None:
            return
        if self.choices.is_folder:
            self._show_folder()
        else:
            self.outlook.tell_layers(self.source.layers(), self.choices, self.panel.job is None)

    def _show_folder(self) -> None:
        """Show what will be done with the folder's scans, and how long it takes."""
        if not self.choices.is_folder or self._why_not is not None:
            return
        self.panel.set_ready(self.folder.why_not)
        self.preparation.offer_coarse(self.folder.can_be_allowed)
        self.outlook.tell_scans(self.folder.to_do(), self.choices, self.panel.job is None)

    def _show_checks(self, checks: list[ScanCheck]) -> None:
        """Show the plan of every preparation and its time, or why nothing can start."""
        self.automatic.decide(self._layers, (check.model for check in checks))
        errors = [check.error for check in checks if check.error]
        self.preparation.offer_coarse(any(check.can_be_allowed for check in checks))
        self.panel.set_ready(self._why_not or (errors[0] if errors else None))
        self.outlook.tell_checks(checks)
        self._tell_time()

    def start(self) -> None:
        """Run in the background."""
        if self.panel.job is not None or self._why_not is not None:
            return
        model, config = self.model_chooser.choice, self.computation.config()
        self.memory.keep(OF_SYNTHESIS, self.choices.values() | preferred(**DEFAULTS))
        self.outlook.pace.rest()
        self._about = self.source.layers()
        self._n_scans = len(self._about)
        if self.choices.is_folder:
            job = self._folder_job(self.choices.folder_request())
        else:
            self.preparation.begin_session()
            sources, asked = self.source.sources(), self.preparation.asked()
            job = Job(
                f"Synthesize {title_of(self._about)}",
                lambda report: synthesize_layers(sources, model, config, asked, report),
                breakable=True,
            )
            job.progressed.connect(self._on_progressed)
        self._running_config = config
        self.destroyed.connect(job.cancel)
        self.panel.follow(job)
        self.quality.clear()  # after the panel has dropped what it said of the last run
        self.preview.set_ready(self._why_no_preview())
        job.cancelled.connect(self._on_cancelled)
        job.start()

    def _folder_job(self, request: FolderRequest) -> Job:
        job = Job(
            f"Synthesize {request.source.name}",
            lambda report: synthesize_folder(request, job.noted.emit, report),
            breakable=True,
        )
        self.folder.begin()
        job.progressed.connect(self.folder.follow)
        job.noted.connect(self.folder.note)
        job.succeeded.connect(self._on_folder_done)
        job.ended.connect(self.folder.end)
        return job

    def _on_cancelled(self) -> None:
        self.passing.tell_cancelled(self.choices.is_folder or len(self._about) > self._n_scans)

    def _on_progressed(self, progress: Progress) -> None:
        """Show the plan that is carried out, and each result as soon as it is ready."""
        if isinstance(progress, Planned):
            self._latest.drop()  # the plan for another start
            self.automatic.give_up()
            self.outlook.tell_plan(progress)
        elif isinstance(progress, Finished):
            self._show_result(progress)

    def _show_result(self, progress: Finished) -> None:
        synthesis, source = progress.synthesis, progress.source
        prepared, estimate = synthesis.prepared, synthesis.volume
        has_grid = prepared is None or shares_grid(estimate, prepared.scan)
        name = f"{source.title} synthetic-7T {synthesis.model.name}"
        on = source.layer if has_grid else None
        data, meta, _ = estimate_to_layer(estimate, on, progress.provenance, name=name)
        with self.source.kept():
            shown = self.viewer.add_image(data, **meta)
            self._about.append(shown)
            self._offer_uncertainty(progress, shown)
        self.save_button.offer(shown)
        self.before_after.offer(synthesis, source.layer, shown, source.title)
        self.outlook.pace.keep(pace_of(synthesis.model.card, self._running_config), progress)
        self.panel.conclude(f"Done {progress.on_and_in}: layer ", shown)
        several = f"{source.layer.name}: " if progress.total > 1 else ""
        for text in progress.provenance["Warnings"]:
            self.panel.warn(f"{several}{text}")
        if prepared is not None:
            self.quality.offer((prepared, estimate, synthesis.model.card), source.layer, shown)
        self._check()

    def _offer_uncertainty(self, progress: Finished, shown: Layer) -> None:
        layer = add_uncertainty(self.viewer, progress, shown)
        if layer is not None:
            self._about.append(layer)
            self.save_button.offer(layer)
            self.viewer.layers.selection.active = shown  # which is what Save... then proposes

    def _use_mask(self, mask: Layer, scan: Layer) -> None:
        """Take a corrected mask for the next run of its scan."""
        self.source.choose(scan)
        self.preparation.use_mask(mask)
        self.passing.promise(mask)

    def _on_folder_done(self, summary: BatchSummary) -> None:
        self.panel.conclude(self.folder.conclude(summary))

    def release(self) -> None:
        """End the job with the widget, which would show its result."""
        listening = (self.passing, self.opened, self.source, self.save_button, self.preview)
        for part in (*listening, self.before_after, self.quality, self.panel, self.preparation):
            part.release()
        super().release()
