"""The widget "Simulate 3T": a pseudo-3T of a 7T layer, or pairs of a whole folder."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QPushButton, QSpinBox

from napari_mri7t.engine.datasets.subjects import find_subjects
from napari_mri7t.engine.simulation.pseudo_3t import (
    PAIR,
    SIMULATIONS,
    SimulationConfig,
    preview_plane,
    simulate_3t_steps,
    simulation_sidecar,
)
from napari_mri7t.engine.volumes.volume import Volume, load_volume
from napari_mri7t.engine.workflows.simulate import simulate_dataset
from napari_mri7t.widgets.layers.layers import (
    LayerData,
    estimate_to_layer,
    is_single_volume,
    layer_to_volume,
    volume_to_layer,
)
from napari_mri7t.widgets.layers.planes import plane_to_layer, shown_plane
from napari_mri7t.widgets.shared.base import EngineWidget
from napari_mri7t.widgets.shared.controls import FolderField, LayerChooser, let_shrink, set_enabled
from napari_mri7t.widgets.shared.job_panel import JobPanel
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.settings import orient_empty_viewer
from napari_mri7t.widgets.shared.worker import Job, Step

ONE_LAYER, FOLDER = "One layer", "A folder of 7T volumes"
PREVIEW_NAME = "preview of the pseudo-3T"


class SimulateWidget(EngineWidget):
    """Choose 7T, noise and histogram; look at one slice; run."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        orient_empty_viewer()
        self._source: Layer | None = None
        self._preview: Layer | None = None
        self._first: dict[Path, Layer] = {}  # of a folder, once it was asked for
        self._latest = Latest("Preview", self)
        self._of_folder = Latest("Preview", self)
        self._build_target()
        self._build_settings()
        self.panel = JobPanel("Simulate", "Make the pseudo-3T: noise, then the histogram")
        self.column.addWidget(self.panel)
        self.column.addStretch()
        self._connect()
        self._check()

    def _build_target(self) -> None:
        self.target_form = self.group("7T")
        self.mode_box = QComboBox()
        let_shrink(self.mode_box)
        self.mode_box.addItems([ONE_LAYER, FOLDER])
        self.mode_box.setToolTip("A folder gives a dataset of pairs that Train folds takes")
        self.layer_chooser = LayerChooser(self.viewer, is_single_volume, "The 7T volume")
        self.folder_field = FolderField(
            "Folder of 7T volumes: NIfTI files, or a BIDS dataset", "the folder of 7T volumes"
        )
        self.output_field = FolderField("Gets 3T_images and 7T_images; an empty folder")
        self.target_form.addRow("From", self.mode_box)
        self.target_form.addRow("Layer", self.layer_chooser)
        self.target_form.addRow("7T folder", self.folder_field)
        self.target_form.addRow("Pairs go to", self.output_field)

    def _build_settings(self) -> None:
        form = self.group("Pseudo-3T")
        default = SimulationConfig()
        self.preset_box = QComboBox()
        let_shrink(self.preset_box)
        self.preset_box.addItems(SIMULATIONS)
        self.preset_box.setCurrentText(default.preset)
        self.preset_box.setToolTip(
            "report: Gaussian noise; realistic: contrast, resolution, shading and Rician noise, "
            "their strengths drawn by the seed"
        )
        self.variance_box = QDoubleSpinBox()
        self.variance_box.setDecimals(4)
        self.variance_box.setRange(0, 1)
        self.variance_box.setSingleStep(0.0005)
        self.variance_box.setValue(default.variance)
        self.seed_box = QSpinBox()
        self.seed_box.setRange(0, 2**31 - 1)
        self.seed_box.setValue(default.seed)
        self.seed_box.setToolTip(
            "The same seed gives the same noise; subject i of a folder gets seed + i"
        )
        self.reference_chooser = LayerChooser(
            self.viewer,
            is_single_volume,
            "Another 7T brain, whose histogram 3T and 7T get, as in the report",
            optional="its own histogram",
        )
        self.preview_button = QPushButton("Preview this slice")
        form.addRow("Like", self.preset_box)
        form.addRow("Noise variance", self.variance_box)
        form.addRow("Seed", self.seed_box)
        form.addRow("Histogram", self.reference_chooser)
        form.addRow(self.preview_button)

    def _connect(self) -> None:
        self.mode_box.currentTextChanged.connect(self._check)
        self.preset_box.currentTextChanged.connect(self._check)
        self.layer_chooser.layer_changed.connect(self._check)
        self.folder_field.changed.connect(self._check)
        self.output_field.changed.connect(self._check)
        self.viewer.dims.events.ndisplay.connect(self._check)
        self.preview_button.clicked.connect(self.preview)
        self.panel.start_requested.connect(self.start)
        self._latest.answered.connect(self._show_preview)
        self._of_folder.answered.connect(self._show_first)
        for latest in (self._latest, self._of_folder):
            latest.failed.connect(self.panel.fail)

    @property
    def config(self) -> SimulationConfig:
        """The settings as chosen."""
        return SimulationConfig(
            self.variance_box.value(), self.seed_box.value(), self.preset_box.currentText()
        )

    def _check(self, value: object = None) -> None:
        is_folder = self.mode_box.currentText() == FOLDER
        for field, visible in (
            (self.layer_chooser, not is_folder),
            (self.folder_field, is_folder),
            (self.output_field, is_folder),
        ):
            field.setVisible(visible)
            self.target_form.labelForField(field).setVisible(visible)
        is_report = self.preset_box.currentText() == "report"
        set_enabled(
            self.variance_box,
            None if is_report else "the realistic preset draws its own noise",
            "Variance of the Gaussian noise, where the 7T fills 0 to 1; the report took 0.003",
        )
        has_layer = self.layer_chooser.layer is not None
        why_not = None
        if is_folder and self.folder_field.why_not() is not None:
            why_not = self.folder_field.why_not()
        elif is_folder and not self.output_field.folder:
            why_not = "Choose the folder that the pairs go to."
        elif not is_folder and not has_layer:
            why_not = "Open a 7T volume first."
        missing = None
        if self.viewer.dims.ndisplay == 3:
            missing = "the preview shows a slice: switch to 2-D"
        elif is_folder and self.folder_field.why_not() is not None:
            missing = "choose the folder"
        elif not is_folder and not has_layer:
            missing = "open a 7T volume as a layer"
        set_enabled(
            self.preview_button,
            missing,
            "Show the slice on the screen as a pseudo-3T; its noise is another than the volume's.\n"
            "Of a folder its first volume is opened",
        )
        self.panel.set_ready(why_not)

    def preview(self) -> None:
        """Simulate the slice on the screen; of a folder, of its first volume."""
        layer, folder = self.layer_chooser.layer, self.folder_field.folder
        if self.mode_box.currentText() == FOLDER and folder is not None:
            layer = self._first.get(folder)
            if layer not in self.viewer.layers:
                self._of_folder.ask(_first_of, folder)
                return
        plane = None if layer is None else shown_plane(self.viewer, layer)
        if plane is None:
            self.panel.fail("The preview shows a slice: switch to 2-D.")
            return
        self._latest.ask(_preview, layer, plane, self.reference_chooser.layer, self.config)

    def _show_first(self, answer: tuple[Path, LayerData]) -> None:
        folder, (data, meta, _) = answer
        self._first[folder] = self.viewer.add_image(data, **meta)
        self.preview()

    def _show_preview(self, answer: tuple[Layer, tuple[int, int], np.ndarray]) -> None:
        layer, plane, values = answer
        if self._preview in self.viewer.layers:
            self.viewer.layers.remove(self._preview)
        data, meta, _ = plane_to_layer(values, plane, layer, name=PREVIEW_NAME)
        self._preview = self.viewer.add_image(data, **meta)

    def start(self) -> None:
        """Simulate in the background."""
        if self.panel.job is not None:
            return
        reference, config = self.reference_chooser.layer, self.config
        cancelled = None
        if self.mode_box.currentText() == FOLDER:
            folders = self.folder_field.folder, self.output_field.folder
            job = Job("Simulate a dataset", lambda: dataset_steps(*folders, reference, config))
            job.succeeded.connect(lambda written: self._on_dataset(written, folders[1]))
            cancelled = (
                f"Cancelled; whole pairs stay in {folders[1]}: start again with an empty folder."
            )
        else:
            self._source = self.layer_chooser.layer
            if self._source is None:
                return
            job = Job(
                f"Simulate {self._source.name}",
                lambda: layer_steps(self._source, reference, config),
            )
            job.succeeded.connect(self._on_layers)
        self.destroyed.connect(job.cancel)
        self.panel.follow(job, cancelled)
        job.start()

    def _on_layers(self, layers: list[LayerData]) -> None:
        if self._preview in self.viewer.layers:
            self.viewer.layers.remove(self._preview)
        for data, meta, _ in layers:
            self.viewer.add_image(data, **meta)
        self.panel.conclude(f"Done: {', '.join(meta['name'] for _, meta, _ in layers)}")

    def _on_dataset(self, written: list[Path], folder: Path) -> None:
        self.panel.conclude(f"Done: {len(written) // 2} pairs in {folder}")

    def release(self) -> None:
        """End what runs."""
        self.viewer.dims.events.ndisplay.disconnect(self._check)
        for latest in (self._latest, self._of_folder):
            latest.drop()
        self.panel.cancel()
        super().release()


