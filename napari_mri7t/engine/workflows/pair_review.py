"""A dataset of made pairs after its making: who fits whom, verdicts, summary and page.

All of it is read from the derivative, so it is right after a resume, a kill and several runs.
"""

import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.atomic import read_json, write_json
from napari_mri7t.engine.datasets.bids import LOG_FOLDER
from napari_mri7t.engine.datasets.field_strength import without_field
from napari_mri7t.engine.datasets.names import label_of, without_t1w
from napari_mri7t.engine.datasets.paired import (
    VERDICTS,
    PairPaths,
    Person,
    read_people,
    write_people,
)
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.metrics.pair_agreement import copies, cross_information, swapped
from napari_mri7t.engine.preparation.pair_problems import comparable
from napari_mri7t.engine.progress import Progress, Report, ignore
from napari_mri7t.engine.report.pair_figures import pair_figures
from napari_mri7t.engine.report.pair_page import PairRecord, write_pair_page
from napari_mri7t.engine.texts import brief
from napari_mri7t.engine.volumes.provenance import read_sidecar
from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.engine.workflows.claims import lock_derivative
from napari_mri7t.engine.workflows.summary import BatchSummary

SUMMARY_FILE = "pairs.json"  # in the folder of logs
NOT_COMPARABLE = (
    "it is not compared with the others: its sidecar lacks its place in MNI space: make it again."
)
NOT_YET_COMPARED = (
    "it is not yet compared with the others, since the run that made it was stopped: run it again, "
    "to the end."
)
SMALLEST_DETERMINANT = 1e-6  # of a place in MNI space
PEOPLE, INFORMATION = "people", "information"  # in it: names, and a matrix in their order


def note_pair(folder: Path, name: str, problems: Sequence[str]) -> None:
    """Enter a pair that is about to be written into the table of people, without a verdict.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    name : str
        Of the person.
    problems : sequence of str
        What is wrong with the pair. Until people are compared, a training leaves out any pair.

    Raises
    ------
    Mri7tError
        If the table cannot be read or written.
    """
    with lock_derivative(folder):
        people = read_people(folder)
        others = people.get(name, Person()).others
        people[name] = Person("", " ".join([*problems, NOT_YET_COMPARED]), others)
        write_people(folder, people)


def list_pairs(folder: str | Path) -> list[PairRecord]:
    """Return the pairs of a dataset, sorted by name, from what is on disk.

    Parameters
    ----------
    folder : str or Path
        Of the derivative.

    Raises
    ------
    Mri7tError
        If the table of people cannot be read.
    """
    place = Path(folder)
    people, summary = read_people(place), _read_summary(place)
    return [
        _record(PairPaths(place, name), facts, people.get(name, Person()), summary)
        for name, facts in _pairs_of(place).items()
    ]


def _pairs_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the settings of every pair that is whole, by the names of the people."""
    found = {}
    for place in sorted(folder.glob("sub-*")):
        paths = PairPaths(folder, place.name)
        facts = [read_sidecar(image) for image in paths.images if image.is_file()]
        settings = facts[0].get("Settings") if len(facts) == 3 and facts[0] else None
        if all(facts) and isinstance(settings, dict):
            warnings = facts[0].get("Warnings") if facts[0] else None
            found[place.name] = settings | {"warnings": warnings}
    return found


def _record(
    paths: PairPaths, settings: dict[str, Any], person: Person, summary: Mapping[str, Any]
) -> PairRecord:
    figures = pair_figures(settings)
    others = _information_of(paths.name, summary)
    own = others.pop(paths.name, None)
    if own is not None:  # measured as that with others, on a coarser grid
        figures["mutual_information"] = own
    best = max(others, key=lambda name: others[name], default="")
    if best:
        figures["best_other_information"] = others[best]
    problems = _texts(settings.get("problems"))
    match = _texts(summary.get("flags", {}).get(paths.name))
    flags = dict.fromkeys([*problems, *match])
    if _places_of(settings) is None:
        flags[NOT_COMPARABLE] = None
    elif paths.name not in _texts(summary.get(PEOPLE)):
        flags[NOT_YET_COMPARED] = None
    return PairRecord(
        paths.name,
        *paths.images,
        paths.figure,
        paths.thumbnail,
        figures,
        best,
        tuple(flags),
        _texts(settings["warnings"]),
        person.verdict,
        replace(person, flags=" ".join(flags)).is_used,
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(text) for text in value) if isinstance(value, list | tuple) else ()


def _information_of(name: str, summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the information of a person's 3T with the 7T of each, also the own one."""
    names = _texts(summary.get(PEOPLE))
    try:
        row = summary[INFORMATION][names.index(name)]
        return {n: float(v) for n, v in zip(names, row, strict=True)}
    except (LookupError, ValueError, TypeError):
        return {}


