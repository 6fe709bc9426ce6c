"""`Volume`: a 3-D image with its place in space; safe loading, atomic saving, one grid or not.

In memory every volume lies as close to RAS+ as flips and swaps of axes can bring it; nothing is
resampled. The file's own orientation is kept in `geometry` and restored when saving. Which affine
counts where sform and qform disagree: see `geometry.py`.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from napari_mri7t.engine.atomic import Writer, write_together
from napari_mri7t.engine.errors import GridError, Mri7tError, VolumeError
from napari_mri7t.engine.geometry import FileGeometry, check_affine, orientation_of
from napari_mri7t.engine.headers import ImageHeader, geometry_of
from napari_mri7t.engine.reading import Voxels, extension_of, read_header, read_voxels
from napari_mri7t.engine.writing import OUTPUT_EXTENSIONS, nifti_writer

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
        i, j, k = voxel_sizes(self.affine)
        return float(i), float(j), float(k)

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
        if array.shape != self.shape:
            raise GridError(
                f"{self.name}: an array of shape {array.shape} does not lie on its grid of "
                f"{self.shape}"
            )
        return replace(self, array=array, name=self.name if name is None else name)


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
        If the file is damaged, is no volume, holds several and `index` is not given, or holds
        nothing but one value.
    """
    path = Path(path)
    header, voxel_path = read_header(path)
    chosen = _choose(index, header, path)
    voxels, notes = _read(header, voxel_path, chosen, 1)
    geometry = replace(
        header.geometry, series_index=chosen, series_length=header.n_volumes, path=path
    )
    array, affine = _to_ras(voxels.values.reshape(geometry.shape, order="F"), geometry.affine)
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
    voxels, notes = _read(header, voxel_path, 0, header.n_volumes)
    geometry = replace(header.geometry, series_length=header.n_volumes, path=path)
    values = voxels.values.reshape((*geometry.shape, header.n_volumes), order="F")
    array, affine = _to_ras(values, geometry.affine)
    return Series(array, affine, stem_of(path), geometry, notes)


def _choose(index: int | None, header: ImageHeader, path: Path) -> int:
    n_volumes = header.n_volumes
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


def _read(
    header: ImageHeader, path: Path, first: int, count: int
) -> tuple[Voxels, tuple[str, ...]]:
    notes = list(header.warnings)
    voxels = read_voxels(header, path, first=first, count=count)
    if voxels.overflowed:
        notes.append("scaling exceeds what float32 can hold; the stored numbers were taken")
        voxels = read_voxels(header, path, first=first, count=count, scaled=False)
    n_values = voxels.values.size
    if voxels.n_not_finite == n_values:
        raise VolumeError(f"{path}: no voxel is a finite number: give an image of a head")
    if voxels.low == voxels.high:
        raise VolumeError(
            f"{path}: all voxels have one value ({voxels.low:g}): give an image of a head"
        )
    if voxels.n_not_finite:
        notes.append(
            f"{voxels.n_not_finite} of {n_values} voxels were NaN or infinite; they were set to "
            "0 (background)"
        )
    return voxels, tuple(notes)


def _to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flip and swap axes to closest RAS+; a trailing series axis stays."""
    orientation = io_orientation(affine)
    return (
        apply_orientation(array, orientation),
        np.asarray(affine @ inv_ornt_aff(orientation, array.shape[:3]), dtype=np.float64),
    )


def _to_file(array: np.ndarray, geometry: FileGeometry) -> np.ndarray:
    back = ornt_transform(axcodes2ornt("RAS"), io_orientation(geometry.affine))
    return np.asarray(apply_orientation(array, back))


def stem_of(path: str | Path) -> str:
    """Return a file's name without its extension, .nii.gz counted as one.

    Parameters
    ----------
    path : str or Path
        A file name.

    Returns
    -------
    str
        E.g. "sub-01_T1w".
    """
    path = Path(path)
    extension = extension_of(path)
    return path.name[: -len(extension)] if extension else path.stem


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

    The header is fresh: only sform, qform, their codes, voxel sizes, units and the NIfTI version
    are copied.

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
    extension = extension_of(path)
    if extension not in OUTPUT_EXTENSIONS:
        raise VolumeError(f"{path}: unknown extension for saving: use .nii.gz or .nii")
    low, high = float(volume.array.min()), float(volume.array.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # min and max pass NaN on
        raise VolumeError(f"{path}: {volume.name} holds NaN or infinite voxels: nothing was saved")
    geometry = _geometry_to_save(volume)
    _refuse_own_source(path, geometry, overwrite)
    array = volume.array if volume.geometry is None else _to_file(volume.array, geometry)
    parts: list[tuple[Path, Writer]] = [(path, nifti_writer(array, geometry, path))]
    if sidecar is not None:
        parts.insert(0, (path.with_name(stem_of(path) + ".json"), _json_writer(sidecar)))
    try:
        write_together(parts, overwrite=overwrite)
    except Mri7tError as error:
        raise VolumeError(str(error)) from error
    return path


def _geometry_to_save(volume: Volume) -> FileGeometry:
    geometry = volume.geometry
    if geometry is None:
        return geometry_of(volume.affine, volume.shape)
    orientation = io_orientation(geometry.affine)
    expected = geometry.affine @ inv_ornt_aff(orientation, geometry.shape)
    shape = tuple(geometry.shape[int(axis)] for axis in np.argsort(orientation[:, 0]))
    if shape != volume.shape or np.abs(expected - volume.affine).max() > GRID_TOLERANCE_MM:
        raise VolumeError(
            f"{volume.name}: its grid is no longer that of its file: set geometry to None"
        )
    return geometry


def _refuse_own_source(path: Path, geometry: FileGeometry, overwrite: bool) -> None:
    source = geometry.path
    if overwrite or source is None or not path.exists() or not source.exists():
        return
    if os.path.samefile(source, path):
        raise VolumeError(
            f"{path}: is the file the volume was read from: give another name, or allow "
            "overwriting (--overwrite)"
        )


def _json_writer(content: Mapping[str, Any]) -> Writer:
    text = json.dumps(dict(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return lambda file: file.write(text.encode("utf-8", "backslashreplace"))
