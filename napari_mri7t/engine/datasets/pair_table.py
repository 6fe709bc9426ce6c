"""A table of raw pairs: a row a person, with the paths of the scans, masks and transforms."""

import csv
import io
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from napari_mri7t.engine.datasets.bids import Scan
from napari_mri7t.engine.datasets.dicom_scans import check_series
from napari_mri7t.engine.datasets.field_strength import field_in_header, why_other_field
from napari_mri7t.engine.datasets.names import labels_of
from napari_mri7t.engine.datasets.pair_files import FoundPairs, PairFiles, selected
from napari_mri7t.engine.errors import Mri7tError, unreadable
from napari_mri7t.engine.regular import read_regular
from napari_mri7t.engine.texts import brief, visible
from napari_mri7t.engine.volumes.files.dicom import DicomSeries, find_series, is_dicom
from napari_mri7t.engine.volumes.files.dicom_t1w import choose_t1w
from napari_mri7t.engine.volumes.files.identity import Identity

SUBJECT, SOURCE, TARGET, FIRST, SECOND = "subject", "3t", "7t", "inv1", "inv2"
OWN = {
    "mask_3t": "source_mask",
    "mask_7t": "target_mask",
    "transform": "transform",
    "to_mni": "to_mni",
}  # columns, and what they give
ALIASES = {"participant_id": SUBJECT, "participant": SUBJECT}
NEEDED = (SUBJECT, SOURCE, TARGET)
COLUMNS = (*NEEDED, FIRST, SECOND, *OWN)
DELIMITERS = ("\t", ",", ";")
EXTENSIONS = (".tsv", ".csv", ".txt")
NOTHING = ("", "n/a")
COMMENT = "#"
LARGEST_TABLE = 16 << 20  # bytes
FLOAT = re.compile(r"^(\d+)\.0+$")  # what spreadsheets make of a number
SEPARATOR = re.compile(r"sep=(.)\r?\n")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def is_table(path: str | Path) -> bool:
    """Return whether a path is that of a table, by its extension.

    Examples
    --------
    >>> is_table("pairs.tsv"), is_table("raw")
    (True, False)
    """
    return Path(path).suffix.lower() in EXTENSIONS


def read_pairs(table: str | Path, participants: Sequence[str] = (), series: str = "") -> FoundPairs:
    """Read the raw pairs of a table.

    Parameters
    ----------
    table : str or Path
        TSV or CSV with a row of columns: `subject`, `3T`, `7T`, and optionally `inv1`, `inv2`,
        `mask_3T`, `mask_7T`, `transform`, `to_mni`. Paths are relative to the table's folder. A
        scan may be a folder of DICOM files.
    participants : sequence of str
        Labels, with or without `sub-`; all by default.
    series : str
        Number of the DICOM series to take of each folder; the only T1w by default.

    Returns
    -------
    FoundPairs
        A row with a file that is missing has failed.

    Raises
    ------
    FileNotFoundError
        If there is no such table.
    Mri7tError
        If it cannot be read, lacks a column, holds no pair, or a series is asked for and no scan is
        one of DICOM files.
    """
    path, rows = Path(table), _rows(Path(table))
    dicom = _dicom_of(path.parent, rows.values())
    check_series(path, series, has_dicom=bool(dicom))
    patients = reduce(or_, (one.identity for group in dicom.values() for one in group), Identity())
    found, seen = FoundPairs(), set()
    names = {line: FLOAT.sub(r"\1", row.get(SUBJECT, "")) for line, row in rows.items()}
    labels = labels_of(names.values())
    for line, row in rows.items():
        name = names[line]
        label = labels[name]
        if not name:
            found.failed[f"line {line}"] = "has no subject: name one"
        elif name.startswith(COMMENT):
            found.skipped[f"line {line}"] = f'begins with "{COMMENT}": taken for a comment'
        elif told := _named_after_patient(path.parent, row, patients, dicom):
            found.failed[f"line {line}" if patients.is_full_name_in(name) else label] = (
                f"line {line}: the path of its {told} holds the full name of a patient of the "
                "DICOM files of the table, and would reach the results: rename it"
            )
        elif label.casefold() in seen:
            found.failed[f"line {line}"] = f"{label} has a row already: keep one row a person"
        else:
            seen.add(label.casefold())
            _add(found, path.parent, label, row, _Choice(dicom, series))
    return selected(found, participants, path)


