"""The header of one DICOM file: what groups files into series, places them and tells a T1w.

Attributes by their keywords in DICOM PS3.6; pixels are never read.
"""

import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.regular import open_regular
from napari_mri7t.engine.texts import visible
from napari_mri7t.engine.volumes.files.dicom_traits import NUMBERS, Traits
from napari_mri7t.engine.volumes.files.identity import ATTRIBUTES, OTHER_NUMBERS, Identity

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PREAMBLE = 128  # bytes before the mark
MARK = b"DICM"
DEFLATED, META_BYTES = b"1.2.840.10008.1.2.1.99", 1024  # transfer syntax, within the first bytes
MOST_INFLATED = 128 << 20  # bytes of a deflated file: a slice has less than one hundredth of that
DIRECTORY = "1.2.840.10008.1.3.10"  # storage class of a DICOMDIR, which holds no image
MR_CLASSES = (  # MR, Enhanced MR, Enhanced MR Colour, Legacy Converted Enhanced MR Image Storage
    "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.3",
    "1.2.840.10008.5.1.4.1.1.4.4",
)  # fmt: skip
TEXTS = (
    "SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName", "AcquisitionContrast",
)  # fmt: skip
SHARED, FRAMES = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
PIXEL_MEASURES = "PixelMeasuresSequence"
MOST_FRAMES = 4096  # in a file, whose places are read: within about a second
FIELDS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
    "InstanceNumber", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "SamplesPerPixel",
    "ImagePositionPatient", "ImageOrientationPatient", "ImageType", "ComplexImageComponent",
    "MRAcquisitionType", "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime",
    "AcquisitionDateTime", "LossyImageCompression", "SpacingBetweenSlices", "SliceThickness",
    "PhotometricInterpretation", "PixelSpacing", "MagneticFieldStrength",
    "ImagesInAcquisition", SHARED, FRAMES, *TEXTS, *NUMBERS, *ATTRIBUTES,
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What is used of a file's header.

    Attributes
    ----------
    path : Path
    instance, series, study : str
        UIDs.
    patient : tuple of str
        Name and number, which tell patients apart.
    number : int
        Of the series; 0 without one.
    order : int
        The instance number; 0 without one.
    description : str
        Of the series, as it was typed.
    n_frames : int
        1 but for multi-frame files.
    position, orientation : tuple of float
        Of the first voxel, and of rows and columns, LPS mm; empty where it is not recorded, and for
        frames that have their own.
    places : tuple of tuple of float, or None
        Position and orientation of each frame, 9 numbers; empty if not all are recorded, None where
        that is unknown: of more than `MOST_FRAMES` frames, and of frames without groups.
    spacing, thickness : float
        Between the centres of slices, and of each, mm; 0 where it is not recorded.
    contrast : tuple of str
        Echo time, inversion time, number of the acquisition and image type, as messages state them;
        each empty where it is not recorded.
    is_short, is_lossy : bool
        Whether pixels are missing at its end, or were compressed with loss.
    problem : str
        Why dcm2niix would make another image of it; empty if nothing is known.
    pixel_size : tuple of float
        Of rows and columns, mm; empty where it is not recorded.
    traits : Traits
    identity : Identity
        What must not be shown.
    n_counted : int
        Images of the acquisition; 0 where they are not counted.
    """

    path: Path = field(repr=False)
    instance: str
    series: str
    study: str
    patient: tuple[str, str] = field(repr=False)
    number: int
    order: int
    description: str = field(repr=False)
    n_frames: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    places: tuple[tuple[float, ...], ...] | None
    spacing: float
    thickness: float
    contrast: tuple[str, ...]
    is_short: bool
    is_lossy: bool
    problem: str
    pixel_size: tuple[float, ...]
    traits: Traits
    identity: Identity
    n_counted: int = 0


def is_dicom_file(path: Path) -> bool:
    """Return whether a regular file begins as DICOM files do; False if it cannot be read.

    Parameters
    ----------
    path : Path
        By whatever name.
    """
    try:
        with open_regular(path) as file:
            return file.read(PREAMBLE + len(MARK))[PREAMBLE:] == MARK
    except (OSError, ValueError):  # or no name that a file can have
        return False


def is_named_dicom(path: Path) -> bool:
    """Return whether a file is DICOM by its name, whatever it holds.

    Examples
    --------
    >>> is_named_dicom(Path("a.IMA")), is_named_dicom(Path("IM0001"))
    (True, False)
    """
    return path.suffix.lower() in (".dcm", ".ima")


def check_installed() -> None:
    """Raise the command that installs the extra `dicom`, if a library of it is missing.

    Raises
    ------
    Mri7tError
    """
    if missing := [name for name in ("pydicom", "dcm2niix") if find_spec(name) is None]:
        raise Mri7tError(
            f"DICOM files need {' and '.join(missing)}: run pip install 'napari-mri7t[dicom]'"
        )


def read_dicom_header(path: Path, *, force: bool = False) -> Header | None:
    """Read the header of a DICOM file.

    Parameters
    ----------
    path : Path
        As `is_dicom_file` finds it.
    force : bool
        Also of a file without the mark of DICOM.

    Returns
    -------
    Header or None
        None for a DICOMDIR, and for what has no series.

    Raises
    ------
    ValueError
        If the header is damaged, or unpacks to more than any image; without the library's own
        words, which may quote the header.
    """
    import pydicom

    try:
        with warnings.catch_warnings(), open_regular(path) as file:
            warnings.simplefilter("ignore")  # they quote values
            _check_inflated(file)
            file.seek(0)
            found = pydicom.dcmread(
                file, stop_before_pixels=True, specific_tags=list(FIELDS), force=force
            )
            rest = path.stat().st_size - file.tell()
            return _header(found, path, rest)
    except Exception as error:  # whatever a damaged file makes of the library
        raise ValueError(f"a header cannot be read ({type(error).__name__})") from None


def _check_inflated(file: BinaryIO) -> None:
    """Refuse a deflated file larger than any image, as reading its header unpacks all of it."""
    head = file.read(META_BYTES)
    if DEFLATED not in head:
        return
    n_meta = int.from_bytes(head[PREAMBLE + 12 : PREAMBLE + 16], "little")  # of group 0002
    file.seek(PREAMBLE + 16 + n_meta)
    inflating, packed, n_bytes = zlib.decompressobj(-zlib.MAX_WBITS), file.read(), 0
    while packed and not inflating.eof:
        n_bytes += len(inflating.decompress(packed, META_BYTES << 10))
        packed = inflating.unconsumed_tail
        if n_bytes > MOST_INFLATED:
            raise ValueError("deflated, and too large")


def _header(found: "Dataset", path: Path, rest: int) -> Header | None:
    storage = str(getattr(found.file_meta, "MediaStorageSOPClassUID", ""))
    if storage == DIRECTORY or not _text(found, "SeriesInstanceUID"):
        return None
    n_frames = max(1, _whole(found, "NumberOfFrames"))
    frames = _frames(found, n_frames)
    first = [found, *(frames[0] if frames else ())]
    return Header(
        path=path,
        instance=_text(found, "SOPInstanceUID"),
        series=_text(found, "SeriesInstanceUID"),
        study=_text(found, "StudyInstanceUID"),
        patient=(_text(found, "PatientName"), _text(found, "PatientID")),
        number=_whole(found, "SeriesNumber"),
        order=_whole(found, "InstanceNumber"),
        n_counted=_whole(found, "ImagesInAcquisition"),
        description=_text(found, "SeriesDescription") or _text(found, "ProtocolName"),
        n_frames=n_frames,
        position=_floats(found, "ImagePositionPatient", 3),
        orientation=_floats(found, "ImageOrientationPatient", 6),
        places=_places(found, frames, n_frames),
        spacing=_size(first, "SpacingBetweenSlices"),
        thickness=_size(first, "SliceThickness"),
        contrast=_contrast(found),
        is_short=_is_short(found, n_frames, rest),
        is_lossy=_text(found, "LossyImageCompression") == "01",
        problem=_problem(found, frames),
        pixel_size=_in_groups(first, PIXEL_MEASURES, "PixelSpacing", 2),
        traits=_traits(found),
        identity=_identity(tuple((key, tuple(_all(found, key))) for key in ATTRIBUTES)),
    )


def _problem(found: "Dataset", frames: Sequence[Sequence["Dataset"]]) -> str:
    """Return what of a header dcm2niix does not follow; empty where it does."""
    if _text(found, "PhotometricInterpretation") == "MONOCHROME1":
        return "its grey values are inverted (MONOCHROME1): export it as MONOCHROME2"
    sequence = "PixelValueTransformationSequence"
    scales = {
        tuple(_in_groups(groups, sequence, key, 1) for key in ("RescaleSlope", "RescaleIntercept"))
        for groups in frames
    }
    if len(scales) > 1:
        return "its frames are scaled differently (RescaleSlope): export single-frame files"
    sizes = {_in_groups(groups, PIXEL_MEASURES, "PixelSpacing", 2) for groups in frames}
    return "the pixels of its frames differ in size (PixelSpacing)" if len(sizes) > 1 else ""


def _frames(found: "Dataset", n_frames: int) -> list[list["Dataset"]]:
    """Return each frame's own group and the shared one (PS3.3, C.7.6.16), unless there are many."""
    if n_frames > MOST_FRAMES:
        return []
    return [[frame, *_items(found, SHARED)] for frame in _items(found, FRAMES)]


