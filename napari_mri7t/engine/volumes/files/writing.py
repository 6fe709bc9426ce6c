"""NIfTI files of float32 voxels, with a new header that copies the geometry only."""

import gzip
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import igzip
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from napari_mri7t.engine.atomic import Writer, check_target, write_together
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.geometry import FileGeometry
from napari_mri7t.engine.volumes.files.streams import extension_of, sidecar_of

OUTPUT_EXTENSIONS = (".nii.gz", ".nii")
# For the header of a computed image, whose sidecar may get lost; 79 bytes at most.
BRIEF_NOTICE = "Synthetic: may add or remove lesions; for research, not for diagnosis"
GZIP_LEVEL = 1  # of isal, 0 to 3: smaller than zlib's level 1 at a tenth of its time


def nifti_header(geometry: FileGeometry, description: str = "") -> bytes:
    """Return the bytes before the first voxel: geometry and datatype, nothing else of the source.

    Parameters
    ----------
    geometry : FileGeometry
        Of the file to write.
    description : str
        ASCII, 79 bytes at most.

    Returns
    -------
    bytes
        Header and the empty extension flag, little-endian.
    """
    header = (Nifti1Header if geometry.version == 1 else Nifti2Header)(endianness="<")
    header.set_data_shape(geometry.shape)
    header.set_data_dtype(np.float32)
    raw = header.structarr
    raw["pixdim"][0] = geometry.quaternion[6]
    raw["pixdim"][1:4] = geometry.zooms
    is_rotation = bool(np.isfinite(geometry.quaternion).all())
    raw["sform_code"] = geometry.sform_code
    raw["qform_code"] = geometry.qform_code if is_rotation else 0
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    for name, value in zip(names, geometry.quaternion, strict=False):
        raw[name] = value if is_rotation else 0
    for name, row in zip(("srow_x", "srow_y", "srow_z"), geometry.sform, strict=False):
        raw[name] = np.where(np.isfinite(row), row, 0)
    raw["xyzt_units"] = geometry.units
    raw["scl_slope"], raw["scl_inter"] = 1, 0
    raw["descrip"] = description.encode("ascii")
    raw["vox_offset"] = header.single_vox_offset
    return bytes(header.binaryblock) + bytes(4)


def write_image(
    array: np.ndarray,
    geometry: FileGeometry,
    path: Path,
    *,
    overwrite: bool,
    sidecar: Mapping[str, Any] | None,
) -> None:
    """Write an image and its sidecar, if there is one: both or neither.

    The sidecar is placed first: a kill between the two leaves a sidecar without an image, never a
    synthetic image without its sidecar.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
        In the file's own orientation, finite throughout.
    geometry : FileGeometry
        Of that orientation.
    path : Path
        .nii or .nii.gz.
    overwrite : bool
        True replaces existing files.
    sidecar : mapping or None
        Written as JSON beside the image; if it says Synthetic, so does the header.

    Raises
    ------
    Mri7tError
        If the path is unsuitable, the array holds NaN, or writing fails.
    """
    if extension_of(path) not in OUTPUT_EXTENSIONS:
        raise VolumeError(f"{path}: unknown extension for saving: use .nii.gz or .nii")
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):  # both pass NaN on
        raise VolumeError(f"{path}: the volume holds NaN or infinite voxels: nothing was saved")
    _refuse_own_source(path, geometry.path, overwrite)
    check_target(path, overwrite=overwrite)  # so that the error names the image, not its sidecar
    description = BRIEF_NOTICE if sidecar is not None and sidecar.get("Synthetic") else ""
    parts: list[tuple[Path, Writer]] = [(path, _image_writer(array, geometry, path, description))]
    if sidecar is not None:
        parts.insert(0, (sidecar_of(path), json_writer(sidecar)))
    write_together(parts, overwrite=overwrite)


def _refuse_own_source(path: Path, source: Path | None, overwrite: bool) -> None:
    if overwrite or source is None:
        return
    try:
        is_source = os.path.samefile(source, path)
    except OSError:  # one of them is not there
        return
    if is_source:
        raise VolumeError(
            f"{path}: is the file the volume was read from: choose another name, or allow "
            "overwriting",
            argument="overwrite",
        )


def _image_writer(
    array: np.ndarray, geometry: FileGeometry, path: Path, description: str = ""
) -> Writer:
    """Return a function that writes a volume; a .gz holds no date: same volume, same bytes."""
    header = nifti_header(geometry, description)

    def write(file: BinaryIO) -> None:
        if path.name.lower().endswith(".gz"):
            with igzip.IGzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as folded:
                _write_plain(folded, array, header)
        else:
            _write_plain(file, array, header)

    return write


def _write_plain(file: BinaryIO | gzip.GzipFile, array: np.ndarray, header: bytes) -> None:
    file.write(header)
    for k in range(array.shape[2]):
        file.write(array[:, :, k].astype("<f4").tobytes(order="F"))


def json_writer(content: Mapping[str, Any]) -> Writer:
    """Return a function that writes a sidecar; NaN, which JSON lacks, is refused."""
    text = json.dumps(dict(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name that is not UTF-8 holds lone surrogates: \udcff is their spelling in JSON too.
    data = text.encode("utf-8", "backslashreplace")
    return lambda file: file.write(data)
