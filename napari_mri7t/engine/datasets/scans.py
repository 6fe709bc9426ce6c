"""Scans in a folder or BIDS dataset, and what of it is left out, with the reason."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_mri7t.engine.datasets.bids import Scan
from napari_mri7t.engine.datasets.dicom_scans import find_studies
from napari_mri7t.engine.datasets.dicom_studies import (
    NAMES_PATIENT,
    NOT_UNPACKED,
    VOLUMES_BESIDE,
    DicomFound,
    DicomStudy,
)
from napari_mri7t.engine.datasets.estimate_names import STUDY
from napari_mri7t.engine.datasets.estimates import name_estimates
from napari_mri7t.engine.datasets.files import (
    EMPTY,
    IGNORE_FILE,
    NO_DATA,
    files_in,
    find_files,
    is_listed,
    misplaced_volumes,
    read_ignored,
    subject_folders,
    volumes_among,
    volumes_in_other_folders,
    warn_of_encoding,
    where_volumes_are,
)
from napari_mri7t.engine.datasets.names import (
    ANATOMICAL_SUFFIXES,
    DEFAULT_SUFFIX,
    T1W_LIKE,
    anatomical_suffix,
    clean_stem,
    entities,
    is_misnamed_t1w,
    last_suffix,
    looks_t1w,
    suffix_beside,
    why_misfiled,
    why_no_image,
)
from napari_mri7t.engine.datasets.unread import (
    UNKNOWN_EXTENSION,
    UNPACK,
    is_archive,
    is_of_volume,
    may_be_t1w,
    why_unread,
)
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.volumes.files.streams import extension_of

OF_RESULTS = re.compile(r"_(?:from|to|space|desc|label|res)-")  # of what a program made
MISPLACED = f"is in no folder sub-*: move it, or list it in {IGNORE_FILE}"
RENAME = f"rename it, or list it in {IGNORE_FILE}"
MOST_LABELS = 5
ARGUMENTS = ("participant", "session", "suffix")


@dataclass(frozen=True)
class ScanFilter:
    """Which scans of a dataset to select; empty means all.

    Parameters
    ----------
    participants, sessions : tuple of str
        Labels, with or without `sub-` and `ses-`.
    suffixes : tuple of str
        By default T1w; in a folder that is no BIDS dataset, a name without suffix counts as T1w.
    series : str
        Number of the series to take of each DICOM study; the only T1w by default.
    """

    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    series: str = ""


@dataclass(frozen=True)
class Found:
    """The scans of a folder, and what was left out; names are paths within the folder.

    Parameters
    ----------
    scans : list of Scan
        Sorted by path.
    failed : dict of str to str
        What seems to be a scan, or to hold one, and cannot be used, and why.
    skipped : dict of str to str
        What somebody may take for a scan, and is none, and why.
    arguments : dict of str to str
        Argument that would help what failed, where there is one.
    """

    scans: list[Scan] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)


def find_scans(
    folder: str | Path,
    wanted: ScanFilter = ScanFilter(),
    known: Mapping[str, str] = {},
) -> Found:
    """Find the scans of a BIDS dataset, or of a plain folder of volumes, and DICOM studies in it.

    The estimates get BIDS names, as `derivative_path` makes them. Where two would be equal, a mark
    made from the scan's name is added to them.

    Parameters
    ----------
    folder : str or Path
        A BIDS dataset has folders `sub-*`; linked folders are entered.
    wanted : ScanFilter
    known : mapping of str to str
        Outputs that earlier batches chose, as `read_names` returns them; they are kept.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    Mri7tError
        If it holds no such scan, or a label or a series that does not exist is asked for.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder: choose a folder of volumes or BIDS")
    files, problems = find_files(root, subject_folders(root))
    dicom = find_studies(root, NO_DATA, wanted.series)
    is_bids = bool(volumes_among(files)) or any(s.name.startswith("sub-") for s in dicom.studies)
    if not is_bids:
        files = files_in(root)
    volumes = volumes_among(files)
    if not volumes and not problems and not dicom.studies:
        raise Mri7tError(
            f"{root}: holds no volume{where_volumes_are(root)}: choose a folder of NIfTI files or "
            "a BIDS dataset"
        )
    warn_of_encoding(root, volumes)
    _check_labels(root, [*volumes, *(root / study.name for study in dicom.studies)], wanted, dicom)
    suffixes = tuple(last_suffix(s) for s in wanted.suffixes or (DEFAULT_SUFFIX,))
    look = _Look(root, is_bids, suffixes, dicom)
    look.failed |= {p: why for p, why in problems.items() if not is_listed(p, root, look.ignored)}
    for path in volumes:
        look.sort(path)
    look.sort_dicom()
    beside = [p for p in files_in(root) if is_bids and not p.name.startswith(".")]
    look.sort_others([path for path in (*files, *beside) if path not in dicom.files])
    look.sort_elsewhere()
    outputs, clashes = name_estimates(root, look.chosen, {**known, **_known_studies(dicom, known)})
    look.failed |= clashes
    if is_bids:
        look.note_empty_subjects(files)
    found = _select(look, outputs, wanted)
    if not found.scans and not found.failed:
        raise _no_match(root, len(volumes) + len(dicom.studies), found, wanted)
    return found


