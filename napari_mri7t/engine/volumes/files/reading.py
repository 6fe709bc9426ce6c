"""Headers and voxels from files, in bounded memory.

The header is compared with the size of the file before anything is allocated. A gzip stream is
always read to its end, where its checksum is: nibabel stops at the last voxel, and so silently
loads most streams with a flipped bit.
"""

import gzip
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.system import available_memory
from napari_mri7t.engine.volumes.files.contents import (
    GZIP,
    foreign_kind,
    image_kind,
    renamed,
    what_is_it,
)
from napari_mri7t.engine.volumes.files.gaps import empty_slices
from napari_mri7t.engine.volumes.files.headers import HEADER_BYTES, ImageHeader
from napari_mri7t.engine.volumes.files.mgh import parse_mgh
from napari_mri7t.engine.volumes.files.nifti import parse_nifti
from napari_mri7t.engine.volumes.files.parts import files_of
from napari_mri7t.engine.volumes.files.streams import (
    AGAIN,
    EXTENSIONS,
    SKIP_BYTES,
    UNLOADED,
    check_readable,
    drain,
    extension_of,
    file_size,
    is_compressed,
    is_unfinished,
    open_stream,
    read_fully,
    start_of,
)

FEWEST_LEVELS = 1000  # of float32 between the extremes, without a warning
CHUNK_VOXELS = 1 << 18
LEAST_CONSTANT = 0.5  # part of the finite voxels of the faces that a constant background fills
NOTHING_THERE = "it shows neither a head nor a mask: use another file"
TRUSTED_BYTES = 64 << 20  # a volume up to this size, or this many times its file, is read at
TRUSTED_RATIO = 4  # once; a larger one from a .gz only after the whole stream was checked
LARGEST_EXTENSION = 64 << 20  # bytes after the header proper in a .hdr
DEFLATE_RATIO = 1032  # the most a deflate stream expands (RFC 1951: 258 bytes from 2 bits)
UNFOLDED_BYTES = 1 << 30  # what a small .gz may decompress to; a mask compresses by hundreds,
UNFOLDED_RATIO = 100  # an image by 2 to 20


@dataclass(frozen=True, eq=False)
class Voxels:
    """Intensities as read.

    Attributes
    ----------
    values : ndarray of float32
        Finite: NaN and infinite voxels have the value `fill`.
    n_not_finite : int
        How many voxels were NaN or infinite.
    low, high : float
        Extremes of `values`.
    fill : float
        The constant background, or 0.
    overflowed : bool
        True if a finite stored value became infinite by scaling.
    """

    values: np.ndarray
    n_not_finite: int
    low: float
    high: float
    fill: float = 0.0
    overflowed: bool = False


def read_header(path: Path) -> tuple[ImageHeader, Path]:
    """Read a header and compare it with the file.

    Parameters
    ----------
    path : Path
        Image, or either file of a pair.

    Returns
    -------
    header : ImageHeader
        Checked; an uncompressed file has the size it declares.
    voxel_path : Path
        The file that holds the voxels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    VolumeError
        If it is not a readable volume.
    """
    check_readable(path)
    extension = extension_of(path)
    if not extension:
        raise VolumeError(f"{path}: {_without_extension(path)}")
    paired = extension.startswith((".hdr", ".img"))
    header_path, voxel_path = files_of(path)
    with open_stream(header_path) as stream:
        block = read_fully(stream, HEADER_BYTES)
        if paired and drain(stream, LARGEST_EXTENSION) == 0:
            raise VolumeError(f"{header_path}: is far too long for a header: {AGAIN}")
    if extension.startswith(".mg"):
        header = parse_mgh(block, path)
    else:
        header = parse_nifti(block, header_path, paired=paired)
    _check_size(header, voxel_path)
    return header, voxel_path


