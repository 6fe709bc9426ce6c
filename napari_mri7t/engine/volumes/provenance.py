"""Provenance: the sidecar beside every output, following BIDS derivatives.

It names files, never folders or people, and holds no date: the same run gives the same bytes.
https://bids-specification.readthedocs.io/en/stable/derivatives/common-data-types.html
"""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

import napari_mri7t
from napari_mri7t.engine.errors import Mri7tError, VolumeError
from napari_mri7t.engine.system import library_versions
from napari_mri7t.engine.volumes.digests import file_digest, voxel_digest
from napari_mri7t.engine.volumes.files.dicom_conversion import CONVERTER
from napari_mri7t.engine.volumes.files.geometry import DicomSource
from napari_mri7t.engine.volumes.files.headers import HEADER_BYTES
from napari_mri7t.engine.volumes.files.parts import files_of, stamp_of
from napari_mri7t.engine.volumes.files.sidecars import (
    NAME,
    OF_VERSION_0_1,
    image_of,
    is_alone,
    names_an_image,
    own_facts,
    unreadable_beside,
)
from napari_mri7t.engine.volumes.files.streams import open_stream, read_fully, sidecar_of
from napari_mri7t.engine.volumes.files.writing import BRIEF_NOTICE
from napari_mri7t.engine.volumes.volume import Volume

NOTICE = (
    "Synthetic image: it may add or remove lesions, it is for research and not for diagnosis, and "
    "a face in it may make a person identifiable."
)
OTHER_CONTENT = "its sidecar describes other content"
IS_SYNTHETIC = "this image is synthetic already, and not a scan"
SIMULATE = "simulate"  # what a sidecar says was done
INPUTS = ("", "pair", "prepare", SIMULATE)  # what makes images that models are given
UNRECORDED = "unrecorded"  # what a sidecar says of an image whose own sidecar is lost
LIBRARIES = ("torch", "numpy", "nibabel")  # those that affect the voxels


