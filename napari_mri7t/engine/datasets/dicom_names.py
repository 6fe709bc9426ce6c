"""Names of DICOM studies, made of their folders where these tell no patient."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from napari_mri7t.engine.volumes.files.dicom import DicomSeries
from napari_mri7t.engine.volumes.files.identity import without_nobody

ENTITY = re.compile(r"(?:sub|ses)-[0-9A-Za-z+]+")
SAYS_NOTHING = frozenset(
    ("dicom", "dicoms", "dicomdat", "dcm", "image", "images", "img", "mr", "mri", "raw", "data",
     "scan", "scans", "series", "export", "study", "anat")
)  # fmt: skip  # names of folders


def folders_above(root: Path, path: Path) -> Iterator[Path]:
    """Yield the folders of a file, up to the root."""
    for folder in path.parents:
        yield folder
        if folder == root:
            return


def name_of_study(
    root: Path,
    common: Path,
    folder: Path,
    series: DicomSeries,
    holders: Mapping[Path, Collection[str]],
) -> str:
    """Return the name of a study: BIDS labels if its folders have them, or its folders' names."""
    above = [*folders_above(root, common / "file")][-2::-1]  # from below the root down
    labelled = [place for place in above if ENTITY.fullmatch(place.name)]
    if labelled and labelled[0].name.startswith("sub-"):
        person = min(holders.get(labelled[0]) or [series.study])  # one for all of their sessions
        keys = [person, *(series.study for _ in labelled[1:])]
        parts = [_neutral(at.name, series, key) for at, key in zip(labelled, keys, strict=True)]
        return "/".join([*parts, "_".join([*parts, "T1w"])])
    is_alone = len(holders.get(folder, ())) <= 1
    parts = list(folder.relative_to(root).parts)
    if not parts and is_alone:
        parts = [root.resolve().name]
    telling = [
        _neutral(part, series, series.study) for part in parts if part.lower() not in SAYS_NOTHING
    ]
    own = [] if is_alone and telling else [series.study]
    return "_".join(dict.fromkeys([*telling, *own]))


def tells_patient(label: str, series: DicomSeries) -> bool:
    """Return whether a label holds what the headers say of a patient, and is no pseudonym."""
    return series.identity.is_in(label) and not _is_pseudonym(f"sub-{label}", series)


def are_other_patients(one: DicomSeries, other: DicomSeries) -> bool:
    """Return whether the headers of two series differ in the patient's name and in the number."""
    both = zip(one.patient, other.patient, strict=True)
    known = [(_plain(without_nobody(a)), _plain(without_nobody(b))) for a, b in both]
    return all(a and b and a != b for a, b in known)


def _neutral(part: str, series: DicomSeries, key: str) -> str:
    """Return the name of a folder, or a key in place of what tells a patient."""
    label = ENTITY.fullmatch(part)
    if series.identity.is_in(part) and not (label and _is_pseudonym(part, series)):
        return f"{part[:4]}{key}" if label else key
    return re.sub(r"[^0-9A-Za-z+-]+", "_", part)


def _is_pseudonym(part: str, series: DicomSeries) -> bool:
    """Return whether a BIDS label is all that the headers know the patient by."""
    known = {_plain(without_nobody(text)) for text in series.patient} - {""}
    return bool(known) and known <= {_plain(part), _plain(part[4:])}


def _plain(text: str) -> str:
    """Return letters and digits alone, a number without the zeros that it begins with."""
    joined = re.sub(r"[\W_]+", "", text).casefold()
    return re.sub(r"(?<!\d)0+(?=\d)", "", joined)
