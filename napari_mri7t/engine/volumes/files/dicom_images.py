"""The images that dcm2niix makes of a DICOM series: sorted, and listed for the user to choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.wrapstruct import WrapStructError

from napari_mri7t.engine.volumes.files.dicom import DicomSeries
from napari_mri7t.engine.volumes.files.dicom_header import state_contrast
from napari_mri7t.engine.volumes.files.dicom_places import differences
from napari_mri7t.engine.volumes.files.geometry import voxel_size_of
from napari_mri7t.engine.volumes.files.headers import ImageHeader

ACQUISITION = "AcquisitionNumber"


@dataclass(frozen=True)
class ConvertedImage:
    """One image that a series was converted to.

    Attributes
    ----------
    path : Path
        NIfTI, uncompressed, within the private folder.
    header : ImageHeader
    facts : dict
        What dcm2niix records beside it, as in a sidecar of BIDS, without names and dates.
    """

    path: Path
    header: ImageHeader
    facts: dict[str, Any]


def is_slice(path: Path) -> bool:
    """Return whether an image is 2-D, such as a screenshot beside a scan.

    Parameters
    ----------
    path : Path
        NIfTI; False if it cannot be read, as reading it will tell.
    """
    try:
        shape = nibabel.Nifti1Image.from_filename(path).shape
    except (OSError, ValueError, ImageFileError, WrapStructError):
        return False
    return len(shape) < 3 or shape[2] == 1


def list_images(series: DicomSeries, images: Sequence[ConvertedImage]) -> str:
    """Return the volumes of several images as a message lists them: index and what differs.

    Parameters
    ----------
    series : DicomSeries
    images : sequence of ConvertedImage
        Sorted by `order_of`.
    """
    own = series.repeats.texts
    if len(images) == 1 and len(own) == images[0].header.n_volumes:
        return "; ".join(f"{n}: {text}" for n, text in enumerate(own))
    told = differences([_contrast(image, series) for image in images])
    texts, n = [], 0
    for image, text in zip(images, told, strict=True):
        last = n + image.header.n_volumes - 1
        range_ = f"{n} to {last}" if last > n else f"{n}"
        texts.append(f"{range_}: {text or _shape(image)}")
        n = last + 1
    return "; ".join(texts)


def _contrast(image: ConvertedImage, series: DicomSeries) -> tuple[str, ...]:
    """Return everything by which a user can choose an image."""
    seconds = [_number(image, key) for key in ("EchoTime", "InversionTime")]
    echo, inversion = (None if each is None else 1000 * each for each in seconds)
    told = state_contrast(echo, inversion, int(_number(image, ACQUISITION) or 0), _kinds(image))
    sizes = " x ".join(f"{size:.3g}" for size in voxel_size_of(image.header.geometry.affine))
    return (
        *("" if series.identity.is_in(text) else text for text in told),
        _shape(image),
        f"voxels of {sizes} mm",
        f"orientation {image.header.geometry.orientation}",
    )


def _shape(image: ConvertedImage) -> str:
    return " x ".join(map(str, image.header.geometry.shape))


def _number(image: ConvertedImage, key: str) -> float | None:
    value = image.facts.get(key)
    return float(value) if isinstance(value, float | int) else None


def _kinds(image: ConvertedImage) -> list[str]:
    kinds = image.facts.get("ImageType")
    return [str(kind) for kind in kinds] if isinstance(kinds, list) else []


def order_of(image: ConvertedImage) -> tuple[Any, ...]:
    """Return by what images are sorted: dcm2niix finds them in the order of the disk.

    Parameters
    ----------
    image : ConvertedImage
        Of the series.
    """
    numbers = [_number(image, key) or 0.0 for key in ("EchoTime", "InversionTime", ACQUISITION)]
    kinds, geometry = _kinds(image), image.header.geometry
    size = -int(np.prod(geometry.shape))
    return (*numbers, "DERIVED" in kinds, kinds, size, geometry.affine.tolist(), image.path.name)
