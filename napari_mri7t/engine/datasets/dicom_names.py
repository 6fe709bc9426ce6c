"""Names of DICOM studies, made of their folders where these tell no patient."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from napari_mri7t.engine.datasets.field_strength import FIELD_IN_NAME
from napari_mri7t.engine.datasets.names import ENTITIES, SUFFIXES_BY_NAME, clean_stem
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


def place_in_words(root: Path, folder: Path, identity: Identity) -> str:
    """Return where a folder is below a root; one that tells a patient by its number in the list.

    Examples
    --------
    >>> identity = Identity.of({"PatientName": ["Doe^Jane"]})
    >>> Path("in/Adam").mkdir(parents=True)
    >>> Path("in/DOE/t1").mkdir(parents=True)
    >>> place_in_words(Path("in"), Path("in/DOE/t1"), identity)
    '[folder 2 of 2 by name]/t1'
    """
    parts = []
    for at in [*folders_above(root, folder / "file")][-2::-1]:
        name = at.name
        if identity.is_in(name):
            beside = (path for path in at.parent.iterdir() if not path.name.startswith("."))
            names = sorted((p.name for p in beside if p.is_dir()), key=str.casefold)
            name = f"[folder {names.index(name) + 1} of {len(names)} by name]"
        parts.append(name)
    return "/".join(parts)


def own_words(name: str) -> str:
    """Return what somebody chose in the path of a volume: without what BIDS or a contrast says.

    Examples
    --------
    >>> own_words("sub-01/anat/sub-01_acq-mprage_T1w.nii.gz")
    '01 01 mprage'
    """
    path = Path(name)
    words = re.split(r"[/_ ]+", str(path.parent / clean_stem(path)))
    labels = [word.split("-", 1)[-1] if word.split("-")[0] in ENTITIES else word for word in words]
    known = {*SUFFIXES_BY_NAME, *SAYS_NOTHING, "t1", "brain", "head"}
    return " ".join(word for word in labels if word.casefold() not in known)


def is_known_by_pseudonym(root: Path, series: DicomSeries) -> bool:
    """Return whether the headers of a series tell no name: a label of its folders, or a number."""
    name, number = map(_plain, series.patient)
    if name == number and re.search(r"\d", name):
        return True
    return any(
        ENTITY.fullmatch(at.name) and _is_pseudonym(at.name, series)
        for at in folders_above(root, series.files[0])
    )


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
