"""The fields of the widget "Synthesize 7T" that say how it is computed."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QFormLayout, QSpinBox, QWidget

from napari_mri7t.engine.models.card import AXIAL
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.widgets.shared.controls import choice, set_enabled
from napari_mri7t.widgets.shared.fields import DeviceBox
from napari_mri7t.widgets.shared.settings import last_choice, preference

QUALITY_TOOLTIP = (
    "Averaged: the mean of three estimates of every voxel, from overlapping slabs or\n"
    "from three planes, as the model's card says: less noise, three times slower.\n"
    "Fast: every voxel is estimated once, in axial slices."
)
STEPS = {1: "Averaged", 3: "Fast"}  # by the step between two slabs
FAST = 3
UNCERTAINTY_TOOLTIP = (
    "A second layer: how far each voxel may be from the truth, as half the width of\n"
    "its 90 % interval, in the image's intensities. It does not detect lesions."
)
NOISE_TOOLTIP = (
    "How much noise to remove, as a multiple of the noise measured in the scan:\n"
    "0 leaves the scan nearly as it is, 2 smooths more."
)
MOST_NOISE = 3.0
#: Of what napari's Preferences have, too.
DEFAULTS = {
    "device": SynthesisConfig.device,
    "step": SynthesisConfig.step,
    "prepare": PreparationConfig.prepare,
}


class ComputationFields(QWidget):
    """Device, quality, end slices, noise, uncertainty."""

    changed = Signal()

    def __init__(self, remembered: dict[str, Any]) -> None:
        super().__init__()
        self.device_box = DeviceBox(
            "Where to compute: Automatic uses the fastest device, CPU always works."
        )
        self.step_box = choice(STEPS)
        self.offer_fast(by_step=True, by_plane=False)
        self.end_slices_box = QSpinBox()
        self.end_slices_box.setRange(0, 500)
        self.end_slices_box.setToolTip(
            "Axial slices at either end to leave as in the 3T image\n(the report skipped 30)"
        )
        self.noise_box = QDoubleSpinBox()
        self.noise_box.setRange(0, MOST_NOISE)
        self.noise_box.setSingleStep(0.1)
        self._why_no_noise: str | None = None
        self.offer_noise(None)
        self.uncertainty_box = QCheckBox("Uncertainty")
        self._why_no_uncertainty: str | None = None
        self.offer_uncertainty(None)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Device", self.device_box)
        form.addRow("Quality", self.step_box)
        form.addRow("Skip end slices", self.end_slices_box)
        form.addRow("Noise removed", self.noise_box)
        form.addRow("", self.uncertainty_box)
        self._recall(remembered)
        self.device_box.currentIndexChanged.connect(lambda n: self.changed.emit())
        self.step_box.currentIndexChanged.connect(lambda n: self.changed.emit())
        self.end_slices_box.valueChanged.connect(lambda n: self.changed.emit())
        self.noise_box.valueChanged.connect(lambda n: self.changed.emit())
        self.uncertainty_box.toggled.connect(lambda is_on: self.changed.emit())

    def _recall(self, remembered: dict[str, Any]) -> None:
        """Restore the last choices, or the user's preferences where those are newer.

        Not the end slices: what is left out of an estimate is chosen each time.
        """
        self.device_box.choose(last_choice(remembered, "device", DEFAULTS["device"]))
        step = last_choice(remembered, "step", DEFAULTS["step"])
        self.step_box.setCurrentIndex(max(0, self.step_box.findData(step)))
        noise = remembered.get("noise_factor")
        is_known = isinstance(noise, float) and 0 <= noise <= MOST_NOISE
        self.noise_box.setValue(noise if is_known else SynthesisConfig.noise_factor)

    def offer_fast(self, *, by_step: bool, by_plane: bool) -> None:
        """Offer what the model averages: a slice's slabs, three planes, both or nothing."""
        self._averages_slabs, self._averages_planes = by_step, by_plane
        why_not = None if by_step or by_plane else "this model estimates every voxel once"
        set_enabled(self.step_box, why_not, QUALITY_TOOLTIP)

    def offer_noise(self, why_not: str | None) -> None:
        """Offer to turn the noise, or say why that does nothing; None if it does."""
        self._why_no_noise = why_not
        set_enabled(self.noise_box, why_not, NOISE_TOOLTIP)

    def offer_uncertainty(self, why_not: str | None) -> None:
        """Offer the uncertainty, or say why it cannot be had; None if it can."""
        self._why_no_uncertainty = why_not
        set_enabled(self.uncertainty_box, why_not, UNCERTAINTY_TOOLTIP)

    def values(self) -> dict[str, Any]:
        """Return the choices by the names of `SynthesisConfig`."""
        is_possible, is_told = self._why_no_uncertainty is None, self._why_no_noise is None
        is_fast = self.step_box.currentData() == FAST
        return {
            "device": self.device_box.device,
            "step": FAST if is_fast and self._averages_slabs else SynthesisConfig.step,
            "planes": AXIAL if is_fast and self._averages_planes else SynthesisConfig.planes,
            "end_slices": self.end_slices_box.value(),
            "noise_factor": self.noise_box.value() if is_told else SynthesisConfig.noise_factor,
            "uncertainty": is_possible and self.uncertainty_box.isChecked(),
        }

    def config(self) -> SynthesisConfig:
        """Return the choices, with the memory of the user's preferences."""
        memory_mb = preference("synthesis", "memory_mb", SynthesisConfig.memory_mb)
        return SynthesisConfig(**self.values(), memory_mb=memory_mb)
