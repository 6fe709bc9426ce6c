"""The results of a preparation's steps in files, so that nothing is computed twice.

A note beside them records what each result came from, and its digests. A file that has changed
since is the user's: it is never overwritten.
"""

import glob
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.atomic import check_folder, read_json, write_json
from napari_mri7t.engine.errors import Mri7tError, VolumeError
from napari_mri7t.engine.preparation.registration import load_transform, save_transform
from napari_mri7t.engine.volumes.brain import brain_litres
from napari_mri7t.engine.volumes.digests import content_digest, file_digest, voxel_digest
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

MASK, BIAS_FIELD, TRANSFORM = "mask.nii.gz", "bias-field.nii.gz", "to-MNI.txt"
RESULTS = (MASK, BIAS_FIELD, TRANSFORM)
NOTE = "preparation.json"
VOXELS = "VoxelsSHA256"  # of the scan, in every origin
N_HEX = 8  # of it, where two scans have one name


@dataclass(frozen=True)
class KeptFiles:
    """Where the results of one scan's preparation are.

    Parameters
    ----------
    mask, bias_field : Path
        .nii or .nii.gz.
    transform : Path
        Text.
    note : Path
        JSON: what each result came from.
    mask_facts : mapping or None
        What a sidecar says of the mask; None for none, as outside a BIDS derivative.
    """

    mask: Path
    bias_field: Path
    transform: Path
    note: Path
    mask_facts: Mapping[str, Any] | None = None

    @classmethod
    def in_folder(cls, folder: Path, name: str) -> "KeptFiles":
        """Return files that share the name of a scan; a layer's may hold any character."""
        stem = re.sub(r'[\\/:*?"<>|]', "-", name)
        mask, bias_field, transform, note = (folder / f"{stem}_{x}" for x in (*RESULTS, NOTE))
        return cls(mask, bias_field, transform, note)

    @property
    def has_namesakes(self) -> bool:
        """Whether the results of other scans with the same name are kept beside these."""
        stem = glob.escape(self.note.name.removesuffix(f"_{NOTE}"))
        return any(self.note.parent.glob(f"{stem}-{'?' * N_HEX}_{NOTE}"))

    @property
    def page(self) -> Path:
        """The quality page of a scan whose files share its name."""
        return self.mask.with_name(self.mask.name.replace(f"_{MASK}", "_quality.png"))

    def path(self, what: str) -> Path:
        """Return the file of a result: `MASK`, `BIAS_FIELD` or `TRANSFORM`."""
        return dict(zip(RESULTS, (self.mask, self.bias_field, self.transform), strict=True))[what]


