"""Subjects of a study: found in a folder, and checked."""

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pathspec import GitIgnoreSpec

from napari_mri7t.engine.datasets.entries import (
    Entry,
    refuse_overlooked,
    warn_of_strays,
    warn_of_unread,
    without_ignored,
)
from napari_mri7t.engine.datasets.field_strength import field_of, name_in_folder, without_field
from napari_mri7t.engine.datasets.files import (
    IGNORE_FILE,
    files_in,
    find_files,
    find_volumes,
    misplaced_volumes,
    read_ignored,
    subject_folders,
    volumes_among,
    volumes_in_other_folders,
    where_volumes_are,
)
from napari_mri7t.engine.datasets.names import (
    ANATOMICAL_SUFFIXES,
    DEFAULT_SUFFIX,
    NO_ANATOMY,
    T1W_LIKE,
    anatomical_suffix,
    clean_stem,
    identifying_words,
    last_suffix,
    looks_t1w,
    other_agent,
)
from napari_mri7t.engine.errors import GridError, Mri7tWarning, SubjectError, VolumeError
from napari_mri7t.engine.volumes.files.geometry import ras_grid
from napari_mri7t.engine.volumes.files.parts import files_of
from napari_mri7t.engine.volumes.files.reading import read_header
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.engine.volumes.volume import Volume, load_volume, same_grid

PAIR_FOLDERS = {"3": "3T_images", "7": "7T_images"}
# A field strength that nothing sets apart, as in S13T, or that may be a number, as in S1_B3
GLUED_FIELD = re.compile(
    r"(?:(?<=[0-9a-z])(?=\dt)|(?<=[-_ ][bt]))(\d)(?:t(?:esla)?)?(?![0-9a-z])", re.IGNORECASE
)
UNIFIED = "UNIT1"  # an MP2RAGE's image of T1w contrast; a target where a session has no T1w
# Suffixes of a target and its source, the best first
PAIRS = (
    (DEFAULT_SUFFIX, DEFAULT_SUFFIX),
    (UNIFIED, DEFAULT_SUFFIX),
    *((suffix, suffix) for suffix in T1W_LIKE),
)


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


