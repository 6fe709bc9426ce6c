"""Scans in folders of DICOM files: one a study, under a name that does not tell the patient.

A folder is named after its patient more often than not. Its name is used only where it holds
nothing that the headers say of any patient; otherwise a key stands in its place.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from pathlib import Path

from napari_mri7t.engine.errors import Mri7tError, VolumeError
from napari_mri7t.engine.volumes.files.dicom import (
    HERE,
    DicomSeries,
    files_below,
    group_series,
)
from napari_mri7t.engine.volumes.files.dicom_header import check_installed, is_dicom_file
from napari_mri7t.engine.volumes.files.dicom_t1w import choose_t1w
from napari_mri7t.engine.volumes.files.identity import Identity

ENTITY = re.compile(r"(?:sub|ses)-[0-9A-Za-z+]+")
SAYS_NOTHING = frozenset(
    ("dicom", "dicoms", "dicomdat", "dcm", "image", "images", "img", "mr", "mri", "raw", "data",
     "scan", "scans", "series", "export", "study", "anat")
)  # fmt: skip  # names of folders


@dataclass(frozen=True)
class DicomStudy:
    """One study in a folder: a scan, or why there is none.

    Attributes
    ----------
    name : str
        Within the folder, with "/"; it names no patient, and no file need have it.
    key : str
        Of the study.
    folder : Path
        That holds the study; it may be named after the patient.
    series : DicomSeries or None
        The T1w, or the series that was asked for.
    problem, argument : str
        Why there is none, and the argument that helps.
    """

    name: str
    key: str
    folder: Path
    series: DicomSeries | None = None
    problem: str = ""
    argument: str = ""


@dataclass(frozen=True)
class DicomFound:
    """The studies in a folder.

    Attributes
    ----------
    studies : list of DicomStudy
        Sorted by name.
    files : frozenset of Path
        All that are DICOM images.
    identity : Identity
        What tells the patients, and must not be shown.
    """

    studies: list[DicomStudy] = field(default_factory=list)
    files: frozenset[Path] = frozenset()
    identity: Identity = Identity()  # noqa: RUF009 - frozen

    def hide(self, name: str) -> str:
        """Return a path within the folder without the parts that tell a patient."""
        return "/".join("..." if self.identity.is_in(part) else part for part in name.split("/"))


def find_studies(root: Path, apart: Container[str] = (), series: str = "") -> DicomFound:
    """Find the DICOM studies in a folder and its subfolders.

    Parameters
    ----------
    root : Path
    apart : container of str
        Names of folders in it that are left out.
    series : str
        Number of the series to take in each; the only T1w by default.

    Raises
    ------
    Mri7tError
        If there are DICOM files, and the extra `dicom` is not installed; or none, and a series is
        asked for.

    Examples
    --------
    >>> find_studies(Path("no_such_folder")).studies
    []
    """
    files = [path for path in files_below(root, apart) if is_dicom_file(path)]
    check_series(root, series, has_dicom=bool(files))
    if not files:
        return DicomFound()
    check_installed()
    try:
        every = group_series(files)
    except VolumeError:  # a DICOMDIR alone
        return DicomFound()
    groups: dict[str, list[DicomSeries]] = defaultdict(list)
    for one in every:
        groups[one.study].append(one)
    identity = reduce(or_, (one.identity for one in every))
    holders = _holders(root, every)
    studies = _told_apart([_study(root, group, holders, series) for group in groups.values()])
    return DicomFound(studies, frozenset(files), identity)


def check_series(place: Path, series: str, *, has_dicom: bool) -> None:
    """Refuse the number of a series where no scan is one of DICOM files.

    Raises
    ------
    Mri7tError
        If there is a number and no such scan.
    """
    if series and not has_dicom:
        raise Mri7tError(f"{place}: holds no DICOM series: choose none", argument="series")


def _told_apart(studies: Sequence[DicomStudy]) -> list[DicomStudy]:
    """Sort studies by name, after adding their keys where two have one name."""
    counts = Counter(study.name for study in studies)
    told = []
    for study in studies:
        start, _, suffix = study.name.rpartition("_T1w")
        own = (
            f"{start}_acq-{study.key}_T1w" if start and not suffix else f"{study.name}_{study.key}"
        )
        told.append(replace(study, name=own) if counts[study.name] > 1 else study)
    return sorted(told, key=lambda study: study.name)


def _holders(root: Path, every: Sequence[DicomSeries]) -> Mapping[Path, set[str]]:
    """Return the studies that each folder holds, in its subfolders too."""
    found: dict[Path, set[str]] = defaultdict(set)
    for one in every:
        for place in {folder for path in one.files for folder in _above(root, path)}:
            found[place].add(one.study)
    return found


def _above(root: Path, path: Path) -> Iterator[Path]:
    """Yield the folders of a file, up to the root."""
    for folder in path.parents:
        yield folder
        if folder == root:
            return


def _study(
    root: Path, group: Sequence[DicomSeries], holders: Mapping[Path, set[str]], wanted: str
) -> DicomStudy:
    common = _common(root, [path for one in group for path in one.files])
    chain = [*_above(root, common / "file")][::-1]  # from the root down
    alone = [folder for folder in chain[1:] if len(holders[folder]) == 1]
    folder = alone[0] if alone else common
    name = _name(root, common, folder, group[0], is_alone=len(holders[folder]) == 1)
    study = DicomStudy(name, group[0].study, folder)
    try:
        return replace(study, series=choose_t1w(group, wanted))
    except VolumeError as error:
        why = str(error).removeprefix(f"{HERE}: ")
        return replace(study, problem=why, argument=error.argument)


def _common(root: Path, files: Sequence[Path]) -> Path:
    """Return the deepest folder that holds all of the files."""
    above = [set(_above(root, path)) for path in files]
    return max(set.intersection(*above), key=lambda folder: len(folder.parts))


def _name(root: Path, common: Path, folder: Path, series: DicomSeries, *, is_alone: bool) -> str:
    """Return the name of a study: BIDS labels if its folders have them, or its folders' names."""
    labels = [part for part in common.relative_to(root).parts if ENTITY.fullmatch(part)]
    if labels and labels[0].startswith("sub-"):
        parts = [_neutral(part, series) for part in labels]
        return "/".join([*parts, "_".join([*parts, "T1w"])])
    parts = list(folder.relative_to(root).parts)
    if not parts and is_alone:
        parts = [root.resolve().name]
    telling = [_neutral(part, series) for part in parts if part.lower() not in SAYS_NOTHING]
    own = [] if is_alone and telling else [series.study]
    return "_".join(dict.fromkeys([*telling, *own]))


def _neutral(part: str, series: DicomSeries) -> str:
    """Return the name of a folder, or the study's key in place of what tells a patient."""
    label = ENTITY.fullmatch(part)
    if series.identity.is_in(part) and not (label and _is_pseudonym(part, series)):
        return f"{part[:4]}{series.study}" if label else series.study
    return re.sub(r"[^0-9A-Za-z+-]+", "_", part)


def _is_pseudonym(part: str, series: DicomSeries) -> bool:
    """Return whether a BIDS label is all that the headers know the patient by."""
    known = {_plain(text) for text in series.patient} - {""}
    return bool(known) and known <= {_plain(part), _plain(part[4:])}


def _plain(text: str) -> str:
    """Return letters and digits alone, a number without the zeros that it begins with."""
    joined = re.sub(r"[\W_]+", "", text).casefold()
    return re.sub(r"(?<!\d)0+(?=\d)", "", joined)
