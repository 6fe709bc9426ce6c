"""Voxels from a file, in bounded memory: nothing is allocated that the file has not shown to hold.

A gzip stream is always read to its end, because its checksum comes last: nibabel stops at the last
voxel and so loads most streams with a flipped bit silently wrong.
"""

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.headers import HEADER_BYTES, ImageHeader, parse_mgh, parse_nifti

EXTENSIONS = (".nii.gz", ".nii", ".img.gz", ".hdr.gz", ".img", ".hdr", ".mgz", ".mgh.gz", ".mgh")
CHUNK_VOXELS = 1 << 18
SKIP_BYTES = 1 << 20
DEFLATE_RATIO = 1032  # no deflate stream unfolds to more (RFC 1951: 258 bytes from 2 bits)
TRUSTED_BYTES = 64 << 20  # a volume up to this size, or four times its file, is read at once
TRUSTED_RATIO = 4
UNFOLDED_BYTES = 1 << 30  # what a small .gz may unfold to; a mask compresses by hundreds,
UNFOLDED_RATIO = 100  # an image by 2 to 20


@dataclass(frozen=True, eq=False)
class Voxels:
    """Intensities as read.

    Attributes
    ----------
    values : ndarray of float32, shape (n,)
        The file's order, first axis fastest; voxels that were no number are 0.
    n_not_finite : int
        How many were NaN or infinite.
    low, high : float
        Extremes of `values`.
    overflowed : bool
        True if a finite stored number became infinite by scaling.
    """

    values: np.ndarray
    n_not_finite: int
    low: float
    high: float
    overflowed: bool


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


def read_header(path: Path) -> tuple[ImageHeader, Path]:
    """Check a file's header against the file.

    Parameters
    ----------
    path : Path
        Image, or either file of a pair.

    Returns
    -------
    header : ImageHeader
        Checked; of an uncompressed file also against its size.
    voxel_path : Path
        The file that holds the voxels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    VolumeError
        If it is no volume that can be read.
    """
    check_readable(path)
    extension = extension_of(path)
    if not extension:
        raise VolumeError(f"{path}: unknown extension: give one of {', '.join(EXTENSIONS)}")
    paired = extension.startswith((".hdr", ".img"))
    header_path = _partner(path, ".hdr") if paired else path
    voxel_path = _partner(path, ".img") if paired else path
    with open_stream(header_path) as stream:
        block = read_fully(stream, HEADER_BYTES)
    if extension.startswith(".mg"):
        header = parse_mgh(block, path)
    else:
        header = parse_nifti(block, header_path, paired=paired)
    _check_size(header, voxel_path)
    return header, voxel_path


def check_readable(path: Path) -> None:
    """Refuse what is not a file with something in it.

    Parameters
    ----------
    path : Path
        Any path.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    VolumeError
        If it is a folder, a device, empty or out of reach.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: no such file: check the name") from None
    except (OSError, ValueError) as error:
        raise VolumeError(f"{path}: cannot be read: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise VolumeError(f"{path}: is a folder: give a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise VolumeError(f"{path}: is not a regular file: copy the image to a disk")
    if status.st_size == 0:
        raise VolumeError(f"{path}: is empty (0 bytes): copy or download it again")


def _partner(path: Path, kind: str) -> Path:
    """Return the .hdr or .img of a pair, whichever way its extension is written."""
    extension = extension_of(path)
    if extension.startswith(kind):
        return path
    stem = path.name[: -len(extension)]
    for suffix in (kind, kind.upper(), f"{kind}.gz", f"{kind}.gz".upper()):
        candidate = path.with_name(stem + suffix)
        if candidate.exists():
            check_readable(candidate)
            return candidate
    missing = path.with_name(stem + kind)
    raise FileNotFoundError(f"{missing}: is missing beside {path.name}: both files are needed")


def is_compressed(path: Path) -> bool:
    """Tell from its name whether a file is gzip-compressed.

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


@contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, decompressed; what goes wrong inside becomes a VolumeError.

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
            with gzip.GzipFile(fileobj=raw, mode="rb") as unfolded:
                yield cast(BinaryIO, unfolded)
    except EOFError:
        raise VolumeError(f"{path}: is cut short (the gzip stream ends early): {_AGAIN}") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise VolumeError(f"{path}: is damaged ({error}): {_AGAIN}") from error
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise VolumeError(f"{path}: does not fit into memory: close other programs") from error


_AGAIN = "copy or download it again"


