"""Where a file's voxels lie, and how its array is brought to closest RAS+ and back.

As in nibabel, the affine is the sform if its code is above 0, else the qform if its code is above
0, else the voxel sizes alone with the origin in the middle and x to the left.
NIfTI-1: https://nifti.nimh.nih.gov/nifti-1, sections "METHOD 1-3".
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.affines import from_matvec
from nibabel.orientations import (
    aff2axcodes,
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from nibabel.quaternions import fillpositive, mat2quat, quat2mat

from napari_mri7t.engine.errors import VolumeError

SIZES_TOLERANCE = 0.01  # between the header's voxel size and the sform's; some programs round
FORMS_TOLERANCE_MM = 0.1  # float32 quaternions differ from their sform by about 0.01 mm
SHEAR_COSINE = 1e-3  # between two axes; 0.06 degrees
SMALLEST_MM, LARGEST_MM = 1e-4, 1e7  # a voxel, and 10 km: beyond any scanner; keeps numbers finite
SINGULAR = 1e-4  # volume of the unit cell spanned by the three directions; 1 if orthogonal
QUATERNION_EXCESS = 1e-4  # rounding may push b2 + c2 + d2 this far beyond 1
SPATIAL_UNITS = {0: "unknown", 1: "meter", 2: "mm", 3: "micron"}
TIME_UNITS = {0: "unknown", 8: "sec", 16: "msec", 24: "usec", 32: "hz", 40: "ppm", 48: "rads"}
MM_PER_UNIT = {1: 1000.0, 3: 0.001}
UNIT_MM = 2
_MEND = "its voxels have no position in space; convert the scan again from its source"


@dataclass(frozen=True)
class DicomSource:
    """The DICOM series that voxels were converted from; it names neither patient nor files.

    Attributes
    ----------
    number : int
        Of the series.
    description : str
        Of the series; empty where it names the patient.
    n_files : int
    sha256 : str
        Over all files, whatever their names and order.
    converter : str
        Version of dcm2niix.
    tesla : float or None
        Of the magnet; None where it is not recorded.
    """

    number: int
    description: str
    n_files: int
    sha256: str
    converter: str
    tesla: float | None = None


@dataclass(frozen=True, eq=False)
class FileGeometry:
    """The geometry as the file stores it, so that it can be written back bit for bit.

    Attributes
    ----------
    shape : tuple of int
        (I, J, K) as the file orders its voxels.
    affine : ndarray of float64, shape (4, 4)
        Voxel of the file to RAS+ mm, by the rule above.
    sform, qform : ndarray of float64, shape (4, 4)
        Both, in the file's unit; meaningful where their code is above 0.
    sform_code, qform_code : int
        0 unknown, 1 scanner, 2 aligned, 3 Talairach, 4 MNI, 5 other template.
    quaternion : tuple of float
        b, c, d, offset x, y, z, qfac: what the qform is stored as.
    zooms : tuple of float
        Voxel size along the file's axes, in the file's unit.
    units : int
        NIfTI's `xyzt_units`: spatial and time unit in one byte.
    version : int
        1 or 2, of NIfTI.
    intent : int
        What the voxels are, by NIfTI's `intent_code`; 0 where the header does not say. Results are
        scans, and are written with 0.
    path : Path or None
        Where the file was read from; None for DICOM.
    computed : bool
        True once the voxels are no longer those of the file, but computed on its grid.
    series_index, series_length : int
        Which volume of how many; 0 of 1 for a file of one volume.
    dicom : DicomSource or None
        The series that dcm2niix converted.
    stamp : tuple of int
        Of the files when they were read, as `stamp_of`; empty if unknown.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    sform: np.ndarray
    sform_code: int
    qform: np.ndarray
    qform_code: int
    quaternion: tuple[float, ...]
    zooms: tuple[float, float, float]
    units: int = UNIT_MM
    version: int = 1
    intent: int = 0
    path: Path | None = None
    computed: bool = False
    series_index: int = 0
    series_length: int = 1
    dicom: DicomSource | None = None
    stamp: tuple[int, ...] = ()

    @property
    def orientation(self) -> str:
        """Axis codes of the file, e.g. "LAS"."""
        return orientation_of(self.affine)

    @property
    def spatial_unit(self) -> str:
        """Unit of `zooms`, `sform` and `qform`."""
        return SPATIAL_UNITS.get(self.units & 7, "unknown")

    @property
    def time_unit(self) -> str:
        """Unit of the fourth axis."""
        return TIME_UNITS.get(self.units & 56, "unknown")


