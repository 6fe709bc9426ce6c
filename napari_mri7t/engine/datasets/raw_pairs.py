"""Raw 3T and 7T scans of the same people: found in a folder or in a table, and matched.

In BIDS, a session or its JSON says the field strength, and the suffix which image is used. What is
left out is named with the reason.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from napari_mri7t.engine.datasets.bids import Scan
from napari_mri7t.engine.datasets.derivatives import derivatives_of
from napari_mri7t.engine.datasets.dicom_scans import find_studies
from napari_mri7t.engine.datasets.dicom_studies import (
    NAMES_PATIENT,
    NOT_UNPACKED,
    VOLUMES_BESIDE,
    DicomStudy,
    located,
)
from napari_mri7t.engine.datasets.entries import Entry
from napari_mri7t.engine.datasets.field_strength import (
    NO_FIELD,
    field_in_header,
    field_of,
    without_field,
)
from napari_mri7t.engine.datasets.files import (
    IGNORE_FILE,
    NO_DATA,
    files_in,
    find_files,
    find_volumes,
    is_listed,
    misplaced_volumes,
    read_ignored,
    subject_folders,
    volumes_among,
    volumes_in_other_folders,
)
from napari_mri7t.engine.datasets.names import (
    DEFAULT_SUFFIX,
    anatomical_suffix,
    clean_stem,
    is_misnamed_t1w,
    labels_of,
    last_suffix,
    looks_t1w,
    why_misfiled,
    why_no_image,
)
from napari_mri7t.engine.datasets.pair_files import (
    FoundPairs,
    PairFiles,
    inversions_of,
    name_by_patient,
    selected,
    told_no_t1w,
    with_own,
)
from napari_mri7t.engine.datasets.scans import MISPLACED, RENAME
from napari_mri7t.engine.datasets.subjects import PAIR_FOLDERS, choose_volumes, names_in_folders
from napari_mri7t.engine.datasets.unread import UNPACK, unread_in
from napari_mri7t.engine.errors import SubjectError


def find_raw_pairs(
    folder: str | Path, participants: Sequence[str] = (), series: str = ""
) -> FoundPairs:
    """Find the raw 3T and 7T scans of the same people in a folder.

    Parameters
    ----------
    folder : str or Path
        A BIDS dataset, also of DICOM files (`sub-*/ses-3T`, `sub-*/ses-7T`), the folders
        `3T_images` and `7T_images`, or a flat folder of names that differ only in `3T` and `7T`.
    participants : sequence of str
        Labels, with or without `sub-`; all by default.
    series : str
        Number of the DICOM series to take of each study; the only T1w by default.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    Mri7tError
        If it holds no pair, or a label or a series that does not exist is asked for.
    """
    root = Path(folder)
    if root.is_file():
        raise SubjectError(
            f"{root}: is no table of text: save it as .tsv or .csv, or choose a folder of scans"
        )
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such folder or table: choose a folder of 3T and 7T scans"
        )
    look = _Look(root, series)
    for name, group in look.groups().items():
        look.sort(name, group)
    look.note_others()
    return selected(look.found, participants, root)


class _Look:
    """Sorts the volumes and DICOM studies of a folder into pairs and what is left out."""

    def __init__(self, root: Path, series: str) -> None:
        self.root = root
        self.ignored = read_ignored(root)
        self.found = FoundPairs()
        self.dicom = find_studies(root, NO_DATA, series)
        self.refused: dict[Path, Entry] = {}
        self.studies = {root / study.name: study for study in self.dicom.studies}
        volumes, self.others = self._volumes()
        place = root.resolve().name
        place = "" if self.dicom.identity.is_in_label(place) else place
        self.volumes = name_by_patient(volumes, self.studies, place)
        self.labels = labels_of(dict.fromkeys(entry.key for entry in self.volumes))
        self.used: set[Path] = set()

    def _volumes(self) -> tuple[list[Entry], list[Path]]:
        """Return the volumes that may belong to a pair, and those that `.bidsignore` lists."""
        root = self.root
        is_pairs = all((root / name).is_dir() for name in PAIR_FOLDERS.values())
        files, problems = find_files(root, [] if is_pairs else subject_folders(root))
        volumes = volumes_among(files)
        told = {p: why for p, why in problems.items() if not is_listed(p, root, self.ignored)}
        self.found.failed.update({self._shown(path): why for path, why in told.items()})
        is_bids = bool(volumes) or any(s.name.startswith("sub-") for s in self.studies.values())
        self.is_bids = is_bids and not is_pairs
        scans = [path for path in volumes if self._is_scan(path)]
        spare = {p: s.located(s.problem) for p, s in self.studies.items() if s.is_spare}
        beside = {p: s for p, s in self.studies.items() if s.lies_beside(scans)}
        spare |= {p: study.located(VOLUMES_BESIDE) for p, study in beside.items()}
        self.found.skipped.update({self.name(path): why for path, why in spare.items()})
        studies = [path for path in self.studies if path not in spare]
        self.names = names_in_folders(root if is_pairs else None)
        if is_pairs:
            volumes = list(self.names)
        elif not is_bids:
            volumes = find_volumes(root)
        self.every = volumes
        if not self.is_bids:
            places = [root / name for name in PAIR_FOLDERS.values()] if is_pairs else [root]
            files = [path for place in places for path in files_in(place)]
        files = [path for path in (*files, *files_in(root)) if path not in self.dicom.files]
        self.unread = unread_in(files, is_bids=self.is_bids)
        paths = [*self._without_patients(volumes, is_pairs=is_pairs), *studies]
        kept = [path for path in paths if not self._is_ignored(path)]
        entries = [
            self._entry(path, is_bids=is_bids and self._is_in_bids(path), is_pairs=is_pairs)
            for path in kept
        ]
        return entries, [path for path in paths if path not in kept]

    def _is_in_bids(self, path: Path) -> bool:
        """Return whether a scan of a BIDS dataset is in a folder `sub-*`, as all volumes are."""
        return path not in self.studies or self.name(path).startswith("sub-")

    def _without_patients(self, volumes: Sequence[Path], *, is_pairs: bool) -> list[Path]:
        """Return the volumes that are not named after a patient; the others fail, if scans."""
        for path in volumes:
            if not self.dicom.names_patient(self.name(path)) or self._is_ignored(path):
                continue
            self.refused[path] = entry = self._person(path, self.is_bids, is_pairs)
            if why := why_no_image(clean_stem(path)):
                self.found.skipped[self._shown(path)] = f"{why}: rename it if it is a scan"
            elif looks_t1w(path) or entry.is_usable:
                self.found.failed[self._shown(path)] = NAMES_PATIENT
        return [path for path in volumes if path not in self.refused]

    def _is_ignored(self, path: Path) -> bool:
        study, is_listed = self.studies.get(path), self.ignored.match_file(self.name(path))
        return is_listed or (study is not None and study.is_ignored(self.ignored, self.root))

    def _is_scan(self, path: Path) -> bool:
        """Return whether a volume of a BIDS dataset may be one of a pair, by its name."""
        entry = Entry("", path, last_suffix(clean_stem(path)), True)
        is_left_out = self._is_ignored(path) or self.dicom.names_patient(self.name(path))
        return entry.is_usable and not is_left_out

    def _person(self, path: Path, is_bids: bool, is_pairs: bool) -> Entry:
        """Return a volume with the name of its person, by its own name and folder."""
        stem = clean_stem(path)
        if is_bids:
            return Entry(path.relative_to(self.root).parts[0], path, last_suffix(stem), True)
        name = self.names.get(path, stem) if is_pairs else without_field(path)
        if is_pairs and path in self.studies:
            for folder in PAIR_FOLDERS.values():
                name = name.removeprefix(f"{folder}_")
        return Entry(name, path, anatomical_suffix(stem))

    def _entry(self, path: Path, *, is_bids: bool, is_pairs: bool) -> Entry:
        """Return a volume with its field strength; empty, and a failure, where that is unknown."""
        entry = self._person(path, is_bids, is_pairs)
        is_in_folders = is_pairs and not is_bids
        said_by = Path(path.relative_to(self.root).parts[0]) if is_in_folders else None
        try:
            found = field_of(path, self.root, name=said_by, default="")
            by_header = self._field_in_header(path)
            why = "" if found or by_header else NO_FIELD
            if by_header and by_header not in "37":
                found, why = "", f"its DICOM header says {by_header} tesla, expected 3 or 7"
            elif found and by_header and found != by_header:
                found, why = "", f"its name says {found}T, but its DICOM header {by_header} tesla"
            else:
                found = found or by_header
        except SubjectError as error:
            found, why = "", str(error).removeprefix(f"{path}: ")
        misfiled = why_misfiled(path.relative_to(self.root), needs_label=False) if is_bids else ""
        if misfiled and entry.is_usable:
            found, why = "", f"{misfiled}: {RENAME}"
        if why and entry.is_usable:
            study = self.studies.get(path)
            told = study.located(study.problem or why) if study else why
            self.found.failed[self.name(path)] = told
        return replace(entry, field=found)

    def _field_in_header(self, path: Path) -> str:
        """Return the field strength in a DICOM header, tesla; empty where it is silent."""
        study = self.studies.get(path)
        return field_in_header(study.series.traits.tesla) if study and study.series else ""

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def groups(self) -> dict[str, list[Entry]]:
        """Return the volumes by subject; those of people without a T1w too."""
        groups: dict[str, list[Entry]] = {}
        for entry in self.volumes:
            groups.setdefault(entry.key, []).append(entry)
        return groups

    def sort(self, name: str, group: list[Entry]) -> None:
        """Make a pair of one subject's volumes, or note why there is none."""
        label = self.labels[name]
        usable = [entry for entry in group if entry.field or not entry.is_usable]
        if not any(entry.is_usable for entry in group) and not group[0].is_bids:
            return  # a mask or a map, named below
        try:
            chosen = choose_volumes(usable)
        except SubjectError as error:
            why = f"{str(error).removeprefix(f'{name}: ')}, or use a table"
            self.found.failed[label] = self._located(group, why)
            return
        self.used |= {entry.path for entry in chosen.values()}
        if missing := [kind for kind in ("3", "7") if kind not in chosen]:
            if len(usable) == len(group) and not self._is_refused(group):
                text = f"has no {' and no '.join(f'{kind}T' for kind in missing)} T1w"
                why = f"{text}{told_no_t1w(usable, missing)}"
                self.found.skipped[label] = self._located(group, why)
            return
        if any(pair.name.casefold() == label.casefold() for pair in self.found.pairs):
            self.found.failed[name] = f"would have the name {label}, as another subject: rename one"
            return
        inversions = inversions_of(chosen["7"], group)
        self.used |= {entry.path for entry in inversions}
        scans = [self._scan(entry.path, label) for entry in (chosen["3"], chosen["7"], *inversions)]
        if all(scans):
            source, target, *rest = (scan for scan in scans if scan is not None)
            pair = PairFiles(label, source, target, tuple(rest))
            self.found.pairs.append(with_own(pair, derivatives_of(self.root)))

    def _is_refused(self, group: Sequence[Entry]) -> bool:
        """Return whether a volume of a person has failed for its name, or lies beside their DICOM.

        The folder of that may have a name that is not shown.
        """
        keys = {entry.key for entry in self.refused.values() if entry.is_usable}
        studies = (self.studies.get(entry.path) for entry in group)
        folders = {part for s in studies if s for part in s.folder.relative_to(self.root).parts[:1]}
        return bool(keys & {group[0].key, *folders})

    def _scan(self, path: Path, label: str) -> Scan | None:
        """Return a volume or a DICOM study as a scan; None, and a failure, without a series."""
        study: DicomStudy | None = self.studies.get(path)
        if study is None:
            return Scan(path, self.name(path), "")
        if study.series is None:
            why = study.located(f"{study.name}: {study.problem}")
            before = self.found.failed.get(label, "")  # both of a person may fail
            self.found.failed[label] = f"{before}; {why}" if before else why
            if study.argument:
                self.found.arguments[label] = study.argument
            return None
        return Scan(study.folder, study.name, "", study.series, study.where)

    def _located(self, group: Sequence[Entry], why: str) -> str:
        """Add the folders of the DICOM studies of a person whose name does not tell them."""
        return located(why, (self.studies.get(entry.path) for entry in group))

    def note_others(self) -> None:
        """Name what somebody may take for a T1w, and is not used."""
        skipped, failed = self.found.skipped, self.found.failed
        paired = {pair.name for pair in self.found.pairs}
        for path in self.others:
            if looks_t1w(path):
                skipped[self._shown(path)] = f"is listed in {IGNORE_FILE}"
        for entry in self.volumes:
            name, why = self.name(entry.path), why_no_image(clean_stem(entry.path))
            if entry.path in self.used or name in failed:
                continue
            if is_misnamed_t1w(entry.path) and entry.is_bids:
                failed[name] = f"a BIDS name ends with its suffix, as in _T1w.nii.gz: {RENAME}"
            elif why and (looks_t1w(entry.path) or not entry.is_bids):
                skipped[name] = f"{why}: rename it if it is a scan"
            elif not entry.is_usable and not entry.is_bids:
                skipped[name] = f"is a {entry.suffix} by its name"
            elif entry.is_usable and self.labels[entry.key] in paired:
                skipped[name] = "another image of its session is used"
        self._note_elsewhere()
        holders = {study.folder for study in self.studies.values()}
        for folder in subject_folders(self.root):
            holds_study = any(place.is_relative_to(folder) for place in holders)
            is_used = any(path.is_relative_to(folder) for path in self.every)
            if not (holds_study or is_used or self._shown(folder) in failed):
                skipped.setdefault(self._shown(folder), "holds no volume")

    def _note_elsewhere(self) -> None:
        """Name what lies in no folder that is looked into, or has the extension of no volume."""
        known = {entry.path for entry in self.volumes} | {*self.others, *self.refused}
        misplaced = (misplaced_volumes if self.is_bids else find_volumes)(self.root)
        for path in (*misplaced, *volumes_in_other_folders(self.root)):
            if path in known or self._is_ignored(path) or why_no_image(clean_stem(path)):
                continue
            name = self._shown(path)
            is_t1w = anatomical_suffix(clean_stem(path)) == DEFAULT_SUFFIX
            if not self.is_bids:
                self.found.skipped[name] = "lies where no pair is looked for: use a table"
            elif looks_t1w(path) or (path in misplaced and is_t1w):
                (self.found.failed if path in misplaced else self.found.skipped)[name] = MISPLACED
        if self.dicom.packed:
            self.found.skipped[self.dicom.packed] = NOT_UNPACKED
        for why, path in ((why, path) for why, paths in self.unread.items() for path in paths):
            if self._is_ignored(path) or (self.dicom.packed and why == UNPACK):
                continue
            is_spare = why == UNPACK and not self.is_bids
            (self.found.skipped if is_spare else self.found.failed)[self._shown(path)] = why

    def _shown(self, path: Path) -> str:
        """Return the name of a file or folder without what tells a patient, and unlike others."""
        return self.name(path) if path in self.studies else self.dicom.hide(self.name(path))