def find_subjects(folder: str | Path) -> list[Subject]:
    """Find the subjects in a folder.

    Three layouts are supported: a BIDS dataset (`sub-*/ses-3T/anat`, `sub-*/ses-7T/anat`), two
    folders `3T_images` and `7T_images` of pairs whose names are equal or differ only in `3T` and
    `7T`, and a flat folder, either of pairs whose names differ only in that or of 7T volumes alone.
    What `.bidsignore` lists is left out, and a subject whose folder it lists is warned of.

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
    ignored = read_ignored(root)
    if all((root / name).is_dir() for name in PAIR_FOLDERS.values()):
        entries = _entries_of_folders(root, ignored)
        elsewhere = [*find_volumes(root), *volumes_in_other_folders(root)]
        warn_of_strays(root, entries, elsewhere, ignored)
        places = [root, *(root / name for name in PAIR_FOLDERS.values())]
        files = [path for place in places for path in files_in(place)]
        warn_of_unread(root, files, ignored, is_bids=False)
        return _pair(root, entries, ignored)
    files, problems = find_files(root, subject_folders(root))
    volumes = volumes_among(files)
    if not volumes and not problems:
        entries = _flat_entries(root, ignored)
        if entries:
            warn_of_strays(root, entries, volumes_in_other_folders(root), ignored)
            warn_of_unread(root, files_in(root), ignored, is_bids=False)
        return _pair(root, entries, ignored)
    entries = [
        _with_field(
            Entry(path.relative_to(root).parts[0], path, last_suffix(clean_stem(path)), True), root
        )
        for path in without_ignored(volumes, root, ignored)
    ]
    refuse_overlooked(root, entries, problems, ignored)
    elsewhere = [*misplaced_volumes(root), *volumes_in_other_folders(root)]
    warn_of_strays(root, entries, [path for path in elsewhere if looks_t1w(path)], ignored)
    warn_of_unread(root, [*files, *files_in(root)], ignored, is_bids=True)
    return _pair(root, entries, ignored)


def _with_field(entry: Entry, root: Path, said_by: Path | None = None) -> Entry:
    """Add the field strength; of what cannot be used, it stays empty where it is in doubt."""
    if not entry.is_usable and entry.suffix in NO_ANATOMY:
        return entry
    try:
        return replace(entry, field=field_of(entry.path, root, name=said_by))
    except SubjectError:
        if entry.is_usable:
            raise
        return entry


def _entries_of_folders(root: Path, ignored: GitIgnoreSpec) -> list[Entry]:
    """List the volumes of the two folders of pairs."""
    names = names_in_folders(root)
    return [
        _with_field(
            Entry(names[path], path, anatomical_suffix(clean_stem(path))),
            root,
            Path(path.parent.name),
        )
        for path in without_ignored(names, root, ignored)
    ]


def names_in_folders(root: Path | None) -> dict[Path, str]:
    """Return the volumes of the folders of 3T and 7T, with the names of their people.

    A name is the same in both folders, or says the field strength of its own.

    Parameters
    ----------
    root : Path or None
        Where the two folders are; None has no volumes.
    """
    volumes = {
        field: [] if root is None else find_volumes(root / folder)
        for field, folder in PAIR_FOLDERS.items()
    }
    in_both = set.intersection(*({clean_stem(path) for path in each} for each in volumes.values()))
    return {
        path: stem if stem in in_both else name_in_folder(path, field)
        for field, paths in volumes.items()
        for path in paths
        for stem in (clean_stem(path),)
    }


def _flat_entries(root: Path, ignored: GitIgnoreSpec) -> list[Entry]:
    """List the volumes of a folder whose names say the field strength, or nothing."""
    entries = [
        _with_field(Entry(without_field(path), path, anatomical_suffix(clean_stem(path))), root)
        for path in without_ignored(find_volumes(root), root, ignored)
    ]
    _refuse_glued_fields([entry for entry in entries if entry.is_usable])
    return entries


def _refuse_glued_fields(entries: list[Entry]) -> None:
    """Refuse names such as S13T and S17T: of one person, or of two? S12T beside them tells."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for path in (entry.path for entry in entries):
        stem = clean_stem(path)
        for glued in GLUED_FIELD.finditer(stem):
            rest = stem[: glued.start(1)], stem[glued.end(1) :]
            found.setdefault(rest, {})[glued[1]] = path.name
    are_numbers = any(names.keys() - {"3", "7"} for names in found.values())
    pairs = [names for names in found.values() if {"3", "7"} <= names.keys()]
    if pairs and not are_numbers:
        one, other = pairs[0]["3"], pairs[0]["7"]
        raise SubjectError(
            f"{entries[0].path.parent}: {one} and {other} may be of one person at 3T and 7T, or of "
            "two people: set 3T and 7T apart, as in S1_3T and S1_7T, or give each person a folder"
        )


def _pair(root: Path, entries: list[Entry], ignored: GitIgnoreSpec) -> list[Subject]:
    """Return the subjects, each with source and target."""
    if not entries and any(ignored.match_file(f"{p.name}/") for p in subject_folders(root)):
        raise SubjectError(
            f"{root}: {IGNORE_FILE} lists all of its subjects: accept or unlist some"
        )
    if not entries:
        raise SubjectError(
            f"{root}: holds no volume{where_volumes_are(root)}; expected .nii or .nii.gz files, a "
            f"BIDS dataset, or the folders {' and '.join(PAIR_FOLDERS.values())}"
        )
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.key, []).append(entry)
    known = {key: found for key, group in groups.items() if (found := choose_volumes(group))}
    chosen = [entry for found in known.values() for entry in found.values()]
    others = [entry for entry in entries if entry not in chosen]
    has_pairs = any("3" in found for found in known.values())
    sources = [e for e in others if e.field == "3" and _is_anatomical(e)]
    if not known or (sources and not has_pairs):
        other = (sources or others)[0]
        raise SubjectError(
            f"{other.path}: is no {'3' if known else other.field or '7'}T T1w, by its name: add "
            "the T1w, or remove it"
        )
    for key, found in known.items():
        if "7" not in found or (has_pairs and "3" not in found):
            field = "7" if "7" not in found else "3"
            left = [e.path.name for e in others if (e.key, e.field) == (key, field)]
            hint = f" ({', '.join(left)}: no T1w)" if left else ""
            (name,) = {entry.name for entry in found.values()}
            raise SubjectError(
                f"{name}: has no {field}T volume{hint}; add it or remove the subject"
            )
    _refuse_dropped(others, known)
    for found in known.values():
        if "3" in found and (told := other_agent(found["3"].path, found["7"].path)):
            warnings.warn(f"{found['7'].name}: {told}", Mri7tWarning, stacklevel=3)
    return sorted(map(_subject, known.values()), key=lambda subject: subject.name)


