"""A DICOM series to NIfTI by dcm2niix, in a private folder that is removed again.

dcm2niix knows what each manufacturer does; its geometry is used as it is. It sees links with
neutral names only, and its messages are read, not shown: they name files.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

import nibabel
import numpy as np

from napari_mri7t.engine.atomic import read_json
from napari_mri7t.engine.errors import Mri7tError, VolumeError, nameless_reason
from napari_mri7t.engine.system import library_versions
from napari_mri7t.engine.volumes.files.dicom import DicomSeries, digest_of
from napari_mri7t.engine.volumes.files.dicom_images import (
    ConvertedImage,
    is_slice,
    list_images,
    order_of,
)
from napari_mri7t.engine.volumes.files.dicom_messages import quotes_of, refuse
from napari_mri7t.engine.volumes.files.dicom_places import SAME_MM
from napari_mri7t.engine.volumes.files.dicom_t1w import not_magnitude
from napari_mri7t.engine.volumes.files.geometry import DicomSource, FileGeometry
from napari_mri7t.engine.volumes.files.reading import read_header, read_intensities

CONVERTER = "dcm2niix"
MOST_SECONDS = 900.0  # for a series; one of 200 slices takes half a second
STEM = "image"
OPTIONS = ("-g", "i", "-b", "y", "-ba", "y", "-z", "n", "-w", "2", "-f", STEM)
NOT_USED = re.compile(
    r"_(?:ph|real|imaginary|Eq|Eq_\d+|ROI\d*|Crop_\d+|Tilt_\d+|MoCo)(?=[a-z]?(?:_|$))"
)
PARTS = {"ph": "phase", "real": "real part", "imaginary": "imaginary part"}
PART = re.compile(rf"_({'|'.join(PARTS)})(?=[a-z]?(?:_|$))")


def read_dicom(
    series: DicomSeries, index: int | None = None, *, or_only: bool = False
) -> tuple[np.ndarray, FileGeometry, tuple[str, ...]]:
    """Read one volume of a DICOM series.

    Parameters
    ----------
    series : DicomSeries
    index : int, optional
        Which volume of all its images, from 0; required if there are several, such as echoes.
    or_only : bool
        True ignores `index` where there is one volume.

    Returns
    -------
    values : ndarray of float32, shape (n,)
        Finite, first axis fastest.
    geometry : FileGeometry
    warnings : tuple of str
        What was unusual, in plain words.

    Raises
    ------
    VolumeError
        If slices are missing, cut short or spaced unequally, nothing can be converted, or an index
        is needed.
    Mri7tError
        If dcm2niix cannot be run.
    """
    with _converted(series) as (images, said):
        places = _places(images)
        if index is None or (or_only and len(places) == 1):
            index = 0 if len(places) == 1 else -1
        if not 0 <= index < len(places):
            raise VolumeError(
                f"{series.title}: holds {len(places)} volumes ({list_images(series, images)}): "
                f"choose one "
                f"with index, 0 to {len(places) - 1}",
                argument="index",
            )
        return _read_place(series, places, index, said)


def read_dicom_series(
    series: DicomSeries,
) -> list[tuple[np.ndarray, FileGeometry, tuple[str, ...]]]:
    """Read all volumes of a DICOM series in one conversion.

    Parameters
    ----------
    series : DicomSeries

    Returns
    -------
    list of (values, geometry, warnings)
        As `read_dicom`: one, with the volumes one after the other, if they lie on one grid; else
        one of each volume.

    Raises
    ------
    VolumeError, Mri7tError
        As `read_dicom`.
    """
    with _converted(series) as (images, said):
        first = images[0].header.geometry
        places = _places(images)
        if not all(_on_one_grid(first, one.header.geometry) for one in images):
            return [_read_place(series, places, index, said) for index in range(len(places))]
        parts = [_read(one, series, first=0, count=one.header.n_volumes) for one in images]
    notes = dict.fromkeys([*said, *(note for _, noted in parts for note in noted)])
    source = _source(series, images[0])
    geometry = replace(first, path=None, dicom=source, series_length=len(places))
    return [(np.concatenate([values for values, _ in parts]), geometry, tuple(notes))]


def _places(images: Sequence[ConvertedImage]) -> list[tuple[ConvertedImage, int]]:
    """Return where each volume of the images is, in the order of their indices."""
    return [(one, n) for one in images for n in range(one.header.n_volumes)]


def _read_place(
    series: DicomSeries,
    places: Sequence[tuple[ConvertedImage, int]],
    index: int,
    said: tuple[str, ...],
) -> tuple[np.ndarray, FileGeometry, tuple[str, ...]]:
    """Read one of the volumes."""
    image, first = places[index]
    values, notes = _read(image, series, first=first, count=1)
    geometry = replace(
        image.header.geometry,
        path=None,
        dicom=_source(series, image),
        series_index=index,
        series_length=len(places),
    )
    return values, geometry, (*said, *notes)


def _on_one_grid(first: FileGeometry, second: FileGeometry) -> bool:
    apart = np.abs(first.affine - second.affine).max()
    return first.shape == second.shape and bool(apart <= SAME_MM)


def _read(
    image: ConvertedImage, series: DicomSeries, *, first: int, count: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read volumes of an image; errors name the series, not the file."""
    try:
        return read_intensities(image.header, image.path, first=first, count=count)
    except VolumeError as error:
        raise VolumeError(str(error).replace(str(image.path), series.title)) from None


def _source(series: DicomSeries, image: ConvertedImage) -> DicomSource:
    """Return what identifies a series in a sidecar: its files' digest, and no name."""
    version = library_versions([CONVERTER])[CONVERTER]
    tesla = image.facts.get("MagneticFieldStrength")
    return DicomSource(
        series.number,
        series.description,
        len(series.files),
        digest_of(series),
        version,
        float(tesla) if isinstance(tesla, int | float) else None,
    )


