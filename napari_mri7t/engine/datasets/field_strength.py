"""The field strength of a volume, by its name and by the JSON files that describe it in BIDS."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from napari_mri7t.engine.atomic import read_json
from napari_mri7t.engine.datasets.names import clean_stem, entities, last_suffix
from napari_mri7t.engine.errors import SubjectError, unreadable

KEY = "MagneticFieldStrength"
TOLERANCE_T = 0.5  # magnets sold as 3 T have 2.89, those sold as 7 T 6.98
NO_FIELD = (
    "nothing says its field strength: put it into ses-3T or ses-7T, name it 3T or 7T, or give "
    f"{KEY} in its JSON"
)
_END = r"(?![0-9A-Za-z])"
FIELD_IN_NAME = re.compile(
    rf"(?<![0-9A-Za-z])(?:ses-|desc-)?(?:pseudo-?)?([37])T(?:esla)?{_END}", re.IGNORECASE
)
# The same within a word, as in acq-mprage3T and ses-3Tbaseline, where nothing else says it
FIELD_IN_WORD = re.compile(
    rf"(?:(?<=[A-Za-z]{{3}})([37])T(?:esla)?{_END}|(?<=(?:ses|acq)-)([37])T(?=[A-Za-z]))"
)
OTHER_FIELD = re.compile(rf"(?<![0-9A-Za-z.])(?:ses-|desc-|acq-)?(\d+(?:[.p]\d+)?)T(?:esla)?{_END}")
# What an image was registered to, as in S1_3T_to_7T, S1_3T_reg7T, S1_space-7T_3T
_LINK = r"(?:(?:co)?reg(?:istered)?|warped|resampled|resliced|aligned)"
ONTO = re.compile(
    r"(?:(?<=[37]T)[ -]?2[ -]?"
    rf"|(?:(?<=[37]T)|(?<= )|^)(?:{_LINK}?[ -]*(?:onto|to|in|on)|{_LINK})[ -]*)[37]T{_END}",
    re.IGNORECASE,
)
SPACE = re.compile(rf"(?<![0-9A-Za-z])space-[37]T{_END}", re.IGNORECASE)


def field_of(path: Path, root: Path, *, name: Path | None = None, default: str = "7") -> str:
    """Return "3" or "7", the field strength of a volume.

    Parameters
    ----------
    path : Path
        The volume.
    root : Path
        Folder of the dataset, up to which JSON files apply.
    name : Path, optional
        What holds the field strength in its name, by default the path within the root.
    default : str
        Where nothing says it.

    Raises
    ------
    SubjectError
        If the name says both, the JSON neither, or they contradict each other.
    """
    text = _readable(path.relative_to(root) if name is None else name)
    own_part = _own_part(text)
    said = set(FIELD_IN_NAME.findall(own_part)) | _others_in(path, own_part)
    said = said or _within_words(own_part)
    if len(said) > 1:
        raise SubjectError(f"{path}: its name says 3T and 7T: rename it, so that it says one")
    by_name = said.pop() if said else ""
    by_json = ""
    for described in _descriptions(path, root):
        by_json = _by_json(described)
        if by_json:
            if by_name and by_name != by_json:
                raise SubjectError(
                    f"{path}: its name says {by_name}T, but {described} says {by_json} tesla "
                    f"({KEY}): rename the volume or correct the JSON"
                )
            break
    return by_name or by_json or default


def field_warnings(path: Path, expected: str) -> tuple[str, ...]:
    """Return a warning if a scan's name or its JSON says another field strength than expected.

    Parameters
    ----------
    path : Path
    expected : {"3", "7"}
        What a model is for, or what a 3T is simulated from. Any but 7T passes as 3T.

    Examples
    --------
    >>> field_warnings(Path("sub-01_ses-7T_T1w.nii.gz"), "3")
    ('this is a 7T scan by its name or JSON, and the models are for 3T scans',)
    """
    root = dataset_of(path)
    try:
        found = field_of(path, root, default=expected)
    except SubjectError:
        found = "another"
        with contextlib.suppress(SubjectError):  # 7 tesla in the JSON of a name that says 3T
            found = field_of(path, root, name=Path(), default=found)
    if expected == "3" and found == "7":
        return ("this is a 7T scan by its name or JSON, and the models are for 3T scans",)
    if expected == "7" and found != "7":
        return ("this is no 7T scan by its name or JSON, and a 3T is simulated from one",)
    return ()


def nearest_field(tesla: float) -> str:
    """Return "3" or "7", the magnet that a field strength is of; empty for any other.

    Examples
    --------
    >>> nearest_field(2.89), nearest_field(6.98), nearest_field(1.5)
    ('3', '7', '')
    """
    return next((field for field in "37" if abs(tesla - float(field)) <= TOLERANCE_T), "")


def field_in_header(tesla: float) -> str:
    """Return "3" or "7", or the number of another magnet; empty for 0, which tells nothing.

    Examples
    --------
    >>> field_in_header(2.89), field_in_header(1.5), field_in_header(0.0)
    ('3', '1.5', '')
    """
    return (nearest_field(tesla) or f"{tesla:g}") if tesla else ""


def why_other_field(path: Path, field: str) -> str:
    """Return why a volume is not of the field strength that a table says; empty if it may be.

    A table knows better than a name that says 3T and 7T, but not than a JSON file.
    """
    root = dataset_of(path)
    try:
        said = field_of(path, root, name=Path(), default=field)
        others = _others_in(path, _own_part(_readable(Path(path.name))))
    except SubjectError as error:
        return str(error)
    with contextlib.suppress(SubjectError):
        said = field_of(path, root, name=Path(path.name), default=said)
    if {said, *others} == {field}:
        return ""
    other = next(iter({said, *others} - {field}))
    return f"{path}: stands for the {field}T, but is {other}T by its name or JSON file"


def dataset_of(path: Path) -> Path:
    """Return the folder up to which JSON files apply to a volume: that of its BIDS subject.

    Examples
    --------
    >>> dataset_of(Path("raw/sub-01/anat/sub-01_T1w.nii.gz")).name
    'raw'
    """
    subjects = [folder for folder in path.parents if folder.name.startswith("sub-")]
    return subjects[-1].parent if subjects else path.parent


def _others_in(path: Path, text: str) -> set[str]:
    """Return the field strengths in a name that are nearly 3 or 7; refuse the others."""
    found = set()
    for number in OTHER_FIELD.findall(FIELD_IN_NAME.sub(" ", text)):
        near = _near(number)
        if not near:
            raise SubjectError(
                f"{path}: its name says {number}T, expected 3T or 7T: rename it, or remove it"
            )
        found.add(near)
    return found


def _within_words(text: str) -> set[str]:
    return {number for either in FIELD_IN_WORD.findall(text) for number in either if number}


def _near(number: str) -> str:
    """Return "3" or "7", if a number in a name, such as "3.0" or "2p89", is nearly that."""
    return nearest_field(float(number.replace("p", ".")))


def without_field(path: Path) -> str:
    """Return a file's name without its field strength and without what it was registered to."""
    own_part = _own_part(_readable(Path(clean_stem(path))))
    name = FIELD_IN_NAME.sub("", own_part)
    name = OTHER_FIELD.sub(lambda match: "" if _near(match[1]) else match[0], name)
    if name == own_part:
        name = FIELD_IN_WORD.sub("", name)
    return "_".join(name.split()) or clean_stem(path)


