"""A dataset of made pairs: where its files are, and which pairs a training takes.

Verdicts and flags are columns of `participants.tsv`, which a text editor can change as well. The
pairs that a training leaves out are listed in `.bidsignore`.
"""

import contextlib
import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_mri7t.engine.atomic import write_content, write_json
from napari_mri7t.engine.datasets.bids import (
    FIGURE_FOLDER,
    read_ignore_file,
    write_ignore_file,
)
from napari_mri7t.engine.errors import Mri7tError, unreadable
from napari_mri7t.engine.regular import read_regular
from napari_mri7t.engine.texts import as_cell, from_cell, visible

FIELDS = {"source": 3, "target": 7}  # tesla
ACCEPT, REJECT, LOOK_AGAIN = "accept", "reject", "look again"
VERDICTS = (ACCEPT, REJECT, LOOK_AGAIN)
PEOPLE = "participants"
PERSON, QUALITY, FLAGS = "participant_id", "quality", "flags"
NOTHING = "n/a"
LARGEST_TABLE = 16 << 20  # bytes
MARK = "# Pairs that a training leaves out, by quality and flags in participants.tsv:"
COLUMNS = {
    PERSON: {"Description": "Person"},
    QUALITY: {
        "Description": "Verdict of who looked at the pair; n/a if nobody did",
        "Levels": {
            ACCEPT: "a training takes the pair, flagged or not",
            REJECT: "a training leaves it out",
            LOOK_AGAIN: "a training leaves it out until it is accepted",
        },
    },
    FLAGS: {
        "Description": "What was found wrong with the pair; a training leaves it out unless it is "
        "accepted"
    },
}


@dataclass(frozen=True)
class PairPaths:
    """The files of one pair.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    name : str
        Of the person, with `sub-`.

    Examples
    --------
    >>> PairPaths(Path("pairs"), "sub-01").source.as_posix()
    'pairs/sub-01/ses-3T/anat/sub-01_ses-3T_T1w.nii.gz'
    """

    folder: Path
    name: str

    @property
    def source(self) -> Path:
        """The 3T image."""
        return self._anat("3T", "T1w")

    @property
    def target(self) -> Path:
        """The 7T image."""
        return self._anat("7T", "T1w")

    @property
    def mask(self) -> Path:
        """The common brain mask."""
        return self._anat("7T", "desc-brain_mask")

    @property
    def images(self) -> tuple[Path, Path, Path]:
        """3T, 7T and mask."""
        return self.source, self.target, self.mask

    @property
    def figure(self) -> Path:
        """The quality page, PNG."""
        return self._figure("png")

    @property
    def thumbnail(self) -> Path:
        """A small picture, WebP."""
        return self._figure("webp")

    def check_apart(self, given: set[object]) -> None:
        """Refuse images that would replace a file that was given, also where all may be replaced.

        Parameters
        ----------
        given : set
            From `marks_of`.

        Raises
        ------
        Mri7tError
            If an image would be such a file.
        """
        for image in self.images:
            if not given.isdisjoint(marks_of([image])):
                text = "is a file of the input: choose another folder for the pairs"
                raise Mri7tError(f"{image}: {text}")

    def _anat(self, session: str, end: str) -> Path:
        folder = self.folder / self.name / f"ses-{session}" / "anat"
        return folder / f"{self.name}_ses-{session}_{end}.nii.gz"

    def _figure(self, end: str) -> Path:
        return self.folder / self.name / FIGURE_FOLDER / f"{self.name}_pair.{end}"


def marks_of(paths: Iterable[Path]) -> set[object]:
    """Return what tells files from others: real paths, and numbers on the disk.

    Hard links and names in another case share a number.

    Parameters
    ----------
    paths : iterable of Path
    """
    found: set[object] = set()
    for path in paths:
        found.add(os.path.realpath(path))
        with contextlib.suppress(OSError):
            facts = path.stat()
            found.add((facts.st_dev, facts.st_ino))
    return found


