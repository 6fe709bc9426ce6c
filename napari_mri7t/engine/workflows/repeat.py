"""What a sidecar says of how its image was made: all that a repetition needs.

A synthesis or a simulation made again from its sidecar, and held against the image.
"""

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from napari_mri7t.engine.atomic import read_json
from napari_mri7t.engine.errors import ModelError, StateError, VolumeError
from napari_mri7t.engine.models.card import bundled_folders, fold_folders, read_card
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.preparation.optional import library_versions
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.scan import RawProgress, RawSynthesis, synthesize
from napari_mri7t.engine.volumes.files.reading import files_of
from napari_mri7t.engine.volumes.files.writing import OUTPUT_EXTENSIONS
from napari_mri7t.engine.volumes.provenance import file_digest, versions, voxel_digest
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, load_volume

SYNTHESIZE, SIMULATE = "synthesize", "simulate"
FOUND_OUT = ("harmonized", "preparation")  # noted among the settings, yet results
UNPREPARED: dict[str, Any] = {"prepare": "none"}
Config = TypeVar("Config", SynthesisConfig, SimulationConfig)
TEMPLATE_NAME = "MNI152"  # as `load_template` calls it: it is always at hand
OPTIONS = ("--input", "--reference")  # that say where the sources are now


@dataclass(frozen=True)
class SidecarRecord:
    """What a sidecar says of how its image was made.

    Attributes
    ----------
    path : Path
        The sidecar.
    sources : tuple of dict
        `File` and `SHA256` each, `Index` of a series; `Name` and `VoxelsSHA256` of a volume that
        was in no file. A simulation's reference follows its target.
    versions : dict
        Of the libraries that decide the voxels.
    synthesis : SynthesisConfig or None
        With the device and the precision that were taken in the end.
    model, model_sha256 : str
        Empty for a simulation.
    threads : int or None
        Of the CPU.
    preparation : dict
        What was asked for: `prepare`, `space`, `way`, `outside`, and `mask` and `transform` as one
        of `sources`.
    simulation : SimulationConfig or None
    image : {"source", "target"}
        Which one of a simulated pair the sidecar stands beside.
    """

    path: Path
    sources: tuple[dict[str, Any], ...]
    versions: dict[str, str]
    synthesis: SynthesisConfig | None = None
    model: str = ""
    model_sha256: str = ""
    threads: int | None = None
    preparation: Mapping[str, Any] = field(default_factory=dict)
    simulation: SimulationConfig | None = None
    image: str = "source"

    @property
    def other_versions(self) -> tuple[str, ...]:
        """What is installed in another version than then, in words."""
        now = versions() | library_versions()
        return tuple(
            f"{name} {then} then, {now.get(name, 'none')} now"
            for name, then in self.versions.items()
            if now.get(name) != then
        )


def read_record(path: str | Path, device: str | None = None) -> SidecarRecord:
    """Read the sidecar of a synthesis or of a simulation.

    Parameters
    ----------
    path : str or Path
        JSON, as `synthesis_sidecar` and `simulation_sidecar` give it.
    device : str, optional
        In place of the one recorded.

    Returns
    -------
    SidecarRecord

    Raises
    ------
    StateError
        If the file is no such sidecar, or lacks what a repetition needs.
    """
    path = Path(path)
    try:
        facts = read_json(path)
    except (OSError, ValueError) as error:
        raise StateError(
            f"{path}: cannot be read ({error}): give the .json beside a synthetic image"
        ) from error
    try:
        done = [entry["Description"] for entry in facts["GeneratedBy"]]
        if done == [SYNTHESIZE]:
            return _synthesis(path, facts, device)
        if done == [SIMULATE]:
            return _simulation(path, facts)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"{path}: lacks what a repetition needs ({type(error).__name__}: {error}): give the "
            ".json that was written beside a synthetic image"
        ) from error
    known = f"{SYNTHESIZE} and {SIMULATE}"
    raise StateError(f"{path}: tells of {', '.join(map(str, done))}: only {known} can be repeated")


def find_image(recipe: SidecarRecord) -> Path:
    """Find the image that a sidecar stands beside.

    Parameters
    ----------
    recipe : SidecarRecord

    Returns
    -------
    Path

    Raises
    ------
    StateError
        If there is none.
    """
    stem = recipe.path.stem
    for extension in OUTPUT_EXTENSIONS:
        path = recipe.path.with_name(stem + extension)
        if path.is_file():
            return path
    raise StateError(f"{recipe.path}: there is no image {stem}.nii.gz or .nii beside it to compare")


