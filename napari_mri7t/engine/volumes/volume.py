"""`Volume`: a 3-D image with its place in space, loaded with every check and saved atomically.

In memory every volume is as close to RAS+ as flips and swaps of axes can bring it; nothing is
resampled. `geometry` holds the file's own orientation, which saving restores. Which affine is used
where sform and qform disagree: see `files/geometry.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import SpatialImage

from napari_mri7t.engine.errors import GridError, Mri7tError, VolumeError
from napari_mri7t.engine.volumes.files.dicom import DicomSeries, is_dicom
from napari_mri7t.engine.volumes.files.dicom_conversion import read_dicom, read_dicom_series
from napari_mri7t.engine.volumes.files.dicom_t1w import find_one, refuse_series
from napari_mri7t.engine.volumes.files.geometry import (
    FileGeometry,
    check_affine,
    from_ras,
    geometry_of,
    note_oddities,
    orientation_of,
    ras_grid,
    to_ras,
    voxel_size_of,
)
from napari_mri7t.engine.volumes.files.headers import ImageHeader, check_real, choose_volume
from napari_mri7t.engine.volumes.files.images import (
    image_header,
    image_intensities,
    make_image,
    unread_file,
)
from napari_mri7t.engine.volumes.files.parts import stamp_of
from napari_mri7t.engine.volumes.files.reading import read_header, read_intensities
from napari_mri7t.engine.volumes.files.streams import stem_of
from napari_mri7t.engine.volumes.files.writing import Output, write_images

GRID_TOLERANCE_MM = 1e-3


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D image: intensities, and where each voxel lies.

    Attributes
    ----------
    array : ndarray of float32, shape (I, J, K)
        Closest RAS+, to which `as_volume` brings any other order; may be a view. Other real types
        are converted.
    affine : ndarray of float64, shape (4, 4)
        Voxel of `array` to RAS+ mm.
    name : str
        Stem of the file, for layers and messages.
    geometry : FileGeometry or None
        That of the file; None if made in memory, and then saved as `array` is oriented.
    warnings : tuple of str
        What is unusual about the file, in plain words.
    made_by : str
        The command of this package that computed the voxels, as in a sidecar; empty for a scan, and
        for an image in a file, whose sidecar says it.

    Examples
    --------
    >>> import numpy as np
    >>> volume = Volume(np.arange(24).reshape(2, 3, 4), np.diag([1, 1, 2, 1]))
    >>> volume.shape, volume.voxel_size, volume.orientation
    ((2, 3, 4), (1.0, 1.0, 2.0), 'RAS')
    >>> volume
    Volume('volume', (2, 3, 4), (1.0, 1.0, 2.0) mm, RAS)
    """

    array: np.ndarray
    affine: np.ndarray
    name: str = "volume"
    geometry: FileGeometry | None = None
    warnings: tuple[str, ...] = ()
    made_by: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.array, np.ma.MaskedArray):
            raise VolumeError(f"{self.name}: is a masked array: fill it with the background first")
        array = np.asarray(self.array)
        if array.ndim != 3:
            raise VolumeError(f"{self.name}: has shape {array.shape}: a volume has 3 dimensions")
        check_real(array.dtype, self.name)
        affine = np.array(self.affine, dtype=np.float64)
        check_affine(affine, f"{self.name}: its affine")
        if array.size == 0:
            raise VolumeError(f"{self.name}: has shape {array.shape}: a volume needs voxels")
        object.__setattr__(self, "array", array.astype(np.float32, copy=False))
        object.__setattr__(self, "affine", affine)

    def __repr__(self) -> str:
        sizes = tuple(round(float(size), 3) for size in self.voxel_size)
        return f"Volume({self.name!r}, {self.shape}, {sizes} mm, {self.orientation})"

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

    def moved(self, motion: np.ndarray) -> "Volume":
        """Return the same voxels in another place; nothing is resampled.

        Parameters
        ----------
        motion : ndarray, shape (4, 4)
            RAS+ mm to RAS+ mm: any affine, mirrored and sheared ones included.

        Returns
        -------
        Volume
            Closest RAS+ again, with a new geometry in the order of the old file.

        Raises
        ------
        VolumeError
            If the new affine cannot place a volume.

        Examples
        --------
        >>> volume = Volume(np.arange(24).reshape(2, 3, 4), np.eye(4))
        >>> volume.moved(np.diag([-1, 1, 1, 1])).affine[0]
        array([ 1.,  0.,  0., -1.])
        """
        array, old = _as_stored(self)
        affine = motion @ old.affine
        affine[3] = (0, 0, 0, 1)
        check_affine(affine, f"{self.name}: its affine as moved")
        geometry = geometry_of(affine, old.shape, path=old.path)
        notes = list(self.warnings)
        note_oddities(geometry, notes)
        there = _to_volume(array, geometry, self.name, notes, self.made_by)
        if self.geometry is None:
            return replace(there, geometry=None)
        version = max(geometry.version, old.version)
        return replace(there, geometry=replace(geometry, version=version, computed=True))

    @classmethod
    def from_nibabel(cls, image: SpatialImage, name: str = "") -> "Volume":
        """Return the volume of a nibabel image, with every check that `load_volume` makes.

        Voxels that nibabel has not read yet are read from the file, whose checksum nibabel ignores.

        Parameters
        ----------
        image : SpatialImage
            3-D, or 4-D with one volume.
        name : str, optional
            The stem of its file by default, "volume" without one.

        Returns
        -------
        Volume
            Float32, closest RAS+; NaN and infinite voxels become background, with a warning.

        Raises
        ------
        FileNotFoundError
            If the file of an image that is not read yet has vanished.
        VolumeError
            As for `load_volume`.

        Examples
        --------
        >>> import nibabel, numpy as np
        >>> image = nibabel.Nifti1Image(np.arange(24.0).reshape(2, 3, 4), np.diag([-1, 1, 2, 1]))
        >>> volume = Volume.from_nibabel(image, "scan")
        >>> volume.orientation, volume.geometry.orientation
        ('RAS', 'LAS')
        """
        file = unread_file(image)
        path = Path(name or image.get_filename() or "volume")
        header = image_header(image, path)
        choose_volume(None, header.n_volumes, path)
        if file is not None and shares_grid(read_header(file)[0].geometry, header.geometry):
            volume = load_volume(file)
            return replace(volume, name=name or volume.name)
        array, notes = image_intensities(image, header, path)
        return _to_volume(array, header.geometry, name or stem_of(path) or path.name, notes)

    def to_nibabel(self) -> Nifti1Image:
        """Return the nibabel image of what `save_volume` would write.

        Returns
        -------
        Nifti1Image
            Float32, in the orientation of the file the volume came from, with its sform and qform.

        Raises
        ------
        VolumeError
            If the volume was moved off the grid of its file.

        Examples
        --------
        >>> import numpy as np
        >>> image = Volume(np.zeros((2, 3, 4)), np.eye(4)).to_nibabel()
        >>> image.shape, image.get_data_dtype().name
        ((2, 3, 4), 'float32')
        """
        return make_image(*_as_stored(self))


