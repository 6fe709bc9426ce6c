"""Subjects of a study: found in a folder, checked, split by leave-one-out."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_mri7t.engine.errors import GridError, SubjectError, VolumeError
from napari_mri7t.engine.volumes.files.geometry import ras_grid
from napari_mri7t.engine.volumes.files.reading import read_header
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.engine.volumes.volume import Volume, load_volume, same_grid

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".img", ".img.gz")
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
        The 3T volume on the target's grid; None means that a pseudo-3T is simulated.
    """

    name: str
    target: Path
    source: Path | None = None


@dataclass(frozen=True)
class Fold:
    """One turn of leave-one-out: who is held out, and who is trained on."""

    held_out: Subject
    training: tuple[Subject, ...]


def find_subjects(folder: str | Path) -> list[Subject]:
    """Find the subjects in a folder.

    Three layouts are known: a BIDS dataset (`sub-*/ses-3T/anat`, `sub-*/ses-7T/anat`), two folders
    `3T_images` and `7T_images` with equal file names, and a flat folder, either of pairs whose
    names differ only in `3T` and `7T` or of 7T volumes alone.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of Subject
        In the order of their names.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    SubjectError
        If it holds no volume, a volume without its partner, or a subject twice.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder: give a folder of 7T volumes or of pairs")
    if all((root / name).is_dir() for name in PAIR_FOLDERS.values()):
        entries = [
            (_stem(path), field, path)
            for field, name in PAIR_FOLDERS.items()
            for path in _volumes(root / name)
        ]
    elif bids := _volumes(root, "sub-*/**/anat"):
        entries = [(_bids_name(path), _field(path.relative_to(root)), path) for path in bids]
    else:
        entries = [(_without_field(path), _field(Path(path.name)), path) for path in _volumes(root)]
    return _pair(root, entries)


def leave_one_out(subjects: list[Subject]) -> list[Fold]:
    """Hold out every subject once, in order.

    Raises
    ------
    SubjectError
        If there are fewer than two subjects, or one stands on both sides of a fold.
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
    """Load a subject's source, where there is one, and target, and check them for training.

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
                f"{path}: holds NaN voxels, which would spoil the training; repair or leave it out"
            )
    if source is not None:
        _require_one_grid(subject, source, target)
    return source, target


def check_headers(subject: Subject) -> None:
    """Check what the headers alone tell: files that can be read, and pairs that lie on one grid.

    No voxel is read, so that a whole dataset is checked while a user looks at it.

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
    """Give a file's grid, without its voxels."""
    header, _ = read_header(path)
    if header.n_volumes > 1:
        raise VolumeError(f"{path}: holds {header.n_volumes} volumes: give a 3-D volume")
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


def _had_nan(volume: Volume) -> bool:
    return not np.isfinite(volume.array).all() or any("NaN" in text for text in volume.warnings)


def _volumes(folder: Path, below: str = "") -> list[Path]:
    folders = folder.glob(below) if below else [folder]
    return sorted(
        path
        for place in folders
        for path in place.iterdir()
        if path.name.lower().endswith(VOLUME_SUFFIXES) and not path.name.startswith(".")
    )


def _stem(path: Path) -> str:
    name = path.name
    suffix = next(s for s in VOLUME_SUFFIXES if name.lower().endswith(s))
    return name[: -len(suffix)]


def _field(path: Path) -> str:
    """Read "3" or "7" from a name; volumes that do not say are 7T."""
    match = FIELD_IN_NAME.search(path.as_posix().replace("_", " "))
    return match.group(1) if match else "7"


def _without_field(path: Path) -> str:
    name = FIELD_IN_NAME.sub("", _stem(path).replace("_", " "))
    return "_".join(name.split()) or _stem(path)


def _bids_name(path: Path) -> str:
    return next(part for part in path.parts if part.startswith("sub-"))


def _pair(root: Path, entries: list[tuple[str, str, Path]]) -> list[Subject]:
    """Join sources and targets by name."""
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
