"""The outcome of a batch: what was written, known, failed or skipped, and its file."""

import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from napari_mri7t.engine.atomic import read_json, write_json
from napari_mri7t.engine.datasets.bids import SUMMARY_FILE
from napari_mri7t.engine.datasets.files import read_ignored
from napari_mri7t.engine.datasets.unread import BIDS_FOLDER
from napari_mri7t.engine.workflows.claims import lock_derivative

IN_WORDS = re.compile(r"\[(?:file|folder) \d+ of \d+ by name\]")  # in place of a patient's name
Note = Callable[["BatchSummary"], object]


@dataclass(frozen=True)
class BatchSummary:
    """The outcome of a batch; names are paths within the input folder.

    Parameters
    ----------
    written : tuple of str
        Made in this run.
    known : tuple of str
        Made before, from the same scan, model and settings.
    failed : dict of str to str
        Why there is no estimate.
    warnings : dict of str to tuple of str
        What was unusual about those written.
    seconds : float
        Of this run.
    arguments : dict of str to str
        Argument that would help a failed scan, such as "index", where there is one.
    skipped : dict of str to str
        Why there is none, and need not be one, as for a map.
    stopped : bool
        Whether it ended before its last scan.
    outputs : dict of str to str
        The estimate that a failed scan lacks, a path within the derivative, as far as it is known;
        the scan may have one in another space.
    """

    written: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    arguments: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
    outputs: dict[str, str] = field(default_factory=dict)

    def with_other(self, other: "BatchSummary") -> "BatchSummary":
        """Return the summary of both; the two ran at the same time."""
        return BatchSummary(
            (*self.written, *other.written),
            (*self.known, *other.known),
            self.failed | other.failed,
            self.warnings | other.warnings,
            max(self.seconds, other.seconds),
            self.arguments | other.arguments,
            self.skipped | other.skipped,
            self.stopped or other.stopped,
            self.outputs | other.outputs,
        )


def write_summary(
    source: Path, folder: Path, summary: BatchSummary, *, is_part: bool = False
) -> Path:
    """Write a batch's summary into its derivative, and the page that shows its scans.

    The BIDS validator ignores both. What the file says of the scans of other batches stays: several
    may share a derivative. Only what failed or was skipped goes once it is renamed, removed, filled
    or listed in `.bidsignore`.

    Parameters
    ----------
    source : Path
        The input folder.
    folder : Path
        Of the derivative.
    summary : BatchSummary
    is_part : bool
        Whether only some scans were looked for: what has no name, but a place in a list, stays.

    Returns
    -------
    Path
        The summary's file.
    """
    from napari_mri7t.engine.report.batch_page import write_batch_page

    with lock_derivative(folder) as logs:
        path = logs / SUMMARY_FILE
        write_json(path, _with_others(asdict(summary), path, source, is_part))
        write_batch_page(folder)
    return path


def _with_others(facts: dict[str, Any], path: Path, source: Path, is_part: bool) -> dict[str, Any]:
    """Add what a summary, if it can be read, says of other scans."""
    try:
        earlier = read_json(path)
    except (OSError, ValueError):
        return facts
    if not isinstance(earlier, dict):
        return facts
    own = {*facts["written"], *facts["known"], *facts["failed"], *facts["skipped"]}
    folders = {str(folder) for name in own for folder in PurePosixPath(name).parents}
    ignored = read_ignored(source)
    for key in ("failed", "skipped", "arguments", "outputs"):
        if isinstance(earlier.get(key), dict):
            in_words = {name for name in earlier[key] if IN_WORDS.search(name)}
            files = {name for name in earlier[key] if _is_path(name)} - in_words
            gone = {name for name in files if not _is_there(source / name)}
            gone |= set() if is_part else in_words
            listed = {n for n in earlier[key] if any(map(ignored.match_file, (n, f"{n}/")))}
            left_out = set() if key == "skipped" else listed
            own |= gone | left_out | (folders & earlier[key].keys())
    for key, value in facts.items():
        other = earlier.get(key)
        if isinstance(value, tuple) and isinstance(other, list):
            facts[key] = [name for name in other if name not in own and isinstance(name, str)]
            facts[key] += value
        elif isinstance(value, dict) and isinstance(other, dict):
            facts[key] = {name: entry for name, entry in other.items() if name not in own} | value
    return facts


def _is_path(name: str) -> bool:
    """Return whether a name is that of a file or of a folder of BIDS, not of a DICOM series."""
    return bool(Path(name).suffix) or BIDS_FOLDER.fullmatch(Path(name).name) is not None


def _is_there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # no name that a file can have
        return False
