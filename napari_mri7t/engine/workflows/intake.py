"""What a batch is to do: the scans of a folder, and the names of their estimates, kept in a table.

An estimate keeps its name when other scans are added whose estimates would have had the same.
"""

from pathlib import Path

from napari_mri7t.engine.atomic import refuse_annexed
from napari_mri7t.engine.datasets.bids import (
    LOG_FOLDER,
    QUALITY_PAGE,
    SUMMARY_FILE,
    check_derivative,
    start_derivative,
)
from napari_mri7t.engine.datasets.estimate_names import NAMES_FILE, read_names, write_names
from napari_mri7t.engine.datasets.scans import Found, ScanFilter, find_scans
from napari_mri7t.engine.workflows.claims import lock_derivative


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
        As `start_derivative`; if git-annex locked the page or the summary of an earlier batch.
    """
    check_derivative(output, source)  # before a lock is put there
    for path in (output / QUALITY_PAGE, output / LOG_FOLDER / SUMMARY_FILE):
        refuse_annexed(path)  # before the work, which they come after
    with lock_derivative(output) as logs:
        start_derivative(output, source)
        table = logs / NAMES_FILE
        write_names(table, read_names(table), found.scans)
