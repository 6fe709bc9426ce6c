"""Fields that several widgets share: the device, and the two layers that are compared.

Whether a device can exist is decided without torch, which takes seconds to load: a missing driver
rules it out; where there is one, the engine decides.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari
from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QFormLayout

from napari_mri7t.widgets.layers.layers import is_single_volume
from napari_mri7t.widgets.layers.likely import likely_pair
from napari_mri7t.widgets.shared.command import command_line, file_of
from napari_mri7t.widgets.shared.controls import LayerChooser, let_shrink

MOVES = ("scale", "translate", "rotate", "shear", "affine")  # events of a layer
CHANGES = (*MOVES, "data", "paint")
REST_MS = 200  # after a change, since a stroke or a drag is many
DEVICES = {
    "auto": "Automatic",
    "cpu": "CPU",
    "cuda": "NVIDIA GPU",
    "mps": "Apple GPU",
}
SYSTEM = platform.system()
#: One of them exists with each driver that torch calls "cuda": NVIDIA's (also before its first use,
#: and on Jetson boards), AMD's, and those of Windows.
DRIVER_FILES = (
    "/dev/nvidiactl",
    "/proc/driver/nvidia/version",
    "/dev/nvhost-gpu",
    "/dev/kfd",
    "/dev/dxg",
    os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvcuda.dll"),
)


def connect_events(layer: Layer, names: Sequence[str], slot: Callable[[Any], None]) -> None:
    """Connect a slot to events of a layer; `paint` is one of labels alone."""
    for name in names:
        if name in layer.events.emitters:
            layer.events.emitters[name].connect(slot)


def disconnect_events(layer: Layer, names: Sequence[str], slot: Callable[[Any], None]) -> None:
    """Disconnect what `connect_events` connected."""
    for name in names:
        if name in layer.events.emitters:
            layer.events.emitters[name].disconnect(slot)


class LayerWatch(QObject):
    """Signals `changed` once the voxels and the places of some layers rest after a change."""

    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._layers: list[Layer] = []
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self.changed)

    def follow(self, layers: Sequence[Layer]) -> None:
        """Listen to these layers only; a change of others is forgotten."""
        if list(layers) == self._layers:
            return
        self._rest.stop()
        for layer in self._layers:
            disconnect_events(layer, CHANGES, self.touch)
        self._layers = list(layers)
        for layer in self._layers:
            connect_events(layer, CHANGES, self.touch)

    def touch(self, event: object = None) -> None:
        """Wait for the end of a change."""
        self._rest.start()


def why_absent(device: str) -> str | None:
    """Return why this computer cannot have a device; None if it may have it."""
    if device == "mps" and SYSTEM != "Darwin":
        return "Only Apple computers have an Apple GPU"
    if device == "cuda" and not any(Path(name).exists() for name in DRIVER_FILES):
        return "No NVIDIA driver was found"
    return None


class DeviceBox(QComboBox):
    """The devices; those that this computer lacks are greyed out, with the reason."""

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        let_shrink(self)
        absent = []
        for device, text in DEVICES.items():
            self.addItem(text, device)
            why = why_absent(device)
            if why is not None:
                item = self.model().item(self.count() - 1)
                item.setEnabled(False)
                item.setToolTip(why)
                absent.append(f"{text}: {why[0].lower()}{why[1:]}.")
        self.setToolTip("\n".join([tooltip, *absent]))

    @property
    def device(self) -> str:
        """The chosen device by its name in `SynthesisConfig`."""
        chosen: str = self.currentData()
        return chosen

    def choose(self, device: object) -> None:
        """Choose a device, or Automatic if this computer lacks it."""
        index = self.findData(device)
        is_offered = index >= 0 and self.model().item(index).isEnabled()
        self.setCurrentIndex(index if is_offered else 0)


class PairFields(QObject):
    """Reference, estimate, brain mask and data range, as rows of a form.

    `changed`: another choice, or other voxels or another place of what is chosen.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, form: QFormLayout) -> None:
        super().__init__(form)
        self._viewer = viewer
        self.reference_chooser = LayerChooser(viewer, is_single_volume, "The real 7T")
        self.estimate_chooser = LayerChooser(viewer, is_single_volume, "Volume to score")
        self.mask_chooser = LayerChooser(
            viewer, is_single_volume, "Voxels above 0 are brain", optional="the whole reference"
        )
        self.range_box = QDoubleSpinBox()
        self.range_box.setRange(0, 1e9)
        self.range_box.setDecimals(3)
        self.range_box.setSpecialValueText("from the reference")
        self.range_box.setValue(0)
        self.range_box.setToolTip(
            "Span of possible intensities, on which PSNR and SSIM depend.\n"
            "0: 1 for a reference in 0 to 1, otherwise from its background to its 99.8th percentile"
        )
        form.addRow("Reference", self.reference_chooser)
        form.addRow("Estimate", self.estimate_chooser)
        form.addRow("Brain mask", self.mask_chooser)
        form.addRow("Data range", self.range_box)
        self._proposed = self._chosen
        self.propose()
        viewer.layers.events.inserted.connect(self._on_inserted)
        self._watch = LayerWatch(self)
        self._watch.changed.connect(self.changed)
        for chooser in (self.reference_chooser, self.estimate_chooser, self.mask_chooser):
            chooser.layer_changed.connect(self._on_chosen)
        self._follow()
        self.range_box.valueChanged.connect(lambda value: self.changed.emit())

    def release(self) -> None:
        """Stop listening to the viewer."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._watch.follow(())

    def _on_chosen(self, layer: Layer | None) -> None:
        self._follow()
        self.changed.emit()

    def _follow(self) -> None:
        """Listen to the layers that are chosen now."""
        self._watch.follow([x for x in dict.fromkeys((*self._chosen, self.mask)) if x is not None])

    @property
    def _chosen(self) -> tuple[Layer | None, Layer | None]:
        return self.reference_chooser.layer, self.estimate_chooser.layer

    def _on_inserted(self, event: Any) -> None:
        """Take another volume into account until the user has chosen."""
        if is_single_volume(event.value) and (self.pair is None or self._chosen == self._proposed):
            self.propose()

    def propose(self) -> None:
        """Choose the most likely reference and estimate."""
        pair = likely_pair(self._viewer.layers)
        if pair is not None:
            self.reference_chooser.layer, self.estimate_chooser.layer = pair
        self._proposed = self._chosen

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
    def data_range(self) -> float | None:
        """Span of possible intensities; None for what the reference has."""
        return float(self.range_box.value()) or None

    def command(self) -> str:
        """Return the `mri7t` line that scores the two.

        Raises
        ------
        VolumeError
            If a layer is not in a file.
        """
        paths = [file_of(layer).path for layer in self.pair or ()]
        mask = None if self.mask is None else file_of(self.mask).path
        return command_line("compare", *paths, mask=mask, data_range=self.data_range)
