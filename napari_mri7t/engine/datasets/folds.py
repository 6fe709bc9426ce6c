"""Subjects split for leave-one-out, no person on both sides of a fold."""

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from napari_mri7t.engine.datasets.names import person_of
from napari_mri7t.engine.datasets.subjects import Subject
from napari_mri7t.engine.errors import Mri7tWarning, SubjectError

VISIT = re.compile(
    r"[ _-]*\(\d+\)(?=[ _-]|$)"
    r"|[ _-]+(?:(?:v|visit|tp|time|timepoint|scan|day|week|month|year|rep|repeat|copy|kopie|copie)"
    r"[ _-]?\d*|t[0-9]|m(?:0|3|6|9|12|18|24|36|48)|pre|post|baseline|bl|follow-?up|fu\d*"
    r"|(?:re)?test|flip(?:ped)?|mirror(?:ed)?|aug\d*|denoised?|(?:19|20)\d{6}"
    r"|brain|mprage|spgr|t1w?)(?=[ _-]|$)"
)


@dataclass(frozen=True)
class Fold:
    """One fold of leave-one-out: the subject held out, and those trained on."""

    held_out: Subject
    training: tuple[Subject, ...]


def leave_one_out(subjects: list[Subject]) -> list[Fold]:
    """Return one fold for each subject, which holds that subject out.

    Returns
    -------
    list of Fold
        In the order of the subjects.

    Raises
    ------
    SubjectError
        If there are fewer than two subjects, or one would be on both sides of a fold.
    """
    if len(subjects) < 2:
        only = f"{subjects[0].name} is the only one" if subjects else "there is none"
        raise SubjectError(f"leave-one-out needs at least 2 subjects, but {only}: add subjects")
    groups: dict[tuple[object, ...], list[str]] = {}
    for subject in subjects:
        keys = {("person", person_of(subject.name)), *map(_identity, _files(subject))}
        for key in keys:
            groups.setdefault(key, []).append(subject.name)
    twice = {", ".join(sorted(names)): key for key, names in groups.items() if len(names) > 1}
    for names, key in twice.items():
        why = "are one person" if key[0] == "person" else "share a file"
        raise SubjectError(
            f"{names}: {why}, so that a fold would train on what it holds out; keep one"
        )
    _warn_of_namesakes(subjects)
    return [
        Fold(held_out, tuple(other for other in subjects if other is not held_out))
        for held_out in subjects
    ]


def _warn_of_namesakes(subjects: Iterable[Subject]) -> None:
    """Warn of names that differ only in zeros or `sub-` before them, or in what follows them."""
    zeros: dict[str, list[str]] = {}
    visits: dict[str, list[str]] = {}
    for subject in subjects:
        person = re.sub(r"^sub[-_]?(?=[^\W_])", "", person_of(subject.name))
        plain = re.sub(r"(?<!\d)0+(?=\d)", "", person)
        zeros.setdefault(plain, []).append(subject.name)
        visits.setdefault(VISIT.sub("", plain) or plain, []).append(subject.name)
    in_zeros = (tuple(sorted(names)) for names in zeros.values() if len(names) > 1)
    alike = dict.fromkeys(in_zeros, "zeros or sub- before them")
    if len(visits) > 1:  # else these words are all that tells the subjects apart
        found = (tuple(sorted(names)) for names in visits.values() if len(names) > 1)
        alike = dict.fromkeys(found, "what may be a visit, a sequence or a copy") | alike
    for names, what in alike.items():
        warnings.warn(
            f"{', '.join(names)}: differ only in {what}: if they are one person, keep one, since a "
            "fold would train on what it holds out",
            Mri7tWarning,
            stacklevel=3,
        )


def _files(subject: Subject) -> list[Path]:
    return [path for path in (subject.target, subject.source) if path is not None]


def _identity(path: Path) -> tuple[object, ...]:
    """Return what links and hard links to one file have in common."""
    try:
        status = path.stat()
    except OSError:
        return ("path", path.resolve())
    return ("file", status.st_dev, status.st_ino) if status.st_ino else ("path", path.resolve())