@dataclass(frozen=True)
class Execution:
    """Device, precision, seed and model of a computation.

    Attributes
    ----------
    device : str
        E.g. "cpu", "cuda:0".
    precision : str
        E.g. "float32", "bfloat16".
    seed : int or None
        Of the random numbers; None without any.
    model, model_sha256 : str or None
        Name and digest of the weights; None without a model.
    threads : int or None
        CPU threads, on which the last bit of a sum may depend; None where it does not.
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
    """Return the sidecar of a computed image: how it was made, and that it is not a scan.

    Parameters
    ----------
    command : str
        What was done, e.g. "synthesize".
    sources : sequence of Volume or Path
        The inputs. A volume is identified by its file, or by its voxels if it was computed, or its
        file has changed or vanished since it was read.
    execution : Execution
    settings : mapping, optional
        Every setting that affects the voxels; only the last part of a path is recorded.
    warnings : sequence of str
        In addition to those of the volumes.

    Returns
    -------
    dict
        Plain values, ready for JSON.

    Raises
    ------
    VolumeError
        If a source that is a path can no longer be read.
    """
    volumes = [source for source in sources if isinstance(source, Volume)]
    noted = [note for volume in volumes for note in (*volume.warnings, *_changed(volume))]
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


def describe_source(volume: Volume) -> list[dict[str, Any]]:
    """Return what a sidecar records of a volume as a source.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    list of dict
        Of each of its files, or of its DICOM series; of its voxels if it was computed or its file
        has vanished.
    """
    try:
        return _describe(volume)
    except VolumeError:
        return [_describe_voxels(volume)]


def digest_in(sources: object) -> str:
    """Return the SHA-256 of the first of the sources that a sidecar lists; empty without one.

    Examples
    --------
    >>> digest_in([{"File": "t1.nii", "SHA256": "c47f"}]), digest_in("edited by somebody")
    ('c47f', '')
    """
    first = sources[0] if isinstance(sources, list) and sources else None
    facts = first if isinstance(first, dict) else {}
    return str(facts.get("SHA256") or facts.get("VoxelsSHA256") or "")


def versions() -> dict[str, str]:
    """Return the versions of Python and the libraries that affect the voxels."""
    return {"python": platform.python_version()} | library_versions(LIBRARIES)


def describe_versions() -> str:
    """Return the versions of this package, Python and those libraries as text."""
    found = {NAME: napari_mri7t.__version__} | versions()
    return ", ".join(f"{name} {number}" for name, number in found.items())


def read_sidecar(image: str | Path) -> dict[str, Any] | None:
    """Return what this package recorded of an image.

    Parameters
    ----------
    image : str or Path
        The image, not its sidecar.

    Returns
    -------
    dict or None
        The sidecar beside the image; None if there is none, if it is another program's, or if it
        describes an image of other bytes. One of version 0.1, which recorded no digest, counts if
        the image is marked as synthetic and no other image has the same sidecar.
    """
    image = Path(image)
    facts = own_facts(sidecar_of(image))
    if facts is None:
        return None
    try:
        if names_an_image(facts):
            return facts if image_of(facts)[1] == file_digest(image) else None
        return facts if is_marked_synthetic(image) and is_alone(image) else None
    except (VolumeError, OSError):
        return None


def why_not_believed(image: str | Path) -> str:
    """Return why this package's sidecar beside an image is not that image's.

    Parameters
    ----------
    image : str or Path
        The image, not its sidecar.

    Returns
    -------
    str
        Empty if it is believed, or if there is none.
    """
    facts = own_facts(sidecar_of(Path(image)))
    if facts is None or read_sidecar(image) is not None:
        return ""
    return OTHER_CONTENT if names_an_image(facts) else OF_VERSION_0_1


def is_marked_synthetic(image: str | Path) -> bool:
    """Return whether a NIfTI header says that its image is synthetic, as `save_volume` writes it.

    Parameters
    ----------
    image : str or Path
        The image; False if it cannot be read.
    """
    try:
        with open_stream(files_of(Path(image))[0]) as stream:
            return BRIEF_NOTICE.encode() in read_fully(stream, HEADER_BYTES)
    except (Mri7tError, OSError):
        return False


def maker_of(image: str | Path) -> str:
    """Return the command that made an image, by its sidecar.

    Parameters
    ----------
    image : str or Path

    Returns
    -------
    str
        As in `sidecar`; `UNRECORDED` if only its header says that it is synthetic; empty for an
        image that this package has not made.
    """
    facts = read_sidecar(image)
    if facts is None:
        return UNRECORDED if is_marked_synthetic(image) else ""
    return maker_in(facts)


def made_instead(image: Volume | Path, field: str) -> str:
    """Return what an image is in place of a scan; empty for a scan.

    Parameters
    ----------
    image : Volume or Path
        What was computed from it counts as it does.
    field : {"3T", "7T"}
        Of the scan. A pseudo-3T counts as a 3T scan, as does a prepared brain.

    Returns
    -------
    str
        And what says so, as in "a pseudo-3T, by its sidecar".
    """
    if field == "7T" and is_pseudo_3t(image):
        return "a pseudo-3T, by its sidecar"
    maker = _maker_of(image) if isinstance(image, Volume) else maker_of(image)
    if maker in INPUTS:
        return ""
    told_by = "header (its sidecar is not beside it)" if maker == UNRECORDED else "sidecar"
    return f"a synthetic image, by its {told_by}"


def refuse_made(volume: Volume, field: str) -> None:
    """Raise a VolumeError if a volume is no scan of a field strength, as `made_instead`."""
    if what := made_instead(volume, field):
        raise VolumeError(f"{volume.name}: is {what}, and no {field} scan: use the scan itself")


def is_pseudo_3t(image: Volume | str | Path) -> bool:
    """Return whether an image is the 3T side of a simulation, by its sidecar."""
    path = _path_of(image) if isinstance(image, Volume) else image
    facts = (read_sidecar(path) if path else None) or {}
    settings = facts.get("Settings")
    is_source = isinstance(settings, dict) and settings.get("image") == "source"
    return is_source and maker_in(facts) == SIMULATE


def maker_in(facts: Mapping[str, Any]) -> str:
    """Return the command that a sidecar records; somebody may have edited it."""
    makers = facts.get("GeneratedBy")
    maker = makers[0] if isinstance(makers, list) and makers else None
    return str(maker.get("Description", "")) if isinstance(maker, dict) else ""


def is_estimate(volume: Volume) -> bool:
    """Return whether a model has made a volume, or the image that it was read from.

    Parameters
    ----------
    volume : Volume
        A prepared brain and a pseudo-3T count as scans while their sidecars are beside them.
    """
    return _maker_of(volume) not in INPUTS


def _maker_of(volume: Volume) -> str:
    path = _path_of(volume)
    return volume.made_by or (maker_of(path) if path else "")


def _path_of(volume: Volume) -> Path | None:
    return None if volume.geometry is None else volume.geometry.path


def check_is_scan(volume: Volume) -> tuple[str, ...]:
    """Return warnings if `is_estimate`, and if the JSON file that may say so cannot be read."""
    path = _path_of(volume)
    unread = "" if path is None else unreadable_beside(path)
    synthetic = f"{IS_SYNTHETIC}: the result is an estimate of an estimate"
    warnings = (synthetic if is_estimate(volume) else "", unread)
    return tuple(filter(None, warnings))


def unrecorded(image: str | Path) -> dict[str, Any]:
    """Return the provenance of a synthetic image without its sidecar, so that copies say Synthetic.

    Parameters
    ----------
    image : str or Path
        The image.

    Raises
    ------
    VolumeError
        If it cannot be read.
    """
    return {
        "Synthetic": True,
        "Notice": NOTICE,
        "GeneratedBy": [
            {"Name": NAME, "Version": napari_mri7t.__version__, "Description": UNRECORDED}
        ],
        "Sources": _describe(Path(image)),
    }


def _describe(source: Volume | Path) -> list[dict[str, Any]]:
    if isinstance(source, Path):
        return [_describe_file(path) for path in dict.fromkeys(files_of(source))]
    geometry = source.geometry
    if geometry is not None and geometry.dicom is not None and not geometry.computed:
        facts = [_describe_dicom(geometry.dicom)]
    elif geometry is None or geometry.path is None or geometry.computed or _changed(source):
        return [_describe_voxels(source)]
    else:
        facts = _describe(geometry.path)
    if geometry.series_length > 1:
        facts = [entry | {"Index": geometry.series_index} for entry in facts]
    return facts


def _changed(volume: Volume) -> tuple[str, ...]:
    """Return a warning if the file of a volume is no longer the one that was read."""
    file = volume.geometry
    if file is None or file.path is None or not file.stamp or file.computed:
        return ()
    if stamp_of(file.path) == file.stamp:
        return ()
    return (
        f"{volume.name}: its file was changed or removed after it was read: its voxels are "
        "recorded in place of the file",
    )


def _describe_voxels(volume: Volume) -> dict[str, Any]:
    return {"Name": volume.name, "VoxelsSHA256": voxel_digest(volume)}


def _describe_file(path: Path) -> dict[str, Any]:
    return {"File": path.name, "SHA256": file_digest(path)}


def _describe_dicom(series: DicomSource) -> dict[str, Any]:
    told = {"Description": series.description} if series.description else {}
    return {
        "Series": series.number,
        **told,
        "Files": series.n_files,
        "SHA256": series.sha256,
        CONVERTER: series.converter,
    }


def _plain(value: Any) -> Any:
    """Return a setting as plain values; a folder may be named after a person, so it is dropped."""
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
