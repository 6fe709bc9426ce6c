"""What a widget is about to do, as a line for the shell: `mri7t` does the same with the files."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication, QPushButton

from napari_mri7t.engine.errors import Mri7tError, VolumeError
from napari_mri7t.engine.models.card import bundled_folders
from napari_mri7t.engine.volumes.digests import checksum
from napari_mri7t.widgets.layers.layers import KEY, layer_to_volume
from napari_mri7t.widgets.layers.places import is_still, place_of

SAVE_FIRST = "save it, and open the saved file"
COPYING = "Copy as command: the `mri7t` line that does the same, for a terminal or a script"


def command_line(command: str, *arguments: str | Path, **options: Any) -> str:
    """Return a line of `mri7t` for the shell of this system.

    An option that is None or False is left out, True makes a flag, a list repeats the option.
    """
    words = ["mri7t", command, *map(str, arguments)]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list | tuple) else [value]:
            if each is True:
                words.append(option)
            elif each is not None and each is not False:
                words += [option, str(each)]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def changed(config: object, *names: str) -> dict[str, Any]:
    """Return the settings among `names` that differ from the defaults of their dataclass."""
    values = {name: getattr(config, name) for name in names}
    return {name: v for name, v in values.items() if v != getattr(type(config), name)}


def model_option(folder: Path | None) -> str | None:
    """Return how `--model` names a model: a bundled one by its name; None is left to the scan."""
    if folder is None:
        return None
    return folder.name if folder in bundled_folders() else str(folder.absolute())


@dataclass(frozen=True)
class LayerFile:
    """The file that a layer shows: its place, and the options that choose the volume in it."""

    path: Path
    options: dict[str, Any]


def file_of(layer: Layer, index: int | None = None) -> LayerFile:
    """Return the file that a layer was opened from, or one volume of it.

    `index`: of the volume in a layer with a time axis.

    Raises
    ------
    VolumeError
        If the layer is of no file, or shows something else than its file.
    """
    facts = layer.metadata.get(KEY, {})
    geometry = facts.get("geometry")
    if geometry is None or geometry.computed:
        raise VolumeError(f"{layer.name}: was not opened from a file by this plugin: {SAVE_FIRST}")
    place = geometry.path or (layer.source.path if geometry.dicom else None)
    if place is None or not Path(place).exists():
        raise VolumeError(f"{layer.name}: its file no longer exists: {SAVE_FIRST}")
    shown = place_of(layer.name, layer.as_layer_data_tuple()[1], layer.ndim)
    if not is_still(shown, facts["shown"], tuple(facts["shape"])):
        raise VolumeError(f"{layer.name}: was moved in napari: {SAVE_FIRST}")
    if layer.ndim == 3 and checksum(layer_to_volume(layer)) != facts["checksum"]:
        raise VolumeError(f"{layer.name}: was edited in napari: {SAVE_FIRST}")
    if index is None and geometry.series_length > 1:
        index = geometry.series_index
    options = {} if index is None else {"index": index}
    if geometry.dicom is not None:
        options["series"] = geometry.dicom.number
    return LayerFile(Path(place).absolute(), options)


class CommandButton(QPushButton):
    """Copies the line of `mri7t` that does what the widget is about to do.

    Signals: `copied` (the lines), `failed` (why there is none).

    Parameters
    ----------
    lines : callable
        Returns the lines; raises an `Mri7tError` or ValueError that says why there are none.
    """

    copied = Signal(str)
    failed = Signal(str)

    def __init__(self, lines: Callable[[], Sequence[str]]) -> None:
        super().__init__("Copy command")
        self._lines = lines
        self.setToolTip(COPYING)
        self.clicked.connect(self.copy)

    def copy(self) -> None:
        """Put the lines on the clipboard."""
        try:
            text = "\n".join(self._lines())
        except (Mri7tError, ValueError) as error:
            self.failed.emit(str(error))
            return
        QApplication.clipboard().setText(text)
        self.copied.emit(f"Copied: {text}")
