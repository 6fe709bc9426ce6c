"""What "Evaluate" is to look at: a study's run folder, or two layers."""

from __future__ import annotations

import napari
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QVBoxLayout, QWidget

from napari_mri7t.widgets.controls import FolderField, LayerChooser
from napari_mri7t.widgets.evaluation_jobs import LayersToScore, evaluation_steps, layer_steps
from napari_mri7t.widgets.layers import is_single_volume, likely_source
from napari_mri7t.widgets.pair_fields import PairFields
from napari_mri7t.widgets.worker import Job

RUN_FOLDER, TWO_LAYERS = "Run folder", "Two layers"


class EvaluationFields(QWidget):
    """A choice, and the fields of what is chosen."""

    changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.of_box = QComboBox()
        self.of_box.addItems([RUN_FOLDER, TWO_LAYERS])
        self.of_box.setToolTip("The held-out estimates of a training, or an estimate you have")
        self._study, study = _part()
        self._layers, layers = _part()
        self.run_field = FolderField(
            "Run folder of Train folds or `mri7t train`, or a folder of several to compare",
            "a run folder",
        )
        self.baselines_box = QCheckBox("Classical denoisers too (slow)")
        self.baselines_box.setToolTip(
            "Non-local means, total variation and others, tuned on the training subjects only;\n"
            "some minutes per subject, once"
        )
        study.addRow("Folder", self.run_field)
        study.addRow(self.baselines_box)
        self.volumes = PairFields(viewer, layers)
        self.source_chooser = LayerChooser(
            viewer,
            is_single_volume,
            "The 3T itself: a second row to judge by",
            optional="none",
        )
        layers.addRow("3T as is", self.source_chooser)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.of_box, self._study, self._layers):
            column.addWidget(part)
        self.of_box.currentTextChanged.connect(self._on_of_changed)
        self.run_field.changed.connect(self.changed)
        self.volumes.changed.connect(self.changed)
        self._on_of_changed()

    @property
    def is_of_layers(self) -> bool:
        """Whether two layers are to be compared."""
        return bool(self.of_box.currentText() == TWO_LAYERS)

    def why_not(self) -> str | None:
        """Say what is missing; None if nothing is."""
        if not self.is_of_layers:
            return self.run_field.why_not()
        return None if self.volumes.pair else "Choose two different volumes."

    def job(self) -> Job:
        """Make the job of what is chosen; nothing may be missing."""
        if self.is_of_layers:
            volumes, source = self.volumes, self.source_chooser.layer
            asked = LayersToScore(*volumes.pair, source, volumes.mask, volumes.data_range)
            return Job(f"Evaluate {asked.estimate.name}", lambda: layer_steps(asked))
        run, with_baselines = self.run_field.folder, self.baselines_box.isChecked()
        return Job(f"Evaluate {run.name}", lambda: evaluation_steps(run, with_baselines))

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