def _without_extension(path: Path) -> str:
    """Return what a file is whose name has none of `EXTENSIONS`."""
    if is_unfinished(path):
        return UNLOADED
    block = start_of(path)
    if found := foreign_kind(block):
        return f"is {found[0]}: {found[1]}"
    use = f"unknown extension: use {', '.join(EXTENSIONS)}"
    if block.startswith(GZIP) or (image := image_kind(block)):
        kind = "NIfTI" if block.startswith(GZIP) else image
        return f"{use}; rename it to {renamed(path, kind, folded=block.startswith(GZIP))}"
    is_dicom = path.suffix.lower() in (".dcm", ".ima", "")
    return f"{use}{'; convert DICOM to NIfTI with dcm2niix' if is_dicom else ''}"


def _check_size(header: ImageHeader, path: Path) -> None:
    """Compare what the header declares with the size of the file."""
    size = file_size(path)
    declared = f"its header declares {header.end:,} bytes"
    if not is_compressed(path):
        if size != header.end:
            _refuse_foreign(path)
        if size < header.end:
            raise VolumeError(f"{path}: is cut short ({declared}, it has {size:,}): {AGAIN}")
        if size > header.end + header.slack:
            raise VolumeError(f"{path}: has {size:,} bytes, but {declared}: {AGAIN}")
        return
    if header.end > DEFLATE_RATIO * size + header.slack:
        raise VolumeError(
            f"{path}: {declared}, more than {size:,} compressed bytes can hold: {AGAIN}"
        )
    needed = max(header.end, 4 * header.n_voxels * header.n_volumes)
    if needed > max(UNFOLDED_BYTES, UNFOLDED_RATIO * size):
        raise VolumeError(
            f"{path}: would decompress from {size:,} bytes to {needed:,}, which no image does: "
            "decompress it with gunzip if you trust it"
        )


def _refuse_foreign(path: Path) -> None:
    """Refuse an .img whose content is known to be something else."""
    block = start_of(path)
    if extension_of(path) == ".img" and (block.startswith(GZIP) or foreign_kind(block)):
        raise VolumeError(f"{path}: {what_is_it(block, path, unfolded=False)}")


