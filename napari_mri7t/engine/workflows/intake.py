"""What a batch is to do: the scans of a folder, and the names of their estimates, kept in a table.

An estimate keeps its name when other scans are added whose estimates would have had the same.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from napari_mri7t.engine.atomic import write_content
from napari_mri7t.engine.datasets.bids import LOG_FOLDER, Scan, check_derivative, start_derivative
from napari_mri7t.engine.datasets.scans import Found, ScanFilter, find_scans
from napari_mri7t.engine.errors import Mri7tError, unreadable
from napari_mri7t.engine.regular import read_regular
from napari_mri7t.engine.texts import as_cell, from_cell
from napari_mri7t.engine.workflows.claims import lock_derivative

NAMES_FILE = "names.tsv"
COLUMNS = ("scan", "estimate")
LARGEST_TABLE = 64 << 20  # bytes


def plan_batch(source: Path, output: Path, wanted: ScanFilter) -> Found:
    """Find the scans of a batch, with the names that earlier batches gave their estimates.

    Parameters
    ----------
    source : Path
        A folder of volumes, or a BIDS dataset.
    output : Path
        Of the derivative; nothing is written.
    wanted : ScanFilter

    Raises
    ------
    FileNotFoundError, Mri7tError
        As `find_scans` and `check_derivative`, or if the table of names cannot be read.
    """
    check_derivative(output, source)
    return find_scans(source, wanted, read_names(output / LOG_FOLDER / NAMES_FILE))


def begin_batch(source: Path, output: Path, found: Found) -> None:
    """Start the derivative of a batch, and keep the names of the estimates in it.

    Parameters
    ----------
    source, output : Path
    found : Found
        From `plan_batch`.

    Raises
    ------
    Mri7tError
        As `start_derivative`.
    """
    check_derivative(output, source)  # before a lock is put there
    with lock_derivative(output) as logs:
        start_derivative(output, source)
        table = logs / NAMES_FILE
        _write_names(table, read_names(table), found.scans)


def read_names(path: Path) -> dict[str, str]:
    """Return the estimates by scan of a table of names; empty if there is none.

    Raises
    ------
    Mri7tError
        If it is there and cannot be read.
    """
    try:
        text = read_regular(path, LARGEST_TABLE).decode()
        rows = list(csv.reader(io.StringIO(text), "excel-tab", quoting=csv.QUOTE_NONE))
        names = {_from_table(name): from_cell(output) for name, output in rows[1:]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise Mri7tError(unreadable(path, error)) from error
    return {name: output for name, output in names.items() if _is_inside(output)}


def _write_names(path: Path, known: dict[str, str], scans: Sequence[Scan]) -> None:
    names = known | {scan.name: scan.output for scan in scans}
    if names == known:
        return
    rows = [COLUMNS, *((_in_table(name), output) for name, output in sorted(names.items()))]
    write_content(path, "".join(f"{name}\t{output}\n" for name, output in rows))


def _in_table(name: str) -> str:
    """Return a name as one cell: as it is, or as JSON if a cell cannot hold it."""
    is_plain = name.isprintable() and not name.startswith('"')
    return as_cell(name if is_plain else json.dumps(name))


def _from_table(cell: str) -> str:
    text = from_cell(cell)
    return str(json.loads(text)) if text.startswith('"') else text


def _is_inside(output: str) -> bool:
    """Return whether a path is that of an estimate within the derivative."""
    parts = PurePosixPath(output).parts
    return output.endswith(".nii.gz") and parts[0].startswith("sub-") and ".." not in parts
