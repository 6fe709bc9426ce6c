"""The widget "Synthesize 7T": a 3T layer in, a 7T-like layer out; or a folder, scan by scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Layer

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.preparation.optional import unfinished_work
from napari_mri7t.engine.progress import Progress
from napari_mri7t.engine.volumes.provenance import NOTICE
from napari_mri7t.engine.volumes.volume import shares_grid
from napari_mri7t.widgets.layers.layers import estimate_to_layer
from napari_mri7t.widgets.shared.base import EngineWidget
from napari_mri7t.widgets.shared.command import CommandButton
from napari_mri7t.widgets.shared.controls import (
    WARNING_COLOUR,
    Notices,
    TextLabel,
    wrap_anywhere,
)
from napari_mri7t.widgets.shared.job_panel import JobPanel
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.model_chooser import ModelChooser
from napari_mri7t.widgets.shared.save import SaveButton
from napari_mri7t.widgets.shared.settings import (
    DefaultReaderButton,
    Memory,
    orient_empty_viewer,
    preferred,
)
from napari_mri7t.widgets.shared.worker import Job
from napari_mri7t.widgets.synthesize.command import (
    AskedOfLayers,
    lines_of_folder,
    lines_of_layers,
)
from napari_mri7t.widgets.synthesize.fields import DEFAULTS, FOLDER, ComputationFields, SourceFields
from napari_mri7t.widgets.synthesize.folder import FolderPanel
from napari_mri7t.widgets.synthesize.folder_jobs import FolderRequest, synthesize_folder
from napari_mri7t.widgets.synthesize.jobs import (
    Finished,
    Planned,
    ScanCheck,
    check_layers,
    synthesize_layers,
)
from napari_mri7t.widgets.synthesize.pace import Pace
from napari_mri7t.widgets.synthesize.preparation import PreparationFields
from napari_mri7t.widgets.synthesize.quality import QualityPanel

if TYPE_CHECKING:
    from napari_mri7t.engine.workflows.summary import BatchSummary

CHOICES = "synthesis"  # section of the memory


class SynthesizeWidget(EngineWidget):
    """Choose layers and a model, run, cancel; every result is a new layer."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        orient_empty_viewer()
        self.memory = Memory()
        self._pace = Pace(self.memory)
        remembered = self.memory.recall(CHOICES)
        self._latest = Latest("Check of the scan", self)
        self.source = SourceFields(self.viewer, remembered)
        self.folder = FolderPanel(self.viewer)
        form = self.group("3T image")
        form.addRow(self.source)
        form.addRow(self.folder)
        self.model_chooser = ModelChooser()
        self.group("Model").addRow(self.model_chooser)
        self._recall_model(remembered)
        self.preparation = PreparationFields(self.viewer, remembered)
        form = self.group("Preparation")
        form.addRow(self.preparation)
        self.preparation_label = TextLabel()
        self.preparation_label.setWordWrap(True)
        form.addRow(self.preparation_label)
        self.computation = ComputationFields(remembered)
        form = self.group("Computation")
        form.addRow(self.computation)
        self.plan_label = TextLabel()
        self.plan_label.setWordWrap(True)
        self.plan_notices = Notices()
        form.addRow(self.plan_label)
        form.addRow(self.plan_notices)
        self.panel = JobPanel(
            "Synthesize", "Make the 7T-like volume; it becomes a new layer on the same grid"
        )
        self.pin(self.panel)
        self.save_button = SaveButton(self.viewer)
        self.command_button = CommandButton(self._lines)
        self.panel.add_buttons(self.save_button, self.command_button)
        self.quality = QualityPanel(self.viewer)
        self.column.addWidget(self.quality)
        self.column.addStretch()
        self.column.addWidget(DefaultReaderButton())
        self._connect()
        self._check()

    def _connect(self) -> None:
        self.source.changed.connect(self._check)
        self.model_chooser.changed.connect(self._check)
        self.preparation.changed.connect(self._check)
        self.computation.changed.connect(self._check)
        self.panel.start_requested.connect(self.start)
        self.save_button.saved.connect(self.panel.conclude)
        self.command_button.copied.connect(self.panel.conclude)
        for part in (self.save_button, self.command_button):
            part.failed.connect(self.panel.fail)
        self.quality.failed.connect(self.panel.fail)
        self.quality.mask_accepted.connect(self._use_mask)
        self._latest.answered.connect(self._show_checks)
        self._latest.failed.connect(self._show_plan)
        self.source.mode_box.currentTextChanged.connect(self._forget)
        self.folder.changed.connect(self._show_folder)
        self.folder.failed.connect(self.panel.fail)
        self.panel.idle.connect(self._check)

    def _recall_model(self, remembered: dict[str, Any]) -> None:
        folder = Path(str(remembered.get("model", "")))
        if remembered.get("model") and folder.is_dir():
            self.model_chooser.add(folder)

    def _check(self) -> None:
        """Show what will happen, and allow the start only if it can succeed."""
        card, layers = self.model_chooser.card, self.source.layers()
        is_folder = self.source.mode == FOLDER
        self.preparation.serve_folder(is_folder)
        self.folder.setVisible(is_folder)
        why_not = self.source.why_not() or ("Choose a model." if card is None else None)
        why_not = why_not or (None if is_folder else self.preparation.why_not(layers))
        self._why_not = why_not
        self.panel.set_ready(why_not)
        self.plan_notices.clear()
        self.preparation_label.setVisible(False)
        self.preparation.offer_coarse(False)
        self.plan_label.setText("" if why_not or is_folder else wrap_anywhere(self._plan(card)))
        self.plan_label.setVisible(not why_not)
        if self.panel.job is None:
            self.folder.ask(self._folder_request() if is_folder and why_not is None else None)
        if why_not is None and layers:
            asked = self.preparation.asked()
            self._latest.ask(check_layers, self.source.sources(), card, asked)
        else:
            self._latest.drop()

    def _folder_request(self) -> FolderRequest:
        asked = self.preparation.asked()
        return FolderRequest(
            self.source.folder_field.folder,
            self.source.output_field.folder,
            self.model_chooser.folder,
            self.computation.config(),
            asked.preparation,
            asked.output,
            self.source.overwrite_box.isChecked(),
        )

    def _lines(self) -> list[str]:
        """Return the `mri7t` lines of what a start would do."""
        if self._why_not is not None:
            raise Mri7tError(self._why_not)
        if self.source.mode == FOLDER:
            return lines_of_folder(self._folder_request())
        asked = AskedOfLayers(
            self.source.sources(),
            self.model_chooser.folder,
            self.computation.config(),
            self.preparation.asked(),
            self.preparation.keep,
            self.preparation.mask_layer,
        )
        return lines_of_layers(asked)

    def _forget(self) -> None:
        """Drop what was said of other scans than those chosen now."""
        if self.panel.job is None:
            self.panel.notices.clear()
            self.panel.conclude("")
            self.quality.clear()

    def _plan(self, card: ModelCard) -> str:
        layers = self.source.layers()
        shapes = " × ".join(str(n) for n in layers[0].data.shape[-3:][::-1])
        what = f"{shapes} voxels" if len(layers) == 1 else f"{len(layers)} layers"
        n_voxels = sum(_n_voxels(layer) for layer in layers)
        return (
            f"{what} through {card.name}{self._pace.of(card, self.computation.values(), n_voxels)}"
        )

    def _show_folder(self) -> None:
        """Show what will be done with the folder's scans, and how long it takes."""
        card = self.model_chooser.card
        if self.source.mode != FOLDER or self._why_not is not None or card is None:
            return
        self.panel.set_ready(self.folder.why_not)
        self.preparation.offer_coarse(self.folder.can_be_allowed)
        n_scans, n_voxels, steps = self.folder.to_do()
        what = "1 scan" if n_scans == 1 else f"{n_scans} scans"
        how_long = self._pace.of(card, self.computation.values(), n_voxels)
        text = f"{what} through {card.name} into a BIDS derivative{how_long}"
        text = f"{text} {self._pace.of_preparation(steps)}"
        self.plan_label.setText(wrap_anywhere(text.strip()) if n_scans else "")

    def _show_checks(self, checks: list[ScanCheck]) -> None:
        """Show the plan of every preparation and its time, or why nothing can start."""
        self.plan_notices.clear()
        errors = [check.error for check in checks if check.error]
        self.preparation.offer_coarse(any(check.can_be_allowed for check in checks))
        self.panel.set_ready(self._why_not or (errors[0] if errors else None))
        for text in dict.fromkeys(text for check in checks for text in check.warnings):
            self.plan_notices.add(text, WARNING_COLOUR)
        planned = [(check.title, check.plan) for check in checks if check.plan is not None]
        sentences = [f"{title}{plan.describe()}" for title, plan in planned]
        steps = [step for _, plan in planned for step in plan.steps]
        self._show_plan(" ".join([*sentences, self._pace.of_preparation(steps)]).strip())

    def _show_plan(self, text: str) -> None:
        self.preparation_label.setText(wrap_anywhere(text))
        self.preparation_label.setVisible(bool(text))

    def start(self) -> None:
        """Run in the background."""
        if self.panel.job is not None or self._why_not is not None:
            return
        model, config = self.model_chooser.folder, self.computation.config()
        choices = self.computation.values() | self.preparation.values() | self.source.values()
        choices |= preferred(**DEFAULTS)
        self.memory.keep(CHOICES, choices | {"model": str(model)})
        self.quality.clear()
        if self.source.mode == FOLDER:
            job = self._folder_job(self._folder_request())
        else:
            sources = self.source.sources()
            self.preparation.begin_session()
            asked = self.preparation.asked()
            title = sources[0].layer.name if len(sources) == 1 else f"{len(sources)} layers"
            job = Job(
                f"Synthesize {title}",
                lambda report: synthesize_layers(sources, model, config, asked, report),
                breakable=True,
            )
            job.progressed.connect(self._on_progressed)
        self._running_card = self.model_chooser.card
        self._running_pace = self._pace.key(self._running_card, self.computation.values())
        self.destroyed.connect(job.cancel)
        self.panel.follow(job)
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
        is_one = self.source.mode != FOLDER and len(self.source.layers()) == 1
        words = ["Cancelled; nothing was changed." if is_one else "Cancelled; results are kept."]
        if unfinished_work():
            words.append("The current step will finish in the background.")
        self.panel.conclude(" ".join(words))

    def _on_progressed(self, progress: Progress) -> None:
        """Show the plan that is carried out, and each result as soon as it is ready."""
        if isinstance(progress, Planned):
            self._latest.drop()  # the plan for another start
            self._show_plan(f"{progress.title}{progress.plan.describe()}")
        elif isinstance(progress, Finished):
            self._show_result(progress)

    def _show_result(self, progress: Finished) -> None:
        synthesis, prepared = progress.synthesis, progress.synthesis.prepared
        estimate = synthesis.volume
        has_grid = prepared is None or shares_grid(estimate, prepared.scan)
        data, meta, _ = estimate_to_layer(
            estimate,
            progress.source.layer if has_grid else None,
            progress.provenance,
            name=estimate.name,
        )
        shown = self.viewer.add_image(data, **meta)
        self.save_button.offer(shown)
        self._pace.keep(self._running_pace, progress)
        before = sum(progress.seconds.values())
        after = "" if prepared is None else f", after {before:.0f} s of preparation"
        self.panel.conclude(
            f"Done on {synthesis.device} ({synthesis.precision}) in {synthesis.seconds:.0f} s"
            f"{after}: layer {estimate.name}"
        )
        self.panel.inform(progress.provenance["Notice"])
        several = f"{progress.source.layer.name}: " if progress.total > 1 else ""
        for text in progress.provenance["Warnings"]:
            self.panel.warn(f"{several}{text}")
        if prepared is not None:
            run = prepared, estimate, self._running_card
            self.quality.offer(run, progress.source.layer, shown)
        self._check()

    def _use_mask(self, mask: Layer, scan: Layer) -> None:
        """Take a corrected mask for the next run of its scan."""
        self.source.choose(scan)
        self.preparation.use_mask(mask)

    def _on_folder_done(self, summary: BatchSummary) -> None:
        parts = [f"{len(summary.written)} written"]
        parts += [f"{len(summary.known)} already done"] if summary.known else []
        parts += [f"{len(summary.failed)} failed"] if summary.failed else []
        self.panel.conclude(", ".join(parts))
        self.folder.show_worst()
        self.panel.inform(NOTICE)

    def release(self) -> None:
        """End the job with the widget, which would show its result."""
        self.source.release()
        self.save_button.release()
        self.quality.release()
        self.panel.cancel()
        self.preparation.release()
        super().release()


def _n_voxels(layer: Layer) -> int:
    return int(np.prod(layer.data.shape[-3:]))
