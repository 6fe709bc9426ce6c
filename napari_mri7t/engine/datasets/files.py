"""Which files of a folder are volumes, and what of it cannot be looked into."""

import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from pathspec import GitIgnoreSpec

from napari_mri7t.engine.datasets.unread import BIDS_FOLDER, why_no_folder, why_placeholder
from napari_mri7t.engine.errors import Mri7tError, Mri7tWarning, reason_of, unreadable
from napari_mri7t.engine.regular import read_regular
from napari_mri7t.engine.volumes.files.streams import extension_of, stem_of

ESTIMATE = "synth7T"  # the label after desc- of what this package synthesises
IGNORE_FILE = ".bidsignore"
NO_DATA = frozenset(("derivatives", "sourcedata", "code", "stimuli", "phenotype"))  # of BIDS
MOST_FOLDERS = 1000  # that are looked into for a message
LARGEST_IGNORE = 1 << 20  # bytes
FETCH = "fetch it with 'datalad get' or 'git annex get', or mend the link"
EMPTY = "is empty: fetch it with 'datalad get', or remove it"


def find_volumes(folder: Path) -> list[Path]:
    """Find the volumes in a folder, without those in its subfolders.

    Only names are checked. Links count, also those that lead nowhere, so that reading them reports
    it. A pair counts as its .hdr, or as its .img where the .hdr is missing.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Path
        Sorted; no hidden files, no estimates of this package.
    """
    return volumes_among(path for path in folder.iterdir() if not os.path.isdir(path))


def volumes_among(files: Iterable[Path]) -> list[Path]:
    """Return which of some files are volumes, by the rules of `find_volumes`."""
    found = [
        path
        for path in sorted(files)
        if extension_of(path)
        and not path.name.startswith(".")
        and f"desc-{ESTIMATE}" not in path.name
    ]
    headers = {
        path.with_name(stem_of(path)) for path in found if extension_of(path).startswith(".hdr")
    }
    return [
        path
        for path in found
        if not extension_of(path).startswith(".img") or path.with_name(stem_of(path)) not in headers
    ]


def where_volumes_are(root: Path) -> str:
    """Return, for a message, which folder below one that holds no volume holds some.

    Examples
    --------
    >>> where_volumes_are(Path("nowhere"))
    ''
    """
    for place, folders, names in islice(os.walk(root), MOST_FOLDERS):
        seen = [name for name in folders if not name.startswith(".")]
        folders[:] = sorted(seen, key=lambda name: (name in NO_DATA, name))
        if found := volumes_among(Path(place, name) for name in names):
            below = Path(os.path.relpath(place, root)).parts
            subject = next((n for n, name in enumerate(below) if name.startswith("sub-")), 0)
            if subject:  # a dataset
                return f" itself, but {os.path.join(*below[:subject])}/ below it does"
            return f" itself, but {os.path.join(*below)}/ below it does ({len(found)})"
    return ""


def warn_of_encoding(root: Path, files: Iterable[Path]) -> None:
    """Warn of names that are not ASCII where Python does not read them as UTF-8.

    Another program, or this one in another locale, reads them as other names.
    """
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8" and not all(path.name.isascii() for path in files):
        warnings.warn(
            f"{root}: the names of files are read as {encoding}, not as UTF-8, so that a later "
            "batch may take them for those of other scans and make these twice: set PYTHONUTF8=1",
            Mri7tWarning,
            stacklevel=3,
        )


def subject_folders(root: Path) -> list[Path]:
    """Return the folders `sub-*` of a dataset, also links that lead nowhere and links as texts."""
    return [
        path
        for path in sorted(root.glob("sub-*"))
        if os.path.isdir(path)
        or (path.is_symlink() and not path.exists() and not extension_of(path))
        or why_no_folder(path)
    ]


def files_in(folder: Path) -> list[Path]:
    """Return what lies in a folder itself and is no folder, sorted."""
    return [path for path in sorted(folder.iterdir()) if not os.path.isdir(path)]


def is_listed(path: Path, root: Path, ignored: GitIgnoreSpec) -> bool:
    """Return whether `.bidsignore` lists a file or a folder of a dataset."""
    name = path.relative_to(root).as_posix()
    return ignored.match_file(name) or ignored.match_file(f"{name}/")


