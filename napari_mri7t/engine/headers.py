"""Headers of NIfTI-1, NIfTI-2 and MGH, checked field by field before any voxel is read.

Only the first bytes of a file are looked at. What nibabel repairs silently is refused here or put
into words: see `warnings` of `ImageHeader`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import from_matvec, voxel_sizes
from nibabel.freesurfer import mghformat
from nibabel.nifti1 import header_dtype as nifti1_dtype
from nibabel.nifti2 import header_dtype as nifti2_dtype

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.geometry import (
    FORMS_TOLERANCE_MM,
    MM_PER_UNIT,
    SPATIAL_UNITS,
    FileGeometry,
    affine_quaternion,
    centred_affine,
    check_affine,
    is_sheared,
    largest_distance,
    quaternion_affine,
)

HEADER_BYTES = 560  # NIfTI-2: 540, 4 of the extension flag, 16 of the first extension
HUGE_SLOPE = 1e6  # scanners use up to about 1e3
NIFTI_SLACK_BYTES = 4096  # padding to a block or page after the voxels
MGH_SLACK_BYTES = 1 << 24  # tags after the voxels: command lines, transforms, colour tables

NIFTI_DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
NIFTI_UNFIT = {
    1: "single bits", 32: "complex numbers", 1792: "complex numbers", 2048: "complex numbers",
    128: "RGB colours", 2304: "RGBA colours", 1536: "128-bit numbers",
}  # fmt: skip
MGH_DTYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """What is needed to read the voxels, whatever the format.

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
        What is odd, in plain words.
    """

    geometry: FileGeometry
    n_volumes: int
    dtype: np.dtype[Any]
    offset: int
    slope: float = 1.0
    intercept: float = 0.0
    slack: int = NIFTI_SLACK_BYTES
    warnings: tuple[str, ...] = field(default=())

    @property
    def n_voxels(self) -> int:
        """Voxels of one volume."""
        i, j, k = self.geometry.shape
        return i * j * k

    @property
    def end(self) -> int:
        """Bytes up to the last voxel of the last volume."""
        return self.offset + self.n_volumes * self.n_voxels * self.dtype.itemsize


def parse_nifti(block: bytes, path: Path, *, paired: bool) -> ImageHeader:
    """Check the first bytes of a NIfTI file and say where and how its voxels lie.

    Parameters
    ----------
    block : bytes
        The first `HEADER_BYTES` of the file, fewer if it is shorter.
    path : Path
        For messages.
    paired : bool
        True for .hdr, whose voxels are in the .img beside it.

    Returns
    -------
    ImageHeader
        Checked; its sizes are still only a claim about the rest of the file.

    Raises
    ------
    VolumeError
        If it is not NIfTI or cannot be a 3-D volume or a series of them.
    """
    raw, version = _nifti_fields(block, path, paired)
    shape, n_volumes = _nifti_shape([int(n) for n in raw["dim"]], path)
    dtype = _nifti_dtype(int(raw["datatype"]), path).newbyteorder(raw.dtype["dim"].base.byteorder)
    notes: list[str] = []
    if int(raw["bitpix"]) != dtype.itemsize * 8:
        notes.append(
            f"bits per voxel ({int(raw['bitpix'])}) contradict the datatype ({dtype.name}); "
            "the datatype was followed"
        )
    offset = _nifti_offset(raw, block, path, notes, paired)
    geometry = _nifti_geometry(raw, shape, version, path, notes)
    slope, intercept = _nifti_scaling(float(raw["scl_slope"]), float(raw["scl_inter"]), notes)
    return ImageHeader(geometry, n_volumes, dtype, offset, slope, intercept, warnings=tuple(notes))


def _nifti_fields(block: bytes, path: Path, paired: bool) -> tuple[np.void, int]:
    for version, dtype in ((1, nifti1_dtype), (2, nifti2_dtype)):
        for order in "<>":
            ordered = dtype.newbyteorder(order)
            if len(block) < dtype.itemsize:
                continue
            raw: np.void = np.frombuffer(block, ordered, count=1)[0]
            if int(raw["sizeof_hdr"]) != dtype.itemsize:
                continue
            magic = bytes(raw["magic"])[:3]
            single, pair = (b"n+1", b"ni1") if version == 1 else (b"n+2", b"ni2")
            if magic == (pair if paired else single):
                return raw, version
            if magic in (single, pair):
                other = "one file (.nii)" if paired else "a pair (.hdr and .img)"
                raise VolumeError(f"{path}: its header says it belongs to {other}: rename it")
            raise VolumeError(
                f"{path}: has no NIfTI signature (Analyze 7.5, or damaged), so left and right "
                "are not known: convert the scan again from its source to NIfTI"
            )
    raise VolumeError(f"{path}: {_what_is_it(block)}")


def _what_is_it(block: bytes) -> str:
    """Say in words what stands under a NIfTI name, and what to do."""
    start = block.lstrip()[:64].lower()
    if block.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the image: fetch the image with 'git lfs pull'"
    if block.startswith(b"\x1f\x8b"):
        return "is gzip-compressed but its name does not end in .gz: rename it"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return "is a web page or XML, not an image: download the file again"
    if block and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in block):
        return "is a text file, not an image: check that it was downloaded or copied whole"
    if len(block) < nifti1_dtype.itemsize:
        return f"holds only {len(block)} bytes, less than a NIfTI header: copy it again"
    return "is not a NIfTI file: give a .nii, .nii.gz, .hdr/.img or .mgz file"


def _nifti_shape(dim: list[int], path: Path) -> tuple[tuple[int, int, int], int]:
    n_dims = dim[0]
    if not 1 <= n_dims <= 7:
        raise VolumeError(f"{path}: declares {n_dims} dimensions: {_DAMAGED}")
    sizes = dim[1 : n_dims + 1]
    text = " x ".join(str(n) for n in sizes)
    if min(sizes) < 1:
        raise VolumeError(f"{path}: declares {text} voxels, a size below 1: {_DAMAGED}")
    return _as_series(sizes, text, path)


def _as_series(sizes: list[int], text: str, path: Path) -> tuple[tuple[int, int, int], int]:
    spatial = sizes[:3]
    if len(spatial) < 3 or min(spatial) == 1:
        raise VolumeError(f"{path}: is 2-D ({text}): give a 3-D volume of two slices or more")
    if any(n > 1 for n in sizes[4:]):
        raise VolumeError(f"{path}: has more than 4 dimensions ({text}): give a 3-D volume")
    return (spatial[0], spatial[1], spatial[2]), (sizes[3] if len(sizes) > 3 else 1)


_DAMAGED = "the header is damaged; copy the file again"


def _nifti_dtype(code: int, path: Path) -> np.dtype[Any]:
    if code in NIFTI_DTYPES:
        return np.dtype(NIFTI_DTYPES[code])
    if code in NIFTI_UNFIT:
        raise VolumeError(
            f"{path}: stores {NIFTI_UNFIT[code]}: give a volume of real numbers (a T1w image)"
        )
    raise VolumeError(f"{path}: declares the unknown datatype {code}: {_DAMAGED}")


def _nifti_offset(raw: np.void, block: bytes, path: Path, notes: list[str], paired: bool) -> int:
    declared = float(raw["vox_offset"])
    least = 0 if paired else raw.dtype.itemsize + 4
    if not isfinite(declared) or not (declared == 0 or declared >= least) or declared > 2**62:
        raise VolumeError(f"{path}: declares its voxels at byte {declared:g}: {_DAMAGED}")
    offset = max(int(declared), least)
    flag = block[raw.dtype.itemsize : raw.dtype.itemsize + 4]
    if flag[:1] not in (b"", b"\0") and not _has_extension(block, raw, offset, paired):
        notes.append("the header announces an extension but holds none; it was ignored")
    return offset


def _has_extension(block: bytes, raw: np.void, offset: int, paired: bool) -> bool:
    start = raw.dtype.itemsize + 4
    sizes = np.frombuffer(block[start : start + 4].ljust(4, b"\0"), raw.dtype["sizeof_hdr"])
    size = int(sizes[0])
    return size >= 16 and size % 16 == 0 and (paired or start + size <= offset)


def _nifti_scaling(slope: float, intercept: float, notes: list[str]) -> tuple[float, float]:
    """Follow the standard: a slope of 0 means no scaling; so, here, does one that is no number."""
    if slope == 0 or not isfinite(slope):
        notes.append(f"the intensity slope is {slope:g}; the stored numbers were taken unscaled")
        return 1.0, 0.0
    if not isfinite(intercept):
        notes.append(f"the intensity intercept is {intercept:g}; 0 was taken")
        intercept = 0.0
    if abs(slope) > HUGE_SLOPE:
        notes.append(f"the intensity slope is huge ({slope:g}); it was applied as declared")
    return slope, intercept


def _nifti_geometry(
    raw: np.void, shape: tuple[int, int, int], version: int, path: Path, notes: list[str]
) -> FileGeometry:
    zooms = _nifti_zooms([float(z) for z in raw["pixdim"][1:4]], path, notes)
    codes = [_form_code(int(raw[f"{form}_code"]), form, notes) for form in ("sform", "qform")]
    qfac = -1.0 if float(raw["pixdim"][0]) < 0 else 1.0
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    quaternion = (*(float(raw[name]) for name in names), qfac)
    sform = np.eye(4)
    sform[:3] = [raw["srow_x"], raw["srow_y"], raw["srow_z"]]
    forms = {"sform": sform, "qform": quaternion_affine(quaternion, zooms)}
    affine = _choose_affine(forms, codes, centred_affine(shape, zooms), path, notes)
    units = int(raw["xyzt_units"])
    geometry = FileGeometry(
        shape=shape,
        affine=_in_mm(affine, units, notes),
        sform=sform,
        sform_code=codes[0],
        qform=forms["qform"],
        qform_code=codes[1],
        quaternion=quaternion,
        zooms=zooms,
        units=units,
        version=version,
        path=path,
    )
    _note_oddities(geometry, notes)
    return geometry


def _nifti_zooms(zooms: list[float], path: Path, notes: list[str]) -> tuple[float, float, float]:
    if not all(isfinite(zoom) and zoom != 0 for zoom in zooms):
        text = " x ".join(f"{zoom:g}" for zoom in zooms)
        raise VolumeError(
            f"{path}: declares a voxel size of {text}: convert the scan again from its source"
        )
    if min(zooms) < 0:
        notes.append("a voxel size is negative; its absolute value was taken")
    return abs(zooms[0]), abs(zooms[1]), abs(zooms[2])


def _form_code(code: int, form: str, notes: list[str]) -> int:
    if 0 <= code <= 5:
        return code
    notes.append(f"the {form} code {code} is unknown to NIfTI; the {form} was ignored")
    return 0


def _choose_affine(
    forms: Mapping[str, np.ndarray],
    codes: list[int],
    assumed: np.ndarray,
    path: Path,
    notes: list[str],
) -> np.ndarray:
    for (form, affine), code in zip(forms.items(), codes, strict=True):
        if code > 0:
            check_affine(affine, f"{path}: its {form}")
            return affine
    notes.append(
        "neither sform nor qform is set: where the head lies, and which side is left, is not "
        "known; x was taken to run to the left"
    )
    check_affine(assumed, f"{path}: its voxel size")
    return assumed


def _in_mm(affine: np.ndarray, units: int, notes: list[str]) -> np.ndarray:
    factor = MM_PER_UNIT.get(units & 7)
    if factor is None:
        return affine
    notes.append(f"lengths are stored in {SPATIAL_UNITS[units & 7]}; they were converted to mm")
    converted = affine.copy()
    converted[:3] *= factor
    return converted


def _note_oddities(geometry: FileGeometry, notes: list[str]) -> None:
    if geometry.sform_code > 0 and geometry.qform_code > 0:
        if not np.isfinite(geometry.qform).all():
            notes.append("the qform is no rotation; the sform was followed")
        else:
            apart = largest_distance(geometry.sform, geometry.qform, geometry.shape)
            apart *= MM_PER_UNIT.get(geometry.units & 7, 1.0)
            if apart > FORMS_TOLERANCE_MM:
                notes.append(
                    f"sform and qform disagree by up to {apart:.1f} mm; the sform was followed"
                )
    if is_sheared(geometry.affine):
        notes.append("the voxel axes are not at right angles (shear)")


def parse_mgh(block: bytes, path: Path) -> ImageHeader:
    """Check the first bytes of an MGH file (FreeSurfer's .mgh, .mgz).

    Parameters
    ----------
    block : bytes
        The first `HEADER_BYTES` of the file.
    path : Path
        For messages.

    Returns
    -------
    ImageHeader
        With the geometry that a NIfTI-1 file of the same place would have.

    Raises
    ------
    VolumeError
        If it is not MGH or cannot be a volume or series.
    """
    if len(block) < mghformat.DATA_OFFSET:
        raise VolumeError(f"{path}: {_what_is_it(block).replace('NIfTI', 'MGH')}")
    raw = np.frombuffer(block, mghformat.header_dtype, count=1)[0]
    if int(raw["version"]) != 1:
        raise VolumeError(f"{path}: is not an MGH file of version 1: copy or convert it again")
    sizes = [int(n) for n in raw["dims"]]
    text = " x ".join(str(n) for n in sizes)
    if min(sizes) < 1:
        raise VolumeError(f"{path}: declares {text} voxels, a size below 1: {_DAMAGED}")
    shape, n_volumes = _as_series(sizes, text, path)
    code = int(raw["type"])
    if code not in MGH_DTYPES:
        raise VolumeError(f"{path}: declares the unknown datatype {code}: {_DAMAGED}")
    notes: list[str] = []
    affine = _mgh_affine(raw, shape, notes)
    check_affine(affine, f"{path}: its affine")
    geometry = geometry_of(affine, shape, path=path, code=1)
    _note_oddities(geometry, notes)
    return ImageHeader(
        geometry,
        n_volumes,
        np.dtype(MGH_DTYPES[code]),
        mghformat.DATA_OFFSET,
        slack=MGH_SLACK_BYTES,
        warnings=tuple(notes),
    )


def _mgh_affine(raw: np.void, shape: tuple[int, int, int], notes: list[str]) -> np.ndarray:
    if int(raw["goodRASFlag"]) > 0:
        scaled = np.asarray(raw["Mdc"].T * raw["delta"], dtype=np.float64)
        centre = np.asarray(raw["Pxyz_c"], dtype=np.float64)
    else:
        notes.append("the file gives no orientation; FreeSurfer's coronal one was taken")
        scaled = np.array([(-1.0, 0, 0), (0, 0, 1.0), (0, -1.0, 0)])
        centre = np.zeros(3)
    return np.asarray(from_matvec(scaled, centre - scaled @ (np.array(shape) / 2)))


def geometry_of(
    affine: np.ndarray, shape: tuple[int, int, int], *, path: Path | None = None, code: int = 2
) -> FileGeometry:
    """Return the NIfTI geometry of an affine that comes from no NIfTI file.

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
    i, j, k = (float(size) for size in voxel_sizes(affine))
    quaternion = affine_quaternion(affine)
    return FileGeometry(
        shape=shape,
        affine=affine,
        sform=affine,
        sform_code=code,
        qform=quaternion_affine(quaternion, (i, j, k)),
        qform_code=0 if is_sheared(affine) else code,
        quaternion=quaternion,
        zooms=(i, j, k),
        version=1 if max(shape) < 2**15 else 2,
        path=path,
    )