def _preview(
    layer: Layer, plane: tuple[int, int], reference: Layer | None, config: SimulationConfig
) -> tuple[Layer, tuple[int, int], np.ndarray]:
    target, histogram = layer_to_volume(layer), _volume(reference)
    return layer, plane, preview_plane(target, plane, reference=histogram, config=config)


def _first_of(folder: Path) -> tuple[Path, LayerData]:
    return folder, volume_to_layer(load_volume(find_subjects(folder)[0].target))


def _volume(layer: Layer | None) -> Volume | None:
    return None if layer is None else layer_to_volume(layer)


def layer_steps(
    layer: Layer, reference: Layer | None, config: SimulationConfig
) -> Generator[Any, None, list[LayerData]]:
    """Simulate one layer: its pseudo-3T, and its 7T where a reference changes that too."""
    yield Step(0, 0, "Preparing the volume")
    target, histogram = layer_to_volume(layer), _volume(reference)
    pair = yield from simulate_3t_steps(target, reference=histogram, config=config)
    yield Step(0, 0, "Noting what made it")
    inputs = [target] if histogram is None else [target, histogram]
    made = pair[:1] if histogram is None else pair
    limits = {"contrast_limits": (0.0, 1.0)}
    return [
        estimate_to_layer(
            v, layer, simulation_sidecar(inputs, config, image), name=v.name, **limits
        )
        for v, image in zip(made, PAIR, strict=False)
    ]


def dataset_steps(
    folder: Path, output: Path, reference: Layer | None, config: SimulationConfig
) -> Generator[Any, None, list[Path]]:
    """Simulate every subject of a folder."""
    yield Step(0, 0, "Looking for subjects")
    subjects = find_subjects(folder)
    histogram = _volume(reference)
    return (yield from simulate_dataset(subjects, output, reference=histogram, config=config))
