"""NIfTI bytes: a fresh header with the geometry copied, and float32 voxels."""

import gzip
from pathlib import Path
from typing import BinaryIO

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from napari_mri7t.engine.atomic import Writer
from napari_mri7t.engine.geometry import FileGeometry

OUTPUT_EXTENSIONS = (".nii.gz", ".nii")
GZIP_LEVEL = 1  # noise hardly compresses: level 6 takes 4 times as long for 3 % less


def nifti_header(geometry: FileGeometry) -> bytes:
    """Return the bytes before the first voxel: geometry, float32, and nothing else of the source.

    Parameters
    ----------
    geometry : FileGeometry
        Of the file that is written.

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
    raw["sform_code"], raw["qform_code"] = geometry.sform_code, geometry.qform_code
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    for name, value in zip(names, geometry.quaternion, strict=False):
        raw[name] = value if np.isfinite(value) else 0
    for name, row in zip(("srow_x", "srow_y", "srow_z"), geometry.sform, strict=False):
        raw[name] = np.where(np.isfinite(row), row, 0)
    raw["xyzt_units"] = geometry.units
    raw["scl_slope"], raw["scl_inter"] = 1, 0
    raw["vox_offset"] = header.single_vox_offset
    return bytes(header.binaryblock) + bytes(4)


def nifti_writer(array: np.ndarray, geometry: FileGeometry, path: Path) -> Writer:
    """Return a function that writes a volume into an open file.

    Parameters
    ----------
    array : ndarray, shape (I, J, K)
        In the file's own orientation.
    geometry : FileGeometry
        Of that orientation.
    path : Path
        The target: .gz is compressed, without a date, so that the same volume gives the same bytes.

    Returns
    -------
    callable
        For `write_atomically`.
    """

    def write(file: BinaryIO) -> None:
        if path.name.lower().endswith(".gz"):
            with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as folded:
                _write_plain(folded, array, geometry)
        else:
            _write_plain(file, array, geometry)

    return write


def _write_plain(file: BinaryIO | gzip.GzipFile, array: np.ndarray, geometry: FileGeometry) -> None:
    file.write(nifti_header(geometry))
    for k in range(array.shape[2]):
        file.write(array[:, :, k].astype("<f4").tobytes(order="F"))
