"""What a path leads to: a regular file, or what is never read or written as one.

A pipe may wait for ever, and a device has no end. Links of git-annex and DataLad lead to contents
stored under keys made of their digests, which are never changed:
https://git-annex.branchable.com/internals/
"""

import os
import stat
from io import BufferedReader
from pathlib import Path

A_FOLDER = "a folder"
CONTENTS = ("annex", "objects")  # folders below the .git of git-annex
_KINDS = (
    (stat.S_ISDIR, A_FOLDER),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotRegularError(OSError):
    """What has a file's name is a folder, a pipe, a socket or a device."""


def what_else(mode: int) -> str:
    """Return what something is that is no regular file; empty for a regular file.

    Parameters
    ----------
    mode : int
        As `os.stat` returns it.

    Examples
    --------
    >>> what_else(Path(".").stat().st_mode)
    'a folder'
    """
    if stat.S_ISREG(mode):
        return ""
    return next((word for is_kind, word in _KINDS if is_kind(mode)), "something else")


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file for reading, without waiting for whatever else may be there.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    BufferedReader

    Raises
    ------
    OSError
        If it cannot be opened; `NotRegularError` if it is not a regular file.
    """
    _check(os.stat(path).st_mode)  # first, since opening a device may have an effect
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        _check(os.fstat(descriptor).st_mode)  # again, since it may have been exchanged
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(mode: int) -> None:
    if kind := what_else(mode):
        raise NotRegularError(f"is {kind}, not a regular file")


def read_regular(path: str | Path, limit: int) -> bytes:
    """Read a regular file of a known and bounded size.

    Parameters
    ----------
    path : str or Path
    limit : int
        Bytes that it may have.

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If it cannot be read, is not a regular file, is larger, or grows while it is read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(f"has {size:,} bytes, more than the {limit:,} that are read")
        content = file.read(size + 1)
    if len(content) > size:
        raise OSError("has no fixed size, or another program is writing it")
    return content


def why_annexed(path: str | Path) -> str:
    """Return why nothing may be written to a path that leads to a content of git-annex.

    Parameters
    ----------
    path : str or Path
        Where a file is to be written.

    Returns
    -------
    str
        With what to do; empty if it leads elsewhere.

    Examples
    --------
    >>> why_annexed("estimate.nii.gz")
    ''
    """
    places = [os.path.realpath(path)]
    if os.path.islink(path):  # the contents themselves may lie behind another link
        places.append(os.path.join(os.path.dirname(os.path.abspath(path)), os.readlink(path)))
    if not any(map(_is_content, places)):
        return ""
    if os.path.exists(path):
        return "is locked by git-annex: unlock it with 'datalad unlock' or 'git annex unlock'"
    return (
        "is a link of git-annex whose content is not here: fetch it with 'datalad get' or "
        "'git annex get', or remove the link"
    )


def _is_content(place: str) -> bool:
    """Return whether a place is below annex/objects of a repository."""
    above: list[str] = []
    for part in Path(os.path.normpath(place)).parts:
        if tuple(above[-2:]) == CONTENTS and any(each.endswith(".git") for each in above):
            return True
        above.append(part)
    return False