def judge_pair(folder: str | Path, subject: str, verdict: str) -> PairRecord:
    """Record what somebody who looked at a pair thinks of it; it is kept until the pair changes.

    A training takes accepted pairs, and those without a flag that nobody judged. It leaves out the
    others, which `.bidsignore` lists.

    Parameters
    ----------
    folder : str or Path
        Of the derivative.
    subject : str
        Name of the person.
    verdict : str
        "accept", "reject", "look again"; empty takes a verdict back.

    Returns
    -------
    PairRecord

    Raises
    ------
    ValueError
        If there is no such verdict.
    Mri7tError
        If there is no such pair, or the table of people cannot be read or written.
    """
    if verdict and verdict not in VERDICTS:
        raise ValueError(f"verdict must be {', '.join(VERDICTS)} or empty, got {brief(verdict)}")
    place = Path(folder)
    with lock_derivative(place):
        records = {record.name: record for record in list_pairs(place)}
        if subject not in records:
            known = ", ".join(records) or "none"
            raise Mri7tError(f"{place}: has no pair of {subject}; it has {known}: make it first")
        people = read_people(place)
        old = people.get(subject, Person(flags=" ".join(records[subject].flags)))
        people[subject] = replace(old, verdict=verdict)
        write_people(place, people)
        found = list_pairs(place)
        write_pair_page(place, found, _read_summary(place).get("failed", {}))
    return next(record for record in found if record.name == subject)


def finish_pairs(
    folder: Path,
    summary: BatchSummary,
    report: Report = ignore,
    *,
    is_part: bool = False,
    source: Path | None = None,
) -> list[PairRecord]:
    """Compare the people of a dataset, and write its summary, table of people and page.

    After a stop nobody is compared: what is known of the pairs that were not written since stays.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    summary : BatchSummary
        Of what has just been made, also if it was stopped. What failed before and is still not
        there stays in the summary's file.
    report : callable
        Progress in people.
    is_part : bool
        Whether only some people were looked for: files of others that failed before stay, too.
    source : Path, optional
        The folder of the scans: files of people in the summary that are no longer in it do not
        stay.

    Returns
    -------
    list of PairRecord
        All pairs of the dataset, sorted by name.

    Raises
    ------
    Mri7tError
        If a file cannot be read or written.
    """
    compared = None if summary.stopped else _compared(folder, report)
    with lock_derivative(folder) as logs:
        facts = asdict(summary) | (compared or _known(folder, summary.written))
        names = {*facts[PEOPLE], *summary.written, *summary.known}
        for key in ("failed", "skipped", "arguments"):
            earlier = _read_summary(folder).get(key)
            if isinstance(earlier, dict):
                own = {*names, *summary.failed, *summary.skipped}
                rest = {n: w for n, w in earlier.items() if not {n, n.split("/")[0]} & own}
                stays = {n: w for n, w in rest.items() if is_part or _is_person(n)}
                stays = {n: w for n, w in stays.items() if not _is_replaced(n, own, source)}
                facts[key] = stays | facts[key]
        write_json(logs / SUMMARY_FILE, facts)
        records = list_pairs(folder)
        people = read_people(folder)
        for record in records:
            old = people.get(record.name, Person())
            people[record.name] = replace(old, flags=" ".join(record.flags))
        write_people(folder, people)
        write_pair_page(folder, records, facts["failed"])
    return records


def _compared(folder: Path, report: Report) -> dict[str, Any]:
    """Return of the summary what a comparison of all people finds."""
    names, information, twins = compare_people(folder, report)
    flags = _flags_of(names, information, twins)
    return {PEOPLE: names, INFORMATION: information.tolist(), "flags": flags}