@dataclass(frozen=True, eq=False)
class Series:
    """The volumes of one file; indexing and iteration give each as a `Volume`.

    Attributes
    ----------
    array : ndarray of float32, shape (I, J, K, T)
        Closest RAS+; `array.T` is (T, S, A, R).
    affine : ndarray of float64, shape (4, 4)
        Voxel to RAS+ mm.
    name : str
        Stem of the file.
    geometry : FileGeometry
        That of the file.
    warnings : tuple of str
        What is unusual about the file.
    """

    array: np.ndarray
    affine: np.ndarray
    name: str
    geometry: FileGeometry
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.array.shape[3])

    def __getitem__(self, index: int) -> Volume:
        geometry = replace(
            self.geometry, series_index=self.geometry.series_index + range(len(self))[index]
        )
        return Volume(self.array[..., index], self.affine, self.name, geometry, self.warnings)

    def __iter__(self) -> Iterator[Volume]:
        return (self[index] for index in range(len(self)))


VolumeLike = str | Path | SpatialImage | Volume


def load_volume(
    path: str | Path,
    *,
    index: int | None = None,
    series: int | str | None = None,
    or_only: bool = False,
) -> Volume:
    """Load a 3-D volume, after checking everything that can be wrong with the file.

    Parameters
    ----------
    path : str or Path
        .nii, .nii.gz, .hdr/.img (either one), .mgz or .mgh; a folder of DICOM files, or one of
        them, which stands for its series.
    index : int, optional
        Which volume of a 4-D file, from 0; required if there is more than one.
    series : int or str, optional
        Number of the DICOM series, or its key where two have one number; the only T1w by default.
    or_only : bool
        True ignores `index` where there is one volume.

    Returns
    -------
    Volume
        Float32, closest RAS+; NaN and infinite voxels become background, with a warning.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    VolumeError
        If the file is damaged, is no volume, holds several without `index`, or all voxels have one
        value; if no DICOM series or several look like a T1w.
    Mri7tError
        If the extra `dicom` is missing.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from napari_mri7t.engine.volumes.template import load_template
    >>> with TemporaryDirectory() as folder:
    ...     path = save_volume(load_template(), f"{folder}/mni.nii.gz")
    ...     volume = load_volume(path)
    >>> volume.name, volume.shape, volume.orientation
    ('mni', (197, 233, 189), 'RAS')
    """
    path = Path(path)
    if is_dicom(path):
        return load_dicom(find_one(path, series), index=index, or_only=or_only)
    refuse_series(path, series)
    stamp = stamp_of(path)
    header, voxel_path = read_header(path)
    is_only = or_only and header.n_volumes == 1
    chosen = choose_volume(None if is_only else index, header.n_volumes, path)
    values, notes = read_intensities(header, voxel_path, first=chosen, count=1)
    geometry = _of_file(header, path, stamp, chosen)
    array = values.reshape(geometry.shape, order="F")
    return _to_volume(array, geometry, stem_of(path) or path.name, notes)


