"""A synthesis or a simulation made again from its sidecar, and held against the image."""

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_mri7t.engine.errors import StateError, VolumeError
from napari_mri7t.engine.files.opening import files_of
from napari_mri7t.engine.networks.model import Model
from napari_mri7t.engine.preparation.raw_scan import PreparationConfig
from napari_mri7t.engine.preparation.simulation import SimulationConfig, simulate_3t
from napari_mri7t.engine.provenance import file_digest, voxel_digest
from napari_mri7t.engine.raw_synthesis import RawProgress, RawSynthesis, synthesize_scan
from napari_mri7t.engine.recipe import Recipe
from napari_mri7t.engine.template import load_template
from napari_mri7t.engine.volume import Volume, load_volume

TEMPLATE_NAME = "MNI152"  # as `load_template` calls it: it is always at hand
OPTIONS = ("--input", "--reference")  # that say where the sources are now


@dataclass(frozen=True)
class Whereabouts:
    """Where what went in is now; None is looked for beside the sidecar, by its name of then.

    Parameters
    ----------
    source, reference, mask, transform : Path or None
        Files.
    model : str, Path or None
        Name or folder; None is looked for among the bundled models too.
    """

    source: Path | None = None
    reference: Path | None = None
    mask: Path | None = None
    transform: Path | None = None
    model: str | Path | None = None


@dataclass(frozen=True)
class Comparison:
    """How a repetition differs from the image it repeats.

    Attributes
    ----------
    n_differing : int
        Voxels with another bit pattern.
    largest : float
        Difference, in the image's own intensities.
    same_place : bool
        Whether the affines are equal, bit for bit.
    """

    n_differing: int
    largest: float
    same_place: bool

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return self.n_differing == 0 and self.same_place


def find_sources(recipe: Recipe, places: Whereabouts = Whereabouts()) -> list[Volume]:
    """Load what went in, having checked that it is the very same.

    Parameters
    ----------
    recipe : Recipe
    places : Whereabouts

    Returns
    -------
    list of Volume
        The scan; of a simulation the target, and its reference if there was one.

    Raises
    ------
    StateError
        If one is not there, or is another one.
    VolumeError
        If one is damaged.
    """
    found: list[Volume] = []
    entries = list(recipe.sources)
    for option, path in zip(OPTIONS, (places.source, places.reference), strict=True):
        if entries:
            found.append(_load(recipe, entries, path, option))
    if entries:
        raise StateError(f"{recipe.path}: names more sources than a repetition takes")
    return found


def _load(recipe: Recipe, entries: list[dict[str, Any]], path: Path | None, option: str) -> Volume:
    """Load what the first of `entries` tell of, having checked it; they are taken off."""
    facts, now = entries[0], []
    if path is None and facts.get("Name") == TEMPLATE_NAME:
        place, volume = Path(TEMPLATE_NAME), load_template()
    else:
        place, volume = _locate(recipe, facts, path, ("input", option)), None
    if "File" in facts:
        now = [file_digest(part) for part in dict.fromkeys(files_of(place))]
        _same_digests(place, now, entries[: len(now)], option)
    volume = volume or load_volume(place, index=facts.get("Index"))
    if "File" not in facts:
        now = [voxel_digest(volume)]
        _same_digests(place, now, entries[:1], option)
    del entries[: len(now)]
    return volume


def find_preparation(
    recipe: Recipe, scan: Volume, places: Whereabouts = Whereabouts()
) -> PreparationConfig:
    """Ask for the preparation of then, with the user's own mask and transform of then.

    Parameters
    ----------
    recipe : Recipe
    scan : Volume
    places : Whereabouts

    Returns
    -------
    PreparationConfig
        A scan out of the domain was taken then, and is now.

    Raises
    ------
    StateError
        If a file is not there, or is another one.
    """
    asked = dict(recipe.preparation)
    for what, path in (("mask", places.mask), ("transform", places.transform)):
        facts = asked.get(what)
        if facts is None:
            continue
        place = _locate(recipe, facts, path, (what, f"--{what}"))
        if "File" in facts:
            _same_digests(place, [file_digest(place)], [facts], f"--{what}")
            asked[what] = place
        else:
            asked[what] = scan.with_array(load_volume(place).array > 0)
            _same_digests(place, [voxel_digest(asked[what])], [facts], f"--{what}")
    return PreparationConfig(**asked, allow_out_of_domain=True)


