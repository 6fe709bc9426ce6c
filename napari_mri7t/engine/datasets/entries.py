"""The volumes of a dataset of subjects, and the warnings and refusals of what would be left out."""

import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from napari_mri7t.engine.datasets.files import IGNORE_FILE, is_listed, subject_folders
from napari_mri7t.engine.datasets.names import (
    DEFAULT_SUFFIX,
    T1W_LIKE,
    anatomical_suffix,
    clean_stem,
    entities,
    is_misnamed_t1w,
    why_misfiled,
    why_no_image,
    without_t1w,
)
from napari_mri7t.engine.datasets.unread import unread_in
from napari_mri7t.engine.errors import Mri7tWarning, SubjectError

MOST_NAMED = 5


@dataclass(frozen=True)
class Entry:
    """A volume in a dataset of subjects.

    Parameters
    ----------
    name : str
        Of the subject.
    path : Path
    suffix : str
        In the spelling of BIDS where it is one.
    is_bids : bool
        Whether the volume lies in a folder `sub-*`.
    field : str
        Field strength, "3" or "7"; empty where it is unknown.
    """

    name: str
    path: Path
    suffix: str
    is_bids: bool = False
    field: str = ""

    @property
    def key(self) -> str:
        """What the names of one subject's volumes have in common, however they are encoded."""
        return unicodedata.normalize("NFC", self.name if self.is_bids else without_t1w(self.name))

    @property
    def is_usable(self) -> bool:
        """Whether it is a T1w image, or may stand in for one, by its name."""
        stem = clean_stem(self.path)
        return self.suffix in (DEFAULT_SUFFIX, *T1W_LIKE) and not (
            why_no_image(stem) or "inv" in entities(stem)
        )


def without_ignored(paths: Iterable[Path], root: Path, ignored: GitIgnoreSpec) -> list[Path]:
    """Return the paths that `.bidsignore` does not list."""
    return [path for path in paths if not ignored.match_file(path.relative_to(root).as_posix())]


def refuse_overlooked(
    root: Path, entries: list[Entry], problems: dict[Path, str], ignored: GitIgnoreSpec
) -> None:
    """Refuse a BIDS dataset of which a subject or a T1w would be left out without a word."""
    for path, why in problems.items():
        if not is_listed(path, root, ignored):
            raise SubjectError(f"{path}: {why}")
    for entry in entries:
        if is_misnamed_t1w(entry.path):
            raise SubjectError(
                f"{entry.path}: is no BIDS name, which ends with its suffix, as in _T1w.nii.gz: "
                f"rename it, or list it in {IGNORE_FILE}"
            )
        why = why_misfiled(entry.path.relative_to(root), needs_label=False)
        if why and entry.is_usable:
            raise SubjectError(f"{entry.path}: {why}: rename it, or list it in {IGNORE_FILE}")
    names = {entry.name for entry in entries}
    absent = [path for path in sorted(subject_folders(root)) if path.name not in names]
    left_out = [path.name for path in absent if ignored.match_file(f"{path.name}/")]
    for folder in absent:
        if folder.name not in left_out:
            raise SubjectError(f"{folder}: holds no volume: add it or remove the folder")
    if left_out:
        listed = f"left out, as {IGNORE_FILE} lists {'it' if len(left_out) == 1 else 'them'}"
        warnings.warn(f"{root}: {', '.join(left_out)}: {listed}", Mri7tWarning, stacklevel=3)


def warn_of_strays(
    root: Path, entries: Iterable[Entry], elsewhere: Iterable[Path], ignored: GitIgnoreSpec
) -> None:
    """Warn of T1w scans that lie where none is looked for."""
    known = {entry.path for entry in entries}
    strays = [
        path
        for path in without_ignored(dict.fromkeys(elsewhere), root, ignored)
        if path not in known
        and anatomical_suffix(clean_stem(path)) == DEFAULT_SUFFIX
        and not why_no_image(clean_stem(path))
    ]
    why = f"in no folder where subjects are looked for: move it, or list it in {IGNORE_FILE}"
    warn_left_out(root, strays, why)


def warn_of_unread(
    root: Path, files: Iterable[Path], ignored: GitIgnoreSpec, *, is_bids: bool
) -> None:
    """Warn of each file that may be a volume, but is not read."""
    files = without_ignored(dict.fromkeys(files), root, ignored)
    for why, paths in unread_in(files, is_bids=is_bids).items():
        warn_left_out(root, paths, why, most=len(paths))


def warn_left_out(root: Path, paths: Sequence[Path], why: str, most: int = MOST_NAMED) -> None:
    """Warn of files that a training leaves out, the first of them by name."""
    if paths:
        named = [path.relative_to(root).as_posix() for path in paths[:most]]
        more = f" and {len(paths) - most} more" if len(paths) > most else ""
        told = f"{root}: left out: {', '.join(named)}{more}: {why}"
        warnings.warn(told, Mri7tWarning, stacklevel=4)