def read_intensities(
    header: ImageHeader, path: Path, *, first: int, count: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read consecutive volumes of a file.

    Parameters
    ----------
    header : ImageHeader
        From `read_header`.
    path : Path
        The file that holds the voxels.
    first, count : int
        Which volumes.

    Returns
    -------
    values : ndarray of float32, shape (n,)
        Finite; `count` volumes one after the other, each with its first axis fastest.
    warnings : tuple of str
        Of header and voxels.

    Raises
    ------
    VolumeError
        If the file is damaged, cut short, longer than declared, does not fit into memory, or all
        voxels have one value.
    """
    notes = list(header.warnings)
    voxels = _read_voxels(header, path, first, count)
    if voxels.overflowed or _overflows_elsewhere(header, path, count):
        notes.append("scaling exceeds the range of float32; the stored values were used")
        unscaled = replace(header, slope=1.0, intercept=0.0)
        voxels = _read_voxels(unscaled, path, first, count)
    notes += check_voxels(voxels, path)
    if not is_compressed(path):  # else the checksum tells
        notes += _note_gaps(voxels.values, header.geometry.shape, first)
    return voxels.values, tuple(notes)


def _note_gaps(values: np.ndarray, shape: tuple[int, ...], first: int) -> list[str]:
    """Note volumes with slices that are 0 where the image goes on."""
    volumes = values.reshape(-1, math.prod(shape))
    found = {n: empty_slices(volume, shape) for n, volume in enumerate(volumes, start=first)}
    return [
        f"{f'volume {n}: ' if len(volumes) > 1 else ''}{what}: the file may be incomplete: copy it "
        "again, or convert it again from its source"
        for n, what in found.items()
        if what
    ]


def check_voxels(voxels: Voxels, path: Path) -> list[str]:
    """Refuse a blank image; note what is lost in single precision.

    Parameters
    ----------
    voxels : Voxels
        All that were read.
    path : Path
        For messages.

    Returns
    -------
    list of str
        What is unusual, in plain words.

    Raises
    ------
    VolumeError
        If no voxel is finite, or all have one value.
    """
    if voxels.n_not_finite == voxels.values.size:
        raise VolumeError(f"{path}: no voxel is a finite number: {NOTHING_THERE}")
    if voxels.low == voxels.high:
        raise VolumeError(f"{path}: all voxels have one value ({voxels.low:g}): {NOTHING_THERE}")
    notes = []
    if voxels.n_not_finite:
        value = f"the background, {voxels.fill:g}" if voxels.fill else "0"
        notes.append(
            f"{voxels.n_not_finite} of {voxels.values.size} voxels were NaN or infinite in single "
            f"precision; they were set to {value}"
        )
    low, high = float(voxels.low), float(voxels.high)  # their difference may exceed float32
    step = float(np.spacing(np.float32(max(abs(low), abs(high)))))
    if (n_levels := int((high - low) / step)) < FEWEST_LEVELS:
        notes.append(
            f"intensities from {voxels.low:.9g} to {voxels.high:.9g} have no more than {n_levels} "
            "levels in single precision: subtract the offset and load the file again"
        )
    return notes


def fill_not_finite(volumes: np.ndarray) -> float:
    """Replace what is NaN or infinite by the constant background around it, in place.

    Parameters
    ----------
    volumes : ndarray of float32, shape (..., K, J, I)

    Returns
    -------
    float
        The value: the commonest one of the faces if half of their finite voxels have it; 0 if
        they have not, or all voxels have it.
    """
    finite = np.isfinite(volumes)
    ends = [np.moveaxis(volumes, axis, 0)[end].ravel() for axis in (-3, -2, -1) for end in (0, -1)]
    faces = np.concatenate(ends)
    levels, counts = np.unique(faces[np.isfinite(faces)], return_counts=True)
    is_constant = counts.size and counts.max() >= LEAST_CONSTANT * counts.sum()
    value = float(levels[counts.argmax()]) if is_constant else 0.0
    if (volumes[finite] == value).all():
        value = 0.0
    np.copyto(volumes, value, where=~finite)
    return value


def _read_voxels(header: ImageHeader, path: Path, first: int, count: int) -> Voxels:
    n_values = count * header.n_voxels
    _check_memory(path, 4 * n_values)
    budget = max(TRUSTED_BYTES, TRUSTED_RATIO * file_size(path))
    if is_compressed(path) and 4 * n_values > budget:
        _prove(header, path)
    start = header.offset + first * header.n_voxels * header.dtype.itemsize
    with open_stream(path) as stream:
        _skip(stream, start, path)
        voxels = _fill(stream, header, path, count)
        if is_compressed(path):
            rest = header.end - start - n_values * header.dtype.itemsize
            _skip(stream, rest, path, seekable=False)
            _check_end(stream, header, path)
    return voxels


def _check_memory(path: Path, needed: int) -> None:
    available = available_memory()
    if available is not None and needed > available:
        raise VolumeError(
            f"{path}: needs {needed / 1e9:.1f} GB of memory, but only "
            f"{available / 1e9:.1f} GB are free: close other programs or use a smaller volume"
        )


def _prove(header: ImageHeader, path: Path) -> None:
    """Read the whole stream, keeping nothing: it must be intact, as declared, and no blank."""
    with open_stream(path) as stream:
        _skip(stream, header.offset, path)
        left = header.end - header.offset
        constant, sample = True, b""
        while left > 0:
            data = read_fully(stream, min(left, CHUNK_VOXELS * header.dtype.itemsize))
            if not data:
                raise VolumeError(f"{path}: is cut short: it ends before its last voxel: {AGAIN}")
            left -= len(data)
            sample = sample or data[: header.dtype.itemsize]
            if constant:
                constant = data == sample * (len(data) // len(sample))
        _check_end(stream, header, path)
    if constant:
        raise VolumeError(f"{path}: all voxels have one value: {NOTHING_THERE}")


def _fill(stream: BinaryIO, header: ImageHeader, path: Path, count: int) -> Voxels:
    n_values = count * header.n_voxels
    values = np.empty(n_values, dtype=np.float32)
    n_not_finite, low, high, overflowed = 0, np.inf, -np.inf, False
    for begin in range(0, n_values, CHUNK_VOXELS):
        part = values[begin : begin + CHUNK_VOXELS]
        data = read_fully(stream, part.size * header.dtype.itemsize)
        if len(data) < part.size * header.dtype.itemsize:
            raise VolumeError(f"{path}: is cut short: it ends before its last voxel: {AGAIN}")
        stored = np.frombuffer(data, header.dtype)
        part[:] = _scale(stored, header)
        finite = np.isfinite(part)
        if not finite.all():
            overflowed |= _is_scaled(header) and bool(np.isfinite(stored[~finite]).any())
            n_not_finite += int(part.size - np.count_nonzero(finite))
        sound = part[finite] if n_not_finite else part
        if sound.size:
            low, high = min(low, float(sound.min())), max(high, float(sound.max()))
    if not n_not_finite:
        return Voxels(values, 0, low, high)
    fill = fill_not_finite(values.reshape(count, *header.geometry.shape[::-1]))
    return Voxels(values, n_not_finite, min(low, fill), max(high, fill), fill, overflowed)


def _overflows_elsewhere(header: ImageHeader, path: Path, count: int) -> bool:
    """Return whether scaling exceeds float32 in another volume: a file has one scaling."""
    kind = np.iinfo if header.dtype.kind in "iu" else np.finfo
    limits = kind(header.dtype)
    largest = max(abs(float(limits.min)), float(limits.max)) * abs(header.slope)
    fits = largest + abs(header.intercept) <= float(np.finfo(np.float32).max)
    if count == header.n_volumes or fits or not _is_scaled(header):
        return False
    left = header.n_volumes * header.n_voxels
    with open_stream(path) as stream:
        _skip(stream, header.offset, path)
        while left > 0:
            data = read_fully(stream, min(left, CHUNK_VOXELS) * header.dtype.itemsize)
            stored = np.frombuffer(data, header.dtype)
            if (np.isfinite(stored) & ~np.isfinite(_scale(stored, header))).any():
                return True
            left -= CHUNK_VOXELS
    return False


def _is_scaled(header: ImageHeader) -> bool:
    return (header.slope, header.intercept) != (1.0, 0.0)


def _scale(stored: np.ndarray, header: ImageHeader) -> np.ndarray:
    """Return the intensities of stored values, float32; infinite where they exceed its range."""
    with np.errstate(over="ignore", invalid="ignore"):
        if not _is_scaled(header):
            return stored.astype(np.float32)
        return (stored.astype(np.float64) * header.slope + header.intercept).astype(np.float32)


def _skip(stream: BinaryIO, n_bytes: int, path: Path, *, seekable: bool = True) -> None:
    if seekable and not isinstance(stream, gzip.GzipFile):
        stream.seek(n_bytes)
        return
    while n_bytes > 0:
        data = stream.read(min(n_bytes, SKIP_BYTES))
        if not data:
            raise VolumeError(f"{path}: is cut short: it ends before its last voxel: {AGAIN}")
        n_bytes -= len(data)


def _check_end(stream: BinaryIO, header: ImageHeader, path: Path) -> None:
    """Read what follows the last voxel, so that gzip compares its checksum; allow padding only."""
    if drain(stream, header.slack + 1) == 0:
        raise VolumeError(
            f"{path}: continues after its last voxel (the header is damaged, or the file was made "
            f"to exhaust the memory): {AGAIN}"
        )