def _of_file(
    header: ImageHeader, path: Path, stamp: tuple[int, ...], index: int = 0
) -> FileGeometry:
    n = header.n_volumes
    return replace(header.geometry, path=path, stamp=stamp, series_index=index, series_length=n)


def load_dicom(series: DicomSeries, *, index: int | None = None, or_only: bool = False) -> Volume:
    """Load a volume of a DICOM series, as dcm2niix converts it.

    Parameters
    ----------
    series : DicomSeries
        From `find_series`.
    index : int, optional
        Which volume, from 0; required if there is more than one, such as an echo.
    or_only : bool
        True ignores `index` where there is one volume.

    Returns
    -------
    Volume
        As `load_volume`; named after the series, without the names of folder and patient.

    Raises
    ------
    VolumeError, Mri7tError
        As `load_volume`.
    """
    values, geometry, notes = read_dicom(series, index, or_only=or_only)
    return _to_volume(values.reshape(geometry.shape, order="F"), geometry, series.name, notes)


def load_series(path: str | Path, *, series: int | str | None = None) -> Series:
    """Load all volumes of a file; a 3-D file gives a series of one.

    Parameters
    ----------
    path : str or Path
        As for `load_volume`.
    series : int or str, optional
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
    if is_dicom(path):
        found = find_one(path, series)
        grids = load_dicom_series(found)
        if len(grids) > 1:
            raise VolumeError(
                f"{found.title}: holds {len(grids)} images of several grids: choose one by index",
                argument="index",
            )
        return grids[0]
    refuse_series(path, series)
    stamp = stamp_of(path)
    header, voxel_path = read_header(path)
    values, notes = read_intensities(header, voxel_path, first=0, count=header.n_volumes)
    geometry = _of_file(header, path, stamp)
    return _to_series(values, geometry, stem_of(path) or path.name, notes)


def load_dicom_series(series: DicomSeries) -> list[Series]:
    """Load all volumes of a DICOM series: as one where they lie on one grid, as echoes do.

    Parameters
    ----------
    series : DicomSeries
        From `find_series`.

    Returns
    -------
    list of Series
        One of each volume where their grids differ.

    Raises
    ------
    VolumeError, Mri7tError
        As `load_volume`.
    """
    return [
        _to_series(values, geometry, series.name, notes)
        for values, geometry, notes in read_dicom_series(series)
    ]


def _to_series(
    values: np.ndarray, geometry: FileGeometry, name: str, notes: tuple[str, ...]
) -> Series:
    four_d = values.reshape((*geometry.shape, -1), order="F")  # (I, J, K, T)
    array = to_ras(four_d, geometry.affine)
    affine, _ = ras_grid(geometry.affine, geometry.shape)
    return Series(array, affine, name, geometry, notes)


def _to_volume(
    array: np.ndarray, geometry: FileGeometry, name: str, notes: Sequence[str], made_by: str = ""
) -> Volume:
    affine, _ = ras_grid(geometry.affine, geometry.shape)
    return Volume(to_ras(array, geometry.affine), affine, name, geometry, tuple(notes), made_by)


def as_volume(scan: VolumeLike) -> Volume:
    """Return the volume of a path, a nibabel image or a volume.

    Parameters
    ----------
    scan : VolumeLike
        A path as for `load_volume`, an image as for `Volume.from_nibabel`, or a volume.

    Returns
    -------
    Volume
        Closest RAS+, also where it was made of an array in another order.

    Raises
    ------
    FileNotFoundError, VolumeError
        As for `load_volume`; also if a volume has voxels that are NaN or infinite.
    TypeError
        If it is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> volume = Volume(np.zeros((2, 3, 4)), np.eye(4))
    >>> as_volume(volume) is volume
    True
    """
    if isinstance(scan, Volume):
        return _sound(scan)
    if isinstance(scan, str | Path):
        return load_volume(scan)
    if isinstance(scan, SpatialImage):
        return Volume.from_nibabel(scan)
    raise TypeError(
        f"expected a path, a nibabel image or a Volume, got {type(scan).__name__}: turn an array "
        "into a Volume with Volume(array, affine)"
    )


def _sound(volume: Volume) -> Volume:
    """Return a volume that was made of an array in the order that all functions expect."""
    if n_bad := volume.array.size - np.count_nonzero(np.isfinite(volume.array)):
        raise VolumeError(
            f"{volume.name}: {n_bad} of {volume.array.size} voxels are NaN or infinite in single "
            "precision: set them to the background"
        )
    affine, _ = ras_grid(volume.affine, volume.shape)
    if volume.geometry is not None or np.array_equal(affine, volume.affine):
        return volume
    geometry = geometry_of(volume.affine, volume.shape)
    return _to_volume(volume.array, geometry, volume.name, volume.warnings, volume.made_by)


def save_volume(
    volume: VolumeLike,
    path: str | Path,
    *,
    overwrite: bool = False,
    sidecar: Mapping[str, Any] | None = None,
) -> Path:
    """Save as float32 NIfTI in the orientation of the file it came from, whole or not at all.

    The header is new: only the geometry, its units and the NIfTI version are copied.

    Parameters
    ----------
    volume : str, Path, nibabel image or Volume
        Finite throughout.
    path : str or Path
        .nii or .nii.gz.
    overwrite : bool
        True replaces an existing file, even the one the volume was read from, but no JSON of
        another program beside it.
    sidecar : mapping, optional
        Written as JSON beside the image, same stem, with the image's name and digest; both appear
        or neither.

    Returns
    -------
    Path
        The image.

    Raises
    ------
    VolumeError
        If the path is unsuitable, the volume holds NaN, or writing fails; old files stay intact.
    TypeError
        If the volume is none of these; an array has no affine.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> volume = Volume(np.arange(24).reshape(2, 3, 4), np.eye(4))
    >>> with TemporaryDirectory() as folder:
    ...     save_volume(volume, f"{folder}/volume.nii.gz").name
    'volume.nii.gz'
    """
    return save_volumes([(volume, path, sidecar)], overwrite=overwrite)[0]


def save_volumes(
    parts: Sequence[tuple[VolumeLike, str | Path, Mapping[str, Any] | None]],
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Save several volumes, each with its sidecar: all of them or none.

    Parameters
    ----------
    parts : sequence of (volume, path, sidecar)
        As for `save_volume`.
    overwrite : bool
        As for `save_volume`.

    Returns
    -------
    list of Path
        The images.

    Raises
    ------
    VolumeError, TypeError
        As `save_volume`.
    """
    outputs = []
    for volume, path, sidecar in parts:
        volume = volume if isinstance(volume, Volume) else as_volume(volume)
        array, geometry = _as_stored(volume)
        outputs.append(Output(array, geometry, Path(path), sidecar))
    try:
        write_images(outputs, overwrite=overwrite)
    except Mri7tError as error:
        raise VolumeError(str(error), argument=error.argument) from error
    return [output.path for output in outputs]


