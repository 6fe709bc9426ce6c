"""`Volume`: a 3-D image with its place in space; safe loading, atomic saving, one grid or not.

In memory every volume lies as close to RAS+ as flips and swaps of axes can bring it; nothing is
resampled. The file's own orientation is kept in `geometry` and restored when saving. Which affine
counts where sform and qform disagree: see `geometry.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.errors import GridError, Mri7tError, VolumeError
from napari_mri7t.engine.volumes.files.geometry import (
    FileGeometry,
    check_affine,
    from_ras,
    geometry_of,
    orientation_of,
    ras_grid,
    to_ras,
    voxel_size_of,
)
from napari_mri7t.engine.volumes.files.reading import read_header, read_intensities
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.engine.volumes.files.writing import write_image

GRID_TOLERANCE_MM = 1e-3


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D image: intensities, and where each voxel lies.

    Attributes
    ----------
    array : ndarray of float32, shape (I, J, K)
        Closest RAS+; may be a view in either order. Other real types are converted.
    affine : ndarray of float64, shape (4, 4)
        Voxel of `array` to RAS+ mm.
    name : str
        Stem of the file, for layers and messages.
    geometry : FileGeometry or None
        The file's own facts; None if made in memory, and then saved as `array` lies.
    warnings : tuple of str
        What was odd about the file, in plain words.
    """

    array: np.ndarray
    affine: np.ndarray
    name: str = "volume"
    geometry: FileGeometry | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.ndim != 3:
            raise VolumeError(f"{self.name}: has shape {array.shape}: a volume has 3 dimensions")
        if array.dtype.kind not in "buif":
            raise VolumeError(f"{self.name}: holds {array.dtype}: a volume holds real numbers")
        affine = np.array(self.affine, dtype=np.float64)
        check_affine(affine, f"{self.name}: its affine")
        if array.size == 0:
            raise VolumeError(f"{self.name}: has shape {array.shape}: a volume has voxels")
        object.__setattr__(self, "array", array.astype(np.float32, copy=False))
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(I, J, K)."""
        i, j, k = self.array.shape
        return i, j, k

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Along the axes of `array`, mm."""
        return voxel_size_of(self.affine)

    @property
    def orientation(self) -> str:
        """Axis codes of `array`, e.g. "RAS"."""
        return orientation_of(self.affine)

    def with_array(self, array: np.ndarray, name: str | None = None) -> "Volume":
        """Return a volume of other intensities on the same grid.

        Parameters
        ----------
        array : ndarray, shape (I, J, K)
            Oriented as `self.array`.
        name : str, optional
            Of the new volume; the old one's by default.

        Returns
        -------
        Volume
            With this volume's affine, file geometry and warnings.

        Raises
        ------
        GridError
            If the shape differs.
        """
        if np.shape(array) != self.shape:
            raise GridError(f"{self.name}: expected shape {self.shape}, got {np.shape(array)}")
        geometry = self.geometry and replace(self.geometry, computed=True)
        return replace(self, array=array, name=name or self.name, geometry=geometry)


@dataclass(frozen=True, eq=False)
class Series:
    """Volumes of one file on one grid; indexing and iteration give each as a `Volume`.

    Attributes
    ----------
    array : ndarray of float32, shape (I, J, K, T)
        Closest RAS+; `array.T` is (T, S, A, R).
    affine : ndarray of float64, shape (4, 4)
        Voxel to RAS+ mm.
    name : str
        Stem of the file.
    geometry : FileGeometry
        The file's own facts.
    warnings : tuple of str
        What was odd about the file.
    """

    array: np.ndarray
    affine: np.ndarray
    name: str
    geometry: FileGeometry
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.array.shape[3])

    def __getitem__(self, index: int) -> Volume:
        geometry = replace(self.geometry, series_index=range(len(self))[index])
        return Volume(self.array[..., index], self.affine, self.name, geometry, self.warnings)

    def __iter__(self) -> Iterator[Volume]:
        return (self[index] for index in range(len(self)))


