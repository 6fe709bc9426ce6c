"""The widget "Simulate 3T": a pseudo-3T of a 7T layer, or pairs of a whole folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import napari
import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QPushButton, QSpinBox

from napari_mri7t.engine.datasets.estimates import name_beside
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.widgets.layers.layers import LayerData, is_single_volume, remove_layer
from napari_mri7t.widgets.layers.planes import plane_box, plane_to_layer, shown_plane
from napari_mri7t.widgets.shared.base import EngineWidget
from napari_mri7t.widgets.shared.command import CommandButton, command_line, file_of
from napari_mri7t.widgets.shared.controls import (
    FolderField,
    LayerChooser,
    let_shrink,
    overwrite_box,
    set_enabled,
)
from napari_mri7t.widgets.shared.job_panel import JobPanel
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.shared.preview_label import PreviewLabel
from napari_mri7t.widgets.shared.save import ResultLine, SaveButton
from napari_mri7t.widgets.shared.settings import orient_empty_viewer
from napari_mri7t.widgets.shared.time_label import TimeLabel
from napari_mri7t.widgets.shared.worker import Job
from napari_mri7t.widgets.simulate.jobs import (
    Amount,
    DatasetRequest,
    first_volume,
    preview_of,
    simulate_folder,
    simulate_layer,
    simulation_options,
    time_of,
)

ONE_LAYER, FOLDER = "One layer", "A folder of 7T volumes"
DEGRADATIONS = {
    "report": "Noise only (report)",
    "realistic": "Realistic",
    "noise": "Random noise",
}  # by preset
PREVIEW_NAME = "preview of the pseudo-3T"
SWITCH_TO_2D = "The preview shows a slice: switch to 2-D."
NO_SLICE = "No slice of the volume is shown: move the slider into it."


class SimulateWidget(EngineWidget):
    """Choose 7T, degradation and histogram; preview one slice; run."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        orient_empty_viewer()
        self._preview: Layer | None = None
        self._label = PreviewLabel(self.viewer, "7T")
        self._first: dict[Path, Layer] = {}  # of a folder, once it was loaded
        self._latest = Latest("Preview", self)
        self._of_folder = Latest("Preview", self)
        self._build_target()
        self._build_settings()
        self.panel = JobPanel("Simulate", "Make the pseudo-3T: degrade, then match the histogram")
        self.pin(self.panel)
        self.save_button = SaveButton(self.viewer, lambda facts: "Model" not in facts)
        self.command_button = CommandButton(self._lines)
        self.panel.add_buttons(self.save_button, self.command_button)
        self.panel.add_buttons(ResultLine(self.save_button))
        self.column.addStretch()
        self._connect()
        self._check()

    def _build_target(self) -> None:
        self.target_form = self.group("7T")
        self.mode_box = QComboBox()
        let_shrink(self.mode_box)
        self.mode_box.addItems([ONE_LAYER, FOLDER])
        self.mode_box.setToolTip("A folder becomes a dataset of pairs for Train")
        self.layer_chooser = LayerChooser(self.viewer, is_single_volume, "The 7T volume")
        self.folder_field = FolderField(
            "Folder of 7T volumes: NIfTI files, or a BIDS dataset", "the folder of 7T volumes"
        )
        self.output_field = FolderField("Folder that receives 3T_images and 7T_images")
        self.overwrite_box = overwrite_box("pairs that exist")
        self.target_form.addRow("From", self.mode_box)
        self.target_form.addRow("Layer", self.layer_chooser)
        self.target_form.addRow("7T folder", self.folder_field)
        self.target_form.addRow("Output folder", self.output_field)
        self.target_form.addRow(self.overwrite_box)

    def _build_settings(self) -> None:
        form = self.group("Pseudo-3T")
        default = SimulationConfig()
        self.preset_box = QComboBox()
        let_shrink(self.preset_box)
        for preset, text in DEGRADATIONS.items():
            self.preset_box.addItem(text, preset)
        self.preset_box.setCurrentIndex(self.preset_box.findData(default.preset))
        self.preset_box.setToolTip(
            "Noise only: Gaussian noise, as in the report.\n"
            "Realistic: contrast, resolution, shading and Rician noise, with random strengths.\n"
            "Random noise: Rician noise of random strength, with random contrast."
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
            "The same seed gives the same result; subject i of a folder gets seed + i"
        )
        self.reference_chooser = LayerChooser(
            self.viewer,
            is_single_volume,
            "Another 7T brain to whose histogram 3T and 7T are matched, as in the report",
            optional="own histogram",
        )
        self.preview_button = QPushButton("Preview slice")
        form.addRow("Degradation", self.preset_box)
        form.addRow("Noise variance", self.variance_box)
        form.addRow("Seed", self.seed_box)
        form.addRow("Histogram", self.reference_chooser)
        form.addRow(self.preview_button)
        self.time_label = TimeLabel("Time a part of a brain", time_of)
        form.addRow(self.time_label)

    def _connect(self) -> None:
        self.mode_box.currentTextChanged.connect(self._check)
        self.preset_box.currentTextChanged.connect(self._check)
        self.layer_chooser.layer_changed.connect(self._check)
        self.layer_chooser.layer_changed.connect(self._renew_preview)
        self.folder_field.changed.connect(self._check)
        self.output_field.changed.connect(self._check)
        self.overwrite_box.toggled.connect(lambda is_on: self.panel.drop_failure())
        self.viewer.dims.events.ndisplay.connect(self._check)
        self.preview_button.clicked.connect(self.preview)
        for change in (
            self.variance_box.valueChanged,
            self.seed_box.valueChanged,
            self.preset_box.currentTextChanged,
            self.reference_chooser.layer_changed,
        ):
            change.connect(self._renew_preview)
        self.reference_chooser.layer_changed.connect(self._check)
        self.panel.idle.connect(self._check)
        self.panel.start_requested.connect(self.start)
        self.panel.hear(self.save_button.saved, self.save_button.failed)
        self.panel.hear(self.command_button.copied, self.command_button.failed)
        self._latest.answered.connect(self._show_preview)
        self._of_folder.answered.connect(self._show_first)
        for latest in (self._latest, self._of_folder):
            latest.failed.connect(self.panel.fail)

    @property
    def config(self) -> SimulationConfig:
        """The settings as chosen."""
        preset, seed = self.preset_box.currentData(), self.seed_box.value()
        if preset != "report":
            return SimulationConfig(seed=seed, preset=preset)
        return SimulationConfig(self.variance_box.value(), seed, preset)

    def _check(self, value: object = None) -> None:
        is_folder = self.mode_box.currentText() == FOLDER
        for field, visible in (
            (self.layer_chooser, not is_folder),
            (self.folder_field, is_folder),
            (self.output_field, is_folder),
            (self.overwrite_box, is_folder),
        ):
            self.target_form.setRowVisible(field, visible)
        set_enabled(
            self.variance_box,
            None if self.config.preset == "report" else "This degradation draws its own noise",
            "Variance of the Gaussian noise for 7T intensities from 0 to 1; 0.003 in the report",
        )
        missing = self.folder_field.why_not() if is_folder else None
        if not is_folder and self.layer_chooser.layer is None:
            missing = "Open a 7T volume first."
        is_3d = self.viewer.dims.ndisplay == 3
        set_enabled(
            self.preview_button,
            SWITCH_TO_2D if is_3d else missing,
            "Simulate the current slice; a folder's first volume is opened.\n"
            "Noise differs from the full run.",
        )
        if missing is None and is_folder and not self.output_field.folder:
            missing = "Choose the output folder."
        self._missing = missing
        self.panel.set_ready(missing)
        can_start = missing is None and self.panel.job is None
        self.time_label.tell(self._amount() if can_start else None)
        of_folder = self.folder_field.folder, self.output_field.folder
        self.panel.about(is_folder, of_folder if is_folder else self.layer_chooser.layer)

    def _amount(self) -> Amount:
        """Return what decides how long a start takes."""
        preset, has_reference = self.config.preset, self.reference_chooser.layer is not None
        if self.mode_box.currentText() == FOLDER:
            return Amount(preset, has_reference, folder=self.folder_field.folder)
        return Amount(preset, has_reference, int(self.layer_chooser.layer.data.size))

    def _dataset_request(self) -> DatasetRequest:
        folders = self.folder_field.folder, self.output_field.folder
        return DatasetRequest(*folders, self.config, self.overwrite_box.isChecked())

    def _lines(self) -> list[str]:
        """Return the `mri7t` line of what a start would do."""
        layer, reference = self.layer_chooser.layer, self.reference_chooser.layer
        if self._missing is not None:
            raise ValueError(self._missing)
        if self.mode_box.currentText() == FOLDER:
            return [self._dataset_request().line(reference)]
        target = file_of(layer)
        name = stem_of(target.path)
        taken = [path.name for path in target.path.parent.iterdir()]
        source_out, target_out = (
            target.path.with_name(name_beside(name, made_by, taken))
            for made_by in ("simulate", "matched7T")
        )
        line = command_line(
            "simulate",
            target.path,
            source_out,
            **simulation_options(self.config, reference),
            **target.options,
            target_out=target_out,
        )
        return [line]

    def preview(self) -> None:
        """Simulate the slice on the screen; for a folder, of its first volume."""
        layer, folder = self.layer_chooser.layer, self.folder_field.folder
        if self.mode_box.currentText() == FOLDER and folder is not None:
            layer = self._first.get(folder)
            if layer not in self.viewer.layers:
                self._of_folder.ask(first_volume, folder)
                return
        plane = None if layer is None else shown_plane(self.viewer, layer)
        if plane is None:
            self.panel.fail(SWITCH_TO_2D if self.viewer.dims.ndisplay == 3 else NO_SLICE)
            return
        self._latest.ask(preview_of, layer, plane, self.reference_chooser.layer, self.config)

    def _renew_preview(self, value: object = None) -> None:
        """Show what is chosen now, where a preview is shown."""
        if self._preview in self.viewer.layers and self.preview_button.isEnabled():
            self.preview()

    def _show_first(self, answer: tuple[Path, LayerData]) -> None:
        folder, (data, meta, _) = answer
        self._first[folder] = self.viewer.add_image(data, **meta)
        self.preview()

    def _show_preview(self, answer: tuple[Layer, tuple[int, int], np.ndarray]) -> None:
        layer, plane, values = answer
        self.panel.drop_failure()
        remove_layer(self.viewer, self._preview, self.layer_chooser.layer)
        data, meta, _ = plane_to_layer(values, plane, layer, name=f"{layer.name} {PREVIEW_NAME}")
        self._preview = self.viewer.add_image(data, **meta)
        self._label.tell(self._preview, layer, plane_box(layer, plane))

    def start(self) -> None:
        """Simulate in the background."""
        if self.panel.job is not None:
            return
        reference, config = self.reference_chooser.layer, self.config
        cancelled = None
        if self.mode_box.currentText() == FOLDER:
            request = self._dataset_request()
            job = Job("Simulate a dataset", partial(simulate_folder, request, reference))
            job.succeeded.connect(lambda written: self._on_dataset(written, request.output))
            cancelled = (
                f"Cancelled. {request.output} holds complete pairs only; start again with "
                "Overwrite or in an empty folder."
            )
        elif (layer := self.layer_chooser.layer) is not None:
            job = Job(f"Simulate {layer.name}", partial(simulate_layer, layer, reference, config))
            job.succeeded.connect(self._on_layers)
        else:
            return
        self.destroyed.connect(job.cancel)
        self.panel.follow(job, cancelled)
        self._check()  # whose timing would slow the job down
        job.start()

    def _on_layers(self, layers: list[LayerData]) -> None:
        remove_layer(self.viewer, self._preview, self.layer_chooser.layer)
        shown = [self.viewer.add_image(data, **meta) for data, meta, _ in reversed(layers)]
        self.save_button.offer(*shown)  # the pseudo-3T last: it is on top, and saved first
        self.panel.conclude(f"Done: {', '.join(layer.name for layer in reversed(shown))}")

    def _on_dataset(self, written: list[Path], folder: Path) -> None:
        self.panel.conclude(f"Done: {len(written) // 2} pairs in {folder}")

    def release(self) -> None:
        """Stop running work."""
        self.viewer.dims.events.ndisplay.disconnect(self._check)
        for part in (self.panel, self.save_button, self._label):
            part.release()
        super().release()
