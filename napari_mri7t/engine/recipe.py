"""What a sidecar says of how its image was made: all that a repetition needs."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from napari_mri7t.engine.cards import bundled_folders, fold_folders, read_card
from napari_mri7t.engine.errors import ModelError, StateError
from napari_mri7t.engine.files.writing import OUTPUT_EXTENSIONS
from napari_mri7t.engine.json_files import read_json
from napari_mri7t.engine.networks.model import Model, load_model
from napari_mri7t.engine.preparation.native import library_versions
from napari_mri7t.engine.preparation.raw_scan import PreparationConfig
from napari_mri7t.engine.preparation.simulation import SimulationConfig
from napari_mri7t.engine.provenance import versions
from napari_mri7t.engine.synthesis_config import SynthesisConfig

SYNTHESIZE, SIMULATE = "synthesize", "simulate"
FOUND_OUT = ("harmonized", "preparation")  # noted among the settings, yet results
UNPREPARED: dict[str, Any] = {"prepare": "none"}

Config = TypeVar("Config", SynthesisConfig, SimulationConfig)


@dataclass(frozen=True)
class Recipe:
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


def read_recipe(path: str | Path, device: str | None = None) -> Recipe:
    """Read the sidecar of a synthesis or of a simulation.

    Parameters
    ----------
    path : str or Path
        JSON, as `synthesis_sidecar` and `simulation_sidecar` give it.
    device : str, optional
        In place of the one recorded.

    Returns
    -------
    Recipe

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


def find_image(recipe: Recipe) -> Path:
    """Find the image that a sidecar stands beside.

    Parameters
    ----------
    recipe : Recipe

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


def find_same_model(recipe: Recipe, folder: str | Path | None = None) -> Model:
    """Load the model of then: by its weights' digest, whatever it is called now.

    Parameters
    ----------
    recipe : Recipe
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


def _synthesis(path: Path, facts: Mapping[str, Any], device: str | None) -> Recipe:
    settings = facts["Settings"]
    preparation = settings.get("preparation") or UNPREPARED
    asked = {entry.name for entry in fields(PreparationConfig)}
    return Recipe(
        path=path,
        sources=_sources(facts),
        versions=dict(facts["Versions"]) | dict(preparation.get("libraries", {})),
        synthesis=_taken(settings, facts, device),
        model=str(facts["Model"]["Name"]),
        model_sha256=str(facts["Model"]["SHA256"]),
        threads=preparation.get("threads", facts.get("Threads")),
        preparation={name: value for name, value in preparation.items() if name in asked},
    )


def _simulation(path: Path, facts: Mapping[str, Any]) -> Recipe:
    settings = facts["Settings"]
    return Recipe(
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
