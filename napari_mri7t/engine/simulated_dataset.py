"""A folder of 7T volumes into a dataset of pairs (pseudo-3T, 7T) that a training takes."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.preparation.intensity import histogram_table, normalize
from napari_mri7t.engine.preparation.simulation import (
    SimulationConfig,
    add_noise,
    realistic_3t,
    simulate_3t,
)
from napari_mri7t.engine.provenance import Execution, sidecar
from napari_mri7t.engine.subjects import PAIR_FOLDERS, Subject
from napari_mri7t.engine.volume import Volume, load_volume, save_volume

PAIR = ("source", "target")  # pseudo-3T and 7T, as `simulate_3t` gives them
PREVIEW_VOXELS = 300_000  # from which a preview takes the histograms: a tenth of a second
SLAB = 8  # planes on either side, that a realistic preview is made with


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


def simulation_sidecar(
    inputs: Sequence[Volume], config: SimulationConfig, image: str = PAIR[0]
) -> dict[str, Any]:
    """Describe one image of a simulated pair, so that it can be made again.

    Parameters
    ----------
    inputs : sequence of Volume
        Target, and the reference if there was one.
    config : SimulationConfig
    image : {"source", "target"}

    Returns
    -------
    dict
        As `provenance.sidecar`.
    """
    settings = {"noise": config, "image": image}
    return sidecar("simulate", inputs, Execution(seed=config.seed), settings=settings)


def preview_plane(
    target: Volume,
    plane: tuple[int, int],
    *,
    reference: Volume | None = None,
    config: SimulationConfig = SimulationConfig(),  # noqa: B008 - frozen
) -> np.ndarray:
    """Simulate one plane, with histograms from an even sample of the volume.

    Parameters
    ----------
    target : Volume
        7T.
    plane : tuple of int
        Array axis (0, 1 or 2) and voxel index along it.
    reference : Volume, optional
        As for `simulate_3t`.
    config : SimulationConfig
        Noise variance and seed; the noise is not that which a whole volume gets.

    Returns
    -------
    ndarray of float32
        The plane, its axes in the order of the array's.

    Raises
    ------
    VolumeError
        If a volume is constant.
    """
    sample, (low, high) = normalize(_sample(target.array))
    matched_to = sample if reference is None else normalize(_sample(reference.array))[0]
    axis, index = plane
    if config.preset == "realistic":
        first = max(0, index - SLAB)
        slab = np.take(target.array, range(first, min(index + SLAB + 1, target.shape[axis])), axis)
        clean = ((slab - low) / (high - low)).astype(np.float32)
        whole = realistic_3t(clean, target.voxel_size, config.seed)
        made: np.ndarray = np.take(whole, index - first, axis)
        if reference is None:
            return made
        whole = realistic_3t(sample, target.voxel_size, config.seed)
        return histogram_table(whole, matched_to)(made)
    clean = (np.take(target.array, index, axis) - low) / (high - low)
    table = histogram_table(add_noise(sample, config.variance, config.seed), matched_to)
    return table(add_noise(clean.astype(np.float32), config.variance, config.seed))


def _sample(array: np.ndarray) -> np.ndarray:
    step = max(1, round((array.size / PREVIEW_VOXELS) ** (1 / 3)))
    return array[::step, ::step, ::step]


def _paths(folder: Path, subject: Subject) -> tuple[Path, Path]:
    source, target = (
        folder / PAIR_FOLDERS[field] / f"{subject.name}.nii.gz" for field in ("3", "7")
    )
    return source, target
