"""What the headers of all formats share, and what is refused in all of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.geometry import FileGeometry

HEADER_BYTES = 560  # NIfTI-2: 540, 4 of the extension flag, 16 of the first extension
DAMAGED = "the header is damaged; copy the file again"
FROM_SOURCE = "convert the scan again from its source"


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
    if len(sizes) > 3 and min(sizes[:3]) > 0 and min(sizes) < 1:
        missing = next(axis for axis, size in enumerate(sizes) if size < 1)
        raise VolumeError(
            f"{path}: declares {sizes[missing]} volumes ({text}; dim[{missing + 1}] of NIfTI): if "
            f"it holds one volume, set this size to 1 in the header, else {FROM_SOURCE}"
        )
    if min(sizes) < 1:
        raise VolumeError(f"{path}: declares {text} voxels, a size below 1: {DAMAGED}")
    spatial = sizes[:3]
    if len(spatial) < 3 or min(spatial) == 1:
        raise VolumeError(f"{path}: is 2-D ({text}): use a 3-D volume of two slices or more")
    if any(n > 1 for n in sizes[4:]):
        raise VolumeError(f"{path}: has more than 4 dimensions ({text}): use a 3-D volume")
    return (spatial[0], spatial[1], spatial[2]), (sizes[3] if len(sizes) > 3 else 1)


def choose_volume(index: int | None, n_volumes: int, path: Path) -> int:
    """Return which volume of a file is asked for: the only one, or `index`.

    Parameters
    ----------
    index : int or None
        From 0.
    n_volumes : int
    path : Path
        For messages.

    Raises
    ------
    VolumeError
        If there are several and none is chosen, or there is no such one.
    """
    if index is None:
        if n_volumes > 1:
            raise VolumeError(
                f"{path}: holds {n_volumes} volumes: choose one with index, 0 to {n_volumes - 1}",
                argument="index",
            )
        return 0
    if not 0 <= index < n_volumes:
        raise VolumeError(
            f"{path}: has no volume {index}: index goes from 0 to {n_volumes - 1}",
            argument="index",
        )
    return index


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
