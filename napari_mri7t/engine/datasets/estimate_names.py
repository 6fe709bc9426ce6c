"""The table of a derivative that keeps which estimate is of which scan."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.datasets.bids import Scan
from napari_mri7t.engine.errors import Mri7tError, unreadable
from napari_mri7t.engine.regular import read_regular
from napari_mri7t.engine.texts import as_cell, from_cell

NAMES_FILE = "names.tsv"
COLUMNS = ("scan", "estimate", "study")
STUDY = "DICOM study:"  # before its key, in place of the name of a scan
LARGEST_TABLE = 64 << 20  # bytes


def read_names(path: Path) -> dict[str, str]:
    """Return the estimates by scan of a table of names; empty if there is none.

    A DICOM study is there twice: by its name, which may change when others are added, and by
    `STUDY` and its key.

    Raises
    ------
    Mri7tError
        If it is there and cannot be read, or a row holds no scan and estimate.
    """
    names: dict[str, str] = {}
    try:
        text = read_regular(path, LARGEST_TABLE).decode("utf-8-sig")
        rows = csv.reader(io.StringIO(text, newline=""), "excel-tab", quoting=csv.QUOTE_NONE)
        for row in rows:
            if rows.line_num > 1 and "".join(row).strip():
                names |= _from_row(row, rows.line_num)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise Mri7tError(unreadable(path, error)) from error
    return {name: output for name, output in names.items() if _is_inside(output)}


def write_names(path: Path, known: dict[str, str], scans: Sequence[Scan]) -> None:
    """Write the table with further scans, if there are any."""
    names = known | {scan.name: scan.output for scan in scans}
    names |= {f"{STUDY}{s.dicom.study}": s.output for s in scans if s.dicom is not None}
    if names == known:
        return
    keys = {output: name for name, output in names.items() if name.startswith(STUDY)}
    rows = [
        (_in_table(name), output, keys.get(output, "").removeprefix(STUDY))
        for name, output in sorted(names.items())
        if not name.startswith(STUDY)
    ]
    write_content(path, "".join("\t".join(row) + "\n" for row in [COLUMNS, *rows]))


def _in_table(name: str) -> str:
    """Return a name as one cell: as it is, or as JSON if a cell cannot hold it."""
    is_plain = name.isprintable() and not name.startswith('"')
    return as_cell(name if is_plain else json.dumps(name))


def _from_row(row: Sequence[str], number: int) -> dict[str, str]:
    try:
        name, cell, *study = row
        scan = _from_table(name)
    except ValueError as error:
        raise ValueError(f"line {number} holds no scan and its estimate") from error
    return {key: from_cell(cell) for key in (scan, *(f"{STUDY}{key}" for key in study if key))}


def _from_table(cell: str) -> str:
    text = from_cell(cell)
    return str(json.loads(text)) if text.startswith('"') else text


def _is_inside(output: str) -> bool:
    """Return whether a path is that of an estimate within the derivative."""
    parts = PurePosixPath(output).parts
    return output.endswith(".nii.gz") and parts[0].startswith("sub-") and ".." not in parts
