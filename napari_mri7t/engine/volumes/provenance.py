"""What made an image: the sidecar beside every output, in the manner of BIDS derivatives.

It names files, never folders or people, and holds no date: the same run gives the same bytes.
https://bids-specification.readthedocs.io/en/stable/derivatives/common-data-types.html
"""

import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

import napari_mri7t
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.reading import files_of
from napari_mri7t.engine.volumes.volume import Volume

NAME = "napari-mri7t"
NOTICE = (
    "Synthetic image: it may add or remove lesions, it is for research and not for diagnosis, and "
    "a face in it may make a person identifiable."
)
LIBRARIES = ("torch", "numpy", "nibabel")  # what decides the voxels


@dataclass(frozen=True)
class Execution:
    """Where and with what a computation ran.

    Attributes
    ----------
    device : str
        E.g. "cpu", "cuda:0".
    precision : str
        E.g. "float32", "bfloat16".
    seed : int or None
        Of the random numbers; None if there were none.
    model, model_sha256 : str or None
        Name and digest of the weights; None if no model took part.
    threads : int or None
        Of the CPU, whose number may decide the last bit of a sum; None if none summed.
    """

    device: str = "cpu"
    precision: str = "float32"
    seed: int | None = None
    model: str | None = None
    model_sha256: str | None = None
    threads: int | None = None


def sidecar(
    command: str,
    sources: Sequence[Volume | Path],
    execution: Execution,
    *,
    settings: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Describe a computed image, so that it can be made again and is not taken for a scan.

    Parameters
    ----------
    command : str
        What was done, e.g. "synthesize".
    sources : sequence of Volume or Path
        What went in. Of a volume the file counts that it was read from; of a computed one its
        voxels.
    execution : Execution
        Device, precision, seed, model.
    settings : mapping, optional
        Every setting that decides the voxels; of a path only the last part is kept.
    warnings : sequence of str
        What was odd, beside the volumes' own warnings, which are added.

    Returns
    -------
    dict
        Of what JSON knows.

    Raises
    ------
    VolumeError
        If a source file can no longer be read.
    """
    noted = [note for source in sources if isinstance(source, Volume) for note in source.warnings]
    content: dict[str, Any] = {
        "Synthetic": True,
        "Notice": NOTICE,
        "GeneratedBy": [
            {"Name": NAME, "Version": napari_mri7t.__version__, "Description": command}
        ],
        "Sources": [facts for source in sources for facts in _describe(source)],
    }
    if execution.model is not None:
        content["Model"] = {"Name": execution.model, "SHA256": execution.model_sha256}
    return content | {
        "Device": execution.device,
        "Precision": execution.precision,
        "Threads": execution.threads,
        "Seed": execution.seed,
        "Settings": _plain(settings or {}),
        "Versions": versions(),
        "Warnings": list(dict.fromkeys([*noted, *warnings])),
    }


def versions() -> dict[str, str]:
    """Return the versions of what decides the voxels, without importing it.

    Returns
    -------
    dict
        Name to version; a library that is not installed is absent.
    """
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


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
        If the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read: {error.strerror or error}") from error


def voxel_digest(volume: Volume) -> str:
    """Return the SHA-256 of a volume's voxels and affine, wherever they came from.

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


def _describe(source: Volume | Path) -> list[dict[str, Any]]:
    if isinstance(source, Path):
        return [_describe_file(path) for path in dict.fromkeys(files_of(source))]
    geometry = source.geometry
    if geometry is None or geometry.path is None or geometry.computed:
        return [{"Name": source.name, "VoxelsSHA256": voxel_digest(source)}]
    facts = _describe(geometry.path)
    if geometry.series_length > 1:
        facts = [entry | {"Index": geometry.series_index} for entry in facts]
    return facts


def _describe_file(path: Path) -> dict[str, Any]:
    return {"File": path.name, "SHA256": file_digest(path)}


def _plain(value: Any) -> Any:
    """Reduce a setting to what JSON knows; a folder's name may be a person's, so it is cut off."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return _without_folder(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


def _without_folder(text: str) -> str:
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(text).is_absolute():
            return kind(text).name
    return text
