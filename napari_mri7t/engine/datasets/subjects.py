"""Subjects of a study: found in a folder, checked, and split for leave-one-out."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_mri7t.engine.datasets.files import find_volumes
from napari_mri7t.engine.errors import GridError, SubjectError, VolumeError
from napari_mri7t.engine.volumes.files.geometry import ras_grid
from napari_mri7t.engine.volumes.files.reading import files_of, read_header
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.engine.volumes.volume import Volume, load_volume, same_grid

FIELD_IN_NAME = re.compile(
    r"(?<![0-9A-Za-z])(?:ses-|desc-)?(?:pseudo-?)?([37])T(?![0-9A-Za-z])", re.I
)
PAIR_FOLDERS = {"3": "3T_images", "7": "7T_images"}


@dataclass(frozen=True)
class Subject:
    """One person: the 7T volume, and the 3T volume where it exists.

    Parameters
    ----------
    name : str
        Unique within a study.
    target : Path
        The 7T volume.
    source : Path or None
        The 3T volume on the target's grid; None if a pseudo-3T is to be simulated.
    """

    name: str
    target: Path
    source: Path | None = None


@dataclass(frozen=True)
class Fold:
    """One fold of leave-one-out: the subject held out, and those trained on."""

    held_out: Subject
    training: tuple[Subject, ...]


def find_subjects(folder: str | Path) -> list[Subject]:
    """Find the subjects in a folder.

    Three layouts are supported: a BIDS dataset (`sub-*/ses-3T/anat`, `sub-*/ses-7T/anat`), two
    folders `3T_images` and `7T_images` with equal file names, and a flat folder, either of pairs
    whose names differ only in `3T` and `7T` or of 7T volumes alone.

    Returns
    -------
    list of Subject
        Sorted by name.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or one file of a .hdr and .img pair is missing.
    SubjectError
        If it holds no volume, a volume without its partner, or a subject twice.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such folder: choose a folder of 7T volumes or of pairs"
        )
    if all((root / name).is_dir() for name in PAIR_FOLDERS.values()):
        entries = [
            (stem_of(path), field, path)
            for field, name in PAIR_FOLDERS.items()
            for path in _volumes(root / name)
        ]
    elif bids := _volumes(root, "sub-*/**/anat/*"):
        entries = [(_bids_name(path), _field(path.relative_to(root)), path) for path in bids]
    else:
        entries = [(_without_field(path), _field(Path(path.name)), path) for path in _volumes(root)]
    return _pair(root, entries)


def _volumes(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the files that hold the voxels, whose digests identify the subjects."""
    return [files_of(path)[1] for path in find_volumes(folder, pattern)]


def _bids_name(path: Path) -> str:
    return next(part for part in path.parts if part.startswith("sub-"))


def _field(path: Path) -> str:
    """Return "3" or "7", the field strength in a name; "7" without one."""
    match = FIELD_IN_NAME.search(path.as_posix().replace("_", " "))
    return match.group(1) if match else "7"


def _without_field(path: Path) -> str:
    name = FIELD_IN_NAME.sub("", stem_of(path).replace("_", " "))
    return "_".join(name.split()) or stem_of(path)


def _pair(root: Path, entries: list[tuple[str, str, Path]]) -> list[Subject]:
    """Return the subjects of (name, field strength, volume), each with source and target."""
    if not entries:
        raise SubjectError(
            f"{root}: holds no volume; expected .nii or .nii.gz files, a BIDS dataset, or the "
            f"folders {' and '.join(PAIR_FOLDERS.values())}"
        )
    found: dict[str, dict[str, Path]] = {}
    for name, field, path in entries:
        known = found.setdefault(name, {})
        if field in known:
            raise SubjectError(
                f"{name}: two {field}T volumes, {known[field].name} and {path.name}; keep one"
            )
        known[field] = path
    has_pairs = any("3" in known for known in found.values())
    for name, known in found.items():
        if "7" not in known or (has_pairs and "3" not in known):
            missing = "7T" if "7" not in known else "3T"
            raise SubjectError(f"{name}: has no {missing} volume; add it or remove the subject")
    return [Subject(name, known["7"], known.get("3")) for name, known in sorted(found.items())]


def leave_one_out(subjects: list[Subject]) -> list[Fold]:
    """Return one fold for each subject, which holds that subject out.

    Returns
    -------
    list of Fold
        In the order of the subjects.

    Raises
    ------
    SubjectError
        If there are fewer than two subjects, or one would be on both sides of a fold.
    """
    if len(subjects) < 2:
        raise SubjectError(f"leave-one-out needs at least 2 subjects, got {len(subjects)}")
    names = Counter(subject.name for subject in subjects)
    files = Counter(subject.target.resolve() for subject in subjects)
    twice = [name for name, count in names.items() if count > 1]
    twice += [path.name for path, count in files.items() if count > 1]
    if twice:
        raise SubjectError(
            f"{', '.join(twice)}: listed twice, so that a fold would train on what it holds out; "
            "remove one"
        )
    return [
        Fold(held_out, tuple(other for other in subjects if other is not held_out))
        for held_out in subjects
    ]


def load_pair(subject: Subject) -> tuple[Volume | None, Volume]:
    """Load a subject's source, if there is one, and target, and check them for training.

    Returns
    -------
    source : Volume or None
    target : Volume

    Raises
    ------
    SubjectError
        If a volume holds NaN or infinity, or the two lie on different grids.
    """
    target = load_volume(subject.target)
    source = None if subject.source is None else load_volume(subject.source)
    for volume, path in ((target, subject.target), (source, subject.source)):
        if volume is not None and _had_nan(volume):
            raise SubjectError(
                f"{path}: holds NaN voxels, which would ruin the training; repair or remove it"
            )
    if source is not None:
        _require_one_grid(subject, source, target)
    return source, target


def _had_nan(volume: Volume) -> bool:
    return not np.isfinite(volume.array).all() or any("NaN" in text for text in volume.warnings)


def check_headers(subject: Subject) -> None:
    """Check by the headers that files are readable and pairs lie on one grid.

    No voxel is read, so a whole dataset is checked at once.

    Raises
    ------
    SubjectError
        If source and target lie on different grids.
    VolumeError
        If a file is no 3-D volume, or is cut short.
    """
    target = _empty_volume(subject.target)
    if subject.source is not None:
        _require_one_grid(subject, _empty_volume(subject.source), target)


def _empty_volume(path: Path) -> Volume:
    """Return a volume on the grid of a file, without reading its voxels."""
    header, _ = read_header(path)
    if header.n_volumes > 1:
        raise VolumeError(f"{path}: holds {header.n_volumes} volumes: use a 3-D volume")
    affine, shape = ras_grid(header.geometry.affine, header.geometry.shape)
    return Volume(np.broadcast_to(np.float32(0), shape), affine, stem_of(path))


def _require_one_grid(subject: Subject, source: Volume, target: Volume) -> None:
    try:
        same_grid(source, target)
    except GridError as error:
        raise SubjectError(
            f"{subject.name}: source {source.shape} and target {target.shape} must lie on one "
            f"grid; register them first ({error})"
        ) from error
