"""What the headers of all formats share, and what is refused in all of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.geometry import FileGeometry

HEADER_BYTES = 560  # NIfTI-2: 540, 4 of the extension flag, 16 of the first extension
DAMAGED = "the header is damaged; copy the file again"


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """What reading the voxels needs, whatever the format.

    Attributes
    ----------
    geometry : FileGeometry
        Shape, affine and the rest.
    n_volumes : int
        Of a 4-D file; 1 otherwise.
    dtype : numpy.dtype
        Of the stored numbers, byte order included.
    offset : int
        Bytes before the first voxel, in the file that holds them.
    slope, intercept : float
        Stored number to intensity; 1 and 0 where there is no scaling.
    slack : int
        Bytes that may follow the last voxel.
    warnings : tuple of str
        What is unusual, in plain words.
    """

    geometry: FileGeometry
    n_volumes: int
    dtype: np.dtype[Any]
    offset: int
    slope: float = 1.0
    intercept: float = 0.0
    slack: int = 4096  # padding to a block or page
    warnings: tuple[str, ...] = ()

    @property
    def n_voxels(self) -> int:
        """Voxels of one volume."""
        i, j, k = self.geometry.shape
        return i * j * k

    @property
    def end(self) -> int:
        """Bytes up to the last voxel of the last volume."""
        return self.offset + self.n_volumes * self.n_voxels * self.dtype.itemsize


def as_series(sizes: list[int], path: Path) -> tuple[tuple[int, int, int], int]:
    """Split the declared sizes into the shape of one volume and the number of volumes.

    Parameters
    ----------
    sizes : list of int
        Along each axis.
    path : Path
        For messages.

    Returns
    -------
    shape : tuple of int
        (I, J, K).
    n_volumes : int
        1 for a 3-D file.

    Raises
    ------
    VolumeError
        If a size is below 1, there is only one slice, or a fifth axis.
    """
    text = " x ".join(str(n) for n in sizes)
    if min(sizes) < 1:
        raise VolumeError(f"{path}: declares {text} voxels, a size below 1: {DAMAGED}")
    spatial = sizes[:3]
    if len(spatial) < 3 or min(spatial) == 1:
        raise VolumeError(f"{path}: is 2-D ({text}): use a 3-D volume of two slices or more")
    if any(n > 1 for n in sizes[4:]):
        raise VolumeError(f"{path}: has more than 4 dimensions ({text}): use a 3-D volume")
    return (spatial[0], spatial[1], spatial[2]), (sizes[3] if len(sizes) > 3 else 1)


def check_real(dtype: np.dtype[Any], name: str | Path) -> None:
    """Refuse complex numbers, colours and text.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the voxels.
    name : str or Path
        For messages.

    Raises
    ------
    VolumeError
        If the voxels are not real numbers.
    """
    if dtype.kind not in "buif":
        raise VolumeError(f"{name}: holds {dtype}: a volume holds real numbers")


def what_is_it(block: bytes) -> str:
    """Return what a file that is no image holds instead, and what to do.

    Parameters
    ----------
    block : bytes
        The first bytes of the file.

    Returns
    -------
    str
        "is ...: ...", to follow the path.
    """
    start = block.lstrip()[:64].lower()
    if block.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the image: fetch the image with 'git lfs pull'"
    if block.startswith(b"\x1f\x8b"):
        return "is gzip-compressed but its name does not end in .gz: rename it"
    if start.startswith(b"<"):
        return "is a web page or XML, not an image: download the file again"
    if len(block) >= 16 and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in block):
        return "is a text file, not an image: check that it was downloaded or copied whole"
    if len(block) < 348:
        return f"holds only {len(block)} bytes, less than a NIfTI header: copy it again"
    return "is not a NIfTI file: use a .nii, .nii.gz, .hdr/.img or .mgz file"