def _places(
    found: "Dataset", frames: Sequence[Sequence["Dataset"]], n_frames: int
) -> tuple[tuple[float, ...], ...] | None:
    if not frames and n_frames > 1:
        return None
    places = tuple(
        (
            *_in_groups(groups, "PlanePositionSequence", "ImagePositionPatient", 3),
            *_in_groups(groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6),
        )
        for groups in frames or [[found]]
    )
    is_whole = len(places) == n_frames and all(len(place) == 9 for place in places)
    return places if is_whole else ()


def _items(found: "Dataset", sequence: str) -> list["Dataset"]:
    return list(found.get(sequence) or ())


def _in_groups(
    groups: Sequence["Dataset"], sequence: str, keyword: str, count: int
) -> tuple[float, ...]:
    """Return the first values of an attribute in the groups' sequences, or in the groups."""
    for group in groups:
        for item in (*_items(group, sequence), group):
            if values := _floats(item, keyword, count):
                return values
    return ()


def _size(groups: Sequence["Dataset"], keyword: str) -> float:
    values = _in_groups(groups, PIXEL_MEASURES, keyword, 1)
    return abs(values[0]) if values else 0.0


def state_contrast(
    echo_ms: float | None, inversion_ms: float | None, acquisition: int, image_type: Sequence[str]
) -> tuple[str, ...]:
    """Return what distinguishes the images of a series as messages state it.

    Parameters
    ----------
    echo_ms, inversion_ms : float or None
        Echo and inversion time, ms.
    acquisition : int
        Its number; 0 without one.
    image_type : sequence of str

    Examples
    --------
    >>> state_contrast(2.98, None, 1, ["ORIGINAL", "M"])
    ('echo time 2.98 ms', '', 'acquisition 1', 'image type ORIGINAL M')
    """
    return (
        "" if echo_ms is None else f"echo time {echo_ms:g} ms",
        "" if inversion_ms is None else f"inversion time {inversion_ms:g} ms",
        f"acquisition {acquisition}" if acquisition else "",
        visible(f"image type {' '.join(image_type)}") if image_type else "",
    )