def _known_studies(dicom: DicomFound, known: Mapping[str, str]) -> dict[str, str]:
    """Return the outputs of studies that had another name before others were added."""
    keys = {study.name: f"{STUDY}{study.key}" for study in dicom.studies}
    return {name: known[key] for name, key in keys.items() if name not in known and key in known}


def _no_match(root: Path, n_volumes: int, found: Found, wanted: ScanFilter) -> Mri7tError:
    """Return the error of a dataset in which nothing is what was asked for."""
    asked = wanted.participants, wanted.sessions, wanted.suffixes
    given = [name for name, labels in zip(ARGUMENTS, asked, strict=True) if labels]
    unasked = f"none has the {' and the '.join(given)} at once" if given else "none is a T1w"
    why = next((f"{name}: {why}" for name, why in found.skipped.items()), unasked)
    return Mri7tError(
        f"{root}: none of its {n_volumes} volumes matches ({why}): check the participants, "
        "sessions and suffixes",
        argument=given[-1] if given else "suffix",
    )


class _Look:
    """Sorts the files of a folder into scans and what is left out."""

    def __init__(
        self, root: Path, is_bids: bool, suffixes: tuple[str, ...], dicom: DicomFound
    ) -> None:
        self.root, self.is_bids, self.suffixes, self.dicom = root, is_bids, suffixes, dicom
        self.studies: dict[Path, DicomStudy] = {}
        self.ignored, self.names = read_ignored(root), [path.name for path in files_in(root)]
        self.chosen: list[Path] = []
        self.failed: dict[Path, str] = {}
        self.skipped: dict[Path, str] = {}

    def sort(self, path: Path) -> None:
        """Sort one volume by its name."""
        stem = clean_stem(path)
        suffix = last_suffix(stem) if self.is_bids else suffix_beside(stem, self.names)
        is_wanted = suffix in self.suffixes
        is_expected = is_wanted or (DEFAULT_SUFFIX in self.suffixes and looks_t1w(path))
        why = why_no_image(stem)
        if self.is_ignored(path):
            if is_expected:
                self.skipped[path] = f"is listed in {IGNORE_FILE}"
        elif why:
            if is_expected or not self.is_bids:
                self.skipped[path] = f"{why}: rename it if it is a scan"
        elif is_wanted and self.dicom.names_patient(_name(path, self.root)):
            self.failed[path] = NAMES_PATIENT
        elif is_wanted and self.is_bids and (why := why_misfiled(path.relative_to(self.root))):
            self.failed[path] = f"{why}: {RENAME}"
        elif is_wanted:
            self.chosen.append(path)
        elif not self.is_bids or (is_expected and suffix in T1W_LIKE):
            self.skipped[path] = f"is a {suffix} by its name: choose that suffix to use it"
        elif (is_odd := is_expected and is_misnamed_t1w(path)) or (
            path.parent.name == "anat"
            and suffix not in ANATOMICAL_SUFFIXES
            and not OF_RESULTS.search(stem)
        ):
            why = f"a BIDS name ends with its suffix, as in _T1w.nii.gz: {RENAME}"
            (self.failed if is_odd else self.skipped)[path] = why

    def sort_dicom(self) -> None:
        """Sort the DICOM studies; a subject's volumes go before its DICOM files."""
        volumes = list(self.chosen) if self.is_bids else []
        for study in self.dicom.studies:
            path = self.root / study.name
            self.studies[path] = study
            if DEFAULT_SUFFIX not in self.suffixes:
                continue
            if study.is_ignored(self.ignored, self.root):
                self.skipped[path] = study.located(f"is listed in {IGNORE_FILE}")
            elif study.lies_beside(volumes):
                self.skipped[path] = study.located(VOLUMES_BESIDE)
            elif study.series is None:
                why = study.located(study.problem)
                (self.skipped if study.is_spare else self.failed)[path] = why
            else:
                self.chosen.append(path)
        if self.dicom.packed:
            self.skipped[self.root / self.dicom.packed] = NOT_UNPACKED

    def is_ignored(self, path: Path) -> bool:
        return self.ignored.match_file(path.relative_to(self.root).as_posix())

    def sort_others(self, files: Sequence[Path]) -> None:
        """Name what is no volume by its extension or place, but by the rest of its name."""
        for path in files:
            if extension_of(path) or is_of_volume(path) or self.is_ignored(path):
                continue
            why = why_unread(path, is_bids=self.is_bids)
            if self.dicom.packed and why in ("", UNPACK):  # counted: may be named after a patient
                continue
            if why and (self.is_bids or why != UNPACK):
                self.failed[path] = why
            elif is_archive(path) and path.parent == self.root:
                self.skipped[path] = UNPACK
            elif may_be_t1w(path):
                self.skipped[path] = UNKNOWN_EXTENSION

    def sort_elsewhere(self) -> None:
        """Name the volumes that lie in other folders than those that are looked into."""
        misplaced = misplaced_volumes(self.root) if self.is_bids else []
        for path in (*misplaced, *volumes_in_other_folders(self.root)):
            if why_no_image(clean_stem(path)) or self.is_ignored(path) or path in self.failed:
                continue
            if not self.is_bids:
                if anatomical_suffix(clean_stem(path)) in self.suffixes:
                    self.skipped[path] = "is in a subfolder: choose that folder to use it"
            elif DEFAULT_SUFFIX in self.suffixes and (looks_t1w(path) or path.parent == self.root):
                (self.failed if path in misplaced else self.skipped)[path] = MISPLACED

    def note_empty_subjects(self, files: Sequence[Path]) -> None:
        """Name the subjects that have no scan."""
        studies = [study.folder for study in self.dicom.studies]
        named = [*self.chosen, *self.failed, *self.skipped, *studies]
        for folder in subject_folders(self.root):
            if folder in named or any(path.is_relative_to(folder) for path in named):
                continue
            if any(path.is_relative_to(folder) for path in files):
                self.skipped[folder] = f"has no {' or '.join(self.suffixes)}"
            else:
                self.failed[folder] = EMPTY