def choose_volumes(group: list[Entry]) -> dict[str, Entry]:
    """Return the volumes to use of one subject, a T1w rather than what may stand in for it.

    Parameters
    ----------
    group : list of Entry
        All of the subject's volumes.

    Returns
    -------
    dict of str to Entry
        By field strength; empty if none can be used.

    Raises
    ------
    SubjectError
        If two of one field strength are equally good.
    """
    by_kind: dict[tuple[str, str], list[Entry]] = {}
    for entry in group:
        if entry.is_usable:
            by_kind.setdefault((entry.field, entry.suffix), []).append(entry)
    pairs = [{"7": target, "3": source} for target, source in PAIRS]
    alone = [{"7": suffix} for suffix in (DEFAULT_SUFFIX, *T1W_LIKE)]
    for wanted in (*pairs, *alone, {"3": DEFAULT_SUFFIX}):
        if not wanted.items() <= by_kind.keys():
            continue
        for kind in wanted.items():
            if len(by_kind[kind]) > 1:
                one, other, *_ = by_kind[kind]
                raise SubjectError(
                    f"{one.name}: two {kind[0]}T volumes, {one.path.name} and {other.path.name}; "
                    "keep one"
                )
        return {kind[0]: by_kind[kind][0] for kind in wanted.items()}
    return {}


def _is_anatomical(entry: Entry) -> bool:
    return entry.suffix in ANATOMICAL_SUFFIXES and entry.suffix not in NO_ANATOMY


def _refuse_dropped(others: list[Entry], known: Iterable[str]) -> None:
    """Refuse a volume of a person without a T1w."""
    people: set[str] = set().union(*map(identifying_words, known))
    for entry in others:
        if entry.is_bids and entry.key not in known:
            raise SubjectError(
                f"{entry.name}: has no T1w, only {entry.path.name}: add the T1w, or list "
                f"{entry.name}/ in {IGNORE_FILE}"
            )
        if not entry.is_bids and not identifying_words(entry.name) & people:
            raise SubjectError(
                f"{entry.path}: is no T1w by its name, and its subject has none: rename or remove "
                f"it, or list it in {IGNORE_FILE}"
            )


def _subject(found: dict[str, Entry]) -> Subject:
    source = files_of(found["3"].path)[1] if "3" in found else None
    return Subject(found["7"].name, files_of(found["7"].path)[1], source)


def load_pair(subject: Subject) -> tuple[Volume | None, Volume]:
    """Load a subject's source, if there is one, and target, and check them for training.

    Returns
    -------
    source : Volume or None
    target : Volume

    Raises
    ------
    SubjectError
        If a volume holds NaN or infinity, or as `check_headers`.
    VolumeError
        As `check_headers` and `load_volume`.
    """
    check_headers(subject)
    target = load_volume(subject.target)
    source = None if subject.source is None else load_volume(subject.source)
    for volume, path in ((target, subject.target), (source, subject.source)):
        if volume is not None and _had_nan(volume):
            raise SubjectError(
                f"{path}: holds NaN voxels, which would ruin the training; repair or remove it"
            )
    return source, target


def _had_nan(volume: Volume) -> bool:
    return not np.isfinite(volume.array).all() or any("NaN" in text for text in volume.warnings)


def check_headers(subject: Subject) -> tuple[int, int, int]:
    """Check by the headers that files are readable and pairs lie on one grid.

    No voxel is read, so a whole dataset is checked at once.

    Returns
    -------
    tuple of int
        Shape of the target.

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
    return target.shape


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