def read_fully(stream: BinaryIO, n_bytes: int) -> bytes:
    """Read until `n_bytes` or the end.

    Parameters
    ----------
    stream : BinaryIO
        Open for reading.
    n_bytes : int
        How many are wanted.

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


def _check_size(header: ImageHeader, path: Path) -> None:
    """Hold what the header declares against the size of the file, before anything is allocated."""
    size = path.stat().st_size
    declared = f"its header declares {header.end:,} bytes"
    if not is_compressed(path):
        if size < header.end:
            raise VolumeError(f"{path}: is cut short: {declared}, it has {size:,}: {_AGAIN}")
        if size > header.end + header.slack:
            raise VolumeError(f"{path}: {declared}, it has {size:,}: the header is damaged")
        return
    if header.end > DEFLATE_RATIO * size + header.slack:
        raise VolumeError(
            f"{path}: {declared}, more than {size:,} compressed bytes can hold: {_AGAIN}"
        )
    needed = max(header.end, 4 * header.n_voxels * header.n_volumes)
    if needed > max(UNFOLDED_BYTES, UNFOLDED_RATIO * size):
        raise VolumeError(
            f"{path}: would unfold from {size:,} bytes to {needed:,}, as no image does: "
            "unpack it with gunzip if you trust it"
        )


def read_voxels(
    header: ImageHeader, path: Path, *, first: int, count: int, scaled: bool = True
) -> Voxels:
    """Read consecutive volumes of a file as float32.

    Parameters
    ----------
    header : ImageHeader
        From `read_header`.
    path : Path
        The file that holds the voxels.
    first, count : int
        Which volumes.
    scaled : bool
        False leaves the header's slope and intercept out.

    Returns
    -------
    Voxels
        Of `count` volumes, one after the other.

    Raises
    ------
    VolumeError
        If the file is damaged, cut short, longer than declared, or does not fit into memory.
    """
    n_values = count * header.n_voxels
    _check_memory(path, 4 * n_values)
    budget = max(TRUSTED_BYTES, TRUSTED_RATIO * path.stat().st_size)
    if is_compressed(path) and 4 * n_values > budget:
        _prove(header, path)
    start = header.offset + first * header.n_voxels * header.dtype.itemsize
    with open_stream(path) as stream:
        _skip(stream, start, path)
        voxels = _fill(stream, header, path, n_values, scaled)
        if is_compressed(path):
            rest = header.end - start - n_values * header.dtype.itemsize
            _skip(stream, rest, path, seekable=False)
            _check_end(stream, header, path)
    return voxels


def _fill(stream: BinaryIO, header: ImageHeader, path: Path, n_values: int, scaled: bool) -> Voxels:
    values = np.empty(n_values, dtype=np.float32)
    scaled = scaled and (header.slope, header.intercept) != (1.0, 0.0)
    n_not_finite, low, high, overflowed = 0, np.inf, -np.inf, False
    for begin in range(0, n_values, CHUNK_VOXELS):
        part = values[begin : begin + CHUNK_VOXELS]
        data = read_fully(stream, part.size * header.dtype.itemsize)
        if len(data) < part.size * header.dtype.itemsize:
            raise VolumeError(f"{path}: is cut short: it ends before its last voxel: {_AGAIN}")
        stored = np.frombuffer(data, header.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            if scaled:
                part[:] = stored.astype(np.float64) * header.slope + header.intercept
            else:
                part[:] = stored
        finite = np.isfinite(part)
        if not finite.all():
            overflowed = overflowed or (scaled and bool(np.isfinite(stored[~finite]).any()))
            n_not_finite += int(part.size - np.count_nonzero(finite))
            part[~finite] = 0
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    return Voxels(values, n_not_finite, low, high, overflowed)


def _prove(header: ImageHeader, path: Path) -> None:
    """Read the whole stream, keeping nothing: is it as long as declared, sound, and an image?"""
    with open_stream(path) as stream:
        _skip(stream, header.offset, path)
        left = header.end - header.offset
        constant, sample = True, b""
        while left > 0:
            data = read_fully(stream, min(left, CHUNK_VOXELS * header.dtype.itemsize))
            if not data:
                raise VolumeError(f"{path}: is cut short: it ends before its last voxel: {_AGAIN}")
            left -= len(data)
            sample = sample or data[: header.dtype.itemsize]
            if constant:
                constant = data == sample * (len(data) // len(sample))
        _check_end(stream, header, path)
    if constant:
        raise VolumeError(f"{path}: all voxels have one value: give an image of a head")


def _skip(stream: BinaryIO, n_bytes: int, path: Path, *, seekable: bool = True) -> None:
    if seekable and not isinstance(stream, gzip.GzipFile):
        stream.seek(n_bytes)
        return
    while n_bytes > 0:
        data = stream.read(min(n_bytes, SKIP_BYTES))
        if not data:
            raise VolumeError(f"{path}: is cut short: it ends before its last voxel: {_AGAIN}")
        n_bytes -= len(data)


def _check_end(stream: BinaryIO, header: ImageHeader, path: Path) -> None:
    """Read what follows the last voxel, so that gzip compares its checksum; allow little."""
    left = header.slack + 1
    while left > 0 and (data := stream.read(min(left, SKIP_BYTES))):
        left -= len(data)
    if left == 0:
        raise VolumeError(
            f"{path}: goes on after its last voxel: the header is damaged, or the file is made "
            "to fill the memory"
        )


def _check_memory(path: Path, needed: int) -> None:
    available = available_memory()
    if available is not None and needed > available:
        raise VolumeError(
            f"{path}: needs {needed / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are free: "
            "close other programs or give a smaller volume"
        )


def available_memory() -> int | None:
    """Return the memory that can still be taken.

    Returns
    -------
    int or None
        Bytes; None where the system does not say.
    """
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return None