def _known(folder: Path, written: Sequence[str]) -> dict[str, Any]:
    """Return what an earlier comparison found of the pairs that were not written since."""
    earlier = _read_summary(folder)
    people = _texts(earlier.get(PEOPLE))
    names = [name for name in people if name not in written]
    places = [people.index(name) for name in names]
    try:
        information = [[earlier[INFORMATION][i][j] for j in places] for i in places]
    except (LookupError, TypeError):
        names, information = [], []
    flags = {name: why for name, why in earlier.get("flags", {}).items() if name not in written}
    return {PEOPLE: names, INFORMATION: information, "flags": flags}


def _is_replaced(name: str, people: Container[str], source: Path | None) -> bool:
    """Return whether a file of a flat layout is no longer there, and its person has an outcome."""
    if source is None or not Path(name).suffix or os.path.lexists(source / name):
        return False
    return f"sub-{label_of(without_t1w(without_field(Path(Path(name).stem))))[0]}" in people


def _is_person(name: str) -> bool:
    return name.startswith("sub-") and "/" not in name


def compare_people(
    folder: Path, report: Report = ignore
) -> tuple[list[str], np.ndarray, dict[str, dict[str, str]]]:
    """Return how well each person's 3T fits everybody's 7T, and whose scan is another's, too.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    report : callable
        Progress in people.

    Returns
    -------
    names : list of str
        Without those whose sidecar lacks a place in MNI space.
    information : ndarray, shape (n, n)
        As `cross_information`, in the order of the names.
    twins : dict of str to dict
        As `copies`, for "3T" and "7T".
    """
    places = {name: _places_of(settings) for name, settings in _pairs_of(folder).items()}
    pairs = {name: place for name, place in places.items() if place is not None}
    sources: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    for n, (name, place) in enumerate(pairs.items()):
        report(Progress(n, len(pairs), f"comparing the people ({name})"))
        paths = PairPaths(folder, name)
        sources.append(comparable(load_volume(paths.source), place[0]))
        targets.append(comparable(load_volume(paths.target), place[1]))
    report(Progress(len(pairs), len(pairs), "comparing the people"))
    twins = {"3T": copies(sources, list(pairs)), "7T": copies(targets, list(pairs))}
    return list(pairs), cross_information(sources, targets), twins


def _places_of(settings: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return where both grids lie in MNI space; None if the sidecar, which people edit, is odd."""
    try:
        both = [np.array(settings[f"{side}_grid_to_mni"], float) for side in ("source", "target")]
    except (LookupError, ValueError, TypeError, OverflowError):
        return None
    if any(each.shape != (4, 4) or not np.isfinite(each).all() for each in both):
        return None
    if any(abs(np.linalg.det(each)) < SMALLEST_DETERMINANT for each in both):
        return None
    return both[0], both[1]


def _flags_of(
    names: Sequence[str], information: np.ndarray, twins: Mapping[str, Mapping[str, str]]
) -> dict[str, list[str]]:
    """Return sentences on those whose 3T fits another's 7T better, or who share a scan."""
    others = swapped(information, names) if names else {}
    flags: dict[str, list[str]] = {}
    for field, pairs in twins.items():
        for name, other in pairs.items():
            flags.setdefault(name, []).append(
                f"the {field} seems to be that of {other}, too: one person under two names, or a "
                "wrong file: check where both come from."
            )
    for name, other in others.items():
        own, best = (float(information[names.index(name), names.index(n)]) for n in (name, other))
        both = f"{name} and {other} are probably swapped" if others.get(other) == name else ""
        what = both or "it is probably another person's scan"
        flags.setdefault(name, []).append(
            f"the 3T fits the 7T of {other} better than its own (mutual information {best:.3f} "
            f"and {own:.3f}): {what}: check where both come from."
        )
    return flags


def _read_summary(folder: Path) -> dict[str, Any]:
    try:
        found = read_json(folder / LOG_FOLDER / SUMMARY_FILE)
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    for key in ("flags", "failed"):
        if not isinstance(found.get(key), dict):
            found[key] = {}
    return found
