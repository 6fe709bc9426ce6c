"""A folder of 7T volumes into a dataset of pairs (pseudo-3T, 7T) that a training takes."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_mri7t.engine.datasets.subjects import PAIR_FOLDERS, Subject
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.simulation.pseudo_3t import (
    PAIR,
    SimulationConfig,
    simulate_3t,
    simulation_sidecar,
)
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume


@dataclass(frozen=True)
class SimulationProgress:
    """How many subjects are done, of how many, and what is being done."""

    done: int
    total: int
    message: str


def simulate_dataset(
    subjects: Sequence[Subject],
    folder: Path,
    *,
    reference: Volume | None = None,
    config: SimulationConfig = SimulationConfig(),  # noqa: B008 - frozen
) -> Generator[SimulationProgress, None, list[Path]]:
    """Write a pair of every subject: its pseudo-3T and its 7T, under one name in two folders.

    The folders are those that `find_subjects` takes for pairs. Subject i gets the seed
    `config.seed + i`, so that no two share their noise.

    Parameters
    ----------
    subjects : sequence of Subject
        Of which the targets count.
    folder : Path
        Gets `3T_images` and `7T_images`; made where missing.
    reference : Volume, optional
        Whose histogram all get; by default every subject keeps its own.
    config : SimulationConfig
        Noise variance and first seed.

    Yields
    ------
    SimulationProgress
        Before every subject; closing the generator leaves whole pairs only.

    Returns
    -------
    list of Path
        The files written, sidecars apart.

    Raises
    ------
    Mri7tError
        If a file is there already (nothing is then written), or a target is no usable volume.
    """
    wanted = [_paths(folder, subject) for subject in subjects]
    known = [path for pair in wanted for path in pair if path.exists()]
    if known:
        raise Mri7tError(f"{known[0]}: exists already: choose an empty folder for the pairs")
    for name in PAIR_FOLDERS.values():
        (folder / name).mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for index, (subject, paths) in enumerate(zip(subjects, wanted, strict=True)):
        yield SimulationProgress(index, len(subjects), f"simulate {subject.name}")
        own = replace(config, seed=config.seed + index)
        inputs = [load_volume(subject.target)]
        pair = simulate_3t(inputs[0], reference=reference, config=own)
        if reference is not None:
            inputs.append(reference)
        for volume, path, image in zip(pair, paths, PAIR, strict=True):
            save_volume(volume, path, sidecar=simulation_sidecar(inputs, own, image))
            written.append(path)
    yield SimulationProgress(len(subjects), len(subjects), "done")
    return written


def _paths(folder: Path, subject: Subject) -> tuple[Path, Path]:
    source, target = (
        folder / PAIR_FOLDERS[field] / f"{subject.name}.nii.gz" for field in ("3", "7")
    )
    return source, target
