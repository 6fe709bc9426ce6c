"""The 3T and 7T scans of one person as they are found, and what of a dataset is selected."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from napari_mri7t.engine.datasets.bids import Scan, derivative_path
from napari_mri7t.engine.datasets.derivatives import find_own, transforms_of
from napari_mri7t.engine.datasets.dicom_names import are_other_patients, tells_patient
from napari_mri7t.engine.datasets.dicom_studies import DicomStudy
from napari_mri7t.engine.datasets.entries import Entry
from napari_mri7t.engine.datasets.names import (
    DEFAULT_SUFFIX,
    clean_stem,
    entities,
    other_agent,
    without_parts,
)
from napari_mri7t.engine.datasets.subjects import UNIFIED
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.volumes.files.identity import without_nobody

MOST_NAMED = 5
MP2RAGE = "MP2RAGE"  # suffix of an MP2RAGE's inversions, which have the entity inv-


@dataclass(frozen=True)
class PairFiles:
    """The scans of one person at both field strengths, and what the user found of them already.

    Parameters
    ----------
    name : str
        A BIDS label with `sub-`, unique in a dataset.
    source, target : Scan
        3T and 7T, T1w or an MP2RAGE's uniform image.
    inversions : tuple of Scan
        The magnitudes of both inversions of the 7T MP2RAGE, or nothing.
    source_mask, target_mask : Path or None
        The user's own brain masks of the two.
    transform : Path or None
        The user's own, mm of the 3T to mm of the 7T.
    to_mni : Path or None
        The user's own, mm of the 7T to mm of MNI space.
    notes : tuple of str
        What was found and is not used, with the reason.
    """

    name: str
    source: Scan
    target: Scan
    inversions: tuple[Scan, ...] = ()
    source_mask: Path | None = None
    target_mask: Path | None = None
    transform: Path | None = None
    to_mni: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def scans(self) -> tuple[Scan, ...]:
        """3T, 7T and inversions."""
        return (self.source, self.target, *self.inversions)

    @property
    def own(self) -> dict[str, Path]:
        """The user's own masks and transforms, by their names here."""
        names = ("source_mask", "target_mask", "transform", "to_mni")
        return {name: path for name in names if (path := getattr(self, name)) is not None}

    def describe(self) -> str:
        """Return which files are used, as a sentence."""
        words = {
            "source_mask": "your mask of the 3T",
            "target_mask": "your mask of the 7T",
            "transform": f"your transform {self.transform and self.transform.name}",
            "to_mni": f"your transform to MNI space {self.to_mni and self.to_mni.name}",
        }
        extras = [words[name] for name in self.own]
        if self.inversions:
            extras.insert(0, "both inversions of the 7T")
        source, target = (PurePosixPath(scan.name).name for scan in (self.source, self.target))
        text = f"3T {source}, 7T {target}"
        return f"{text}; with {', '.join(extras)}" if extras else text


@dataclass(frozen=True)
class FoundPairs:
    """The pairs of a dataset, and what was left out.

    Parameters
    ----------
    pairs : list of PairFiles
        Sorted by name.
    failed : dict of str to str
        People, or files, that seem to be part of a pair and cannot be used, and why.
    skipped : dict of str to str
        People without a pair, and images that somebody may take for a T1w, and why.
    arguments : dict of str to str
        Argument that would help what failed, such as "series", where there is one.
    is_part : bool
        Whether only some people were asked for.
    """

    pairs: list[PairFiles] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    is_part: bool = False


def inversions_of(target: Entry, group: Sequence[Entry]) -> list[Entry]:
    """Return the magnitudes of both inversions beside an MP2RAGE's uniform image, or nothing.

    Parameters
    ----------
    target : Entry
        The 7T volume.
    group : sequence of Entry
        All volumes of its person.
    """
    if target.suffix != UNIFIED:
        return []
    own = without_parts(target.path)
    found = {}
    for entry in group:
        labels = entities(clean_stem(entry.path))
        is_magnitude = labels.get("part", "mag") == "mag"
        is_inversion = entry.suffix == MP2RAGE and is_magnitude
        if is_inversion and without_parts(entry.path) == own:
            found[labels.get("inv", "")] = entry
    both = [found[number] for number in ("1", "2") if number in found]
    return both if len(both) == 2 else []


def name_by_patient(
    entries: Sequence[Entry], studies: Mapping[Path, DicomStudy], place: str
) -> list[Entry]:
    """Give the two DICOM studies of a patient one name, if they are a 3T and a 7T.

    As of `S1/Prisma_3T` and `S1/Terra_7T`, whose names do not say it. The headers must have name
    and number of the patient, and no other study has these.

    Parameters
    ----------
    entries : sequence of Entry
    studies : mapping of Path to DicomStudy
        By the paths of their entries.
    place : str
        Name for a patient who has no folder; empty if there is none to use.
    """
    counts = Counter(entry.key for entry in entries)
    of_patients: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        study = studies.get(entry.path)
        if study and study.series and all(map(without_nobody, study.series.patient)):
            of_patients[study.series.patient].append(entry)
    pairs = [
        group
        for group in of_patients.values()
        if sorted(entry.field for entry in group) == ["3", "7"]
        and not any(entry.is_bids or counts[entry.key] > 1 for entry in group)
    ]
    alone = place if len(of_patients) == 1 else ""
    names = [_common_start(*(entry.name for entry in group)) or alone for group in pairs]
    given: dict[Path, str] = {}
    for name, group in zip(names, pairs, strict=True):
        is_own = name and names.count(name) == 1 and name not in counts
        own = name if is_own else min(studies[entry.path].key for entry in group)
        given |= {entry.path: own for entry in group}
    return [replace(entry, name=given.get(entry.path, entry.name)) for entry in entries]


