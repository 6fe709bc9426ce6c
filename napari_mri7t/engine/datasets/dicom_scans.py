"""Scans in folders of DICOM files: one a study, under a name that does not tell the patient.

A folder is named after its patient more often than not. Its name is used only where it holds
nothing that the headers say of any patient; otherwise a key stands in its place.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from pathlib import Path

from napari_mri7t.engine.datasets.dicom_names import (
    ENTITY,
    folders_above,
    is_of_field_alone,
    name_of_study,
    place_in_words,
)
from napari_mri7t.engine.datasets.dicom_studies import DicomFound, DicomStudy
from napari_mri7t.engine.datasets.unread import ARCHIVES
from napari_mri7t.engine.errors import Mri7tError, VolumeError
from napari_mri7t.engine.volumes.files.dicom import (
    HERE,
    DicomSeries,
    files_below,
    group_series,
    key_of,
    may_be_dicom,
)
from napari_mri7t.engine.volumes.files.dicom_header import (
    Header,
    check_installed,
    is_dicom_file,
    is_named_dicom,
    read_dicom_header,
)
from napari_mri7t.engine.volumes.files.dicom_t1w import choose_t1w
from napari_mri7t.engine.volumes.files.identity import Identity

FEW_UNMARKED = 5  # files of a folder that are looked into
PACKED = (*ARCHIVES, ".gz")
FETCH_THEM = "fetch them with 'datalad get' or 'git annex get', or mend the links"


def find_studies(root: Path, apart: Container[str] = (), series: str = "") -> DicomFound:
    """Find the DICOM studies in a folder and its subfolders.

    Folders of files that cannot be read, such as links that lead nowhere, and those that hold
    copies of a study of another folder are studies with a problem.

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
    packed: list[Path] = []
    files, unread = _sorted(_unpacked(root, apart, packed))
    check_series(root, series, has_dicom=bool(files or unread))
    every = _by_place(root, _group([*files, *unread])) if files else []
    groups: dict[str, list[DicomSeries]] = defaultdict(list)
    for one in every:
        groups[one.study].append(one)
    holders = _holders(root, every)
    studies = _told_apart([_study(root, group, holders, series) for group in groups.values()])
    found = [path for one in every for path in (*one.files, *one.copies)]
    unread += [path for path in set(files) - set(found) if _is_damaged(path)]
    lost = _unread(root, sorted(unread), {path.parent for path in found}, holders)
    identity = reduce(or_, (one.identity for one in (*every, *lost.values())), Identity())
    lost = {folder: replace(one, identity=identity) for folder, one in lost.items()}
    lost_of = [*lost.items(), *_copies(root, every, holders, studies)]
    without = [_lost(root, *entry, studies, holders) for entry in lost_of]
    studies += _told_apart(without, {study.name for study in studies})
    keys = {study.key for study in studies}
    studies = sorted((_located(root, s, keys, identity) for s in studies), key=lambda s: s.name)
    told = _packed(packed) if files else ""
    return DicomFound(studies, frozenset((*files, *unread)), identity, told, root)


def _located(
    root: Path, study: DicomStudy, keys: Collection[str], identity: Identity
) -> DicomStudy:
    """Add where a study is, if its name holds a key in place of a folder."""
    if not any(key in study.name for key in keys):
        return study
    return replace(study, where=place_in_words(root, study.folder, identity))


def _unpacked(root: Path, apart: Container[str], packed: list[Path]) -> Iterator[Path]:
    """Yield the files that may be DICOM; archives and packed files go into a list."""
    for path in files_below(root, apart, every=True):
        if path.suffix.lower() in PACKED:
            packed.append(path)
        elif may_be_dicom(path):
            yield path


