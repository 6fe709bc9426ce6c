"""Files as decompressed streams of bytes, with a clear message for every failure."""

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip, isal_zlib

from napari_mri7t.engine.errors import VolumeError, reason_of
from napari_mri7t.engine.regular import A_FOLDER, open_regular, what_else
from napari_mri7t.engine.volumes.files.contents import GZIP, what_is_it

EXTENSIONS = (".nii.gz", ".nii", ".img.gz", ".hdr.gz", ".img", ".hdr", ".mgz", ".mgh.gz", ".mgh")
PARTIAL = frozenset(  # what browsers and programs that copy put behind a name until all is there
    (".part", ".partial", ".crdownload", ".download", ".opdownload", ".filepart", ".tmp", ".aria2")
)
UNLOADED = "is an unfinished download: download the file again, then remove this one"
AGAIN = "copy or download it again"
SKIP_BYTES = 1 << 20
START_BYTES = 1024  # enough to know what a file is
DAMAGED_STREAM = (gzip.BadGzipFile, cast("type[Exception]", isal_zlib.error))  # untyped there


def extension_of(path: Path) -> str:
    """Return the known extension of a file name, in lower case.

    Parameters
    ----------
    path : Path
        Any file name.

    Returns
    -------
    str
        With its dot, e.g. ".nii.gz"; empty if it is none of `EXTENSIONS`.
    """
    name = path.name.lower()
    return next((extension for extension in EXTENSIONS if name.endswith(extension)), "")


def is_unfinished(path: Path) -> bool:
    """Return whether a file is an image whose download or copy did not end, by its name.

    Examples
    --------
    >>> is_unfinished(Path("S1.nii.gz.part")), is_unfinished(Path("S1.part"))
    (True, False)
    """
    return path.suffix.lower() in PARTIAL and bool(extension_of(Path(path.stem)))


def stem_of(path: Path) -> str:
    """Return a file's name without its extension, .nii.gz counted as one.

    Parameters
    ----------
    path : Path
        A file name.

    Returns
    -------
    str
        E.g. "sub-01_T1w".
    """
    extension = extension_of(path)
    return path.name[: -len(extension)] if extension else path.stem


def sidecar_of(path: Path) -> Path:
    """Return the path of an image's sidecar, the JSON file beside it."""
    return path.with_name(f"{stem_of(path)}.json")


def is_compressed(path: Path) -> bool:
    """Return whether a file is gzip-compressed, by its name.

    Parameters
    ----------
    path : Path
        A file with one of `EXTENSIONS`.

    Returns
    -------
    bool
        True for .gz and .mgz.
    """
    return extension_of(path).endswith((".gz", ".mgz"))


def check_readable(path: Path) -> None:
    """Refuse what is not a regular file with content.

    Parameters
    ----------
    path : Path
        Any path.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    VolumeError
        If it is a folder, a device, empty or not accessible.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: {what_is_missing(path)}") from None
    except (OSError, ValueError) as error:
        raise VolumeError(f"{path}: cannot be read: {reason_of(error)}") from error
    kind = what_else(status.st_mode)
    if kind == A_FOLDER:
        raise VolumeError(
            f"{path}: is {kind}, and holds no DICOM image that can be read: choose a file in it"
        )
    if kind:
        raise VolumeError(f"{path}: is {kind}, not a regular file: copy the image to a disk")
    if status.st_size == 0:
        raise VolumeError(f"{path}: is empty (0 bytes): copy or download it again")


def what_is_missing(path: Path) -> str:
    """Say that there is no such file, or which file a link misses and how to fetch it."""
    if not path.is_symlink():
        return "no such file: check the name"
    target = os.readlink(path)
    fetch = " with 'git annex get' or 'datalad get'" if "annex" in target else ""
    return f"no such file: it is a link to {target}, which is missing: fetch that file{fetch}"


def file_size(path: Path) -> int:
    """Return the size of a file.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    VolumeError
        If it is not accessible.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read: {reason_of(error)}") from error


@contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, decompressed; any failure inside becomes a VolumeError.

    Parameters
    ----------
    path : Path
        A file with one of `EXTENSIONS`.

    Yields
    ------
    BinaryIO
        The content, seekable if the file is not compressed.

    Raises
    ------
    VolumeError
        If the file cannot be read, or its gzip stream is damaged or cut short.
    """
    try:
        with open_regular(path) as raw:
            if not is_compressed(path):
                yield raw
                return
            start = raw.read(START_BYTES)
            raw.seek(0)
            if not start.startswith(GZIP):
                raise VolumeError(f"{path}: {what_is_it(start, path, unfolded=False)}")
            with igzip.IGzipFile(fileobj=raw, mode="rb") as unfolded:
                yield cast(BinaryIO, unfolded)
    except EOFError:
        raise VolumeError(f"{path}: is cut short (the gzip stream ends early): {AGAIN}") from None
    except DAMAGED_STREAM as error:
        raise VolumeError(f"{path}: is damaged ({reason_of(error)}): {AGAIN}") from error
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read: {reason_of(error)}") from error
    except MemoryError as error:
        raise VolumeError(f"{path}: does not fit into memory: close other programs") from error


def start_of(path: Path) -> bytes:
    """Return the first `START_BYTES` of a file as it is stored.

    Raises
    ------
    VolumeError
        If it cannot be read.
    """
    try:
        with open_regular(path) as raw:
            return raw.read(START_BYTES)
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read: {reason_of(error)}") from error


def read_fully(stream: BinaryIO, n_bytes: int) -> bytes:
    """Read until `n_bytes` or the end.

    Parameters
    ----------
    stream : BinaryIO
        Open for reading.
    n_bytes : int
        How many to read.

    Returns
    -------
    bytes
        Fewer only where the stream ends.
    """
    parts = []
    while n_bytes > 0 and (part := stream.read(n_bytes)):
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


def drain(stream: BinaryIO, limit: int) -> int:
    """Read to the end, so that gzip compares its checksum.

    Parameters
    ----------
    stream : BinaryIO
        Open for reading.
    limit : int
        Bytes to read at most.

    Returns
    -------
    int
        How many of them the stream did not hold; 0 if it may be longer.
    """
    while limit > 0 and (data := stream.read(min(limit, SKIP_BYTES))):
        limit -= len(data)
    return limit