@contextlib.contextmanager
def _converted(series: DicomSeries) -> Iterator[tuple[list[ConvertedImage], tuple[str, ...]]]:
    """Convert a series for as long as the context lasts: magnitudes, and what was unusual."""
    if not series.traits.is_mr:
        raise VolumeError(f"{series.title}: is no MR image: choose another series")
    if part := not_magnitude(series.traits.image_type):
        raise VolumeError(f"{series.title}: is no magnitude image ({part}): choose another series")
    if series.problem:
        raise VolumeError(f"{series.title}: {series.problem}")
    with tempfile.TemporaryDirectory(prefix="mri7t-") as place:
        folder = Path(place)
        _check_space(series, folder)
        said = _run(series, folder)
        found = sorted((folder / "out").glob("*.nii"))
        refuse(series, said, found)
        _refuse_stacked(series, found)
        used = [path for path in found if not NOT_USED.search(path.stem)]
        if not used:
            _refuse_parts(series, found)
        used = used or found
        volumes = [path for path in used if not is_slice(path)] or used
        notes = _warnings(series, said)
        if n_left := len(used) - len(volumes):
            notes += (f"{series.title}: 2-D images beside the volume were left out: {n_left}",)
        yield _images(volumes, series), notes


def _check_space(series: DicomSeries, folder: Path) -> None:
    """Refuse a conversion for which the temporary folder has no room."""
    needed = sum(path.stat().st_size for path in series.files if path.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Mri7tError(
            f"{folder.parent}: has {free >> 20} MiB free, and the conversion of {series.title} "
            f"needs {needed >> 20}: make room, or set TMPDIR to another folder"
        )


def _run(series: DicomSeries, folder: Path) -> str:
    """Run dcm2niix on links to the files; return what it said."""
    import dcm2niix

    (folder / "in").mkdir()
    (folder / "out").mkdir()
    for number, path in enumerate(series.files):
        _link(path, folder / "in" / f"{number:06d}.dcm", series)
    command = [dcm2niix.bin, *OPTIONS, "-o", str(folder / "out"), str(folder / "in")]
    surroundings = os.environ | {"HOME": str(folder), "USERPROFILE": str(folder)}
    try:
        run = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=MOST_SECONDS,
            env=surroundings,
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise VolumeError(
            f"{series.title}: dcm2niix did not end within {MOST_SECONDS / 60:.0f} minutes: convert "
            "it to NIfTI by hand"
        ) from None
    except OSError as error:
        why = nameless_reason(error)
        raise Mri7tError(f"dcm2niix cannot be run ({why}): install the extra dicom again") from None
    return run.stdout.decode("utf-8", "replace")


def _link(path: Path, name: Path, series: DicomSeries) -> None:
    """Give a file a neutral name: by a link, or by a copy where there are none."""
    try:
        try:
            name.symlink_to(path.absolute())
        except OSError:
            shutil.copyfile(path, name)
    except OSError as error:
        why = nameless_reason(error)
        raise VolumeError(f"{series.title}: a file cannot be read: {why}") from None


def _refuse_stacked(series: DicomSeries, found: Sequence[Path]) -> None:
    """Refuse frames of one place that became slices beside each other, not volumes."""
    n_frames = series.repeats.n_frames
    if n_frames == 1:
        return
    n_volumes = sum(prod(nibabel.Nifti1Image.from_filename(path).shape[3:]) for path in found)
    if n_volumes < n_frames:
        raise VolumeError(
            f"{series.title}: has {n_frames} frames at one position that its header does not "
            "distinguish: export each image as a series of its own, or choose another series"
        )


def _refuse_parts(series: DicomSeries, found: Sequence[Path]) -> None:
    """Refuse a series of phases alone, which only dcm2niix knows for such (private attributes)."""
    for path in found:
        if known := PART.search(path.stem):
            raise VolumeError(
                f"{series.title}: is no magnitude image ({PARTS[known[1]]}, as dcm2niix finds): "
                "choose another series"
            )


def _warnings(series: DicomSeries, said: str) -> tuple[str, ...]:
    told = [f"dcm2niix: {text}" for text in quotes_of(series, said)]
    return tuple(f"{series.title}: {text}" for text in (*series.warnings, *told))


def _images(paths: Sequence[Path], series: DicomSeries) -> list[ConvertedImage]:
    """Read the headers of images, sorted; refuse those that mix several images at one place."""
    repeats = series.repeats
    try:
        images = sorted((_image(path, series) for path in paths), key=order_of)
    except VolumeError:
        if repeats.count == 1:
            raise
        images = []
    is_merged = any(image.header.n_volumes > 1 for image in images)
    if images and not (is_merged and repeats.share_numbers):
        return images
    told = f" ({'; '.join(repeats.texts)})" if repeats.texts else ""
    raise VolumeError(
        f"{series.title}: holds {repeats.count} images at each place{told}, which its instance "
        "numbers do not keep apart: put the files of each into a folder of its own, or choose "
        "another series"
    )


def _image(path: Path, series: DicomSeries) -> ConvertedImage:
    try:
        facts = read_json(path.with_suffix(".json"))
    except (OSError, ValueError):
        facts = {}
    try:
        header, _ = read_header(path)
    except VolumeError as error:
        why = str(error).removeprefix(f"{path}: ")
        raise VolumeError(f"{series.title}: as dcm2niix converts it: {why}") from None
    return ConvertedImage(path, header, facts if isinstance(facts, dict) else {})
