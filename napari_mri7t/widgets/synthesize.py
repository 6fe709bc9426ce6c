"""The widget "Synthesize 7T": a 3T layer in, a 7T-like layer on the same grid out."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from napari.layers import Layer
from qtpy.QtWidgets import QComboBox, QLabel, QSpinBox

from napari_mri7t.widgets.controls import EngineWidget, LayerChooser, narrow
from napari_mri7t.widgets.job_panel import JobPanel
from napari_mri7t.widgets.layers import (
    LayerData,
    data_to_volume,
    estimate_to_layer,
    is_volume,
)
from napari_mri7t.widgets.model_chooser import ModelChooser
from napari_mri7t.widgets.preferences import orient_empty_viewer, preference
from napari_mri7t.widgets.worker import Job, Step

if TYPE_CHECKING:
    from napari_mri7t.engine.synthesis import Synthesis

DEVICES = {
    "auto": "Automatic",
    "cpu": "CPU",
    "cuda": "NVIDIA GPU",
    "mps": "Apple GPU",
}
STEPS = {
    1: "Averaged (step 1)",
    3: "Fast (step 3)",
}


class SynthesizeWidget(EngineWidget):
    """Choose a layer and a model, run, cancel; the result is a new layer."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        orient_empty_viewer()
        self._source: Layer | None = None
        self._build_image_group()
        self._build_model_group()
        self._build_computation_group()
        self.panel = JobPanel(
            "Synthesize", "Make the 7T-like volume; it becomes a new layer on the same grid"
        )
        self.panel.start_requested.connect(self.start)
        self.column.addWidget(self.panel)
        self.column.addStretch()
        self.layer_chooser.layer_changed.connect(self._on_layer_changed)
        self.model_chooser.changed.connect(self._check)
        self._on_layer_changed(self.layer_chooser.layer)

    def _build_image_group(self) -> None:
        form = self.group("3T image")
        self.layer_chooser = LayerChooser(self.viewer, is_volume)
        self.index_label = QLabel("Volume")
        self.index_box = QSpinBox()
        self.index_box.setToolTip("Which volume of the 4-D layer to take, counted from 0")
        form.addRow("Layer", self.layer_chooser)
        form.addRow(self.index_label, self.index_box)

    def _build_model_group(self) -> None:
        form = self.group("Model")
        self.model_chooser = ModelChooser()
        form.addRow(self.model_chooser)

    def _build_computation_group(self) -> None:
        form = self.group("Computation")
        self.device_box = QComboBox()
        narrow(self.device_box)
        for name, text in DEVICES.items():
            self.device_box.addItem(text, name)
        self.device_box.setToolTip(
            "Where to compute: Automatic takes the fastest there is, CPU always works"
        )
        wanted = self.device_box.findData(preference("synthesis", "device", "auto"))
        self.device_box.setCurrentIndex(max(wanted, 0))
        self.step_box = QComboBox()
        narrow(self.step_box)
        for step, text in STEPS.items():
            self.step_box.addItem(text, step)
        self.step_box.setToolTip(
            "Slices from one input of the network to the next.\n"
            "1: every slice is the mean of its predictions, less noise, three times the work.\n"
            "3: every slice is predicted once, as in the report."
        )
        self.end_slices_box = QSpinBox()
        self.end_slices_box.setRange(0, 500)
        self.end_slices_box.setSuffix(" untouched")
        self.end_slices_box.setToolTip(
            "How many axial slices at either end stay as they are in the 3T image\n"
            "(0: none; the report left 30)"
        )
        form.addRow("Device", self.device_box)
        form.addRow("Quality", self.step_box)
        form.addRow("End slices", self.end_slices_box)

    def _on_layer_changed(self, layer: Layer | None) -> None:
        is_series = layer is not None and layer.ndim == 4
        self.index_label.setVisible(is_series)
        self.index_box.setVisible(is_series)
        if is_series:
            self.index_box.setMaximum(layer.data.shape[0] - 1)
            shown = int(self.viewer.dims.current_step[0]) if self.viewer.dims.ndim == 4 else 0
            self.index_box.setValue(shown)
        self._check()

    def _check(self) -> None:
        """Allow the start only if it can succeed, as far as can be known at once."""
        why_not = None
        if self.layer_chooser.layer is None:
            why_not = "Open a T1w volume first: File > Open, or File > Open Sample."
        elif self.model_chooser.folder is None:
            why_not = "Choose a model."
        self.panel.set_ready(why_not)

    def start(self) -> None:
        """Run the synthesis of the chosen layer in the background."""
        source = self.layer_chooser.layer
        if source is None or self.panel.job is not None:
            return
        layer_data = source.as_layer_data_tuple()
        settings = {
            "device": self.device_box.currentData(),
            "step": self.step_box.currentData(),
            "end_slices": self.end_slices_box.value(),
            "memory_mb": preference("synthesis", "memory_mb", 1024),
        }
        index = self.index_box.value() if source.ndim == 4 else None
        model = self.model_chooser.folder
        self._source = source
        job = Job(
            f"Synthesize {source.name}",
            lambda: synthesis_steps(layer_data, index, model, settings),
            breakable=True,
        )
        job.succeeded.connect(self._on_succeeded)
        self.destroyed.connect(job.cancel)
        self.panel.follow(job)
        job.start()

    def _on_succeeded(self, result: tuple[Synthesis, dict[str, Any]]) -> None:
        synthesis, provenance = result
        estimate = synthesis.volume
        data, meta, _ = estimate_to_layer(estimate, self._source, provenance, name=estimate.name)
        self.viewer.add_image(data, **meta)
        self._source = None
        self.panel.conclude(
            f"Done on {synthesis.device} ({synthesis.precision}) in {synthesis.seconds:.0f} s: "
            f"layer {estimate.name}"
        )
        self.panel.inform(provenance["Notice"])
        for text in provenance["Warnings"]:
            self.panel.warn(text)

    def release(self) -> None:
        """End the job with the widget: nobody would be there for its result."""
        self.panel.cancel()
        super().release()


def synthesis_steps(
    layer_data: LayerData, index: int | None, model: Path, settings: dict[str, Any]
) -> Generator[Any, None, tuple[Synthesis, dict[str, Any]]]:
    """Do everything that takes time, torch's import included, away from Qt's thread."""
    yield Step(0, 0, "Preparing the volume")
    volume = data_to_volume(*layer_data, index)
    yield Step(0, 0, "Loading torch and the model")
    from napari_mri7t.engine.networks.model import load_model
    from napari_mri7t.engine.synthesis import SynthesisConfig, synthesize
    from napari_mri7t.engine.synthesis_sidecar import synthesis_sidecar

    yield Step(0, 0, "Loading the model")
    trained = load_model(model)
    yield Step(0, 1, "Matching the scan's intensities to the model's")  # may be broken off now
    synthesis = yield from synthesize(volume, trained, SynthesisConfig(**settings))
    yield Step(0, 0, "Noting what made it")
    return synthesis, synthesis_sidecar(volume, trained, synthesis)
