"""nibabel images in memory: checked as files are, and made as files are written."""

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from nibabel.analyze import AnalyzeImage
from nibabel.arrayproxy import is_proxy
from nibabel.nifti1 import Nifti1Header, Nifti1Image, Nifti1Pair
from nibabel.nifti2 import Nifti2Image
from nibabel.spatialimages import SpatialImage

from napari_mri7t.engine.errors import VolumeError, unreadable
from napari_mri7t.engine.volumes.files.geometry import (
    FileGeometry,
    check_affine,
    geometry_of,
    note_oddities,
)
from napari_mri7t.engine.volumes.files.headers import ImageHeader, as_series, check_real
from napari_mri7t.engine.volumes.files.nifti import parse_nifti
from napari_mri7t.engine.volumes.files.reading import Voxels, check_voxels, fill_not_finite
from napari_mri7t.engine.volumes.files.streams import extension_of
from napari_mri7t.engine.volumes.files.writing import nifti_header

UNREADABLE = (OSError, EOFError, ValueError, zlib.error)  # of a file that nibabel reads only now


def image_header(image: SpatialImage, path: Path) -> ImageHeader:
    """Check the header of a nibabel image as that of a file.

    Parameters
    ----------
    image : SpatialImage
        Of any format of nibabel.
    path : Path
        Its name, for messages.

    Returns
    -------
    ImageHeader
        Of NIfTI with its own geometry, of other formats with one made from the affine.

    Raises
    ------
    VolumeError
        If it is no volume or series of volumes in a known place.
    """
    affine = np.asarray(image.affine, np.float64)
    if image.affine is not None or not isinstance(image, AnalyzeImage):
        check_affine(affine, f"{path}: its affine")
    if isinstance(image, AnalyzeImage):  # NIfTI among them
        raw = type(image)(image.dataobj, image.affine, image.header).header  # forms as the affine
        if isinstance(raw, Nifti1Header):  # nibabel scales on reading, and leaves NaN here
            raw["scl_slope"], raw["scl_inter"] = 1, 0
        is_pair = isinstance(image, Nifti1Pair) and not isinstance(image, Nifti1Image)
        header = parse_nifti(raw.binaryblock + bytes(4), path, paired=is_pair)
        return replace(header, geometry=replace(header.geometry, path=None))
    shape, n_volumes = as_series(list(image.shape), path)
    notes: list[str] = []
    geometry = geometry_of(affine, shape, code=1)
    note_oddities(geometry, notes)
    return ImageHeader(geometry, n_volumes, image.get_data_dtype(), 0, warnings=tuple(notes))


def unread_file(image: SpatialImage) -> Path | None:
    """Return the file that still holds an image's voxels, which nibabel reads only when asked.

    Returns
    -------
    Path or None
        None for an image made in memory, or of a format that is not read here.
    """
    source = getattr(image.dataobj, "file_like", None)
    if not (is_proxy(image.dataobj) and isinstance(source, str | Path)):
        return None
    return Path(source) if extension_of(Path(source)) else None


def image_intensities(
    image: SpatialImage, header: ImageHeader, path: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the intensities of a nibabel image, checked as those of a file.

    Parameters
    ----------
    image : SpatialImage
    header : ImageHeader
        From `image_header`, of one volume.
    path : Path
        Its name, for messages.

    Returns
    -------
    array : ndarray of float32, shape (I, J, K)
        Finite, in the image's own order.
    warnings : tuple of str
        Of header and voxels.

    Raises
    ------
    VolumeError
        If the voxels cannot be read, are not real numbers, or all have one value.
    """
    try:
        stored = np.asanyarray(image.dataobj)
    except UNREADABLE as error:
        raise VolumeError(unreadable(path, error, "load the image again")) from error
    check_real(stored.dtype, path)
    with np.errstate(over="ignore"):
        array = stored.reshape(header.geometry.shape).astype(np.float32, copy=False)
    finite = np.isfinite(array)
    n_not_finite = int(array.size - np.count_nonzero(finite))
    fill = 0.0
    if n_not_finite:
        array = array.copy()
        fill = fill_not_finite(array.T)
    voxels = Voxels(array, n_not_finite, float(array.min()), float(array.max()), fill)
    return array, (*header.warnings, *check_voxels(voxels, path))


def make_image(array: np.ndarray, geometry: FileGeometry) -> Nifti1Image:
    """Return the nibabel image of what `write_images` would write.

    Parameters
    ----------
    array : ndarray of float32, shape (I, J, K)
        In the orientation of `geometry`.
    geometry : FileGeometry

    Returns
    -------
    Nifti1Image
        A Nifti2Image where the geometry asks for NIfTI-2.
    """
    kind = Nifti1Image if geometry.version == 1 else Nifti2Image
    header = kind.header_class(nifti_header(geometry)[:-4])
    return kind(array, header.get_best_affine(), header)