@dataclass(frozen=True)
class PreparationCache:
    """The results of one scan's steps in files.

    Parameters
    ----------
    files : KeptFiles
        Need not exist.
    results : dict
        What the note records of each result: `From`, its origin; `Content`, the digest of its
        voxels or numbers; `SHA256`, of its file; `Litres`, of a mask.
    is_foreign : bool
        Whether another program has written the note.
    """

    files: KeptFiles
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_foreign: bool = False

    def origin(self, what: str) -> Mapping[str, Any] | None:
        """Return what a result came from; None where there is none, or it has changed since."""
        known, path = self.results.get(what), self.files.path(what)
        if known is None or not path.is_file():
            return None
        source: dict[str, Any] = known["From"]
        if file_digest(path) == known.get("SHA256"):
            return source
        # Saved again by a program that changed nothing; or this one was killed before it noted.
        return source if _content_of(path, what) == known["Content"] else None

    def is_changed(self, what: str) -> bool:
        """Return whether a file is there that no preparation made, or that was edited since."""
        return self.files.path(what).exists() and self.origin(what) is None

    def check_scan(self, what: str, voxels: str) -> None:
        """Raise a VolumeError if a result that was edited is another scan's.

        Parameters
        ----------
        what : str
        voxels : str
            Digest of the scan.
        """
        known = self.results.get(what)
        if known is not None and known["From"].get(VOXELS) != voxels:
            raise VolumeError(
                f"{self.files.path(what)}: was edited, and was made for another scan of the same "
                "name: move it away, or keep the results elsewhere",
                argument="keep",
            )

    def is_of_another(self, voxels: str) -> bool:
        """Return whether what is kept, unedited, is that of a scan with another digest."""
        known = {each["From"].get(VOXELS) for each in self.results.values()}
        return voxels not in known and not any(map(self.is_changed, RESULTS))

    def check_folder(self) -> None:
        """Raise an Mri7tError, before the work, if no result can be saved."""
        check_folder(self.files.note.parent)
        if self.is_foreign:
            raise Mri7tError(
                f"{self.files.note}: is no record of a preparation: move it, or keep the results "
                "elsewhere",
                argument="keep",
            )

    def load(self, what: str) -> np.ndarray:
        """Return an array on the scan's grid, or a matrix."""
        path = self.files.path(what)
        return load_transform(path) if what == TRANSFORM else load_volume(path).array

    def save(self, what: str, result: Volume | np.ndarray, origin: Mapping[str, Any]) -> None:
        """Save a volume on the scan's grid or a matrix, unless it is there, and its origin.

        The note comes first: a file that a killed run left without one would count as the user's.
        """
        if self.origin(what) == origin:
            return
        path = self.files.path(what)
        path.parent.mkdir(parents=True, exist_ok=True)
        known: dict[str, Any] = {"From": dict(origin), "Content": _content(result, what)}
        if isinstance(result, Volume) and what == MASK:
            known["Litres"] = brain_litres(result, result.array > 0)
        path.unlink(missing_ok=True)
        self._note(what, known)
        if isinstance(result, Volume):
            facts = self.files.mask_facts if what == MASK else None
            save_volume(result, path, overwrite=facts is not None, sidecar=facts)
        else:
            save_transform(result, path)
        self._note(what, known | {"SHA256": file_digest(path)})

    def _note(self, what: str, known: dict[str, Any]) -> None:
        self.results.update(read_cache(self.files).results | {what: known})  # of other runs, too
        self.files.note.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.files.note, {"Results": self.results})


def open_cache(scan: Volume, keep: Path | KeptFiles | None) -> PreparationCache | None:
    """Open the cache of a scan.

    Parameters
    ----------
    scan : Volume
    keep : Path, KeptFiles or None
        A folder, for files by the scan's name, with its digest if they are another scan's; None
        caches nothing. Nothing is made yet.
    """
    if keep is None:
        return None
    if isinstance(keep, KeptFiles):
        return read_cache(keep)
    found = read_cache(KeptFiles.in_folder(keep, scan.name))
    if found.results and found.is_of_another(voxels := voxel_digest(scan)):
        found = read_cache(KeptFiles.in_folder(keep, f"{scan.name}-{voxels[:N_HEX]}"))
    return found


def read_cache(files: KeptFiles) -> PreparationCache:
    """Read what is noted of a scan's results; nothing if there is no note that can be read."""
    try:
        note = read_json(files.note)
    except (OSError, ValueError):
        return PreparationCache(files)
    try:
        return PreparationCache(files, _recorded(note))
    except (KeyError, TypeError, AttributeError, ValueError):
        is_foreign = not (isinstance(note, dict) and "Results" in note)
        return PreparationCache(files, is_foreign=is_foreign)


def _recorded(note: Any) -> dict[str, dict[str, Any]]:
    """Return what a note records of each result."""
    found = {what: note["Results"][what] for what in RESULTS if what in note["Results"]}
    for known in found.values():
        if not isinstance(known["From"], dict) or not isinstance(known["Content"], str):
            raise ValueError("not as this package writes it")
    return found


def _content_of(path: Path, what: str) -> str:
    """Return the digest of a file's voxels or numbers; empty if it cannot be read."""
    try:
        return _content(load_transform(path) if what == TRANSFORM else load_volume(path), what)
    except Mri7tError:
        return ""


def _content(result: Volume | np.ndarray, what: str) -> str:
    if isinstance(result, Volume):
        return content_digest(
            result.with_array(result.array > 0) if what == MASK else result
        )  # any number is brain
    return hashlib.sha256(result.astype("<f8").tobytes()).hexdigest()
