"""What identifies a patient in DICOM headers, to be kept out of names, messages and outputs.

A folder, a file or a series' description often holds the patient's name. The attributes are those
of the Basic Application Level Confidentiality Profile that people type: DICOM PS3.15, table E.1-1.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
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
UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa"})
SHORTEST = 3  # letters or digits that are looked for within words; fewer must be a word


@dataclass(frozen=True)
class Identity:
    """Words that identify patients, and the search for them.

    Attributes
    ----------
    parts : frozenset of str
        Looked for anywhere, within words too.
    words : frozenset of str
        Looked for as whole words: too short for more.
    person : frozenset of str
        Which of both are of the patient's name or birth date.
    """

    parts: frozenset[str] = field(default=frozenset(), repr=False)
    words: frozenset[str] = field(default=frozenset(), repr=False)
    person: frozenset[str] = field(default=frozenset(), repr=False)

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

    @property
    def of_person(self) -> "Identity":
        """What tells the patient's name or birth date alone."""
        return Identity(self.parts & self.person, self.words & self.person, self.person)

    def __or__(self, other: "Identity") -> "Identity":
        person = self.person | other.person
        return Identity(self.parts | other.parts, self.words | other.words, person)

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
        for text in values.get(BIRTH, ()):
            found |= _months(text)
        person = {part for text in values.get(PATIENT, ()) for part in _parts_of(text)} - NOBODY
        for text in values.get(BIRTH, ()):
            person |= _dates(text) | _months(text)
        short = {word for word in found if len(word) < SHORTEST and word.isascii()}
        return cls(frozenset(found - short), frozenset(short), frozenset(person))


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
