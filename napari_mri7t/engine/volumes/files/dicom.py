"""Series of DICOM files in a folder: found by their headers alone, and listed without names.

Names, numbers and dates that identify the patient stay here: no message, name or sidecar made from
a series holds them, nor the names of its files and folders.
"""

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import islice
from operator import or_
from pathlib import Path

from napari_mri7t.engine.errors import VolumeError, nameless_reason
from napari_mri7t.engine.regular import open_regular
from napari_mri7t.engine.texts import visible
from napari_mri7t.engine.volumes.files.dicom_header import (
    Header,
    check_installed,
    is_dicom_file,
    is_named_dicom,
    read_dicom_header,
)
from napari_mri7t.engine.volumes.files.dicom_places import (
    AGAIN,
    Repeats,
    check_places,
    find_repeats,
)
from napari_mri7t.engine.volumes.files.dicom_traits import Traits
from napari_mri7t.engine.volumes.files.identity import Identity
from napari_mri7t.engine.volumes.files.streams import EXTENSIONS, extension_of

HERE = "the DICOM folder"  # in messages, in place of a name that may be the patient's
OTHERS = (
    *EXTENSIONS, ".json", ".txt", ".tsv", ".csv", ".md", ".html", ".xml", ".pdf", ".bval", ".bvec",
    ".py", ".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".zip", ".gz", ".tar", ".7z", ".exe",
)  # fmt: skip  # of files that are no DICOM, whatever they hold; .img is looked into
DAMAGED = "DICOM files in its folder are damaged or have no SeriesInstanceUID, and were left out"
UNREAD = ".dcm or .ima files in its folder are links that lead nowhere or no DICOM"
FEW_FILES = 64  # that are looked into to know what a folder holds
ONE_UID = f"different images share one SOPInstanceUID: {AGAIN}"
KEY_LENGTH = 6
LONGEST_DESCRIPTION = 64  # characters, as DICOM allows
MOST_LISTED = 40  # series in a message


