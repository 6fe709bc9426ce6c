"""A folder of 7T volumes turned into a training dataset of pairs (pseudo-3T, 7T)."""

import os
from collections.abc import Sequence
from pathlib import Path

from napari_mri7t.engine.datasets.paired import marks_of
from napari_mri7t.engine.datasets.subjects import PAIR_FOLDERS, Subject
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
from napari_mri7t.engine.volumes.files.streams import sidecar_of
from napari_mri7t.engine.volumes.volume import Volume


def simulate_dataset(  # noqa: PLR0913 - all but two with defaults
    subjects: Sequence[Subject],
    folder: Path,
    *,
    reference: Volume | None = None,
    config: SimulationConfig = SimulationConfig(),  # noqa: B008 - frozen
    overwrite: bool = False,
    report: Report = ignore,
) -> list[Path]:
    """Write the pseudo-3T and the 7T of every subject, under one name in two folders.

    The folders are those that `find_subjects` takes for pairs. Subject i gets the seed
    `config.seed + i`, so that no two share their noise.

    Parameters
    ----------
    subjects : sequence of Subject
        Only their targets are used.
    folder : Path
        Gets `3T_images` and `7T_images`; made where missing.
    reference : Volume, optional
        Volume to whose histogram all are matched; by default every subject keeps its own.
    config : SimulationConfig
        Noise variance and first seed.
    overwrite : bool
        True replaces pairs that are there already.
    report : callable
        Progress in subjects; a cancel leaves whole pairs only.

    Returns
    -------
    list of Path
        The files written, sidecars apart.

    Raises
    ------
    Mri7tError
        If a file is there already or would replace a target (nothing is then written), or a target
        is no usable volume.
    """
    wanted = [_paths(folder, subject) for subject in subjects]
    images = [path for pair in wanted for path in pair]
    _check_apart(images, subjects)
    known = [path for path in (*images, *map(sidecar_of, images)) if os.path.lexists(path)]
    if known and not overwrite:
        raise Mri7tError(
            f"{known[0]}: already exists: choose an empty folder for the pairs, or allow "
            "overwriting",
            argument="overwrite",
        )
    for name in PAIR_FOLDERS.values():
        (folder / name).mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for index, (subject, paths) in enumerate(zip(subjects, wanted, strict=True)):
        message = f"simulating {subject.name}"
        report(Progress(index, len(subjects), message))
        own = config.of_subject(index)
        own_report = part(report, index, len(subjects), message)
        pair = simulate_3t(subject.target, reference=reference, config=own, report=own_report)
        pair.save(*paths, overwrite=overwrite)
        written += paths
    report(Progress(len(subjects), len(subjects), "done"))
    return written


def _check_apart(images: Sequence[Path], subjects: Sequence[Subject]) -> None:
    """Refuse to replace a volume that is simulated, also where all may be replaced."""
    given = marks_of(subject.target for subject in subjects)
    for image in images:
        if not given.isdisjoint(marks_of([image])):
            raise Mri7tError(f"{image}: is one of the 7T volumes: choose another folder")


def _paths(folder: Path, subject: Subject) -> tuple[Path, Path]:
    source, target = (
        folder / PAIR_FOLDERS[field] / f"{subject.name}.nii.gz" for field in ("3", "7")
    )
    return source, target