def _rows(path: Path) -> dict[int, dict[str, str]]:
    """Return the rows by lower-case column; their keys are the lines in which they end."""
    try:
        content = read_regular(path, LARGEST_TABLE)
        text = content.decode("utf-16" if content[:2] in UTF_16 else "utf-8-sig")
        said = SEPARATOR.match(text)  # a line that Excel puts before the heading
        first = text[said.end() if said else 0 :].split("\n", 1)[0]
        delimiter = said[1] if said else max(DELIMITERS, key=first.count)
        table = csv.reader(io.StringIO(text), delimiter=delimiter)
        rows = [(table.line_num, [cell.strip() for cell in row]) for row in table][bool(said) :]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such table: choose a table or a folder") from None
    except (OSError, ValueError, csv.Error) as error:
        raise Mri7tError(unreadable(path, error, "save it as TSV in UTF-8")) from error
    header = [ALIASES.get(cell.lower(), cell.lower()) for cell in (rows[0][1] if rows else [])]
    missing = [name for name in NEEDED if name not in header]
    unknown = [visible(name) for name in header if name and name not in COLUMNS]
    twice = [_heading(name) for name in COLUMNS if header.count(name) > 1]
    if missing or unknown or twice:
        what = f"lacks the column {_heading(missing[0])}" if missing else ""
        what = what or (f"column {brief(unknown[0])}" if unknown else f"has {twice[0]} twice")
        raise Mri7tError(
            f"{path}: {what}: a table of pairs has the columns subject, 3T, 7T, and optionally "
            "inv1, inv2, mask_3T, mask_7T, transform, to_mni"
        )
    for line, row in rows[1:]:
        if any(row[len(header) :]):
            raise Mri7tError(
                f"{path}: line {line} has more cells than the heading: name every column"
            )
    return {line: dict(zip(header, row, strict=False)) for line, row in rows[1:] if any(row)}


def _add(
    found: FoundPairs, folder: Path, label: str, row: Mapping[str, str], choice: "_Choice"
) -> None:
    """Add the pair of a row, or why there is none."""
    given = {name: text for name, text in row.items() if text not in NOTHING}
    for name in (SOURCE, TARGET):
        if name not in given:
            found.skipped[label] = f"has no {name.upper()} scan in the table"
            return
    if (FIRST in given) != (SECOND in given):
        found.failed[label] = "has one inversion: give inv1 and inv2, or neither"
        return
    paths = {name: folder / text for name, text in given.items() if name != SUBJECT}
    for name, path in paths.items():
        if not path.exists():
            found.failed[label] = f"{path}: the {_heading(name)} is missing: correct the table"
            return
    if why := _why_no_pair(found, paths):
        found.failed[label] = why
        return
    try:
        scans = {
            name: choice.scan(paths[name], given[name], f"{label} {_heading(name)}")
            for name in (SOURCE, TARGET, FIRST, SECOND)
            if name in given
        }
    except Mri7tError as error:
        found.failed[label] = str(error)
        if error.argument:
            found.arguments[label] = error.argument
        return
    for name, field in ((SOURCE, "3"), (TARGET, "7")):
        dicom = scans[name].dicom
        said = field_in_header(dicom.traits.tesla) if dicom else ""
        if said and said != field:
            found.failed[label] = f"its {_heading(name)} is a {said}T scan by its DICOM header"
            return
    inversions = tuple(scans[name] for name in (FIRST, SECOND) if name in scans)
    own: dict[str, Any] = {
        attribute: paths[name] for name, attribute in OWN.items() if name in paths
    }
    found.pairs.append(PairFiles(label, scans[SOURCE], scans[TARGET], inversions, **own))


@dataclass(frozen=True)
class _Choice:
    """The series of the DICOM folders in a table, and which to take."""

    dicom: Mapping[Path, Sequence[DicomSeries]]
    number: str

    def scan(self, path: Path, name: str, neutral: str) -> Scan:
        """Return a scan; one of DICOM files has a name that does not tell the patient."""
        if path in self.dicom:
            found = self.dicom[path] or find_series(path)
            return Scan(path, neutral, "", choose_t1w(found, self.number))
        return Scan(path, name, "")


def _dicom_of(folder: Path, rows: Iterable[Mapping[str, str]]) -> dict[Path, Sequence[DicomSeries]]:
    """Return the series of each scan of DICOM files; none where they cannot be read."""
    found: dict[Path, Sequence[DicomSeries]] = {}
    texts = (row.get(name, "") for row in rows for name in (SOURCE, TARGET, FIRST, SECOND))
    for path in (folder / text for text in texts if text not in NOTHING):
        if path not in found and is_dicom(path):
            try:
                found[path] = find_series(path)
            except Mri7tError:  # its row says why
                found[path] = ()
    return found


def _named_after_patient(
    folder: Path, row: Mapping[str, str], patients: Identity, dicom: Container[Path]
) -> str:
    """Return the column of a row whose path holds a patient's full name, but for DICOM files."""
    given = ((name, text) for name, text in row.items() if name != SUBJECT and text not in NOTHING)
    files = ((name, text) for name, text in given if folder / text not in dicom)
    return next((_heading(name) for name, text in files if patients.is_full_name_in(text)), "")


def _heading(name: str) -> str:
    return name.replace("3t", "3T").replace("7t", "7T")


def _why_no_pair(found: FoundPairs, paths: Mapping[str, Path]) -> str:
    """Return why two files cannot be a pair that no other row has; empty if they can."""
    source, target = paths[SOURCE], paths[TARGET]
    if source.resolve() == target.resolve():
        return f"{source}: is both the 3T and the 7T: correct the table"
    if FIRST in paths and SECOND in paths and paths[FIRST].resolve() == paths[SECOND].resolve():
        return f"{paths[FIRST]}: is both inversions of the 7T: correct the table"
    for pair in found.pairs:
        for path in (source, target):
            if path.resolve() in (pair.source.path.resolve(), pair.target.path.resolve()):
                return f"{path}: is a scan of {pair.name}, too: correct the table"
    for path, field in ((source, "3"), (target, "7")):
        if why := why_other_field(path, field):
            return why
    return ""