def find_same_model(recipe: SidecarRecord, folder: str | Path | None = None) -> Model:
    """Load the model of then: by its weights' digest, whatever it is called now.

    Parameters
    ----------
    recipe : SidecarRecord
    folder : str or Path, optional
        A name or a folder; by default the bundled models and the sidecar's own folder.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If it is not there, damaged, or another one.
    """
    wanted = f"{recipe.model} (SHA-256 {recipe.model_sha256[:12]}...)"
    if folder is not None:
        model = load_model(folder)
        if model.card.sha256 != recipe.model_sha256:
            raise ModelError(
                f"{folder}: has weights of SHA-256 {model.card.sha256[:12]}...; the image was made "
                f"with {wanted}: give the folder of that model"
            )
        return model
    for place in (*bundled_folders(), *fold_folders(), recipe.path.parent):
        with contextlib.suppress(ModelError):  # a folder that is no model is none of ours to judge
            if read_card(place).sha256 == recipe.model_sha256:
                return load_model(place)
    raise ModelError(
        f"{recipe.path}: the image was made with model {wanted}, which is not in the package: "
        "give its folder with --model"
    )


def _synthesis(path: Path, facts: Mapping[str, Any], device: str | None) -> SidecarRecord:
    settings = facts["Settings"]
    preparation = settings.get("preparation") or UNPREPARED
    asked = {entry.name for entry in fields(PreparationConfig)}
    return SidecarRecord(
        path=path,
        sources=_sources(facts),
        versions=dict(facts["Versions"]) | dict(preparation.get("libraries", {})),
        synthesis=_taken(settings, facts, device),
        model=str(facts["Model"]["Name"]),
        model_sha256=str(facts["Model"]["SHA256"]),
        threads=preparation.get("threads", facts.get("Threads")),
        preparation={name: value for name, value in preparation.items() if name in asked},
    )


def _simulation(path: Path, facts: Mapping[str, Any]) -> SidecarRecord:
    settings = facts["Settings"]
    return SidecarRecord(
        path=path,
        sources=_sources(facts),
        versions=dict(facts["Versions"]),
        simulation=_config(SimulationConfig, settings["noise"]),
        image=str(settings.get("image", "source")),
    )


def _sources(facts: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    found = tuple(dict(entry) for entry in facts.get("SourceFiles", facts["Sources"]))
    if not found:
        raise ValueError("no source is named")
    return found


def _taken(
    settings: Mapping[str, Any], facts: Mapping[str, Any], device: str | None
) -> SynthesisConfig:
    """Take the settings of then; where auto was asked for, what auto came to."""
    asked = {key: value for key, value in settings.items() if key not in FOUND_OUT}
    asked["planes"] = tuple(asked.get("planes", ()))
    asked["device"] = device or str(facts["Device"])
    asked["precision"] = str(facts["Precision"])
    return _config(SynthesisConfig, asked)


def _config(kind: type[Config], values: Mapping[str, Any]) -> Config:
    unknown = set(values) - {entry.name for entry in fields(kind)}
    if unknown:
        raise ValueError(f"settings of another version: {', '.join(sorted(unknown))}")
    return kind(**values)


@dataclass(frozen=True)
class SourcePaths:
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


def find_sources(recipe: SidecarRecord, places: SourcePaths = SourcePaths()) -> list[Volume]:
    """Load what went in, having checked that it is the very same.

    Parameters
    ----------
    recipe : SidecarRecord
    places : SourcePaths

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


def _load(
    recipe: SidecarRecord, entries: list[dict[str, Any]], path: Path | None, option: str
) -> Volume:
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
    recipe: SidecarRecord, scan: Volume, places: SourcePaths = SourcePaths()
) -> PreparationConfig:
    """Ask for the preparation of then, with the user's own mask and transform of then.

    Parameters
    ----------
    recipe : SidecarRecord
    scan : Volume
    places : SourcePaths

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
    recipe: SidecarRecord, facts: Mapping[str, Any], path: Path | None, names: tuple[str, str]
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
    recipe: SidecarRecord, scan: Volume, model: Model, preparation: PreparationConfig
) -> Generator[RawProgress, None, RawSynthesis]:
    """Synthesise again, as then: preparation, settings, device, precision, number of threads.

    Parameters
    ----------
    recipe : SidecarRecord
        Of a synthesis.
    scan : Volume
    model : Model
    preparation : PreparationConfig

    Returns
    -------
    RawSynthesis
        As `synthesize` gives it, with its progress and its errors.

    Raises
    ------
    StateError
        If the recipe is no synthesis's.
    """
    if recipe.synthesis is None:
        raise StateError(f"{recipe.path}: tells of no synthesis")
    with _threads(recipe.threads):
        return (yield from synthesize(scan, model, recipe.synthesis, preparation))


def repeat_simulation(
    recipe: SidecarRecord, sources: Sequence[Volume]
) -> tuple[Volume, SimulationConfig]:
    """Simulate again, as then.

    Parameters
    ----------
    recipe : SidecarRecord
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
