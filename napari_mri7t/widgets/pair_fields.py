"""The fields by which two layers are compared: the same in Compare and in Evaluate."""

from __future__ import annotations

import napari
from napari.layers import Layer
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QFormLayout

from napari_mri7t.widgets.controls import LayerChooser
from napari_mri7t.widgets.layers import is_single_volume, likely_pair


class PairFields(QObject):
    """Reference, estimate, brain mask and data range, as rows of a form."""

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, form: QFormLayout) -> None:
        super().__init__(form)
        self._viewer = viewer
        self.reference_chooser = LayerChooser(viewer, is_single_volume, "The real 7T")
        self.estimate_chooser = LayerChooser(viewer, is_single_volume, "What is held against it")
        self.mask_chooser = LayerChooser(
            viewer, is_single_volume, "Above 0 is brain", optional="reference above 0"
        )
        self.range_box = QDoubleSpinBox()
        self.range_box.setRange(1e-6, 1e9)
        self.range_box.setDecimals(3)
        self.range_box.setValue(1.0)
        self.range_box.setToolTip(
            "Span that intensities can take: 1 for volumes in 0 to 1.\n"
            "PSNR and SSIM depend on it, so it is never guessed."
        )
        form.addRow("Reference", self.reference_chooser)
        form.addRow("Estimate", self.estimate_chooser)
        form.addRow("Brain mask", self.mask_chooser)
        form.addRow("Data range", self.range_box)
        self.propose()
        for chooser in (self.reference_chooser, self.estimate_chooser, self.mask_chooser):
            chooser.layer_changed.connect(lambda layer: self.changed.emit())
        self.range_box.valueChanged.connect(lambda value: self.changed.emit())

    def propose(self) -> None:
        """Choose the two layers that are most likely meant."""
        pair = likely_pair(self._viewer.layers)
        if pair is not None:
            self.reference_chooser.layer, self.estimate_chooser.layer = pair

    @property
    def pair(self) -> tuple[Layer, Layer] | None:
        """The two layers, if there are two."""
        reference, estimate = self.reference_chooser.layer, self.estimate_chooser.layer
        if reference is None or estimate is None or reference is estimate:
            return None
        return reference, estimate

    @property
    def mask(self) -> Layer | None:
        """The layer whose voxels above 0 are the brain; None for the reference's own."""
        return self.mask_chooser.layer

    @property
    def data_range(self) -> float:
        """Span that intensities can take."""
        return float(self.range_box.value())
