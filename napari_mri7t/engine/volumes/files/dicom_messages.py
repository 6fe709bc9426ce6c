"""What dcm2niix says during a conversion, and what it means; it may name files and people."""

import re
from pathlib import Path

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.texts import visible
from napari_mri7t.engine.volumes.files.dicom import DicomSeries
from napari_mri7t.engine.volumes.files.dicom_places import AGAIN

DERIVED = re.compile(
    r"_(?:Eq|Tilt)(?=[a-z]?(?:_|$))"
)  # before a letter that tells equal names apart
TOO_MANY = "Too many NIFTI images"  # with one name: dcm2niix appends a letter, and ends at z
COMPRESSED = "its pixels are compressed in a way that dcm2niix does not read"
# What dcm2niix says, and what it means; anything else that begins with Warning or Error is quoted.
REFUSED = (
    (re.compile(r"(?i)interslice distance varies|slices? (?:are )?not equidistant"),
     "its slices are spaced unequally, which no volume can hold"),
    (re.compile(r"(?i)missing (?:slices|images)|not enough slices"), "slices are missing"),
    (re.compile(r"(?i)unsupported transfer syntax|unable to decode|decompress\w* (?:failed|error)"),
     f"{COMPRESSED}: export it without compression"),
)  # fmt: skip
HARMLESS = re.compile(
    r"(?i)defaults|seriesUID|check that|slice timing|slice order|phase encoding|bvec|autoBids"
    r"|anonym|data block|effectiveEchoSpacing|intensity scal|mosaic|csa header|csaseq|bids"
)


def refuse(series: DicomSeries, said: str, found: list[Path]) -> None:
    """Refuse what dcm2niix could not convert, or only by computing other voxels."""
    if TOO_MANY in said:
        raise VolumeError(
            f"{series.title}: holds more than {len(found)} different images: put the files of each "
            "into a folder of its own, or choose another series"
        )
    if found and not any(DERIVED.search(path.stem) for path in found):
        return
    why = next((meaning for sign, meaning in REFUSED if sign.search(said)), "")
    if found:
        why = why or "its slices are spaced unequally or tilted, which no volume can hold"
    quoted = f" ({'; '.join(quotes)})" if (quotes := quotes_of(series, said)) and not why else ""
    advice = "" if why.startswith(COMPRESSED) else f": {AGAIN}"
    raise VolumeError(
        f"{series.title}: {why or 'dcm2niix makes no image of it'}{quoted}{advice}, or choose "
        "another series"
    )


def quotes_of(series: DicomSeries, said: str) -> list[str]:
    """Return the warnings of dcm2niix that name neither patient nor files, each once."""
    quotes: dict[str, None] = {}
    for line in said.splitlines():
        found = re.match(r"\s*(?:Warning|Error)s?:?\s*(.*)", line, re.IGNORECASE)
        text = visible(found[1].strip()) if found else ""
        is_odd = text and not HARMLESS.search(text) and not re.search(r"[\\/]", text)
        if is_odd and not series.identity.is_in(text):
            quotes[text] = None
    return list(quotes)
