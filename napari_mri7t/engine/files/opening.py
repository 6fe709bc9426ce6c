"""Which files make up an image, and its header held against their sizes before anything is read."""

from pathlib import Path

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.files.headers import HEADER_BYTES, ImageHeader
from napari_mri7t.engine.files.mgh import parse_mgh
from napari_mri7t.engine.files.nifti import parse_nifti
from napari_mri7t.engine.files.streams import (
    AGAIN,
    EXTENSIONS,
    check_readable,
    drain,
    extension_of,
    file_size,
    is_compressed,
    open_stream,
    read_fully,
)

LARGEST_EXTENSION = 64 << 20  # bytes after the header proper in a .hdr
DEFLATE_RATIO = 1032  # no deflate stream unfolds to more (RFC 1951: 258 bytes from 2 bits)
UNFOLDED_BYTES = 1 << 30  # what a small .gz may unfold to; a mask compresses by hundreds,
UNFOLDED_RATIO = 100  # an image by 2 to 20


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
        raise VolumeError(f"{path}: unknown extension: give {', '.join(EXTENSIONS)}{_dicom(path)}")
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


def files_of(path: Path) -> tuple[Path, Path]:
    """Return the file of the header and that of the voxels: one and the same, but for a pair.

    Parameters
    ----------
    path : Path
        Image, or either file of a pair.

    Returns
    -------
    tuple of Path
        Header, voxels.

    Raises
    ------
    FileNotFoundError
        If one file of a pair is missing.
    """
    if not extension_of(path).startswith((".hdr", ".img")):
        return path, path
    return _partner(path, ".hdr"), _partner(path, ".img")


def _dicom(path: Path) -> str:
    is_dicom = path.suffix.lower() in (".dcm", ".ima", "")
    return "; of DICOM, make NIfTI with dcm2niix" if is_dicom else ""


def _partner(path: Path, kind: str) -> Path:
    """Return the .hdr or .img of a pair, whichever way its extension is written."""
    extension = extension_of(path)
    if extension.startswith(kind):
        return path
    stem = path.name[: -len(extension)]
    plain, folded = [kind, kind.upper()], [f"{kind}.gz", f"{kind}.GZ", f"{kind}.gz".upper()]
    for suffix in folded + plain if is_compressed(path) else plain + folded:
        candidate = path.with_name(stem + suffix)
        if candidate.exists():
            check_readable(candidate)
            return candidate
    missing = path.with_name(stem + kind)
    raise FileNotFoundError(f"{missing}: is missing beside {path.name}: both files are needed")


def _check_size(header: ImageHeader, path: Path) -> None:
    """Hold what the header declares against the size of the file, before anything is allocated."""
    size = file_size(path)
    declared = f"its header declares {header.end:,} bytes"
    if not is_compressed(path):
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
            f"{path}: would unfold from {size:,} bytes to {needed:,}, as no image does: "
            "unpack it with gunzip if you trust it"
        )
