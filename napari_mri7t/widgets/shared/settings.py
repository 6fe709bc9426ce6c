"""The plugin's page in napari's Preferences, and what the widgets remember between sessions.

The page (manifest: `configurations`) is the user's own. What is remembered, choices and how fast
this computer is, is in a file that may be lost.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import napari
from napari.settings import get_plugin_settings, get_settings
from qtpy.QtCore import QStandardPaths
from qtpy.QtWidgets import QPushButton

from napari_mri7t.engine.atomic import read_json, write_json
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.widgets.layers.layers import orient_camera

PLUGIN = "napari-mri7t"
SECTION, PREFERRED = "synthesis", "preferred"  # of the manifest; of the memory
# Sections of the memory, for the widget that has them and for Train, which leaves what it made.
OF_SYNTHESIS, OF_EVALUATION = "synthesis", "evaluation"
NIFTI_PATTERNS = ("*.nii", "*.nii.gz")
LOGGER = logging.getLogger(__name__)


def preference(section: str, name: str, default: Any) -> Any:
    """Return a setting as the user left it; `default` if npe2 does not know the plugin."""
    try:
        settings = get_plugin_settings(PLUGIN)
    except KeyError:
        return default
    return getattr(getattr(settings, section, None), name, default)


def last_choice(remembered: dict[str, Any], name: str, default: Any) -> Any:
    """Return the last choice made in a widget, unless the preference has changed since."""
    now = preference(SECTION, name, default)
    then = remembered.get(PREFERRED)
    before = then.get(name, default) if isinstance(then, dict) else default
    return remembered.get(name, now) if before == now else now


def preferred(**defaults: Any) -> dict[str, Any]:
    """Return the current preferences, which `last_choice` needs beside the choices."""
    return {PREFERRED: {name: preference(SECTION, name, defaults[name]) for name in defaults}}


def opens_nifti_by_default() -> bool:
    """Whether napari opens NIfTI files with this plugin without asking."""
    chosen = get_settings().plugins.extension2reader
    return all(chosen.get(pattern) == PLUGIN for pattern in NIFTI_PATTERNS)


def open_nifti_by_default() -> None:
    """Make this plugin napari's reader of NIfTI files: its own reader claims them and fails."""
    plugins = get_settings().plugins
    plugins.extension2reader = {
        **plugins.extension2reader,
        **dict.fromkeys(NIFTI_PATTERNS, PLUGIN),
    }


def orient_empty_viewer() -> None:
    """Turn the camera of an empty viewer: anterior up, left and right as preferred."""
    viewer = napari.current_viewer()
    if viewer is not None and not viewer.layers:
        orient_camera(viewer, preference("display", "convention", "neurological"))


class DefaultReaderButton(QPushButton):
    """Shown only while NIfTI files go to napari's own reader, which fails on them."""

    def __init__(self) -> None:
        super().__init__("Open NIfTI files with this plugin by default")
        self.setToolTip(
            "Sets napari's preference Plugins > extension2reader for *.nii and *.nii.gz,\n"
            "so that File > Open and dropped files come here without asking; undo it there."
        )
        self.clicked.connect(self._set)
        if opens_nifti_by_default():
            self.hide()  # but show nothing that has no place yet: it would be a window

    def _set(self) -> None:
        open_nifti_by_default()
        self.setVisible(False)


def config_folder() -> Path:
    """Return the folder for this user's settings of the plugin."""
    place = QStandardPaths.StandardLocation.GenericConfigLocation
    return Path(QStandardPaths.writableLocation(place)) / "napari-mri7t"


class Memory:
    """A small JSON file; if it cannot be read or written, nothing is remembered."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or config_folder() / "memory.json"

    def recall(self, section: str) -> dict[str, Any]:
        """Return what is stored under `section`."""
        found = self._read().get(section, {})
        return found if isinstance(found, dict) else {}

    def keep(self, section: str, values: dict[str, Any]) -> None:
        """Store JSON values under `section`, beside those of other names."""
        content = self._read()
        content[section] = self.recall(section) | values
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, content)
        except (OSError, Mri7tError) as error:
            LOGGER.info("nothing is remembered: %s", error)

    def _read(self) -> dict[str, Any]:
        try:
            content = read_json(self.path)
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
