"""What a sidecar records of how its image was made: all that a repetition needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from napari_mri7t.engine.atomic import read_json
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.preparation.optional import LIBRARIES
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.system import library_versions
from napari_mri7t.engine.volumes.files.writing import OUTPUT_EXTENSIONS
from napari_mri7t.engine.volumes.provenance import versions

SYNTHESIZE, SIMULATE = "synthesize", "simulate"
NOT_OF_SYNTHESIS = ("harmonized", "preparation", "output")  # of a sidecar's settings
Config = TypeVar("Config", SynthesisConfig, SimulationConfig)


@dataclass(frozen=True)
class SidecarRecord:
    """What a sidecar records of how its image was made.

    Attributes
    ----------
    path : Path
        The sidecar.
    sources : tuple of dict
        `File` and `SHA256` each, `Index` of a series; `Name` and `VoxelsSHA256` of a volume that
        was never saved to a file. A simulation's reference follows its target.
    versions : dict
        Of the libraries that decide the voxels.
    config : SynthesisConfig or SimulationConfig
        A synthesis's with the device and the precision that "auto" came to.
    model, model_sha256 : str
        Empty for a simulation.
    threads : int or None
        Of the CPU.
    preparation : dict
        Of `PreparationConfig`: `prepare`, and `mask` and `transform` as one of `sources`.
    output : OutputConfig
    image : {"source", "target"}
        Which image of a simulated pair the sidecar belongs to.
    """

    path: Path
    sources: tuple[dict[str, Any], ...]
    versions: dict[str, str]
    config: SynthesisConfig | SimulationConfig
    model: str = ""
    model_sha256: str = ""
    threads: int | None = None
    preparation: Mapping[str, Any] = field(default_factory=dict)
    output: OutputConfig = OutputConfig()  # noqa: RUF009 - frozen
    image: str = "source"

    @property
    def other_versions(self) -> tuple[str, ...]:
        """The libraries now installed in another version, as sentences."""
        now = versions() | library_versions(LIBRARIES)
        return tuple(
            f"made with {name} {recorded}, {now.get(name, 'none')} is installed"
            for name, recorded in self.versions.items()
            if now.get(name) != recorded
        )

    def find_image(self) -> Path:
        """Return the image that the sidecar belongs to; StateError if there is none."""
        stem = self.path.stem
        for extension in OUTPUT_EXTENSIONS:
            path = self.path.with_name(stem + extension)
            if path.is_file():
                return path
        raise StateError(f"{self.path}: there is no image {stem}.nii.gz or .nii beside it")


def read_record(path: str | Path, device: str | None = None) -> SidecarRecord:
    """Read the sidecar of a synthesis or of a simulation.

    Parameters
    ----------
    path : str or Path
        JSON, as `Synthesis.sidecar` and `SimulatedPair.sidecar` give it.
    device : str, optional
        In place of the one recorded.

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
            f"{path}: cannot be read ({error}): use the .json beside a synthetic image"
        ) from error
    try:
        done = [entry["Description"] for entry in facts["GeneratedBy"]]
        if done == [SYNTHESIZE]:
            return _synthesis(path, facts, device)
        if done == [SIMULATE]:
            return _simulation(path, facts)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"{path}: lacks what a repetition needs ({type(error).__name__}: {error}): use the "
            ".json that was written beside a synthetic image"
        ) from error
    known = f"{SYNTHESIZE} and {SIMULATE}"
    raise StateError(f"{path}: records {', '.join(map(str, done))}: only {known} can be repeated")


def _synthesis(path: Path, facts: Mapping[str, Any], device: str | None) -> SidecarRecord:
    settings = facts["Settings"]
    preparation = settings.get("preparation") or {"prepare": "none"}
    asked = {entry.name for entry in fields(PreparationConfig)}
    return SidecarRecord(
        path=path,
        sources=_sources(facts),
        versions=dict(facts["Versions"]) | dict(preparation.get("libraries", {})),
        config=_synthesis_config(settings, facts, device),
        model=str(facts["Model"]["Name"]),
        model_sha256=str(facts["Model"]["SHA256"]),
        threads=preparation.get("threads", facts.get("Threads")),
        preparation={name: value for name, value in preparation.items() if name in asked},
        output=OutputConfig(**settings.get("output", {})),
    )


def _simulation(path: Path, facts: Mapping[str, Any]) -> SidecarRecord:
    settings = facts["Settings"]
    return SidecarRecord(
        path=path,
        sources=_sources(facts),
        versions=dict(facts["Versions"]),
        config=_config(SimulationConfig, settings["noise"]),
        image=str(settings.get("image", "source")),
    )


def _sources(facts: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    found = tuple(dict(entry) for entry in facts.get("SourceFiles", facts["Sources"]))
    if not found:
        raise ValueError("no source is named")
    return found


def _synthesis_config(
    settings: Mapping[str, Any], facts: Mapping[str, Any], device: str | None
) -> SynthesisConfig:
    """Return the settings with what "auto" came to."""
    asked = {key: value for key, value in settings.items() if key not in NOT_OF_SYNTHESIS}
    asked["planes"] = tuple(asked.get("planes", ()))
    asked["device"] = device or str(facts["Device"])
    asked["precision"] = str(facts["Precision"])
    return _config(SynthesisConfig, asked)


def _config(kind: type[Config], values: Mapping[str, Any]) -> Config:
    unknown = set(values) - {entry.name for entry in fields(kind)}
    if unknown:
        raise ValueError(f"settings of another version: {', '.join(sorted(unknown))}")
    return kind(**values)
