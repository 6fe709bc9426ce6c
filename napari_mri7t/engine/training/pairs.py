"""Load the subjects of a training as pairs in [0, 1] with matched histograms.

Report: "CNN network to synthesize 7T MRI images from 3T MRI images", Univ. Lille and Centrale
Lille, section on the data.
"""

from dataclasses import dataclass

import numpy as np

from napari_mri7t.engine.datasets.subjects import Subject, load_pair
from napari_mri7t.engine.errors import SubjectError
from napari_mri7t.engine.progress import Progress, Report, ignore
from napari_mri7t.engine.simulation.pseudo_3t import (
    SimulationConfig,
    add_noise,
    noisy_3t,
    realistic_3t,
)
from napari_mri7t.engine.simulation.realistic import lower_resolution
from napari_mri7t.engine.volumes.intensity import (
    LookUpTable,
    bright_at_one,
    histogram_table,
    match_histogram,
    normalize_volume,
)
from napari_mri7t.engine.volumes.volume import Volume, load_volume

REPORT_REFERENCE = "TELL0106"  # all histograms are matched to this subject in the report


@dataclass(frozen=True, eq=False)
class TrainingSubject:
    """Arrays of one subject that a training draws patches from, with axes (S, A, R).

    Parameters
    ----------
    name : str
    target : ndarray of float32, shape (S, A, R)
        7T in [0, 1], histogram matched.
    source : ndarray of float32, shape (S, A, R)
        Real or simulated 3T in [0, 1], histogram matched.
    clean : ndarray of float32, shape (S, A, R), optional
        The normalised 7T that fresh noise is added to.
    source_table : LookUpTable, optional
        For the report's pseudo-3T: maps noisy `clean` to the source's intensities.
    coarse : ndarray of float32, shape (S, A, R), optional
        For realistic and noisy pseudo-3T: `clean` at a lower resolution.
    """

    name: str
    target: np.ndarray
    source: np.ndarray
    clean: np.ndarray | None = None
    source_table: LookUpTable | None = None
    coarse: np.ndarray | None = None


def choose_reference(subjects: list[Subject], name: str = "") -> Subject:
    """Return the subject whose 7T histogram all volumes are matched to.

    Parameters
    ----------
    subjects : list of Subject
    name : str
        The subject's name, or a part of it that is unique; by default the report's reference if it
        is among the subjects, else the first subject.

    Raises
    ------
    SubjectError
        If the name fits no subject, or several.
    """
    exact = [subject for subject in subjects if name == subject.name]  # sub-1 beside sub-10
    found = exact or [s for s in subjects if (name or REPORT_REFERENCE) in s.name]
    if not found and not name:
        return subjects[0]
    if len(found) != 1:
        raise SubjectError(
            f"reference {name or REPORT_REFERENCE!r} fits {len(found)} subjects; choose one of "
            + ", ".join(subject.name for subject in subjects)
        )
    return found[0]


def prepare_pairs(
    subjects: list[Subject],
    reference: Subject,
    simulation: SimulationConfig,
    report: Report = ignore,
) -> list[TrainingSubject]:
    """Load and prepare all subjects of a training.

    Parameters
    ----------
    subjects : list of Subject
    reference : Subject
        Every histogram is matched to that of its normalised target, whole volume.
    simulation : SimulationConfig
        How sources are simulated where there is no 3T volume; subject i gets its seed plus i.
    report : callable
        Called before the reference, before every subject, and at the end.

    Returns
    -------
    list of TrainingSubject
        In the order given; arrays float32 with axes (S, A, R).
    """
    total = len(subjects) + 1
    report(Progress(0, total, f"reading the reference {reference.name}"))
    matched_to = normalize_volume(load_volume(reference.target))
    prepared = []
    for index, subject in enumerate(subjects):
        report(Progress(index + 1, total, f"preparing {subject.name}"))
        own = simulation.of_subject(index)
        prepared.append(_prepare(subject, matched_to, own))
    report(Progress(total, total, "subjects prepared"))
    return prepared


def _prepare(
    subject: Subject, matched_to: np.ndarray, simulation: SimulationConfig
) -> TrainingSubject:
    source, target = load_pair(subject)
    clean = normalize_volume(target)
    if source is None and simulation.preset == "noise":
        return _with_noise(subject.name, target, simulation)
    matched = match_histogram(clean, matched_to)
    if source is not None:
        real = match_histogram(normalize_volume(source), matched_to)
        return TrainingSubject(subject.name, _by_slices(matched), _by_slices(real))
    if simulation.preset == "realistic":
        made = match_histogram(realistic_3t(clean, target.voxel_size, simulation.seed), matched_to)
        table, coarse = None, _by_slices(lower_resolution(clean, target.voxel_size))
    else:
        noisy = add_noise(clean, simulation.variance, simulation.seed)
        table, coarse = histogram_table(noisy, matched_to), None
        made = table(noisy)
    volumes = [_by_slices(array) for array in (matched, made, clean)]
    return TrainingSubject(subject.name, volumes[0], volumes[1], volumes[2], table, coarse)


def _with_noise(name: str, target: Volume, simulation: SimulationConfig) -> TrainingSubject:
    """Prepare a subject whose noise is simulated: its own tones, on a linear scale."""
    clean = bright_at_one(target)
    source, tones = noisy_3t(clean, target.voxel_size, simulation.seed)
    coarse = lower_resolution(clean, target.voxel_size)
    volumes = [_by_slices(array) for array in (tones, source, clean)]
    return TrainingSubject(name, volumes[0], volumes[1], volumes[2], coarse=_by_slices(coarse))


def _by_slices(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.T)
