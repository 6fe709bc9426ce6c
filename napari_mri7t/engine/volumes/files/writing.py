"""NIfTI files of float32 voxels, with a new header that copies the geometry only."""

import gzip
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from isal import igzip
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

import napari_mri7t
from napari_mri7t.engine.atomic import Writer, check_target, write_together
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.geometry import FileGeometry
from napari_mri7t.engine.volumes.files.sidecars import NAME, check_sidecar_target, own_facts
from napari_mri7t.engine.volumes.files.streams import extension_of, sidecar_of

OUTPUT_EXTENSIONS = (".nii.gz", ".nii")
# For the header of a computed image, whose sidecar may get lost; 79 bytes at most.
BRIEF_NOTICE = "Synthetic: may add or remove lesions; for research, not for diagnosis"
_MADE_HERE = [{"Name": NAME, "Version": napari_mri7t.__version__}]
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


@dataclass(frozen=True, eq=False)
class Output:
    """An image to be written.

    Attributes
    ----------
    array : ndarray, shape (I, J, K)
        In the file's own orientation, finite throughout.
    geometry : FileGeometry
        Of that orientation.
    path : Path
        .nii or .nii.gz.
    sidecar : mapping or None
        Written as JSON beside the image, with its name and digest, and this package as its maker
        unless it names one; if it says Synthetic, so does the header.
    """

    array: np.ndarray
    geometry: FileGeometry
    path: Path
    sidecar: Mapping[str, Any] | None = None


def write_images(outputs: Sequence[Output], *, overwrite: bool) -> None:
    """Write images with their sidecars: all of them or none.

    A sidecar is placed before its image: a kill between the two leaves a sidecar that describes
    no image, never a synthetic image without its sidecar.

    Parameters
    ----------
    outputs : sequence of Output
    overwrite : bool
        True replaces existing images and their sidecars, but no JSON of another program.

    Raises
    ------
    Mri7tError
        If a path is unsuitable, an array holds NaN, or writing fails.
    """
    for output in outputs:
        _check(output, overwrite)
    _refuse_one_name([output.path for output in outputs])
    parts: list[tuple[Path, Writer]] = []
    for output in outputs:
        parts += _parts(output)
    outdated = [path for output in outputs if (path := _outdated_sidecar(output)) is not None]
    write_together(parts, overwrite=overwrite)
    for path in outdated:
        path.unlink(missing_ok=True)


def _check(output: Output, overwrite: bool) -> None:
    path, array = output.path, output.array
    if extension_of(path) not in OUTPUT_EXTENSIONS:
        raise VolumeError(f"{path}: unknown extension for saving: use .nii.gz or .nii")
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):  # both pass NaN on
        raise VolumeError(f"{path}: the volume holds NaN or infinite voxels: nothing was saved")
    _refuse_own_source(path, output.geometry.path, overwrite)
    check_target(path, overwrite=overwrite)  # so that the error names the image, not its sidecar
    if output.sidecar is not None:
        check_sidecar_target(path)


def _refuse_one_name(paths: Sequence[Path]) -> None:
    """Refuse two images that would share a file or a sidecar."""
    seen: set[str] = set()
    for path in paths:
        name = os.path.realpath(sidecar_of(path))
        if name in seen:
            raise VolumeError(f"{path}: used for two outputs: choose another name for one")
        seen.add(name)


def _parts(output: Output) -> list[tuple[Path, Writer]]:
    """Return the files of an image: its sidecar, which is placed first and written last, and it."""
    path, facts = output.path, output.sidecar
    description = BRIEF_NOTICE if facts is not None and facts.get("Synthetic") else ""
    write = _image_writer(output.array, output.geometry, path, description)
    if facts is None:
        return [(path, write)]
    digest = hashlib.sha256()

    def write_sidecar(file: BinaryIO) -> None:
        image = {"File": path.name, "SHA256": digest.hexdigest()}
        makers = facts.get("GeneratedBy", _MADE_HERE)
        json_writer({**facts, "GeneratedBy": makers, "Image": image})(file)

    return [
        (sidecar_of(path), write_sidecar),
        (path, lambda file: write(cast(BinaryIO, _Digested(file, digest)))),
    ]


def _outdated_sidecar(output: Output) -> Path | None:
    """Return the sidecar of the image that is to be replaced by one without a sidecar."""
    path = sidecar_of(output.path)
    if output.sidecar is not None or not output.path.exists() or own_facts(path) is None:
        return None
    try:
        return check_sidecar_target(output.path)
    except VolumeError:  # describes another image
        return None


class _Digested:
    """A file that digests what is written to it, so that it need not be read again."""

    def __init__(self, file: BinaryIO, digest: "hashlib._Hash") -> None:
        self._file, self._digest = file, digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


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