def name_in_folder(path: Path, field: str) -> str:
    """Return a file's name without the field strength of its folder, if it says no other.

    Examples
    --------
    >>> [name_in_folder(Path(name), "3") for name in ("S1.nii", "S1_3T.nii", "S1_7T.nii")]
    ['S1', 'S1', 'S1_7T']
    """
    own_part = _own_part(_readable(Path(clean_stem(path))))
    others = OTHER_FIELD.findall(FIELD_IN_NAME.sub(" ", own_part))
    said = {*FIELD_IN_NAME.findall(own_part), *map(_near, others)} or _within_words(own_part)
    return without_field(path) if said == {field} else clean_stem(path)


def _own_part(text: str) -> str:
    """Return a name without what its image was registered to, which follows its own field."""
    text = SPACE.sub(" ", text)
    return ONTO.sub(lambda m: " " if FIELD_IN_NAME.search(text[: m.start()]) else m[0], text)


def _readable(path: Path) -> str:
    return path.as_posix().replace("_", " ")


def _descriptions(path: Path, root: Path) -> Iterator[Path]:
    """Yield the JSON files that apply to a volume by BIDS' inheritance, the nearest first."""
    stem = clean_stem(path)
    own = {**entities(stem)}
    folder = path.parent
    while True:
        yield from (
            other
            for other in sorted(folder.glob("*.json"), key=lambda p: -len(p.stem))
            if other.stem == stem
            or (
                last_suffix(other.stem) == last_suffix(stem)
                and entities(other.stem).items() <= own.items()
                and _is_plain(other.stem)
            )
        )
        if folder in (root, folder.parent):
            return
        folder = folder.parent


def _is_plain(stem: str) -> bool:
    """Return whether a stem consists of known entities and a suffix, as BIDS has it."""
    return len(stem.split("_")) == len(entities(stem)) + 1


def _by_json(path: Path) -> str:
    """Return "3" or "7" by the JSON; empty where it does not say."""
    try:
        facts = read_json(path)
    except (OSError, ValueError) as error:
        raise SubjectError(unreadable(path, error)) from error
    value = facts.get(KEY) if isinstance(facts, dict) else None
    if value is None:
        return ""
    try:
        tesla = float(re.sub(r"\s*(?:t|tesla)\s*$", "", str(value), flags=re.IGNORECASE))
    except ValueError:
        tesla = float("nan")
    if not isinstance(value, bool) and (found := nearest_field(tesla)):
        return found
    raise SubjectError(
        f"{path}: {KEY} is {str(value)[:40]}, expected about 3 or 7 (in tesla): correct it, or "
        "remove the volume"
    )
