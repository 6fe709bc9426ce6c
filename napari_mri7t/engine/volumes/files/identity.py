"""What identifies a patient in DICOM headers, to be kept out of names, messages and outputs.

A folder, a file or a series' description often holds the patient's name. The attributes are those
of the Basic Application Level Confidentiality Profile that people type: DICOM PS3.15, table E.1-1.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import permutations

from anyascii import anyascii

PATIENT = "PatientName"
PERSONS = (
    PATIENT, "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "RequestingPhysician",
    "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "ResponsiblePerson",
)  # fmt: skip
OTHER_NUMBERS = "OtherPatientIDsSequence"  # of items that have a PatientID each
NUMBERS = (
    "PatientID", "OtherPatientIDs", OTHER_NUMBERS, "AccessionNumber", "MedicalRecordLocator",
)  # fmt: skip
PLACES = ("InstitutionName", "PatientAddress", "PatientTelephoneNumbers")
BIRTH = "PatientBirthDate"
DATES = (
    BIRTH, "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate",
    "AcquisitionDateTime",
)  # fmt: skip
ATTRIBUTES = (*PERSONS, *NUMBERS, *PLACES, *DATES)
NOBODY = frozenset(
    (
        "anon", "anonym", "anonymous", "anonymized", "anonymised", "deidentified", "removed",
        "unknown", "none", "patient", "subject", "subj", "sub", "ses", "participant", "volunteer",
        "phantom", "test", "study", "session", "visit",
    )
)  # fmt: skip  # in place of a name, or beside any
MONTHS = tuple(
    zip(
        ("january", "february", "march", "april", "may", "june", "july", "august", "september",
         "october", "november", "december"),
        ("januar", "februar", "maerz", "april", "mai", "juni", "juli", "august", "september",
         "oktober", "november", "dezember"),
        ("janvier", "fevrier", "mars", "avril", "mai", "juin", "juillet", "aout", "septembre",
         "octobre", "novembre", "decembre"),
        strict=True,
    )
)  # fmt: skip
NO_NAMES = NOBODY | frozenset(
    (
        "healthy", "volunteers", "control", "controls", "pilot", "participants", "patients",
        "subjects", "scan", "scans", "brain", "brains", "head", "heads", "image", "images", "mri",
        "mr", "dicom", "nifti", "raw", "data", "anat", "mprage", "mp", "rage", "flair", "space",
        "bravo", "spgr", "tfe", "tfl", "uni", "unit", "inv", "run", "acq", "rec", "task", "dir",
        "echo", "desc", "label", "sample", "dummy", "example", "demo", "project", "trial", "group",
        "site", "case", "hc", "ctrl", "prisma", "terra", "skyra", "siemens", "philips",
    )
)  # fmt: skip  # words of common names of scans, which are no part of a full name
UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa"})
SHORTEST = 3  # letters or digits that are looked for within words; fewer must be a word
COMMON_DIGITS = 3  # of a number, at most, that many labels have whatever the headers say
NAMES = (PATIENT, "OtherPatientNames", "PatientBirthName")
SPOKEN = 3  # first parts of a name in a header: family, given and middle name


@dataclass(frozen=True)
class Identity:
    """Words that identify patients, and the search for them.

    Attributes
    ----------
    parts : frozenset of str
        Looked for anywhere, within words too.
    words : frozenset of str
        Looked for as whole words: too short for more.
    births : frozenset of str
        Which of both are birth dates.
    full_names : frozenset of str
        Of each two words of different parts of a patient's name: with a blank, and as one word.
    """

    parts: frozenset[str] = field(default=frozenset(), repr=False)
    words: frozenset[str] = field(default=frozenset(), repr=False)
    births: frozenset[str] = field(default=frozenset(), repr=False)
    full_names: frozenset[str] = field(default=frozenset(), repr=False)

    def is_in(self, text: str) -> bool:
        """Return whether a text holds any of the words, in any case, accented or not.

        Examples
        --------
        >>> jane = Identity.of({"PatientName": ["Doe^Jane"], "PatientBirthDate": ["19700131"]})
        >>> jane.is_in("DoeJane_T1"), jane.is_in("31.01.1970"), jane.is_in("t1_mprage")
        (True, True, False)
        """
        for spelt in _spellings(text):
            joined = re.sub(r"[\W_]+", "", spelt)
            if any(part in joined for part in self.parts):
                return True
            if self.words & set(_words(spelt)):
                return True
        return False

    def is_in_label(self, label: str) -> bool:
        """Return whether a label, or a folder's name, holds any of the words but short numbers.

        Examples
        --------
        >>> Identity.of({"PatientID": ["02"]}).is_in_label("02")
        False
        """
        return self._without_short_numbers.is_in(label)

    @cached_property
    def _without_short_numbers(self) -> "Identity":
        parts, words = (
            frozenset(w for w in group if not (w.isdecimal() and len(w) <= COMMON_DIGITS))
            for group in (self.parts, self.words)
        )
        return Identity(parts, words)

    def is_full_name_in(self, text: str) -> bool:
        """Return whether a file or folder of a path has two parts of one patient's name as words.

        Words end where capitals begin, too; both may also be one word.

        Examples
        --------
        >>> jane = Identity.of({"PatientName": ["Doe^Jane"]})
        >>> jane.is_full_name_in("a/sub-DoeJane_T1w"), jane.is_full_name_in("Doe/Jane1_T1w")
        (True, False)
        """
        return any(self._is_named_in(part) for part in re.split(r"[/\\]", text))

    def _is_named_in(self, text: str) -> bool:
        at_capitals = "".join(
            f"{sign} " if sign.islower() and after.isupper() else sign
            for sign, after in zip(text, f"{text[1:]} ", strict=False)
        )
        for spelt in {*_spellings(at_capitals), *_spellings(text)}:
            found = set(_words(spelt))
            both = {f"{one} {other}" for one, other in permutations(found, 2)}
            if self.full_names & (found | both):
                return True
        return False

    def __or__(self, other: "Identity") -> "Identity":
        return Identity(
            self.parts | other.parts,
            self.words | other.words,
            self.births | other.births,
            self.full_names | other.full_names,
        )

    @classmethod
    def of(cls, values: dict[str, list[str]]) -> "Identity":
        """Return the identity that a header records.

        Parameters
        ----------
        values : dict of str to list of str
            The values of `ATTRIBUTES`, by keyword.
        """
        found: set[str] = set()
        for keyword in (*PERSONS, *NUMBERS):
            for text in values.get(keyword, ()):
                found |= _parts_of(text)
        for keyword in PLACES:
            found |= {word for text in values.get(keyword, ()) for word in _whole(text)}
        found -= NOBODY
        for keyword in DATES:
            for text in values.get(keyword, ()):
                found |= _dates(text)
        births: set[str] = set()
        for text in values.get(BIRTH, ()):
            births |= _dates(text) | _months(text)
        found |= births
        short = {word for word in found if len(word) < SHORTEST and word.isascii()}
        names = _full_names([text for keyword in NAMES for text in values.get(keyword, ())])
        return cls(frozenset(found - short), frozenset(short), frozenset(births), names)


def without_nobody(text: str) -> str:
    """Return a name without the words that stand in place of one, or beside any.

    Examples
    --------
    >>> without_nobody("ANON^S01"), without_nobody("Doe^Jane")
    ('S01', 'Doe Jane')
    """
    words = re.findall(r"[^\W_]+", text)
    return " ".join(word for word in words if word.casefold() not in NOBODY)


def _spellings(text: str) -> set[str]:
    """Return a text in lower case without accents: ü as u, and as ue; in Latin letters, too."""
    plain = unicodedata.normalize("NFC", text).casefold()
    latin = (anyascii(spelt).casefold() for spelt in (plain, plain.translate(UMLAUTS)))
    return {_without_accents(plain), *latin}


def _without_accents(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text)
    return "".join(sign for sign in apart if not unicodedata.combining(sign))


def _words(text: str) -> list[str]:
    """Return runs of letters, and runs of digits."""
    return re.findall(r"[^\W\d_]+|\d+", text)


def _whole(text: str) -> Iterable[str]:
    return (joined for spelt in _spellings(text) if (joined := re.sub(r"[\W_]+", "", spelt)))


def _parts_of(text: str) -> set[str]:
    """Return the words of a name or number, and a number as a whole; no single letters.

    A number that begins with zeros is also looked for without them.
    """
    parts = set()
    for words in map(_words, _spellings(text)):
        parts |= {*words, *map("".join, permutations(words, 2))}  # as in LiXu of Li^Xu
    if re.search(r"\d", text):
        parts |= set(_whole(text))
    parts |= {part.lstrip("0") for part in parts}
    return {part for part in parts if len(part) > 1 or not part.isascii()}


def _full_names(values: Iterable[str]) -> frozenset[str]:
    """Return every two words of different parts of a patient's names, with a blank and without.

    Parts are divided by ^, or by blanks in a name without it; one that has digits then is a number.
    """
    places: list[set[str]] = [set() for _ in range(SPOKEN)]
    found: set[str] = set()
    for text in (one for value in values for one in value.split("=")):  # of three scripts
        parts = [_names_in(part) for part in text.split("^")[:SPOKEN]]
        if sum(map(bool, parts)) > 1:
            for place, part in zip(places, parts, strict=False):
                place |= part
        elif not re.search(r"\d", text):
            words = [_names_in(word) for word in re.findall(r"[^\W_]+", text)]
            found |= _both_of(words)
            places[0] |= words[0] if len(words) == 1 else set()
    return frozenset(found | _both_of(places))


def _both_of(parts: Iterable[set[str]]) -> set[str]:
    pairs = [(a, b) for one, other in permutations(parts, 2) for a in one for b in other if a != b]
    return {f"{a}{gap}{b}" for a, b in pairs for gap in ("", " ")}


def _names_in(part: str) -> set[str]:
    """Return the words of a part of a name, and all in one, but for single letters."""
    spellings = _spellings(part)
    words = {word for spelt in spellings for word in re.findall(r"[^\W\d_]+", spelt)}
    words |= {"".join(re.findall(r"[^\W\d_]+", spelt)) for spelt in spellings}
    return {word for word in words if len(word) > 1 or (word and not word.isascii())} - NO_NAMES


def _months(text: str) -> set[str]:
    """Return the ways in which the month and the year of a date, YYYYMMDD, are written in words."""
    if not re.match(r"\d{4}(?:0[1-9]|1[0-2])", text):
        return set()
    names = MONTHS[int(text[4:6]) - 1]
    both = ((name, text[:4]) for long in names for name in (long, long[:3]))
    return {joined for pair in both for joined in ("".join(pair), "".join(pair[::-1]))}


def _dates(text: str) -> set[str]:
    """Return the ways in which a date, YYYYMMDD, is written, without separators.

    Months by number or name, with and without the zeros that days and months begin with.
    """
    try:
        day = date.fromisoformat(f"{text[:4]}-{text[4:6]}-{text[6:8]}")
    except ValueError:
        return set()
    names = (*MONTHS[day.month - 1], *(name[:3] for name in MONTHS[day.month - 1]))
    found = {day.strftime(form) for form in ("%y%m%d", "%d%m%y", "%m%d%y")}
    for dd in (f"{day.day:02d}", f"{day.day}"):
        for mm in (f"{day.month:02d}", f"{day.month}", *names):
            found |= {f"{day:%Y}{mm}{dd}", f"{dd}{mm}{day:%Y}", f"{mm}{dd}{day:%Y}"}
            found |= set() if mm.isdigit() else {f"{dd}{mm}{day:%y}", f"{mm}{dd}{day:%y}"}
    return found