def _locate(
    recipe: Recipe, facts: Mapping[str, Any], path: Path | None, names: tuple[str, str]
) -> Path:
    """Say where a file of then is; `names` are its own and that of its option."""
    what, option = names
    if path is None and "File" not in facts:
        raise StateError(
            f"{recipe.path}: the {what} {facts['Name']} was in no file: save it and give {option}"
        )
    place = path or recipe.path.with_name(facts["File"])
    if not place.is_file():
        raise StateError(f"{place}: the {what} is not there: say with {option} where it is")
    return place


def _same_digests(
    path: Path, now: Sequence[str], entries: Sequence[Mapping[str, Any]], option: str
) -> None:
    then = [entry.get("SHA256") or entry["VoxelsSHA256"] for entry in entries]
    if list(now) != then:
        raise StateError(
            f"{path}: is not the {option.strip('-')} of then (SHA-256 {now[0][:12]}..., recorded "
            f"{then[0][:12] if then else 'none'}...): say with {option} where that is"
        )


def repeat_synthesis(
    recipe: Recipe, scan: Volume, model: Model, preparation: PreparationConfig
) -> Generator[RawProgress, None, RawSynthesis]:
    """Synthesise again, as then: preparation, settings, device, precision, number of threads.

    Parameters
    ----------
    recipe : Recipe
        Of a synthesis.
    scan : Volume
    model : Model
    preparation : PreparationConfig

    Returns
    -------
    RawSynthesis
        As `synthesize_scan` gives it, with its progress and its errors.

    Raises
    ------
    StateError
        If the recipe is no synthesis's.
    """
    if recipe.synthesis is None:
        raise StateError(f"{recipe.path}: tells of no synthesis")
    with _threads(recipe.threads):
        return (yield from synthesize_scan(scan, model, recipe.synthesis, preparation))


def repeat_simulation(recipe: Recipe, sources: Sequence[Volume]) -> tuple[Volume, SimulationConfig]:
    """Simulate again, as then.

    Parameters
    ----------
    recipe : Recipe
        Of a simulation.
    sources : sequence of Volume
        Target, and the reference if there was one.

    Returns
    -------
    image : Volume
        That one of the pair which the sidecar stands beside.
    config : SimulationConfig

    Raises StateError if the recipe is no simulation's.
    """
    if recipe.simulation is None:
        raise StateError(f"{recipe.path}: tells of no simulation")
    reference = sources[1] if len(sources) > 1 else None
    source, target = simulate_3t(sources[0], reference=reference, config=recipe.simulation)
    return (target if recipe.image == "target" else source), recipe.simulation


@contextlib.contextmanager
def _threads(n_threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare_bits(image: Volume, again: Volume) -> Comparison:
    """Hold a repetition against the image.

    Parameters
    ----------
    image, again : Volume

    Returns
    -------
    Comparison

    Raises
    ------
    VolumeError
        If the shapes differ.
    """
    if image.shape != again.shape:
        raise VolumeError(
            f"{image.name}: has shape {image.shape}, the repetition {again.shape}: the image is "
            "not the one that its sidecar tells of"
        )
    first, second = np.ascontiguousarray(image.array), np.ascontiguousarray(again.array)
    differing = first.view(np.uint32) != second.view(np.uint32)
    largest = float(np.abs(first - second).max())
    same_place = image.affine.tobytes() == again.affine.tobytes()
    return Comparison(int(differing.sum()), largest, same_place)