def _common_start(one: str, other: str) -> str:
    """Return the words with which two names begin."""
    words = zip(one.split("_"), other.split("_"), strict=False)
    return "_".join(a for a, _ in takewhile(lambda both: both[0] == both[1], words))


def with_own(pair: PairFiles, derivatives: Sequence[Path]) -> PairFiles:
    """Add the masks and transforms of a pair that derivatives hold.

    Parameters
    ----------
    pair : PairFiles
        As it is found.
    derivatives : sequence of Path
    """
    given: dict[str, Any] = {}
    notes: list[str] = []
    for field_name, mask in (("source", "source_mask"), ("target", "target_mask")):
        scan = getattr(pair, field_name)
        session = "3T" if field_name == "source" else "7T"
        named = [(scan, name) for name in _names_of(scan, pair.name, session)]
        if scan.dicom is not None and not scan.name.startswith("sub-"):  # whatever the layout
            person = pair.name.removeprefix("sub-")
            named.append((replace(scan, name=f"{person}_{session}"), named[0][1]))
        for one, name in named:
            own, said = find_own(one, name, derivatives)
            notes += said
            if "mask" in own:
                given.setdefault(mask, own["mask"])
            if "transform" in own and scan is pair.target:
                given.setdefault("to_mni", own["transform"])
    linear, unused = transforms_of(pair.source, derivatives)
    notes += unused
    if len(linear) == 1:
        given["transform"] = linear[0]
    elif linear:
        several = ", ".join(path.name for path in linear)
        notes.append(f"{several} of the derivatives are not used: keep one of them")
    return replace(pair, **given, notes=tuple(dict.fromkeys(notes)))


def _names_of(scan: Scan, person: str, session: str) -> tuple[str, ...]:
    """Return the paths in BIDS by which a derivative may name a scan."""
    both: tuple[str, ...]
    if scan.dicom is None:
        both = (scan.name, scan.name.replace(UNIFIED, DEFAULT_SUFFIX))
    else:
        stems = (PurePosixPath(scan.name).name, f"{person}_ses-{session}_{DEFAULT_SUFFIX}")
        both = tuple(str(derivative_path(stem, "synthesize")) for stem in stems)
    return tuple(dict.fromkeys(both))


def selected(found: FoundPairs, participants: Sequence[str], place: Path) -> FoundPairs:
    """Return what is found of some people.

    Parameters
    ----------
    found : FoundPairs
    participants : sequence of str
        Labels, with or without `sub-`; all by default.
    place : Path
        For messages.

    Raises
    ------
    Mri7tError
        If there is no pair, or a label that does not exist is asked for.
    """
    asked = {f"sub-{label.removeprefix('sub-')}" for label in participants}
    names = {pair.name for pair in found.pairs}
    known = names | {name.split("/")[0] for name in (*found.failed, *found.skipped)}
    if absent := sorted(asked - known):
        some = sorted(names)[:MOST_NAMED]
        more = ", ..." if len(names) > MOST_NAMED else ""
        raise Mri7tError(
            f"{place}: has no participant {', '.join(absent)}; it has "
            f"{', '.join(some) or 'none'}{more}: check the labels",
            argument="participant",
        )

    def of_asked(reasons: Mapping[str, str]) -> dict[str, str]:
        return {n: reasons[n] for n in sorted(reasons) if not asked or n.split("/")[0] in asked}

    wanted = (_with_notes(p) for p in found.pairs if not asked or p.name in asked)
    pairs = sorted(wanted, key=lambda p: p.name)
    failed, skipped = of_asked(found.failed), of_asked(found.skipped)
    left = FoundPairs(pairs, failed, skipped, found.arguments, bool(asked))
    if not pairs and not left.failed:
        reasons = [f"{name}: {why}" for name, why in left.skipped.items()][:MOST_NAMED]
        why = f" ({'; '.join(reasons)})" if reasons else ""
        raise Mri7tError(
            f"{place}: holds no pair of a 3T and a 7T scan{why}: name the field strengths, as in "
            "ses-3T and ses-7T, or choose a table of paths"
        )
    return left


def _with_notes(pair: PairFiles) -> PairFiles:
    """Add what names and DICOM headers say against the pair, or against its name."""
    notes = []
    series = [scan.dicom for scan in (pair.source, pair.target) if scan.dicom is not None]
    if not series and (told := other_agent(pair.source.path, pair.target.path)):
        notes.append(told)
    if len(series) == 2 and are_other_patients(*series):
        notes.append(
            "the DICOM headers of its 3T and its 7T name different patients: check that both are "
            "of one person"
        )
    if any(tells_patient(pair.name.removeprefix("sub-"), one) for one in series):
        notes.append(
            f"{pair.name} holds what the DICOM headers say of a patient: give it another label"
        )
    return replace(pair, notes=(*pair.notes, *notes)) if notes else pair


def told_no_t1w(group: Iterable[Entry], fields: Iterable[str]) -> str:
    """Return the volumes of a field strength that are no T1w, in brackets."""
    names = [entry.path.name for entry in group if entry.field in fields and not entry.is_usable]
    return f" ({', '.join(names[:MOST_NAMED])}: no T1w)" if names else ""