def find_files(root: Path, folders: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Find the files in folders and their subfolders.

    Linked folders are entered, unless they lead to a folder that contains them or the root. No
    folder is entered twice, and a link never in place of the folder itself.

    Parameters
    ----------
    root : Path
    folders : sequence of Path
        In the root; a link that leads nowhere is reported, and a file in place of one.

    Returns
    -------
    files : list of Path
        Sorted; of the hidden ones, only those that stand for a volume.
    problems : dict of Path to str
        Folders that were not entered or are empty, and why.
    """
    walk = _Walk(root)
    for folder in sorted(folders):
        walk.note(folder)
    while walk.folders or walk.links:
        walk.enter((walk.folders or walk.links).pop(0))
    return sorted(walk.files), walk.problems


def files_in_odd_folders(root: Path) -> list[Path]:
    """Return the files in folders such as Sub-01 or sub_01."""
    odd = [
        path
        for path in root.iterdir()
        if os.path.isdir(path)
        and re.match(r"sub(?![a-z])", path.name, re.IGNORECASE)
        and not path.name.startswith("sub-")
    ]
    return find_files(root, odd)[0]


def misplaced_volumes(root: Path) -> list[Path]:
    """Return the volumes of a BIDS dataset that lie beside its folders, or in such as Sub-01."""
    return [*find_volumes(root), *volumes_among(files_in_odd_folders(root))]


def volumes_in_other_folders(root: Path) -> list[Path]:
    """Return the volumes in folders without `sub-`, but for links and what BIDS keeps apart."""
    found: list[Path] = []
    for place, folders, names in os.walk(root):
        is_top = Path(place) == root
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and not (is_top and (name.startswith("sub-") or name in NO_DATA))
        ]
        if not is_top:
            found += (Path(place, name) for name in names)
    return volumes_among(found)


class _Walk:
    """What is still to be entered, and what was found."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.folders: list[Path] = []
        self.links: list[Path] = []
        self.files: list[Path] = []
        self.problems: dict[Path, str] = {}
        self.entered: dict[tuple[int, int], Path] = {}

    def note(self, path: Path) -> None:
        """Sort a path into files, folders and links to folders."""
        is_link = path.is_symlink()
        if os.path.isdir(path):
            (self.links if is_link else self.folders).append(path)
        elif is_link and not path.exists() and not path.suffix and _is_bids_folder(path.name):
            self.problems[path] = f"is a link to {os.readlink(path)}, which is missing: {FETCH}"
        elif why := why_no_folder(path):
            self.problems[path] = why
        else:
            self.files.append(path)

    def enter(self, folder: Path) -> None:
        """List a folder, or record why not."""
        try:
            if folder.is_symlink():
                target = folder.resolve()
                if any(
                    place.is_relative_to(target) for place in (self.root, folder.parent.resolve())
                ):
                    self.problems[folder] = "is a link to a folder that contains it: remove it"
                    return
            status = folder.stat()
            known = self.entered.setdefault((status.st_dev, status.st_ino), folder)
            if known is not folder:
                self.problems[folder] = (
                    f"is the same folder as {os.path.relpath(known, folder.parent)}: remove one"
                )
                return
            content = sorted(folder.iterdir())
            content = [p for p in content if not p.name.startswith(".") or why_placeholder(p)]
        except (OSError, RuntimeError) as error:  # a loop of links was a RuntimeError once
            reason = reason_of(error)
            self.problems[folder] = f"cannot be listed ({reason}): check its permissions"
            return
        if not content and BIDS_FOLDER.fullmatch(folder.name):
            self.problems[folder] = EMPTY
        for path in content:
            self.note(path)


def _is_bids_folder(name: str) -> bool:
    return name.startswith(("sub-", "ses-")) or name == "anat"


def read_ignored(root: Path) -> GitIgnoreSpec:
    """Return the patterns of a dataset's `.bidsignore`, which are those of a `.gitignore`.

    Parameters
    ----------
    root : Path
        Of the dataset.

    Raises
    ------
    Mri7tError
        If the file is there and cannot be read.
    """
    path = root / IGNORE_FILE
    if not os.path.lexists(path):
        return GitIgnoreSpec.from_lines([])
    try:
        text = read_regular(path, LARGEST_IGNORE).decode("utf-8-sig", "surrogateescape")
        return GitIgnoreSpec.from_lines(text.splitlines())
    except (OSError, ValueError) as error:
        raise Mri7tError(unreadable(path, error)) from error
