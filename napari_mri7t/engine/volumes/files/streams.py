"""Files as decompressed streams of bytes, with a clear message for every failure."""

import gzip
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip, isal_zlib

from napari_mri7t.engine.errors import VolumeError

EXTENSIONS = (".nii.gz", ".nii", ".img.gz", ".hdr.gz", ".img", ".hdr", ".mgz", ".mgh.gz", ".mgh")
AGAIN = "copy or download it again"
SKIP_BYTES = 1 << 20
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
        raise FileNotFoundError(f"{path}: no such file: check the name") from None
    except (OSError, ValueError) as error:
        raise VolumeError(f"{path}: cannot be read: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise VolumeError(f"{path}: is a folder: choose a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise VolumeError(f"{path}: is not a regular file: copy the image to a disk")
    if status.st_size == 0:
        raise VolumeError(f"{path}: is empty (0 bytes): copy or download it again")


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
        raise VolumeError(f"{path}: cannot be read: {error.strerror}") from error


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
        with path.open("rb") as raw:
            if not is_compressed(path):
                yield raw
                return
            magic = raw.read(2)
            raw.seek(0)
            if magic != b"\x1f\x8b":
                raise VolumeError(
                    f"{path}: is named as gzip-compressed but is not: download it again, or "
                    "rename it if it is a plain image"
                )
            with igzip.IGzipFile(fileobj=raw, mode="rb") as unfolded:
                yield cast(BinaryIO, unfolded)
    except EOFError:
        raise VolumeError(f"{path}: is cut short (the gzip stream ends early): {AGAIN}") from None
    except DAMAGED_STREAM as error:
        raise VolumeError(f"{path}: is damaged ({error}): {AGAIN}") from error
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise VolumeError(f"{path}: does not fit into memory: close other programs") from error


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
