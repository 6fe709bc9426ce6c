"""The DICOM studies that were found in a folder, and how they are told without a patient's name."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pathspec import GitIgnoreSpec

from napari_mri7t.engine.datasets.dicom_names import place_in_words
from napari_mri7t.engine.volumes.files.dicom import DicomSeries
from napari_mri7t.engine.volumes.files.identity import Identity

NOT_UNPACKED = "not looked into: unpack them"
VOLUMES_BESIDE = "its folder holds volumes, too, which are used"
NAMES_PATIENT = (
    "its name, or that of its folder, holds the full name of a patient of the DICOM files here, "
    "and would reach the results: rename it"
)


@dataclass(frozen=True)
class DicomStudy:
    """One study in a folder: a scan, or why there is none.

    Attributes
    ----------
    name : str
        Within the folder, with "/"; it names no patient, and no file need have it.
    key : str
        Of the study.
    folder : Path
        That holds the study; it may be named after the patient.
    place : Path
        Of its session, or else of its subject, in a BIDS dataset; otherwise, where all its files
        are. Volumes in it are taken for the same scan.
    series : DicomSeries or None
        The T1w, or the series that was asked for.
    problem, argument : str
        Why there is none, and the argument that helps.
    files : tuple of Path
        Of all its series.
    is_spare : bool
        Whether there is another study in its place, so that a problem of this one costs no scan.
    where : str
        Its folder without what tells a patient; empty where its name says it.
    """

    name: str
    key: str
    folder: Path
    place: Path
    series: DicomSeries | None = None
    problem: str = ""
    argument: str = ""
    files: tuple[Path, ...] = field(default=(), repr=False)
    is_spare: bool = False
    where: str = ""

    def located(self, why: str) -> str:
        """Return a reason with the folder of the study, where its name does not tell that."""
        return located(why, [self])

    def is_ignored(self, ignored: GitIgnoreSpec, root: Path) -> bool:
        """Return whether patterns, of paths below a root, match all of its files."""
        return all(ignored.match_file(path.relative_to(root).as_posix()) for path in self.files)

    def lies_beside(self, volumes: Iterable[Path]) -> bool:
        """Return whether any of some volumes is in its place."""
        return any(volume.is_relative_to(self.place) for volume in volumes)


def located(why: str, studies: Iterable[DicomStudy | None]) -> str:
    """Return a reason with the folders of the studies whose names do not tell them."""
    places = [study.where for study in studies if study is not None and study.where]
    return f"{why} (DICOM files in {', '.join(places)})" if places else why


@dataclass(frozen=True)
class DicomFound:
    """The studies in a folder.

    Attributes
    ----------
    studies : list of DicomStudy
        Sorted by name.
    files : frozenset of Path
        All that are DICOM images.
    identity : Identity
        What tells the patients, and must not be shown.
    packed : str
        How many archives and packed DICOM files are beside them, which are not looked into; no
        names, which nobody can tell from the patients'. Empty for none.
    root : Path
        The folder.
    """

    studies: list[DicomStudy] = field(default_factory=list)
    files: frozenset[Path] = frozenset()
    identity: Identity = Identity()  # noqa: RUF009 - frozen
    packed: str = ""
    root: Path = Path()

    def names_patient(self, name: str) -> bool:
        """Return whether the path of a volume holds the full name of a patient."""
        return self.identity.is_full_name_in(name)

    def may_list(self, label: str) -> bool:
        """Return whether a BIDS label tells no patient, or is that of a study, which is neutral."""
        told = {word for study in self.studies for word in re.split("[-_/]", study.name)}
        return label in told or not self.identity.is_in_label(label)

    def hide(self, name: str) -> str:
        """Return a path within the folder; files and folders that tell a patient by their place."""
        if name == self.packed:
            return name
        return place_in_words(self.root, self.root / name, self.identity)