def _sorted(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return which files are DICOM, and which may be, but lack the mark of it."""
    files, unread, unmarked = [], [], defaultdict(list)
    for path in paths:
        if is_dicom_file(path):
            files.append(path)
        elif is_named_dicom(path):
            unread.append(path)
        elif not path.suffix.strip(".0123456789"):
            unmarked[path.parent].append(path)
    for group in unmarked.values():
        if any(_forced(path) is not None for path in group[:FEW_UNMARKED]):
            unread += group
    return files, unread


def _packed(paths: Sequence[Path]) -> str:
    """Return how many files are archives, or packed DICOM files, by their names; empty for none."""
    ends = [path.suffix.lower() for path in paths if path.suffix.lower() in ARCHIVES]
    ends += [f"{inner.suffix}.gz" for p in paths if is_named_dicom(inner := Path(p.stem.lower()))]
    plural = "" if len(ends) == 1 else "s"
    return f"{len(ends)} packed file{plural} ({', '.join(sorted({*ends}))})" if ends else ""


def _group(files: Sequence[Path]) -> list[DicomSeries]:
    check_installed()
    try:
        return group_series(files)
    except VolumeError:  # a DICOMDIR alone
        return []


def _by_place(root: Path, every: Sequence[DicomSeries]) -> list[DicomSeries]:
    """Give the series of each person and session a study of their own.

    Programs that remove names often leave one UID to all studies.
    """
    places = [_place(root, _common(root, one.files)) for one in every]
    of_study: dict[str, set[Path]] = defaultdict(set)
    for one, place in zip(every, places, strict=True):
        of_study[one.study] |= set() if place is None else {place}
    found = []
    for one, place in zip(every, places, strict=True):
        others = of_study[one.study]
        is_shared = place is not None and not any(
            all(other.is_relative_to(top) for other in others) for top in others
        )
        label = place.relative_to(root).as_posix() if place is not None and is_shared else ""
        found.append(replace(one, study=key_of(f"{one.study} {label}")) if label else one)
    return found


def check_series(place: Path, series: str, *, has_dicom: bool) -> None:
    """Refuse the number of a series where no scan is one of DICOM files.

    Raises
    ------
    Mri7tError
        If there is a number and no such scan.
    """
    if series and not has_dicom:
        raise Mri7tError(f"{place}: holds no DICOM series: choose none", argument="series")


def _told_apart(studies: Sequence[DicomStudy], taken: Collection[str] = ()) -> list[DicomStudy]:
    """Sort studies by name, after adding their keys where two have one name, or it is taken."""
    counts = Counter([*taken, *(study.name for study in studies)])
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
        for place in {folder for path in one.files for folder in folders_above(root, path)}:
            found[place].add(one.study)
    return found


def _study(
    root: Path, group: Sequence[DicomSeries], holders: Mapping[Path, set[str]], wanted: str
) -> DicomStudy:
    common = _common(root, [path for one in group for path in one.files])
    chain = [*folders_above(root, common / "file")][::-1]  # from the root down
    alone = [folder for folder in chain[1:] if len(holders[folder]) == 1]
    folder = alone[0] if alone else common
    if is_of_field_alone(root, folder):  # 3T/S1, of one person: the person's folder
        folder = next((at for at in alone if not is_of_field_alone(root, at)), folder)
    name = name_of_study(root, common, folder, group[0], holders)
    files = tuple(path for one in group for path in one.files)
    study = DicomStudy(name, group[0].study, folder, _place(root, common) or common, files=files)
    try:
        return replace(study, series=choose_t1w(group, wanted))
    except VolumeError as error:
        why = str(error).removeprefix(f"{HERE}: ")
        return replace(study, problem=why, argument=error.argument)


def _place(root: Path, common: Path) -> Path | None:
    """Return the folder of the session, or else of the subject, that a folder belongs to."""
    above = folders_above(root, common / "file")
    return next((f for f in above if f != root and ENTITY.fullmatch(f.name)), None)


def _unread(
    root: Path, files: Sequence[Path], read: Container[Path], holders: Container[Path]
) -> dict[Path, DicomSeries]:
    """Return the files that cannot be read as series with a problem, by their folders."""
    groups: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        if path.parent not in read:  # otherwise, the series beside it has a warning
            groups[_highest(root, path, holders)].append(path)
    found = {}
    for n, (folder, paths) in enumerate(groups.items()):
        n_links = sum(not path.exists() for path in paths)
        why = f"{n_links} of its DICOM files are links that lead nowhere: {FETCH_THEM}"
        if not n_links:
            why = (
                f"{len(paths)} of its DICOM files are damaged or lack the DICOM preamble (128 "
                "bytes, then DICM): export them again"
            )
        header = _forced(paths[0])
        study = header.study if header else f"unread {n}"
        identity = header.identity if header else Identity()
        one = DicomSeries(0, "", "", 0, tuple(paths), key_of(study), identity=identity, problem=why)
        found[folder] = one if header is None else replace(one, patient=header.patient)
    return found


def _forced(path: Path) -> Header | None:
    """Return the header of a file without the mark of DICOM, to know its patient; or None."""
    try:
        return read_dicom_header(path, force=True)
    except (ValueError, ImportError):
        return None


def _highest(root: Path, path: Path, holders: Container[Path]) -> Path:
    """Return the highest folder of a file that holds no study, within its session and the root."""
    top = _place(root, path.parent)
    below = [f for f in folders_above(root, path) if f.is_relative_to(top or root) and f != root]
    free = [folder for folder in below if folder not in holders]
    return free[-1] if free else path.parent


def _is_damaged(path: Path) -> bool:
    try:
        return read_dicom_header(path) is None and path.name.upper() != "DICOMDIR"
    except ValueError:
        return True


def _lost(
    root: Path,
    folder: Path,
    series: DicomSeries,
    studies: Sequence[DicomStudy],
    holders: Mapping[Path, Collection[str]],
) -> DicomStudy:
    """Return a study without a scan; a spare one beside another of its session or folder."""
    common = _common(root, series.files)
    labelled = _place(root, common)
    name = name_of_study(root, common, folder, series, holders)
    if labelled is not None:
        is_spare = any(study.place == labelled for study in studies)
    else:
        above = folder.parent
        is_spare = above != root and any(s.place.is_relative_to(above) for s in studies)
    place = labelled or common
    return DicomStudy(
        name, series.study, folder, place, problem=series.problem, files=series.files,
        is_spare=is_spare,
    )  # fmt: skip


def _copies(
    root: Path,
    every: Sequence[DicomSeries],
    holders: Container[Path],
    studies: Sequence[DicomStudy],
) -> list[tuple[Path, DicomSeries]]:
    """Return the folders that hold nothing but copies of a study of another folder."""
    own = {path: study for study in studies for path in study.files}
    found: dict[tuple[str, Path], DicomSeries] = {}
    for one in every:
        for path in one.copies:
            folder, study = _highest(root, path, holders), own[one.files[0]]
            if folder in holders or folder.is_relative_to(study.folder):
                continue
            why = (
                f"holds copies of images of {study.name}, which are used there: remove one of the "
                "two, or export this study again"
            )
            series = found.get((one.study, folder), replace(one, files=(), problem=why))
            found[one.study, folder] = replace(series, files=(*series.files, path))
    return [(folder, series) for (_, folder), series in found.items()]


def _common(root: Path, files: Sequence[Path]) -> Path:
    """Return the deepest folder that holds all of the files."""
    above = [set(folders_above(root, path)) for path in files]
    return max(set.intersection(*above), key=lambda folder: len(folder.parts))
