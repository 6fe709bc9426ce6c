"""Headers of FreeSurfer's .mgh and .mgz.

https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat
"""

from pathlib import Path

import numpy as np
from nibabel.affines import from_matvec
from nibabel.freesurfer.mghformat import DATA_OFFSET, header_dtype

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.contents import what_is_it
from napari_mri7t.engine.volumes.files.geometry import check_affine, geometry_of, note_oddities
from napari_mri7t.engine.volumes.files.headers import DAMAGED, ImageHeader, as_series
from napari_mri7t.engine.volumes.files.streams import AGAIN, is_compressed

VERSION_1 = b"\0\0\0\1"
MGH_DTYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
SLACK_BYTES = 1 << 24  # tags after the voxels: command lines, transforms, colour tables


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
        With the geometry of a NIfTI-1 file at the same place.

    Raises
    ------
    VolumeError
        If it is not MGH, or no volume or series of volumes.
    """
    if block[:4] != VERSION_1:
        raise VolumeError(f"{path}: {what_is_it(block, path, unfolded=is_compressed(path))}")
    if len(block) < DATA_OFFSET:
        raise VolumeError(f"{path}: is cut short: it ends in its header: {AGAIN}")
    raw = np.frombuffer(block, header_dtype, count=1)[0]
    shape, n_volumes = as_series([int(n) for n in raw["dims"]], path)
    code = int(raw["type"])
    if code not in MGH_DTYPES:
        raise VolumeError(f"{path}: declares the unknown datatype {code}: {DAMAGED}")
    notes: list[str] = []
    affine = _mgh_affine(raw, shape, notes)
    check_affine(affine, f"{path}: its affine")
    geometry = geometry_of(affine, shape, path=path, code=1)
    note_oddities(geometry, notes)
    return ImageHeader(
        geometry,
        n_volumes,
        np.dtype(MGH_DTYPES[code]),
        DATA_OFFSET,
        slack=SLACK_BYTES,
        warnings=tuple(notes),
    )


def _mgh_affine(raw: np.void, shape: tuple[int, int, int], notes: list[str]) -> np.ndarray:
    if int(raw["goodRASFlag"]) > 0:
        with np.errstate(over="ignore", invalid="ignore"):  # check_affine comes next
            scaled = raw["Mdc"].T.astype(np.float64) * raw["delta"]
        centre = np.asarray(raw["Pxyz_c"], dtype=np.float64)
    else:
        notes.append("the file has no orientation; FreeSurfer's coronal default was used")
        scaled = np.array([(-1.0, 0, 0), (0, 0, 1.0), (0, -1.0, 0)])
        centre = np.zeros(3)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(from_matvec(scaled, centre - scaled @ (np.array(shape) / 2)))
