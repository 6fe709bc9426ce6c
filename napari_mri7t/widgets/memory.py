"""What the widgets remember from one session to the next: choices, and how fast this machine is.

Not napari's preferences, which are the user's own page: a file of ours that may be lost.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from qtpy.QtCore import QStandardPaths

from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.json_files import read_json

LOGGER = logging.getLogger(__name__)


def config_folder() -> Path:
    """Name the folder where this system keeps a user's settings for us."""
    place = QStandardPaths.StandardLocation.GenericConfigLocation
    return Path(QStandardPaths.writableLocation(place)) / "napari-mri7t"


class Memory:
    """A small JSON file; one that cannot be read or written only means that nothing is known."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or config_folder() / "memory.json"

    def recall(self, section: str) -> dict[str, Any]:
        """Give what was kept under `section`."""
        found = self._read().get(section, {})
        return found if isinstance(found, dict) else {}

    def keep(self, section: str, values: dict[str, Any]) -> None:
        """Keep JSON values under `section`, beside those of other names."""
        content = self._read()
        content[section] = self.recall(section) | values
        text = json.dumps(content, indent=2)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, lambda file: file.write(text.encode()))
        except (OSError, Mri7tError) as error:
            LOGGER.info("nothing is remembered: %s", error)

    def _read(self) -> dict[str, Any]:
        try:
            content = read_json(self.path)
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
