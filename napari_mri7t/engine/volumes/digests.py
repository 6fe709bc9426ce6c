"""What tells images apart: SHA-256 of a file, of affine and voxels, of the voxels alone."""

import hashlib
import zlib
from pathlib import Path

import numpy as np

from napari_mri7t.engine.errors import VolumeError, reason_of
from napari_mri7t.engine.regular import open_regular
from napari_mri7t.engine.volumes.files.parts import files_of
from napari_mri7t.engine.volumes.files.streams import what_is_missing
from napari_mri7t.engine.volumes.volume import Volume, load_series


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file.

    Parameters
    ----------
    path : str or Path
        Any file.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    VolumeError
        If the file cannot be read, or is not a regular file.
    """
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise VolumeError(f"{path}: {what_is_missing(Path(path))}") from error
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read: {reason_of(error)}") from error


def file_digests(path: str | Path) -> list[str]:
    """Return the SHA-256 of the files of an image: one, or those of header and voxels.

    Raises
    ------
    FileNotFoundError, VolumeError
        If a file is missing or cannot be read.
    """
    return [file_digest(each) for each in dict.fromkeys(files_of(Path(path)))]


def image_digest(path: str | Path) -> str:
    """Return the SHA-256 of an image: of its file, or of both digests where it consists of two.

    Raises
    ------
    FileNotFoundError, VolumeError
        If a file is missing or cannot be read.
    """
    first, *rest = file_digests(path)
    return hashlib.sha256("".join([first, *rest]).encode()).hexdigest() if rest else first


def voxel_digest(volume: Volume) -> str:
    """Return the SHA-256 of a volume's affine and voxels.

    Parameters
    ----------
    volume : Volume
        Closest RAS+.

    Returns
    -------
    str
        64 hexadecimal digits: little-endian float64 affine, then float32 voxels, last axis fastest.
    """
    digest = hashlib.sha256(volume.affine.astype("<f8").tobytes())
    for i in range(volume.shape[0]):
        digest.update(volume.array[i].astype("<f4").tobytes())
    return digest.hexdigest()


def checksum(volume: Volume) -> int:
    """Return a checksum of a volume's affine and voxels, fast: it tells whether they changed."""
    voxels = zlib.crc32(np.ascontiguousarray(volume.array.T).data)
    return zlib.crc32(volume.affine.tobytes(), voxels)


def content_digest(source: str | Path | Volume) -> str:
    """Return the SHA-256 of the voxels alone: the same for one image stored in two ways.

    Datatype, scaling, compression, version, header and orientation of a file do not count.

    Parameters
    ----------
    source : str, Path or Volume
        A file may hold several volumes.

    Returns
    -------
    str
        64 hexadecimal digits: of shape and float32 voxels, closest RAS+.

    Raises
    ------
    FileNotFoundError, VolumeError
        If the file is no usable volume.

    Examples
    --------
    >>> first = Volume(np.arange(24).reshape(2, 3, 4), np.eye(4))
    >>> moved = Volume(first.array, np.diag([2, 2, 2, 1]), "moved")
    >>> content_digest(first) == content_digest(moved)
    True
    """
    volumes = [source] if isinstance(source, Volume) else list(load_series(source))
    digest = hashlib.sha256(repr((*volumes[0].shape, len(volumes))).encode())
    for volume in volumes:
        for i in range(volume.shape[0]):
            digest.update((volume.array[i] + np.float32(0)).astype("<f4").tobytes())  # no -0
    return digest.hexdigest()
