"""The two forms of a NIfTI header, sform and qform: which one counts, and what is odd there."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

import numpy as np

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.files.geometry import (
    MM_PER_UNIT,
    SPATIAL_UNITS,
    FileGeometry,
    centred_affine,
    check_affine,
    note_oddities,
    quaternion_affine,
)


def nifti_geometry(
    raw: np.void, shape: tuple[int, int, int], version: int, path: Path, notes: list[str]
) -> FileGeometry:
    """Read both forms, choose one, and say what is odd.

    Parameters
    ----------
    raw : numpy.void
        The header's fields.
    shape : tuple of int
        (I, J, K).
    version : int
        1 or 2, of NIfTI.
    path : Path
        The file.
    notes : list of str
        Gets a sentence for each oddity.

    Returns
    -------
    FileGeometry
        With the affine that counts, in mm.

    Raises
    ------
    VolumeError
        If a voxel size is 0 or no number, or the form that counts maps no volume.
    """
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
    note_oddities(geometry, notes)
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