def load_volume(path: str | Path, *, index: int | None = None) -> Volume:
    """Load one 3-D volume, having checked everything that can be wrong with the file.

    Parameters
    ----------
    path : str or Path
        .nii, .nii.gz, .hdr/.img (either one), .mgz or .mgh.
    index : int, optional
        Which volume of a 4-D file, from 0; needed if there is more than one.

    Returns
    -------
    Volume
        Float32, closest RAS+; voxels that are no number are 0, with a warning.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    VolumeError
        If the file is damaged, is no volume, holds several without `index`, or only one value.
    """
    path = Path(path)
    header, voxel_path = read_header(path)
    chosen = _choose(index, header.n_volumes, path)
    values, notes = read_intensities(header, voxel_path, first=chosen, count=1)
    geometry = replace(
        header.geometry, series_index=chosen, series_length=header.n_volumes, path=path
    )
    array = to_ras(values.reshape(geometry.shape, order="F"), geometry.affine)
    affine, _ = ras_grid(geometry.affine, geometry.shape)
    return Volume(array, affine, stem_of(path), geometry, notes)


def load_series(path: str | Path) -> Series:
    """Load every volume of a file; a 3-D file gives a series of one.

    Parameters
    ----------
    path : str or Path
        As for `load_volume`.

    Returns
    -------
    Series
        All volumes as one array.

    Raises
    ------
    FileNotFoundError, VolumeError
        As for `load_volume`.
    """
    path = Path(path)
    header, voxel_path = read_header(path)
    values, notes = read_intensities(header, voxel_path, first=0, count=header.n_volumes)
    geometry = replace(header.geometry, series_length=header.n_volumes, path=path)
    four_d = values.reshape((*geometry.shape, header.n_volumes), order="F")  # (I, J, K, T)
    array = to_ras(four_d, geometry.affine)
    affine, _ = ras_grid(geometry.affine, geometry.shape)
    return Series(array, affine, stem_of(path), geometry, notes)


def _choose(index: int | None, n_volumes: int, path: Path) -> int:
    if index is None:
        if n_volumes > 1:
            raise VolumeError(
                f"{path}: holds {n_volumes} volumes: choose one with index (--index), "
                f"0 to {n_volumes - 1}"
            )
        return 0
    if not 0 <= index < n_volumes:
        raise VolumeError(
            f"{path}: has no volume {index}: index (--index) goes from 0 to {n_volumes - 1}"
        )
    return index


def same_grid(first: Volume, second: Volume) -> None:
    """Refuse two volumes whose voxels do not lie in the same places.

    Parameters
    ----------
    first, second : Volume
        To be used voxel by voxel together.

    Raises
    ------
    GridError
        If the shapes differ, or the affines by more than 0.001 mm.
    """
    pair = f"{first.name} and {second.name}"
    if first.shape != second.shape:
        raise GridError(
            f"{pair} must lie on one grid, but have shapes {first.shape} and {second.shape}: "
            "register them first"
        )
    apart = float(np.abs(first.affine - second.affine).max())
    if apart > GRID_TOLERANCE_MM:
        raise GridError(
            f"{pair} must lie on one grid, but their affines differ by up to {apart:.3g} mm: "
            "register them first"
        )


def save_volume(
    volume: Volume,
    path: str | Path,
    *,
    overwrite: bool = False,
    sidecar: Mapping[str, Any] | None = None,
) -> Path:
    """Save as float32 NIfTI in the orientation of the file it came from, whole or not at all.

    The header is fresh: only the geometry, its units and the NIfTI version are copied.

    Parameters
    ----------
    volume : Volume
        Finite throughout.
    path : str or Path
        .nii or .nii.gz.
    overwrite : bool
        True allows an existing file, also the one the volume was read from, to be replaced.
    sidecar : mapping, optional
        Written as JSON beside the image, same stem; both appear or neither.

    Returns
    -------
    Path
        The image.

    Raises
    ------
    VolumeError
        If the path will not do, the volume holds NaN, or writing fails; old files are then intact.
    """
    path = Path(path)
    geometry, array = volume.geometry, volume.array
    if geometry is None:
        geometry = geometry_of(volume.affine, volume.shape)
    else:
        _check_geometry(volume, geometry)
        array = from_ras(array, geometry.affine)
    try:
        write_image(array, geometry, path, overwrite=overwrite, sidecar=sidecar)
    except Mri7tError as error:
        raise VolumeError(str(error)) from error
    return path


def _check_geometry(volume: Volume, geometry: FileGeometry) -> None:
    expected, shape = ras_grid(geometry.affine, geometry.shape)
    if shape != volume.shape or np.abs(expected - volume.affine).max() > GRID_TOLERANCE_MM:
        raise VolumeError(f"{volume.name}: has left the grid of its file: set geometry to None")