@dataclass(frozen=True)
class DicomSeries:
    """A series of DICOM files; nothing of it that is printed names the patient.

    Attributes
    ----------
    number : int
        Of the series, within its study; 0 where none is recorded.
    key : str
        Letters and digits that tell it from every other series.
    description : str
        Empty where it names the patient.
    n_slices : int
        Places; the frames of multi-frame files.
    files : tuple of Path
        In the order of the instances, each image once.
    study : str
        Key of the study.
    traits : Traits
    identity : Identity
        Of the patients of all series that were found together.
    problem : str
        Why it cannot be converted; empty if nothing is known.
    warnings : tuple of str
    patient : tuple of str
        Tells patients apart.
    repeats : Repeats
        Images at one place, such as echoes.
    copies : tuple of Path
        Further files of the same images.
    """

    number: int
    key: str
    description: str
    n_slices: int
    files: tuple[Path, ...] = field(repr=False)
    study: str = ""
    traits: Traits = Traits()  # noqa: RUF009 - frozen
    identity: Identity = field(default=Identity(), repr=False)
    problem: str = ""
    warnings: tuple[str, ...] = ()
    patient: tuple[str, str] = field(default=("", ""), repr=False)
    repeats: Repeats = Repeats()  # noqa: RUF009 - frozen
    copies: tuple[Path, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """For layers and files, e.g. "series-5_t1_mprage_sag"."""
        words = re.findall(r"[0-9A-Za-z]+", self.description)
        return "_".join([f"series-{self.number}", *words])

    @property
    def title(self) -> str:
        """For messages, e.g. 'series 5 "t1_mprage_sag"'."""
        told = f' "{self.description}"' if self.description else ""
        return f"series {self.number}{told}"


def is_dicom(path: str | Path, *, most: int | None = None) -> bool:
    """Return whether a path is a DICOM file, or a folder that holds some.

    Parameters
    ----------
    path : str or Path
        A file with the name of a volume is none, but for .img.
    most : int, optional
        How many files of a folder to look into; all by default.

    Examples
    --------
    >>> is_dicom("no_such_folder")
    False
    """
    path = Path(path)
    if os.path.isdir(path):
        return any(is_dicom_file(file) for file in islice(files_below(path), most))
    return extension_of(path) in ("", ".img") and is_dicom_file(path)


def find_series(path: str | Path) -> list[DicomSeries]:
    """Find the DICOM series in a folder and its subfolders, or that of a file.

    Parameters
    ----------
    path : str or Path
        A folder may hold other files as well; a DICOMDIR stands for its folder.

    Returns
    -------
    list of DicomSeries
        Sorted by number.

    Raises
    ------
    Mri7tError
        If the extra `dicom` is not installed.
    VolumeError
        If there is no DICOM file with a series.
    """
    check_installed()
    path = Path(path)
    if os.path.isdir(path) or path.name.upper() == "DICOMDIR":
        return group_series(files_below(path if os.path.isdir(path) else path.parent))
    key = series_of_file(path)
    if not key:
        raise VolumeError("the DICOM file: holds no image that can be read: export it again")
    beside = (file for file in files_below(path.parent) if file.parent == path.parent)
    return [one for one in group_series(beside) if one.key == key]


def series_of_file(path: str | Path) -> str:
    """Return the key of the series that a DICOM file belongs to; empty if it cannot be read.

    Examples
    --------
    >>> series_of_file("no_such_file.dcm")
    ''
    """
    path = Path(path)
    header = _header_of(path) if is_dicom_file(path) else None
    return "" if header is None else key_of(header.series)


def key_of(uid: str) -> str:
    """Return the key of a series or study: letters and digits made from its UID.

    Examples
    --------
    >>> key_of("1.2.3")
    'xc47f5b'
    """
    return f"x{hashlib.sha256(uid.encode()).hexdigest()[:KEY_LENGTH]}"


def list_series(series: Sequence[DicomSeries]) -> str:
    """Return series as a message lists them: number, description and slices of each.

    Parameters
    ----------
    series : sequence of DicomSeries
        The key is given where two have one number.
    """
    numbers = Counter(one.number for one in series)
    texts = []
    for one in series[:MOST_LISTED]:
        key = f" ({one.key})" if numbers[one.number] > 1 else ""
        told = f' "{one.description}"' if one.description else ""
        unit = "slice" if one.n_slices == 1 else "slices"
        texts.append(f"{one.number}{key}{told}, {one.n_slices} {unit}")
    left = len(series) - MOST_LISTED
    return "; ".join(texts) + (f"; and {left} more" if left > 0 else "")


def digest_of(series: DicomSeries) -> str:
    """Return the SHA-256 of a series' files, whatever their names and order.

    Parameters
    ----------
    series : DicomSeries

    Returns
    -------
    str
        64 hexadecimal digits: of the files' own digests, sorted.

    Raises
    ------
    VolumeError
        If a file can no longer be read.
    """
    digests = []
    for path in series.files:
        try:
            with open_regular(path) as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            why = nameless_reason(error)
            raise VolumeError(f"{series.title}: a file cannot be read: {why}") from None
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def may_be_dicom(path: Path) -> bool:
    """Return whether a file may be DICOM, by its name.

    Examples
    --------
    >>> may_be_dicom(Path("IM0001")), may_be_dicom(Path("brain.nii.gz"))
    (True, False)
    """
    name = path.name.lower()
    return name.endswith(".img") or not name.endswith(OTHERS)


def files_below(folder: Path, apart: Container[str] = (), *, every: bool = False) -> Iterator[Path]:
    """Yield the files that may be DICOM, by their names, in a fixed order.

    Parameters
    ----------
    folder : Path
        Linked folders below it are entered, none of them twice, and none that contains it.
    apart : container of str
        Names of folders directly in it that are left out.
    every : bool
        Yield all files but hidden ones.
    """
    whole = folder.resolve()
    entered = {_place_of(around) for around in whole.parents}
    for place, folders, names in os.walk(folder, followlinks=True):
        if _place_of(Path(place)) in entered:
            folders.clear()
            continue
        entered.add(_place_of(Path(place)))
        is_top = Path(place) == folder
        folders[:] = sorted(
            name for name in folders if not (name.startswith(".") or (is_top and name in apart))
        )
        for path in (Path(place, name) for name in sorted(names) if not name.startswith(".")):
            if every or may_be_dicom(path):
                yield path


def _place_of(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def group_series(files: Iterable[Path]) -> list[DicomSeries]:
    """Sort files into series by their headers.

    Parameters
    ----------
    files : iterable of Path
        Those that are no DICOM are left out; those that are named so, with a warning.

    Returns
    -------
    list of DicomSeries
        As `find_series`.

    Raises
    ------
    VolumeError
        If none is a DICOM file with a series.
    """
    groups: dict[str, dict[str, Header]] = defaultdict(dict)
    n_found, damaged = 0, Counter[Path]()
    copies: dict[str, list[Path]] = defaultdict(list)
    unread: Counter[Path] = Counter()
    for path in files:
        if not is_dicom_file(path):
            unread[path.parent] += is_named_dicom(path)
            continue
        header = _header_of(path)
        if header is None:
            damaged[path.parent] += path.name.upper() != "DICOMDIR"
            continue
        n_found += 1
        known = groups[header.series].setdefault(header.instance or f"file {n_found}", header)
        if known is not header and _told_by(header) == _told_by(known):
            copies[header.series].append(path)
        elif known is not header:
            groups[header.series][f"file {n_found}"] = replace(header, problem=ONE_UID)
    if not groups:
        if n_lost := damaged.total():
            raise VolumeError(
                f"{HERE}: {n_lost} DICOM files are damaged or have no SeriesInstanceUID: {AGAIN}"
            )
        raise VolumeError(f"{HERE}: holds no DICOM image: choose the folder of a scan")
    everybody = reduce(or_, {h.identity for group in groups.values() for h in group.values()})
    found = []
    for uid, group in groups.items():
        n_twice = len(copies[uid])
        twice = [f"{n_twice} files hold images that others hold as well"] if n_twice else []
        folders = {header.path.parent for header in group.values()}
        lost = [
            f"{number} {told}: slices may be missing"
            for found, told in ((damaged, DAMAGED), (unread, UNREAD))
            if (number := sum(found[folder] for folder in folders))
        ]
        one = _series(uid, list(group.values()), everybody, (*twice, *lost))
        found.append(replace(one, copies=tuple(copies[uid])))
    return sorted(found, key=lambda one: (one.number, one.traits.settings, one.key))


def _header_of(path: Path) -> Header | None:
    try:
        return read_dicom_header(path)
    except ValueError:  # damaged
        return None


def _series(
    uid: str, headers: list[Header], everybody: Identity, notes: tuple[str, ...]
) -> DicomSeries:
    headers.sort(key=lambda header: (header.order, header.instance))
    first = headers[0]
    kinds = frozenset().union(*(header.traits.image_type for header in headers))
    description = visible(first.description)[:LONGEST_DESCRIPTION]
    n_slices, problem, odd = check_places(headers)
    repeats = find_repeats(headers)
    if any(everybody.is_in(text) for text in repeats.texts):
        repeats = replace(repeats, texts=())
    if (n_people := _n_people(headers)) > 1:
        problem = (
            f"its files name {n_people} patients: put each patient's files into a separate folder"
        )
    if n_short := sum(header.is_short for header in headers):
        problem = f"{n_short} of its {len(headers)} files are cut short: {AGAIN}"
    n_here, n_counted = sum(h.n_frames for h in headers), max(h.n_counted for h in headers)
    few = f"its headers count {n_counted} images, and {n_here} are here: slices may be missing"
    odd = [*odd, few] if n_counted > n_here else odd
    lossy = ["was compressed with loss"] if any(header.is_lossy for header in headers) else []
    return DicomSeries(
        number=first.number,
        key=key_of(uid),
        description="" if everybody.is_in(first.description) else description,
        n_slices=n_slices,
        files=tuple(header.path for header in headers),
        study=key_of(first.study),
        traits=replace(first.traits, image_type=kinds),
        identity=everybody,
        problem=problem,
        warnings=(*notes, *odd, *lossy),
        patient=first.patient,
        repeats=repeats,
    )


def _told_by(header: Header) -> tuple[object, ...]:
    """Return what two files with one SOPInstanceUID share if they are of one image."""
    return header.patient, header.order, header.places, header.contrast


def _n_people(headers: Sequence[Header]) -> int:
    """Count patients by their numbers, or by their names where there is no number."""
    names, numbers = map(set, zip(*(header.patient for header in headers), strict=True))
    return len((numbers - {""}) or names)