def _as_stored(volume: Volume) -> tuple[np.ndarray, FileGeometry]:
    """Return a volume's array in the order of its file, and the geometry to store with it."""
    geometry = volume.geometry
    if geometry is None:
        return volume.array, geometry_of(volume.affine, volume.shape)
    expected, shape = ras_grid(geometry.affine, geometry.shape)
    if shape != volume.shape or np.abs(expected - volume.affine).max() > GRID_TOLERANCE_MM:
        raise VolumeError(
            f"{volume.name}: is no longer on the grid of its file: set geometry to None"
        )
    return from_ras(volume.array, geometry.affine), geometry


def same_grid(first: Volume, second: Volume) -> None:
    """Refuse two volumes that do not share one grid.

    Parameters
    ----------
    first, second : Volume
        To be compared or combined voxel by voxel.

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
    if not shares_grid(first, second):
        apart = np.abs(first.affine - second.affine).max()
        raise GridError(
            f"{pair} must lie on one grid, but their affines differ by up to {apart:.3g} mm: "
            "register them first"
        )


def shares_grid(first: Volume | FileGeometry, second: Volume | FileGeometry) -> bool:
    """Return whether the shapes are the same, and the affines within 0.001 mm."""
    apart = np.abs(first.affine - second.affine).max()
    return first.shape == second.shape and bool(apart <= GRID_TOLERANCE_MM)
