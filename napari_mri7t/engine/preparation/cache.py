"""What the steps of a preparation found, kept in a folder, so that nothing is computed twice.

Files of one scan share its name. A note beside them says from which voxels and settings they
came, and their digests: what has changed since is computed again.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t import __version__
from napari_mri7t.engine.atomic import read_json, write_atomically
from napari_mri7t.engine.preparation.registration import load_transform, save_transform
from napari_mri7t.engine.volumes.provenance import file_digest, voxel_digest
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume


@dataclass
class PreparationCache:
    """A scan's findings in a folder.

    Parameters
    ----------
    folder : Path
        Exists.
    scan : Volume
    source : dict
        What the findings depend on; JSON knows it all.
    files : dict
        Name to digest of the findings that may be used again.
    """

    folder: Path
    scan: Volume
    source: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)

    def path(self, what: str, extension: str = ".nii.gz") -> Path:
        """Name a file of this scan, whose own name may be a layer's and hold anything."""
        name = re.sub(r'[\\/:*?"<>|]', "-", self.scan.name)
        return self.folder / f"{name}_{what}{extension}"

    def holds(self, what: str, extension: str = ".nii.gz") -> bool:
        """Tell whether a finding can be taken from here."""
        return self._is_current(self.path(what, extension))

    def load(self, what: str) -> np.ndarray | None:
        """Take an array on the scan's grid, or None where it must be computed."""
        path = self.path(what)
        return load_volume(path).array if self._is_current(path) else None

    def save(self, what: str, volume: Volume) -> None:
        """Keep a volume on the scan's grid, unless it is there."""
        path = self.path(what)
        if not self._is_current(path):
            save_volume(volume, path, overwrite=True)
            self._note(path)

    def load_matrix(self) -> np.ndarray | None:
        """Take the transform to MNI space, or None where it must be computed."""
        path = self.path("to-MNI", ".txt")
        return load_transform(path) if self._is_current(path) else None

    def save_matrix(self, matrix: np.ndarray) -> None:
        """Keep the transform to MNI space."""
        path = self.path("to-MNI", ".txt")
        save_transform(matrix, path)
        self._note(path)

    def _note(self, path: Path) -> None:
        """Let the next run use a file, though this one may be cancelled before its end."""
        self.files[path.name] = file_digest(path)
        note = json.dumps({"Source": self.source, "Files": self.files}, indent=2)
        write_atomically(_note_path(self), lambda file: file.write(f"{note}\n".encode()))

    def _is_current(self, path: Path) -> bool:
        digest = self.files.get(path.name)
        return digest is not None and path.is_file() and file_digest(path) == digest


def open_cache(
    scan: Volume, folder: Path | None, settings: Mapping[str, Any]
) -> PreparationCache | None:
    """Open a scan's findings in a folder, which is made where missing.

    Parameters
    ----------
    scan : Volume
    folder : Path or None
        None keeps nothing.
    settings : mapping
        What decides the findings beside the scan; a path counts by its file's content, a volume
        by its voxels.

    Returns
    -------
    PreparationCache or None
        Its files count only if they came from the same voxels and settings.
    """
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    values = {name: _by_content(value) for name, value in settings.items()}
    source = {"Version": __version__, "VoxelsSHA256": voxel_digest(scan), **values}
    kept = PreparationCache(folder, scan, source)
    try:
        note = read_json(_note_path(kept))
        if note["Source"] == source:
            kept.files.update(note["Files"])
    except (OSError, ValueError, KeyError, TypeError):
        kept.files.clear()  # no note, or none that can be read: everything is computed
    return kept


def _by_content(value: Any) -> Any:
    if isinstance(value, Volume):
        return voxel_digest(value)
    return file_digest(value) if isinstance(value, Path) else value


def _note_path(kept: PreparationCache) -> Path:
    return kept.path("preparation", ".json")
