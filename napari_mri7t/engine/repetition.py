"""A synthesis made again from its sidecar, and held against the image, bit for bit."""

import contextlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_mri7t.engine.cards import bundled_folders, read_card
from napari_mri7t.engine.errors import ModelError, StateError, VolumeError
from napari_mri7t.engine.files.opening import files_of
from napari_mri7t.engine.files.writing import OUTPUT_EXTENSIONS
from napari_mri7t.engine.networks.model import Model, load_model
from napari_mri7t.engine.provenance import file_digest, versions, voxel_digest
from napari_mri7t.engine.synthesis import (
    Synthesis,
    SynthesisConfig,
    SynthesisProgress,
    synthesize,
)
from napari_mri7t.engine.volume import Volume, load_volume

COMMAND = "synthesize"
FOUND_OUT = ("harmonized",)  # noted among the settings, yet a result


@dataclass(frozen=True)
class Recipe:
    """What a sidecar says of how its image was made.

    Attributes
    ----------
    path : Path
        The sidecar.
    sources : tuple of dict
        `File` and `SHA256` each, `Index` of a series; `Name` and `VoxelsSHA256` of a volume that
        was in no file.
    model, model_sha256 : str
    config : SynthesisConfig
        With the device and the precision that were taken in the end.
    threads : int or None
        Of the CPU.
    versions : dict
        Of the libraries that decide the voxels.
    """

    path: Path
    sources: tuple[dict[str, Any], ...]
    model: str
    model_sha256: str
    config: SynthesisConfig
    threads: int | None
    versions: dict[str, str]

    @property
    def other_versions(self) -> tuple[str, ...]:
        """What is installed in another version than then, in words."""
        now = versions()
        return tuple(
            f"{name} {then} then, {now.get(name, 'none')} now"
            for name, then in self.versions.items()
            if now.get(name) != then
        )


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


def read_recipe(path: str | Path, device: str | None = None) -> Recipe:
    """Read the sidecar of a synthesis.

    Parameters
    ----------
    path : str or Path
        JSON, as `synthesis_sidecar` gives it.
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
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StateError(
            f"{path}: cannot be read ({error}): give the .json beside a synthetic image"
        ) from error
    try:
        done = [entry["Description"] for entry in facts["GeneratedBy"]]
        if done != [COMMAND]:
            raise StateError(f"{path}: tells of {', '.join(done)}: only {COMMAND} can be repeated")
        if facts["Settings"].get("preparation"):
            raise StateError(
                f"{path}: the scan was prepared first (brain extracted, bias removed or moved), "
                "which is not repeated yet: repeat the synthesis of a prepared scan"
            )
        return Recipe(
            path=path,
            sources=tuple(dict(entry) for entry in facts.get("SourceFiles", facts["Sources"])),
            model=str(facts["Model"]["Name"]),
            model_sha256=str(facts["Model"]["SHA256"]),
            config=_config(facts, device),
            threads=facts.get("Threads"),
            versions=dict(facts["Versions"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"{path}: lacks what a repetition needs ({type(error).__name__}: {error}): give the "
            ".json that was written beside a synthetic image"
        ) from error


def _config(facts: Mapping[str, Any], device: str | None) -> SynthesisConfig:
    """Take the settings of then; where auto was asked for, what auto came to."""
    settings = {key: value for key, value in facts["Settings"].items() if key not in FOUND_OUT}
    unknown = set(settings) - {entry.name for entry in fields(SynthesisConfig)}
    if unknown:
        raise ValueError(f"settings of another version: {', '.join(sorted(unknown))}")
    settings["planes"] = tuple(settings["planes"])
    settings["device"] = device or str(facts["Device"])
    settings["precision"] = str(facts["Precision"])
    return SynthesisConfig(**settings)


def find_source(recipe: Recipe, path: Path | None = None) -> Volume:
    """Load what went in, having checked that it is the very same.

    Parameters
    ----------
    recipe : Recipe
    path : Path, optional
        The input; by default the file of that name beside the sidecar.

    Returns
    -------
    Volume

    Raises
    ------
    StateError
        If it is not there, or is another one.
    VolumeError
        If it is damaged.
    """
    facts = recipe.sources[0]
    if path is None and "File" not in facts:
        raise StateError(
            f"{recipe.path}: the input {facts.get('Name')} was in no file: save it and give --input"
        )
    place = path or recipe.path.with_name(facts["File"])
    if not place.is_file():
        raise StateError(f"{place}: the input is not there: say with --input where it is")
    if "File" not in facts:
        source = load_volume(place)
        _same_digests(place, [voxel_digest(source)], [facts["VoxelsSHA256"]])
        return source
    now = [file_digest(part) for part in dict.fromkeys(files_of(place))]
    _same_digests(place, now, [entry["SHA256"] for entry in recipe.sources])
    return load_volume(place, index=facts.get("Index"))


def _same_digests(path: Path, now: Sequence[str], then: Sequence[str]) -> None:
    if list(now) != list(then):
        raise StateError(
            f"{path}: is not the input of then (SHA-256 {now[0][:12]}..., recorded "
            f"{then[0][:12]}...): say with --input where that is"
        )


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
    for place in (*bundled_folders(), recipe.path.parent):
        with contextlib.suppress(ModelError):  # a folder that is no model is none of ours to judge
            if read_card(place).sha256 == recipe.model_sha256:
                return load_model(place)
    raise ModelError(
        f"{recipe.path}: the image was made with model {wanted}, which is not in the package: "
        "give its folder with --model"
    )


def repeat_synthesis(
    recipe: Recipe, source: Volume, model: Model
) -> Generator[SynthesisProgress, None, Synthesis]:
    """Synthesise again, as then: settings, device, precision, number of threads.

    Parameters
    ----------
    recipe : Recipe
    source : Volume
    model : Model

    Yields
    ------
    SynthesisProgress

    Returns
    -------
    Synthesis

    Raises
    ------
    DeviceError
        If the device of then is not here.
    VolumeError
        As `synthesize`.
    """
    with _threads(recipe.threads if recipe.config.device == "cpu" else None):
        return (yield from synthesize(source, model, recipe.config))


@contextlib.contextmanager
def _threads(n_threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