def orientation_of(affine: np.ndarray) -> str:
    """Return the axis codes of an affine, e.g. "RAS".

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to RAS+ mm.

    Returns
    -------
    str
        Three letters: where each voxel axis points.
    """
    return "".join(str(code) for code in aff2axcodes(affine))


def voxel_size_of(affine: np.ndarray) -> tuple[float, float, float]:
    """Return the lengths of a voxel's edges.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to mm.

    Returns
    -------
    tuple of float
        Along i, j and k, mm.
    """
    i, j, k = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return float(i), float(j), float(k)


def ras_grid(affine: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return affine and shape of a grid once its axes are brought to closest RAS+.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel of the file to RAS+ mm.
    shape : tuple of int
        (I, J, K) of the file.

    Returns
    -------
    affine : ndarray of float64, shape (4, 4)
        Voxel of the reordered array to RAS+ mm.
    shape : tuple of int
        (I, J, K) of the reordered array.
    """
    orientation = io_orientation(affine)  # type: ignore[no-untyped-call]
    moved = affine @ inv_ornt_aff(orientation, shape[:3])  # type: ignore[no-untyped-call]
    i, j, k = (shape[int(axis)] for axis in np.argsort(orientation[:, 0]))
    return np.asarray(moved, dtype=np.float64), (i, j, k)


def to_ras(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Bring a file's array to closest RAS+.

    Parameters
    ----------
    array : ndarray, shape (I, J, K) or (I, J, K, T)
        As the file orders it; further axes stay.
    affine : ndarray, shape (4, 4)
        Voxel of the file to RAS+ mm.

    Returns
    -------
    ndarray
        A view.
    """
    orientation = io_orientation(affine)  # type: ignore[no-untyped-call]
    return np.asarray(apply_orientation(array, orientation))  # type: ignore[no-untyped-call]


def from_ras(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Bring an array in closest RAS+ back to its file's order: the inverse of `to_ras`.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
        Closest RAS+.
    affine : ndarray, shape (4, 4)
        Voxel of the file to RAS+ mm.

    Returns
    -------
    ndarray
        A view.
    """
    there = io_orientation(affine)  # type: ignore[no-untyped-call]
    back = ornt_transform(axcodes2ornt("RAS"), there)  # type: ignore[no-untyped-call]
    return np.asarray(apply_orientation(array, back))  # type: ignore[no-untyped-call]


def check_affine(affine: np.ndarray, what: str) -> None:
    """Refuse an affine that cannot place a volume: NaN, infinite, or with axes that coincide.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to mm.
    what : str
        Begins the message: the file and which of its forms.

    Raises
    ------
    VolumeError
        If the affine cannot be inverted.
    """
    if affine.shape != (4, 4):
        raise VolumeError(f"{what} has shape {affine.shape}: expected (4, 4)")
    if not np.isfinite(affine).all():
        raise VolumeError(f"{what} holds NaN or infinite numbers: {_MEND}")
    if not np.array_equal(affine[3], (0, 0, 0, 1)):
        raise VolumeError(f"{what} must end in the row 0 0 0 1: {_MEND}")
    if np.abs(affine[:3]).max() > LARGEST_MM:
        raise VolumeError(f"{what} reaches {np.abs(affine[:3]).max():g} mm away: {_MEND}")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if sizes.min() < SMALLEST_MM:
        text = " x ".join(f"{size:g}" for size in sizes)
        raise VolumeError(f"{what} gives a voxel size of {text} mm: {_MEND}")
    if abs(np.linalg.det(affine[:3, :3] / sizes)) < SINGULAR:
        raise VolumeError(f"{what} is singular (its axes coincide): {_MEND}")


def quaternion_affine(quaternion: tuple[float, ...], zooms: tuple[float, ...]) -> np.ndarray:
    """Return the affine of a NIfTI quaternion and voxel sizes.

    Parameters
    ----------
    quaternion : tuple of float
        b, c, d, offset x, y, z, qfac.
    zooms : tuple of float
        Voxel sizes.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        NaN throughout if the quaternion is invalid.
    """
    b_c_d = np.array(quaternion[:3], dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        excess = b_c_d @ b_c_d - 1.0
    if not np.isfinite(excess) or excess > QUATERNION_EXCESS:
        return np.full((4, 4), np.nan)
    if excess > 0:  # the standard's own repair: a 180 degree rotation
        b_c_d /= np.sqrt(b_c_d @ b_c_d)
    w_x_y_z = fillpositive(b_c_d, 3 * np.finfo(np.float32).eps)
    scale = np.array(zooms) * (1, 1, quaternion[6])
    return np.asarray(from_matvec(quat2mat(w_x_y_z) * scale, quaternion[3:6]), dtype=np.float64)


def affine_quaternion(affine: np.ndarray) -> tuple[float, ...]:
    """Return b, c, d, offset x, y, z, qfac of an affine without shear.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to mm.

    Returns
    -------
    tuple of float
        What NIfTI stores as the qform besides the voxel sizes.
    """
    rotation = affine[:3, :3] / np.array(voxel_size_of(affine))
    qfac = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    rotation = rotation * (1, 1, qfac)
    left, _, right = np.linalg.svd(rotation)  # the nearest rotation, as NIfTI's own code does
    b_c_d = mat2quat(left @ right)[1:]
    return (*(float(v) for v in b_c_d), *(float(v) for v in affine[:3, 3]), qfac)


def centred_affine(shape: tuple[int, ...], zooms: tuple[float, ...]) -> np.ndarray:
    """Return the affine nibabel assumes without sform and qform: x to the left, origin centred.

    Parameters
    ----------
    shape : tuple of int
        (I, J, K).
    zooms : tuple of float
        Voxel sizes.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        Voxel to mm.
    """
    scale = np.array(zooms) * (-1, 1, 1)
    return np.asarray(from_matvec(np.diag(scale), -scale * (np.array(shape) - 1) / 2))


def geometry_of(
    affine: np.ndarray, shape: tuple[int, int, int], *, path: Path | None = None, code: int = 2
) -> FileGeometry:
    """Return the NIfTI geometry of an affine that was not read from a NIfTI file.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to RAS+ mm.
    shape : tuple of int
        (I, J, K).
    path : Path or None
        Where it was read from.
    code : int
        What sform and qform are aligned to: 1 scanner, 2 another image.

    Returns
    -------
    FileGeometry
        With an sform, and a qform where the axes are at right angles.
    """
    zooms = voxel_size_of(affine)
    quaternion = affine_quaternion(affine)
    return FileGeometry(
        shape=shape,
        affine=affine,
        sform=affine,
        sform_code=code,
        qform=quaternion_affine(quaternion, zooms),
        qform_code=0 if is_sheared(affine) else code,
        quaternion=quaternion,
        zooms=zooms,
        version=1 if max(shape) < 2**15 else 2,
        path=path,
    )


def note_oddities(geometry: FileGeometry, notes: list[str]) -> None:
    """Note where sform and qform or voxel size disagree, and shear.

    Parameters
    ----------
    geometry : FileGeometry
        With a valid affine.
    notes : list of str
        A sentence is added for each oddity.
    """
    if geometry.sform_code > 0 and geometry.qform_code > 0:
        factor = MM_PER_UNIT.get(geometry.units & 7, 1.0)
        apart = factor * largest_distance(geometry.sform, geometry.qform, geometry.shape)
        origin = factor * largest_distance(geometry.sform, geometry.qform, (1, 1, 1))
        if not np.isfinite(apart):
            notes.append("the qform is not a rotation; the sform was used")
        elif apart > FORMS_TOLERANCE_MM:
            notes.append(
                f"sform and qform disagree by up to {apart:.1f} mm ({origin:.1f} mm at the first "
                "voxel); the sform was used"
            )
    if is_sheared(geometry.affine):
        notes.append("the voxel axes are not at right angles (shear)")
    elif geometry.sform_code > 0 and geometry.qform_code == 0:
        sizes = voxel_size_of(geometry.sform)
        if not np.allclose(geometry.zooms, sizes, rtol=SIZES_TOLERANCE):
            stated, used = (
                " x ".join(f"{n:.3g}" for n in each) for each in (geometry.zooms, sizes)
            )
            notes.append(
                f"the header states voxels of {stated}, its sform {used}; the sform was used"
            )


def is_sheared(affine: np.ndarray) -> bool:
    """Return whether the axes of an affine are not at right angles.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to mm.

    Returns
    -------
    bool
        True beyond 0.06 degrees.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(directions.T @ directions - np.eye(3))
    return bool(cosines.max() > SHEAR_COSINE)


def largest_distance(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return how far apart two affines place the corners of a volume.

    Parameters
    ----------
    first, second : ndarray, shape (4, 4)
        Voxel to mm.
    shape : tuple of int
        (I, J, K).

    Returns
    -------
    float
        The largest distance, which no voxel inside exceeds. NaN or infinite if an affine is.
    """
    corners = np.array([(*c, 1.0) for c in np.ndindex(2, 2, 2)])
    corners[:, :3] *= np.array(shape) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.linalg.norm((corners @ (first - second).T)[:, :3], axis=1).max())
