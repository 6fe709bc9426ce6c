"""Names of DICOM studies, made of their folders where these tell no patient."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from napari_mri7t.engine.datasets.field_strength import FIELD_IN_NAME
from napari_mri7t.engine.volumes.files.dicom import DicomSeries
from napari_mri7t.engine.volumes.files.identity import Identity, without_nobody

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
        _neutral(part, series, _key_below(root, part, series, holders))
        for part in parts
        if part.lower() not in SAYS_NOTHING
    ]
    own = [] if is_alone and telling else [series.study]
    return "_".join(dict.fromkeys([*telling, *own]))


def _key_below(
    root: Path, part: str, series: DicomSeries, holders: Mapping[Path, Collection[str]]
) -> str:
    """Return one key for all studies in folders of one name, as DOE/3T, DOE/7T or 3T/DOE, 7T/DOE.

    Such a folder may be named after a patient, whose studies belong together.
    """
    alike = (at for at in holders if at != root and at.name.casefold() == part.casefold())
    return min((study for at in alike for study in holders[at]), default=series.study)


def is_of_field_alone(root: Path, folder: Path) -> bool:
    """Return whether a path below a root says a field strength and no person, as 3T or dicom/3T.

    Examples
    --------
    >>> root = Path("raw")
    >>> [is_of_field_alone(root, root / name) for name in ("3T", "3T_images", "3T/S1", "dicom")]
    [True, True, False, False]
    """
    words = re.split(r"[ _]+", " ".join(folder.relative_to(root).parts))
    rest = [word for word in words if word.casefold() not in SAYS_NOTHING]
    return bool(rest) and all(FIELD_IN_NAME.fullmatch(word) for word in rest)


def place_in_words(root: Path, path: Path, identity: Identity) -> str:
    """Return where a file or folder is below a root; what tells a patient by its place in a list.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> identity = Identity.of({"PatientName": ["Doe^Jane"]})
    >>> with TemporaryDirectory() as root:
    ...     Path(root, "Adam").mkdir()
    ...     Path(root, "DOE", "t1").mkdir(parents=True)
    ...     place_in_words(Path(root), Path(root, "DOE", "t1"), identity)
    '[folder 2 of 2 by name]/t1'
    """
    parts = []
    for at in [*folders_above(root, path / "file")][-2::-1]:
        name = at.name
        if identity.is_in_label(name):
            is_folder = at.is_dir()
            beside = (p for p in at.parent.iterdir() if not p.name.startswith("."))
            alike = {name, *(p.name for p in beside if p.is_dir() is is_folder)}
            names = sorted(alike, key=lambda name: (name.casefold(), name))
            kind = "folder" if is_folder else "file"
            name = f"[{kind} {names.index(name) + 1} of {len(names)} by name]"
        parts.append(name)
    return "/".join(parts)


def tells_patient(label: str, series: DicomSeries) -> bool:
    """Return whether a label holds what the headers say of a patient, and is no pseudonym."""
    return series.identity.is_in_label(label) and not _is_pseudonym(label, series)


def are_other_patients(one: DicomSeries, other: DicomSeries) -> bool:
    """Return whether the headers of two series differ in the patient's name and in the number."""
    both = zip(one.patient, other.patient, strict=True)
    known = [(_plain(without_nobody(a)), _plain(without_nobody(b))) for a, b in both]
    return all(a and b and a != b for a, b in known)


def _neutral(part: str, series: DicomSeries, key: str) -> str:
    """Return the name of a folder, or a key in place of what tells a patient."""
    start = part[:4] if ENTITY.fullmatch(part) else ""
    if tells_patient(part.removeprefix(start), series):
        return f"{start}{key}"
    return re.sub(r"[^0-9A-Za-z+-]+", "_", part)


def _is_pseudonym(label: str, series: DicomSeries) -> bool:
    """Return whether a label is all that the headers know the patient by: a code, but no date."""
    own = re.sub(r"[\W_]+", "", label).casefold()
    if not re.search(r"\d", own) or {own, _plain(own)} & series.identity.births:
        return False
    if sum(bool(without_nobody(part)) for part in series.patient[0].split("^")) > 1:
        return False
    known = {_plain(without_nobody(text)) for text in series.patient} - {""}
    return bool(known) and known <= {_plain(label), _plain(f"sub{label}")}


def _plain(text: str) -> str:
    """Return letters and digits alone, a number without the zeros that it begins with."""
    joined = re.sub(r"[\W_]+", "", text).casefold()
    return re.sub(r"(?<!\d)0+(?=\d)", "", joined)
