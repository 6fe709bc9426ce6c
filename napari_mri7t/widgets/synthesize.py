"""The widget "Synthesize 7T": a 3T layer in, a 7T-like layer on the same grid out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import QLabel

from napari_mri7t.engine.cards import ModelCard
from napari_mri7t.engine.domain import check_domain
from napari_mri7t.engine.provenance import NOTICE
from napari_mri7t.widgets.controls import WARNING_COLOUR, EngineWidget, Notices, breakable
from napari_mri7t.widgets.default_reader import DefaultReaderButton
from napari_mri7t.widgets.job_panel import JobPanel, duration
from napari_mri7t.widgets.latest import Latest
from napari_mri7t.widgets.layers import estimate_to_layer, layer_to_volume
from napari_mri7t.widgets.memory import Memory
from napari_mri7t.widgets.model_chooser import ModelChooser
from napari_mri7t.widgets.preferences import orient_empty_viewer, preference
from napari_mri7t.widgets.synthesis_fields import FOLDER, ComputationFields, SourceFields
from napari_mri7t.widgets.synthesis_jobs import Finished, folder_steps, layer_steps
from napari_mri7t.widgets.worker import Job

if TYPE_CHECKING:
    from napari_mri7t.engine.batch_summary import BatchSummary

CHOICES, PACE = "synthesis", "pace"  # sections of the memory


class SynthesizeWidget(EngineWidget):
    """Choose layers and a model, run, cancel; every result is a new layer."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        orient_empty_viewer()
        self.memory = Memory()
        remembered = self.memory.recall(CHOICES)
        self._latest = Latest("Check of the scan", self)
        self.source = SourceFields(self.viewer)
        self.group("3T image").addRow(self.source)
        self.model_chooser = ModelChooser()
        self.group("Model").addRow(self.model_chooser)
        self._recall_model(remembered)
        self.computation = ComputationFields(remembered)
        form = self.group("Computation")
        form.addRow(self.computation)
        self.plan_label = QLabel()
        self.plan_label.setWordWrap(True)
        self.plan_notices = Notices()
        form.addRow(self.plan_label)
        form.addRow(self.plan_notices)
        self.panel = JobPanel(
            "Synthesize", "Make the 7T-like volume; it becomes a new layer on the same grid"
        )
        self.column.addWidget(self.panel)
        self.column.addStretch()
        self.column.addWidget(DefaultReaderButton())
        self._connect()
        self._check()

    def _connect(self) -> None:
        self.source.changed.connect(self._check)
        self.model_chooser.changed.connect(self._check)
        self.computation.changed.connect(self._check)
        self.panel.start_requested.connect(self.start)
        self._latest.answered.connect(self._show_differences)

    def _recall_model(self, remembered: dict[str, Any]) -> None:
        folder = Path(str(remembered.get("model", "")))
        if remembered.get("model") and folder.is_dir():
            self.model_chooser.add(folder)

    def _check(self) -> None:
        """Say what will happen, and allow the start only if it can succeed."""
        card = self.model_chooser.card
        why_not = self.source.why_not() or ("Choose a model." if card is None else None)
        self.panel.set_ready(why_not)
        self.plan_notices.clear()
        self.plan_label.setText("" if why_not else breakable(self._plan(card)))
        self.plan_label.setVisible(not why_not)
        layers = self.source.layers()
        if why_not is None and layers:
            self._latest.ask(_differences, layers, self.source.index_box.value(), card)

    def _plan(self, card: ModelCard) -> str:
        if self.source.mode == FOLDER:
            return f"Every T1w scan of the folder through {card.name}, into a BIDS derivative."
        layers = self.source.layers()
        shapes = " x ".join(str(n) for n in layers[0].data.shape[-3:][::-1])
        what = f"{shapes} voxels" if len(layers) == 1 else f"{len(layers)} layers"
        pace = self.memory.recall(PACE).get(self._pace_key(card))
        if not isinstance(pace, float):
            return f"{what} through {card.name}; the time is known after the first run."
        seconds = pace * sum(_n_voxels(layer) for layer in layers)
        return f"{what} through {card.name}: {duration(seconds)}, as measured here before."

    def _pace_key(self, card: ModelCard) -> str:
        values = self.computation.values()
        return f"{card.sha256[:16]} {values['device']} step {values['step']}"

    def _show_differences(self, found: list[str]) -> None:
        self.plan_notices.clear()
        for text in found:
            self.plan_notices.add(text, WARNING_COLOUR)

    def start(self) -> None:
        """Run in the background."""
        if self.panel.job is not None or self.source.why_not() or self.model_chooser.card is None:
            return
        model, settings = self.model_chooser.folder, self.computation.values()
        self.memory.keep(CHOICES, settings | {"model": str(model)})
        settings["memory_mb"] = preference("synthesis", "memory_mb", 1024)
        if self.source.mode == FOLDER:
            folders = self.source.folder_field.folder, self.source.output_field.folder
            job = Job(
                f"Synthesize {folders[0].name}",
                lambda: folder_steps(*folders, model, settings),
                breakable=True,
            )
            job.succeeded.connect(self._on_folder_done)
        else:
            sources = self.source.sources()
            title = sources[0].layer.name if len(sources) == 1 else f"{len(sources)} layers"
            job = Job(
                f"Synthesize {title}",
                lambda: layer_steps(sources, model, settings),
                breakable=True,
            )
            job.progressed.connect(self._on_progressed)
        self._running_pace = self._pace_key(self.model_chooser.card)
        self.destroyed.connect(job.cancel)
        self.panel.follow(job)
        job.start()

    def _on_progressed(self, record: object) -> None:
        """Show a result as soon as it is there, though others are still to come."""
        if not isinstance(record, Finished):
            return
        synthesis, estimate = record.synthesis, record.synthesis.volume
        data, meta, _ = estimate_to_layer(
            estimate, record.source.layer, record.provenance, name=estimate.name
        )
        self.viewer.add_image(data, **meta)
        self.memory.keep(PACE, {self._running_pace: synthesis.seconds / estimate.array.size})
        self.panel.conclude(
            f"Done on {synthesis.device} ({synthesis.precision}) in {synthesis.seconds:.0f} s: "
            f"layer {estimate.name}"
        )
        self.panel.inform(record.provenance["Notice"])
        several = f"{record.source.layer.name}: " if record.total > 1 else ""
        for text in record.provenance["Warnings"]:
            self.panel.warn(f"{several}{text}")
        self._check()

    def _on_folder_done(self, summary: BatchSummary) -> None:
        before = f", {len(summary.known)} done before" if summary.known else ""
        self.panel.conclude(f"Done: {len(summary.written)} written{before}")
        for name, text in summary.failed.items():
            self.panel.fail(text if name in text else f"{name}: {text}")
        for name, texts in summary.warnings.items():
            for text in texts:
                self.panel.warn(f"{name}: {text}")
        self.panel.inform(NOTICE)

    def release(self) -> None:
        """End the job with the widget: nobody would be there for its result."""
        self._latest.drop()
        self.source.release()
        self.panel.cancel()
        super().release()


def _n_voxels(layer: Layer) -> int:
    return int(np.prod(layer.data.shape[-3:]))


def _differences(layers: list[Layer], index: int, card: ModelCard) -> list[str]:
    """Hold the scans against what the model knows, before anything runs."""
    found = []
    for layer in layers:
        volume = layer_to_volume(layer, index if layer.ndim == 4 else None)
        several = f"{layer.name}: " if len(layers) > 1 else ""
        found += [f"{several}{text}" for text in check_domain(volume, card)]
    return found
