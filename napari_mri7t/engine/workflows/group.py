"""The group level of a BIDS App: page and table of all that the participant level has left."""

from pathlib import Path

from napari_mri7t.engine.datasets.bids import DESCRIPTION_FILE, start_derivative
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.report.batch_page import batch_rows, write_batch_page, write_batch_table
from napari_mri7t.engine.workflows.claims import lock_derivative


def write_group(folder: Path) -> tuple[Path, Path]:
    """Write the page and the table of a derivative, from what lies in it.

    Parameters
    ----------
    folder : Path
        Of the derivative.

    Returns
    -------
    tuple of Path
        "quality.html" and "group_quality.tsv", beside which lies a JSON file with its columns.

    Raises
    ------
    StateError
        If no scan has been processed into the folder.
    """
    if not (folder / DESCRIPTION_FILE).is_file() or not batch_rows(folder):
        raise StateError(f"{folder}: holds no results of participants: run that level first")
    start_derivative(folder)
    with lock_derivative(folder):
        return write_batch_page(folder), write_batch_table(folder)