def _contrast(found: "Dataset") -> tuple[str, ...]:
    echo, inversion = (_floats(found, key, 1) for key in ("EchoTime", "InversionTime"))
    return state_contrast(
        echo[0] if echo else None,
        inversion[0] if inversion else None,
        _whole(found, "AcquisitionNumber"),
        _all(found, "ImageType"),
    )


def _traits(found: "Dataset") -> Traits:
    kinds = [*_all(found, "ImageType"), *_all(found, "ComplexImageComponent")]
    moments = ("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ProtocolName")
    return Traits(
        texts=tuple(text for key in TEXTS if (text := _text(found, key))),
        image_type=frozenset(kind.strip().upper() for kind in kinds),
        acquisition=_text(found, "MRAcquisitionType").upper(),
        is_mr=_text(found, "SOPClassUID") in MR_CLASSES,
        settings=tuple(_text(found, key) for key in (*NUMBERS, *moments)),
        tesla=(*_floats(found, "MagneticFieldStrength", 1), 0.0)[0],
    )


@lru_cache(maxsize=64)
def _identity(values: tuple[tuple[str, tuple[str, ...]], ...]) -> Identity:
    """Return the identity of one series' files once: their values are the same but for dates."""
    return Identity.of({key: list(texts) for key, texts in values})


def _is_short(found: "Dataset", n_frames: int, rest: int) -> bool:
    """Return whether an uncompressed file ends before its last pixel."""
    syntax = getattr(found.file_meta, "TransferSyntaxUID", None)
    if syntax is None or syntax.is_compressed or syntax.is_deflated:
        return False
    pixels = _whole(found, "Rows") * _whole(found, "Columns") * n_frames
    return rest < pixels * max(1, _whole(found, "SamplesPerPixel")) * (
        _whole(found, "BitsAllocated") // 8
    )


def _all(found: "Dataset", keyword: str) -> list[str]:
    """Return the values of an attribute as text; none where it is missing or empty."""
    value: Any = found.get(keyword)
    if value is None:
        return []
    many = [value] if isinstance(value, str | bytes) or not hasattr(value, "__iter__") else value
    if keyword == OTHER_NUMBERS:
        return [text for item in many for text in _all(item, "PatientID")]
    if keyword.endswith(("Name", "Names")) and hasattr(value, "original_string"):
        many = [value]  # a person's name is made of parts
    return [text for one in many if (text := str(one).strip())]


def _text(found: "Dataset", keyword: str) -> str:
    return "\\".join(_all(found, keyword))


def _whole(found: "Dataset", keyword: str) -> int:
    text = _text(found, keyword)
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else 0


def _floats(found: "Dataset", keyword: str, count: int) -> tuple[float, ...]:
    try:
        values = tuple(float(text) for text in _all(found, keyword))
    except ValueError:
        return ()
    return values if len(values) == count and np.isfinite(values).all() else ()