@dataclass(frozen=True)
class Person:
    """A row of the table of people.

    Parameters
    ----------
    verdict : str
        One of `VERDICTS`; empty if nobody looked.
    flags : str
        What was found wrong, as sentences; empty if nothing was.
    others : tuple of (str, str)
        Columns of the user's own.
    """

    verdict: str = ""
    flags: str = ""
    others: tuple[tuple[str, str], ...] = ()

    @property
    def is_used(self) -> bool:
        """Whether a training takes the pair."""
        return self.verdict == ACCEPT or not (self.verdict or self.flags)


def people_table(folder: Path) -> Path:
    """Return the table of people of a dataset of pairs."""
    return folder / f"{PEOPLE}.tsv"


def read_people(folder: Path) -> dict[str, Person]:
    """Return the people of a dataset of pairs, by their names.

    Parameters
    ----------
    folder : Path
        Of the derivative.

    Raises
    ------
    Mri7tError
        If the table cannot be read, lacks the column `participant_id`, names a person twice or
        holds a verdict that is none.
    """
    path = people_table(folder)
    try:
        text = read_regular(path, LARGEST_TABLE).decode("utf-8-sig")
        table = csv.DictReader(io.StringIO(text), dialect="excel-tab", quoting=csv.QUOTE_NONE)
        if PERSON not in (table.fieldnames or ()):
            raise ValueError(f"no column {PERSON} between tabs")
        rows = [{key: value for key, value in row.items() if key} for row in table]
        rows = [row for row in rows if row.get(PERSON)]
        counts = Counter(row[PERSON] for row in rows)
        if twice := next((name for name, count in counts.items() if count > 1), ""):
            raise ValueError(f"{visible(twice)} has {counts[twice]} rows")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise Mri7tError(unreadable(path, error)) from error
    return {row[PERSON]: _person(row, path) for row in rows}


def _person(row: Mapping[str, str | None], path: Path) -> Person:
    cells = {key: from_cell(value or NOTHING) for key, value in row.items()}
    verdict, flags = (
        "" if cells.get(c, NOTHING) == NOTHING else cells[c] for c in (QUALITY, FLAGS)
    )
    if verdict and verdict not in VERDICTS:
        raise Mri7tError(
            f"{path}: {row[PERSON]}: quality must be {', '.join(VERDICTS)} or n/a, got "
            f"{visible(verdict)}: correct it"
        )
    others = tuple((key, value) for key, value in cells.items() if key not in COLUMNS)
    return Person(verdict, flags, others)


def write_people(folder: Path, people: Mapping[str, Person]) -> None:
    """Write the table of people, and list in `.bidsignore` those that a training leaves out.

    Other lines of `.bidsignore` stay. The caller holds the lock of the derivative.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    people : mapping of str to Person
    """
    _write_ignored(folder, [name for name in sorted(people) if not people[name].is_used])
    if people == read_people(folder) and people_table(folder).exists():
        return
    own = list(dict.fromkeys(key for person in people.values() for key, _ in person.others))
    lines = ["\t".join([*COLUMNS, *own])]
    for name, person in sorted(people.items()):
        others = dict(person.others)
        cells = [name, person.verdict or NOTHING, " ".join(person.flags.split()) or NOTHING]
        cells += [others.get(key, NOTHING) for key in own]
        lines.append("\t".join(as_cell(visible(cell)) for cell in cells))
    about = {"Description": "The people of this dataset, and the verdicts on their pairs"}
    write_json(folder / f"{PEOPLE}.json", about | COLUMNS)
    write_content(people_table(folder), "\n".join(lines) + "\n")


def _write_ignored(folder: Path, names: Iterable[str]) -> None:
    """Replace the lines after our mark in `.bidsignore`."""
    text = read_ignore_file(folder)
    lines = text.splitlines()
    kept, rest = lines, []
    if MARK in lines:
        start = lines.index(MARK)
        kept, rest = lines[:start], lines[start + 1 :]
    others = [*kept, *(line for line in rest if not _is_own(line))]
    ours = [f"{name}/" for name in names]
    whole = "".join(f"{line}\n" for line in [*others, *([MARK] if ours else []), *ours])
    if whole != text:
        write_ignore_file(folder, whole)


def _is_own(line: str) -> bool:
    return line.startswith("sub-") and line.endswith("/") and line.count("/") == 1
