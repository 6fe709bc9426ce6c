"""Where to compute: a box in which what this machine cannot have is greyed, and says why.

The check needs no torch, which takes seconds to load: a driver that is missing decides; one that is
there still leaves the last word to the engine.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from qtpy.QtWidgets import QComboBox

from napari_mri7t.widgets.controls import narrow

DEVICES = {
    "auto": "Automatic",
    "cpu": "CPU",
    "cuda": "NVIDIA GPU",
    "mps": "Apple GPU",
}
SYSTEM = platform.system()
#: Any of them is there with a driver that torch calls "cuda": NVIDIA's (also before its first use,
#: and on Jetson boards), AMD's, and those of Windows.
DRIVER_FILES = (
    "/dev/nvidiactl",
    "/proc/driver/nvidia/version",
    "/dev/nvhost-gpu",
    "/dev/kfd",
    "/dev/dxg",
    os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvcuda.dll"),
)


def why_absent(device: str) -> str | None:
    """Say why this machine cannot have a device; None where it may have it."""
    if device == "mps" and SYSTEM != "Darwin":
        return "An Apple GPU is in Apple's computers only"
    if device == "cuda" and not any(Path(name).exists() for name in DRIVER_FILES):
        return "No driver of an NVIDIA GPU was found here"
    return None


class DeviceBox(QComboBox):
    """The devices; those that cannot be here are greyed."""

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        narrow(self)
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
        """Choose a device; Automatic in place of one that cannot be here."""
        index = self.findData(device)
        is_here = index >= 0 and self.model().item(index).isEnabled()
        self.setCurrentIndex(index if is_here else 0)