def _labels(path: Path, root: Path, key: str) -> set[str]:
    """Return the labels that a path has of an entity, by its name or else by its folders."""
    stem = clean_stem(path)
    found = entities(stem).get(key)
    parts = (*path.relative_to(root).parts[:-1], stem.split("_")[0])
    return {found} if found else {p[len(key) + 1 :] for p in parts if p.startswith(f"{key}-")}


def _check_labels(
    root: Path, volumes: Sequence[Path], wanted: ScanFilter, dicom: DicomFound
) -> None:
    """Refuse labels that do not exist; those that tell a patient are not listed."""
    paths = [*volumes, *subject_folders(root)]
    for key, asked, argument in (
        ("sub", wanted.participants, "participant"),
        ("ses", wanted.sessions, "session"),
    ):
        there = {label for path in paths for label in _labels(path, root, key)}
        absent = sorted({text.removeprefix(f"{key}-") for text in asked} - there)
        if absent:
            shown = sorted(label for label in there if dicom.may_list(label))
            some = ", ".join(shown[:MOST_LABELS]) or "none"
            more = ", ..." if len(shown) > MOST_LABELS else ""
            raise Mri7tError(
                f"{root}: has no {argument} {', '.join(absent)}; it has {some}{more}: check the "
                "labels",
                argument=argument,
            )


def _select(look: _Look, outputs: Mapping[Path, str], wanted: ScanFilter) -> Found:
    """Return what the filter selects."""

    def is_wanted(path: Path) -> bool:
        return all(
            not asked or _labels(path, look.root, key) & {t.removeprefix(f"{key}-") for t in asked}
            for key, asked in (("sub", wanted.participants), ("ses", wanted.sessions))
        )

    def selected(reasons: Mapping[Path, str]) -> dict[str, str]:
        names = {path: _name(path, look.root) for path in sorted(reasons) if is_wanted(path)}
        return {
            name if path in look.studies else look.dicom.hide(name): reasons[path]
            for path, name in names.items()
        }

    scans = [
        _scan(path, _name(path, look.root), outputs[path], look.studies.get(path))
        for path in look.chosen
        if path in outputs and is_wanted(path)
    ]
    helps = {_name(p, look.root): s.argument for p, s in look.studies.items() if s.argument}
    failed = selected(look.failed)
    helps = {name: argument for name, argument in helps.items() if name in failed}
    return Found(scans, failed, selected(look.skipped), helps)


def _scan(path: Path, name: str, output: str, study: DicomStudy | None) -> Scan:
    if study is None:
        return Scan(path, name, output)
    return Scan(study.folder, name, output, study.series, study.where)


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
