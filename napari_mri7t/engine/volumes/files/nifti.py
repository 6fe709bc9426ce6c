"""Headers of NIfTI-1 and NIfTI-2, checked field by field before any voxel is read.

What nibabel repairs silently is refused here, or noted in the `warnings` of `ImageHeader`.
https://nifti.nimh.nih.gov/nifti-1
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import header_dtype as nifti1_dtype
from nibabel.nifti2 import header_dtype as nifti2_dtype

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.contents import what_is_it
from napari_mri7t.engine.volumes.files.geometry import (
    MM_PER_UNIT,
    SPATIAL_UNITS,
    UNIT_MM,
    FileGeometry,
    centred_affine,
    check_affine,
    note_oddities,
    quaternion_affine,
    voxel_size_of,
)
from napari_mri7t.engine.volumes.files.headers import DAMAGED, FROM_SOURCE, ImageHeader, as_series
from napari_mri7t.engine.volumes.files.streams import is_compressed

TO_NII = "rename it to .nii"
SPATIAL_BITS = 7  # of `xyzt_units`
SMALLEST_VOXEL_MM, LARGEST_VOXEL_MM = 0.02, 50.0  # of an image of a head, with room on both sides
HUGE_SLOPE = 1e6  # scanners use up to about 1e3
NIFTI_DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8",
    256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
NIFTI_UNFIT = {
    1: "single bits", 32: "complex numbers", 1792: "complex numbers", 2048: "complex numbers",
    128: "RGB colours", 2304: "RGBA colours", 1536: "128-bit numbers",
}  # fmt: skip


def parse_nifti(block: bytes, path: Path, *, paired: bool) -> ImageHeader:
    """Check the first bytes of a NIfTI file, and return where and how its voxels are stored.

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
        Checked; whether the file is long enough for its sizes is not known yet.

    Raises
    ------
    VolumeError
        If it is not NIfTI, or no 3-D volume or series of volumes.
    """
    raw, version = _fields(block, path, paired)
    shape, n_volumes = _shape([int(n) for n in raw["dim"]], path)
    dtype = _dtype(int(raw["datatype"]), path).newbyteorder(raw.dtype["dim"].base.byteorder)
    notes: list[str] = []
    if int(raw["bitpix"]) != dtype.itemsize * 8:
        notes.append(
            f"bits per voxel ({int(raw['bitpix'])}) contradict the datatype ({dtype.name}); "
            "the datatype was used"
        )
    offset = _offset(raw, block, path, notes, paired)
    geometry = _geometry(raw, shape, version, path, notes)
    slope, intercept = _scaling(float(raw["scl_slope"]), float(raw["scl_inter"]), notes)
    return ImageHeader(geometry, n_volumes, dtype, offset, slope, intercept, warnings=tuple(notes))


def _fields(block: bytes, path: Path, paired: bool) -> tuple[np.void, int]:
    for version, dtype in ((1, nifti1_dtype), (2, nifti2_dtype)):
        for ordered in (dtype.newbyteorder("<"), dtype.newbyteorder(">")):
            if len(block) < dtype.itemsize:
                continue
            raw: np.void = np.frombuffer(block, ordered, count=1)[0]
            if int(raw["sizeof_hdr"]) != dtype.itemsize:
                continue
            magic = bytes(raw["magic"])
            single, pair = (b"n+1", b"ni1") if version == 1 else (b"n+2", b"ni2")
            if magic == (pair if paired else single):
                _check_line_ends(raw, path)
                return raw, version
            if magic in (single, pair):
                raise VolumeError(f"{path}: {_contrary(magic, len(block) - dtype.itemsize)}")
            raise VolumeError(
                f"{path}: has no NIfTI signature (Analyze 7.5, or damaged), so left and right "
                "are not known: convert the scan again from its source to NIfTI"
            )
    raise VolumeError(f"{path}: {what_is_it(block, path, unfolded=is_compressed(path))}")


def _contrary(magic: bytes, n_more: int) -> str:
    """Return what is wrong with a magic that contradicts the file's name, and what to do.

    `n_more` bytes follow the header; 4 of them say whether there is an extension.
    """
    name = magic.decode()
    if magic.startswith(b"ni"):
        if n_more <= 4:
            return (
                f"is only the header of a pair (its magic is {name}), and its voxels are in an "
                ".img file: rename it to .hdr, beside its .img"
            )
        return (
            f"its header says that its voxels are in another file (its magic is {name}, of a .hdr "
            f"and .img pair), yet it goes on after the header: {FROM_SOURCE}, or set the magic to "
            f"{name.replace('i', '+')}"
        )
    if n_more > 4:
        return f"its header says that it holds the voxels, too (its magic is {name}): {TO_NII}"
    return (
        f"its header says that it holds the voxels, too (its magic is {name}), but it ends after "
        f"the header: {FROM_SOURCE}"
    )


def _check_line_ends(raw: np.void, path: Path) -> None:
    """Check the four bytes of NIfTI-2 that a transfer as text changes."""
    names = raw.dtype.names or ()
    if "eol_check" in names and tuple(raw["eol_check"]) not in ((0, 0, 0, 0), (13, 10, 26, 10)):
        raise VolumeError(f"{path}: was damaged by a transfer as text: copy it again as binary")


def _shape(dim: list[int], path: Path) -> tuple[tuple[int, int, int], int]:
    n_dims = dim[0]
    if not 1 <= n_dims <= 7:
        raise VolumeError(f"{path}: declares {n_dims} dimensions: {DAMAGED}")
    return as_series(dim[1 : n_dims + 1], path)


def _dtype(code: int, path: Path) -> np.dtype[Any]:
    if code in NIFTI_DTYPES:
        return np.dtype(NIFTI_DTYPES[code])
    if code in NIFTI_UNFIT:
        raise VolumeError(
            f"{path}: stores {NIFTI_UNFIT[code]}: use a volume of real numbers (a T1w image)"
        )
    raise VolumeError(f"{path}: declares the unknown datatype {code}: {DAMAGED}")


def _offset(raw: np.void, block: bytes, path: Path, notes: list[str], paired: bool) -> int:
    declared = float(raw["vox_offset"])
    least = 0 if paired else raw.dtype.itemsize + 4
    if not isfinite(declared) or not (declared == 0 or declared >= least) or declared > 2**62:
        raise VolumeError(f"{path}: declares its voxels at byte {declared:g}: {DAMAGED}")
    offset = max(int(declared), least)
    flag = block[raw.dtype.itemsize : raw.dtype.itemsize + 4]
    if flag[:1] not in (b"", b"\0") and not _has_extension(block, raw, offset, paired):
        notes.append("the header declares an extension but has none; it was ignored")
    return offset


def _has_extension(block: bytes, raw: np.void, offset: int, paired: bool) -> bool:
    start = raw.dtype.itemsize + 4
    sizes = np.frombuffer(block[start : start + 4].ljust(4, b"\0"), raw.dtype["sizeof_hdr"])
    size = int(sizes[0])
    return size >= 16 and size % 16 == 0 and (paired or start + size <= offset)


def _scaling(slope: float, intercept: float, notes: list[str]) -> tuple[float, float]:
    """Return slope and intercept; by the standard, a slope of 0 means no scaling."""
    if slope == 0 or not isfinite(slope):
        notes.append(f"the intensity slope is {slope:g}; the stored values were used unscaled")
        return 1.0, 0.0
    if not isfinite(intercept):
        notes.append(f"the intensity intercept is {intercept:g}; 0 was used")
        intercept = 0.0
    if abs(slope) > HUGE_SLOPE:
        notes.append(f"the intensity slope is huge ({slope:g}); it was applied as declared")
    return slope, intercept


def _geometry(
    raw: np.void, shape: tuple[int, int, int], version: int, path: Path, notes: list[str]
) -> FileGeometry:
    """Read sform and qform, choose one, and note what is unusual."""
    zooms = _zooms([float(z) for z in raw["pixdim"][1:4]], path, notes)
    codes = [_form_code(int(raw[f"{form}_code"]), form, notes) for form in ("sform", "qform")]
    qfac = -1.0 if float(raw["pixdim"][0]) < 0 else 1.0
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    quaternion = (*(float(raw[name]) for name in names), qfac)
    sform = np.eye(4)
    sform[:3] = [raw["srow_x"], raw["srow_y"], raw["srow_z"]]
    forms = {"sform": sform, "qform": quaternion_affine(quaternion, zooms)}
    affine = _choose_affine(forms, codes, centred_affine(shape, zooms), path, notes)
    units = _units(int(raw["xyzt_units"]), voxel_size_of(affine), notes)
    geometry = FileGeometry(
        shape=shape,
        affine=_in_mm(affine, units),
        sform=sform,
        sform_code=codes[0],
        qform=forms["qform"],
        qform_code=codes[1],
        quaternion=quaternion,
        zooms=zooms,
        units=units,
        version=version,
        intent=int(raw["intent_code"]),
        path=path,
    )
    note_oddities(geometry, notes)
    return geometry


def _zooms(zooms: list[float], path: Path, notes: list[str]) -> tuple[float, float, float]:
    if not all(isfinite(zoom) and zoom != 0 for zoom in zooms):
        text = " x ".join(f"{zoom:g}" for zoom in zooms)
        raise VolumeError(f"{path}: declares a voxel size of {text}: {FROM_SOURCE}")
    if min(zooms) < 0:
        notes.append("a voxel size is negative; its absolute value was used")
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
        "neither sform nor qform is set, so position and left-right orientation are unknown; x was "
        "assumed to run to the left"
    )
    check_affine(assumed, f"{path}: its voxel size")
    return assumed


def _units(units: int, zooms: tuple[float, ...], notes: list[str]) -> int:
    """Return `xyzt_units`; the unit of length is mm where the declared one cannot be."""
    code = units & SPATIAL_BITS
    unit, factor = SPATIAL_UNITS.get(code, f"unit {code}"), MM_PER_UNIT.get(code)
    as_declared = [zoom * (factor or 1.0) for zoom in zooms]
    as_mm = units & ~SPATIAL_BITS | UNIT_MM
    if code not in SPATIAL_UNITS:
        notes.append(
            f"the header's unit of length, code {code}, is unknown to NIfTI; it was taken as mm"
        )
        return as_mm
    if factor is None:
        return as_mm  # also where none is declared: BIDS asks for it
    size = " x ".join(f"{zoom:g}" for zoom in as_declared)
    if not _is_plausible(as_declared) and _is_plausible(zooms):
        notes.append(
            f"the header gives lengths in {unit}, so that a voxel would measure {size} mm; they "
            "were taken as mm, also in what is saved"
        )
        return as_mm
    notes.append(f"lengths are stored in {unit}; they were converted to mm: {size} a voxel")
    return units


def _is_plausible(zooms: Sequence[float]) -> bool:
    return min(zooms) >= SMALLEST_VOXEL_MM and max(zooms) <= LARGEST_VOXEL_MM


def _in_mm(affine: np.ndarray, units: int) -> np.ndarray:
    factor = MM_PER_UNIT.get(units & SPATIAL_BITS, 1.0)
    converted = affine.copy()
    converted[:3] *= factor
    return converted
