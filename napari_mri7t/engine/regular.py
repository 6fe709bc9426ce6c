"""Files are read only if they are regular: a pipe may wait for ever, and a device has no end."""

import os
import stat
from io import BufferedReader
from pathlib import Path

A_FOLDER = "a folder"
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
