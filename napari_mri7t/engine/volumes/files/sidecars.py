"""The JSON beside an image: which one is this package's, and which may be replaced.

All images of one stem (a.nii, a.nii.gz, a.img) share a sidecar's name, so a sidecar names its image
and holds the digest of the image's bytes, under `Image`. Version 0.1 recorded neither.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_mri7t.engine.atomic import read_json, read_object, refuse_annexed
from napari_mri7t.engine.errors import Mri7tError, VolumeError, reason_of
from napari_mri7t.engine.regular import NotRegularError, open_regular
from napari_mri7t.engine.volumes.files.streams import extension_of, sidecar_of

NAME = "napari-mri7t"  # of this package, in `GeneratedBy`
OF_VERSION_0_1 = "its sidecar was written by version 0.1, which recorded no digest of the image"


def own_facts(path: Path) -> dict[str, Any] | None:
    """Return what this package recorded in a JSON file.

    Parameters
    ----------
    path : Path
        Of a sidecar.

    Returns
    -------
    dict or None
        None if the file is missing, unreadable or another program's.
    """
    try:
        facts = read_json(path)
        names = [maker["Name"] for maker in facts["GeneratedBy"]]
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return facts if NAME in names else None


def image_type_beside(image: Path) -> tuple[str, ...]:
    """Return what the JSON file beside an image records of its kind, in the words of DICOM.

    Parameters
    ----------
    image : Path
        The image, not its JSON file.

    Returns
    -------
    tuple of str
        `ImageType`, a list or a text with backslashes, and `ComplexImageComponent`; empty where
        none is recorded.
    """
    try:
        facts = read_json(sidecar_of(image))
        recorded = [facts.get("ImageType"), facts.get("ComplexImageComponent")]
    except (OSError, ValueError, AttributeError):
        return ()
    found: list[str] = []
    for each in recorded:
        kinds = each if isinstance(each, list) else [each]
        found += [part for kind in kinds if isinstance(kind, str) for part in kind.split("\\")]
    return tuple(found)


def description_beside(image: Path) -> str:
    """Return what the JSON file beside an image records of its series, in words; empty if nothing.

    Parameters
    ----------
    image : Path
        The image, not its JSON file.
    """
    try:
        facts = read_json(sidecar_of(image))
        found = [facts.get("SeriesDescription"), facts.get("ProtocolName")]
    except (OSError, ValueError, AttributeError):
        return ""
    return " ".join(text for text in found if isinstance(text, str))


def unreadable_beside(image: Path) -> str:
    """Return why the JSON file beside an image cannot be read; empty if it can, or there is none.

    Parameters
    ----------
    image : Path
        The image, not its JSON file.

    Returns
    -------
    str
        Without the name of the folder, which may be a person's.
    """
    path = sidecar_of(image)
    try:
        read_object(path, "mend or remove it")
    except Mri7tError as error:
        return str(error).replace(str(path), path.name) if os.path.lexists(path) else ""
    return ""


def image_of(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and digest of the image that a sidecar describes; empty where it names none.

    Parameters
    ----------
    facts : dict
        From `own_facts`.
    """
    image = facts.get("Image")
    image = image if isinstance(image, dict) else {}
    name, digest = image.get("File"), image.get("SHA256")
    return (name if isinstance(name, str) else ""), (digest if isinstance(digest, str) else "")


def names_an_image(facts: Mapping[str, Any]) -> bool:
    """Return whether a sidecar is to be believed by its digest alone; False for version 0.1.

    Parameters
    ----------
    facts : dict
        From `own_facts`.
    """
    return "Image" in facts


def is_alone(image: Path) -> bool:
    """Return whether no other image beside this one has the same sidecar.

    Parameters
    ----------
    image : Path
        Existing.
    """
    path = sidecar_of(image)
    return all(
        other.name == image.name or not extension_of(other) or sidecar_of(other) != path
        for other in image.parent.iterdir()
    )


def check_sidecar_target(image: Path) -> Path:
    """Return the path of an image's sidecar, or refuse a JSON there that is not the image's.

    Parameters
    ----------
    image : Path
        To be written, or to be replaced.

    Raises
    ------
    VolumeError
        If another program wrote the JSON, or it describes another image of the same stem.
    Mri7tError
        If the JSON is a link of git-annex whose content is not here.
    """
    path = sidecar_of(image)
    if not os.path.lexists(path):  # a link that leads nowhere is somebody's, too
        return path
    facts = own_facts(path)
    if facts is None:
        if not path.exists():
            refuse_annexed(path)
        _check_access(path)
        raise VolumeError(
            f"{path}: was not written by {NAME}, and is never replaced: choose another name for "
            "the image"
        )
    other = _other_image(image, facts)
    if other is not None:
        raise VolumeError(f"{path}: describes {other.name}: choose another name for the image")
    return path


def _check_access(path: Path) -> None:
    """Refuse a JSON that cannot be opened: it may be this package's."""
    try:
        open_regular(path).close()
    except (FileNotFoundError, NotRegularError):  # a link that leads nowhere, a pipe
        return
    except OSError as error:
        raise VolumeError(
            f"{path}: cannot be read ({reason_of(error)}): make it readable, or choose "
            "another name for the image"
        ) from error


def _other_image(image: Path, facts: Mapping[str, Any]) -> Path | None:
    """Return the existing image that a sidecar describes, if it is another one of the same stem."""
    name, _ = image_of(facts)
    if not name or Path(name).name != name:
        return None
    other, path = image.with_name(name), sidecar_of(image)
    try:
        is_other = other.exists() and not (image.exists() and other.samefile(image))
    except (OSError, ValueError):
        return None
    return other if is_other and sidecar_of(other) == path else None
