"""The results of a preparation's steps in a folder, so that nothing is computed twice.

Files of one scan share its name. A note beside them records the voxels and settings they came
from, and their digests: whatever has changed since is computed again.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t import __version__
from napari_mri7t.engine.atomic import read_json, write_json
from napari_mri7t.engine.preparation.registration import load_transform, save_transform
from napari_mri7t.engine.volumes.provenance import file_digest, voxel_digest
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

MASK, BIAS_FIELD, TRANSFORM = "mask.nii.gz", "bias-field.nii.gz", "to-MNI.txt"
NOTE = "preparation.json"


@dataclass
class PreparationCache:
    """The results of one scan's steps in a folder.

    Parameters
    ----------
    folder : Path
        Need not exist before a result is saved.
    name : str
        Of the scan; a layer's may hold any character.
    source : dict
        What the results depend on, as JSON knows it.
    files : dict
        Name to digest of the files that may be reused.
    """

    folder: Path
    name: str
    source: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)

    def path(self, what: str) -> Path:
        """Return the file of a result: `MASK`, `BIAS_FIELD` or `TRANSFORM`."""
        name = re.sub(r'[\\/:*?"<>|]', "-", self.name)
        return self.folder / f"{name}_{what}"

    def holds(self, what: str) -> bool:
        """Return whether a result can be reused."""
        path = self.path(what)
        digest = self.files.get(path.name)
        return digest is not None and path.is_file() and file_digest(path) == digest

    def load(self, what: str) -> np.ndarray | None:
        """Return an array on the scan's grid or a matrix; None where it must be computed."""
        if not self.holds(what):
            return None
        path = self.path(what)
        return load_transform(path) if what == TRANSFORM else load_volume(path).array

    def save(self, what: str, result: Volume | np.ndarray) -> None:
        """Save a volume on the scan's grid or a matrix, unless it is there."""
        if self.holds(what):
            return
        path = self.path(what)
        if isinstance(result, Volume):
            save_volume(result, path, overwrite=True)
        else:
            save_transform(result, path)
        self.files[path.name] = file_digest(path)
        write_json(self.path(NOTE), {"Source": self.source, "Files": self.files})


def open_cache(
    scan: Volume, folder: Path | None, settings: Mapping[str, Any]
) -> PreparationCache | None:
    """Open the cache of a scan.

    Parameters
    ----------
    scan : Volume
    folder : Path or None
        None caches nothing; a folder that does not exist is not made yet.
    settings : mapping
        What decides the results beside the scan; a path counts by its file's content, a volume
        by its voxels.

    Returns
    -------
    PreparationCache or None
        Its files count only if they came from the same voxels and settings.
    """
    if folder is None:
        return None
    values = {name: _by_content(value) for name, value in settings.items()}
    source = {"Version": __version__, "VoxelsSHA256": voxel_digest(scan), **values}
    cache = PreparationCache(folder, scan.name, source)
    try:
        note = read_json(cache.path(NOTE))
        if note["Source"] == source:
            cache.files.update(note["Files"])
    except (OSError, ValueError, KeyError, TypeError):
        cache.files.clear()  # no note, or an unreadable one: everything is computed
    return cache


def _by_content(value: Any) -> Any:
    if isinstance(value, Volume):
        return voxel_digest(value)
    return file_digest(value) if isinstance(value, Path) else value


def checksum(scan: Volume) -> int:
    """Return a checksum of a scan's voxels and affine."""
    return zlib.crc32(scan.affine.tobytes(), zlib.crc32(np.ascontiguousarray(scan.array.T).data))
