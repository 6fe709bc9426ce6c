"""What a sidecar records of how its image was made: all that a repetition needs."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from napari_mri7t.engine.atomic import read_json
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.preparation.optional import LIBRARIES
from napari_mri7t.engine.preparation.prepare import ESTIMATED, FOUND_MASK_FOR, PreparationConfig
from napari_mri7t.engine.simulation.pseudo_3t import PAIR, SimulationConfig
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.system import library_versions
from napari_mri7t.engine.texts import brief, is_file_name, visible
from napari_mri7t.engine.typed import is_of_type
from napari_mri7t.engine.volumes.files.dicom_conversion import CONVERTER
from napari_mri7t.engine.volumes.files.sidecars import NAME
from napari_mri7t.engine.volumes.files.writing import OUTPUT_EXTENSIONS
from napari_mri7t.engine.volumes.provenance import file_digest, versions

SYNTHESIZE, SIMULATE = "synthesize", "simulate"
NOT_OF_SYNTHESIS = ("harmonized", "preparation", "output")  # of a sidecar's settings
OF_THE_MACHINE = ("device", "precision", "memory_mb", "preparation")  # which a repetition may set
MOST_SOURCES = 4  # two images, of two files each
MOST_VERSIONS = 50  # libraries
MOST_THREADS = 256  # or the machine's own number
LONGEST_TEXT = 255  # characters, of an entry
WORDS = {
    bool: "true or false", int: "a whole number", str: "text", list: "a list", dict: "an object",
}  # fmt: skip
Config = TypeVar("Config", SynthesisConfig, SimulationConfig, OutputConfig)
Entry = TypeVar("Entry", bool, int, str, list[Any], dict[str, Any])


@dataclass(frozen=True)
class SidecarRecord:
    """What a sidecar records of how its image was made.

    Attributes
    ----------
    path : Path
        The sidecar.
    sources : tuple of dict
        `File` and `SHA256` each, `Index` of a series; `Series`, `Files`, `SHA256` and `dcm2niix` of
        DICOM; `Name` and `VoxelsSHA256` of a volume that was never saved to a file. A simulation's
        reference follows its target.
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
    found_mask_for : tuple of str
        Steps of the preparation whose result came from the mask that was found, before the user
        corrected it.
    output : OutputConfig
    image : {"source", "target"}
        Which image of a simulated pair the sidecar belongs to.
    image_name, image_sha256 : str
        Of the image's file; empty in a sidecar of version 0.1.
    facts : dict
        The whole sidecar.
    """

    path: Path
    sources: tuple[dict[str, Any], ...]
    versions: dict[str, str]
    config: SynthesisConfig | SimulationConfig
    model: str = ""
    model_sha256: str = ""
    threads: int | None = None
    preparation: Mapping[str, Any] = field(default_factory=dict)
    found_mask_for: tuple[str, ...] = ()
    output: OutputConfig = OutputConfig()  # noqa: RUF009 - frozen
    image: str = "source"
    image_name: str = ""
    image_sha256: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def other_versions(self) -> tuple[str, ...]:
        """The libraries now installed in another version, as sentences."""
        now = versions() | library_versions((*LIBRARIES, CONVERTER))
        converters = {k: v for source in self.sources for k, v in source.items() if k == CONVERTER}
        return tuple(
            f"made with {name} {recorded}, {now.get(name, 'none')} is installed"
            for name, recorded in (self.versions | converters).items()
            if now.get(name) != recorded
        )

    def changed_facts(self, again: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of recorded facts that a repetition's sidecar contradicts.

        Parameters
        ----------
        again : dict
            The repetition's sidecar.
        """
        then, now = self.facts.get("Settings", {}), again["Settings"]
        names = [name for name in ("Notice", "Warnings") if self.facts.get(name) != again[name]]
        decisive = sorted((set(then) | set(now)) - set(OF_THE_MACHINE))
        return (*names, *(name for name in decisive if then.get(name) != now.get(name)))

    def find_image(self) -> Path:
        """Return the image that the sidecar describes, changed since or not.

        Raises
        ------
        StateError
            If it is not beside the sidecar.
        """
        stem = self.path.stem
        named = [self.path.with_name(stem + extension) for extension in OUTPUT_EXTENSIONS]
        found = [path for path in named if path.is_file()]
        if not found:
            raise StateError(f"{self.path}: there is no image {stem}.nii.gz or .nii beside it")
        if not self.image_name:
            return found[0]
        for path in found:
            if file_digest(path) == self.image_sha256:
                return path
        for path in found:
            if path.name == self.image_name:
                return path
        raise StateError(
            f"{self.path}: describes {self.image_name}, which {found[0].name} beside it is not: "
            "put that image beside it"
        )


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
        return _record(path, facts, device)
    except ValueError as error:
        raise StateError(
            f"{path}: {error}: use the .json that was written beside a synthetic image, unchanged"
        ) from error


def _record(path: Path, facts: Any, device: str | None) -> SidecarRecord:
    """Check every entry that a repetition uses; ValueError names the first that is wrong."""
    if not isinstance(facts, dict):
        raise ValueError("is no sidecar")
    done = [_entry(maker, "Description", str) for maker in _entry(facts, "GeneratedBy", list)]
    if done not in ([SYNTHESIZE], [SIMULATE]):
        raise ValueError(
            f"GeneratedBy: records {brief(', '.join(done))}: only {SYNTHESIZE} and {SIMULATE} can "
            "be repeated"
        )
    if (maker := _entry(facts["GeneratedBy"][0], "Name", str)) != NAME:
        raise ValueError(f"GeneratedBy: Name must be {NAME}, got {brief(maker)}")
    if not _entry(facts, "Synthetic", bool):
        raise ValueError("Synthetic: must be true")
    read = _synthesis(path, facts, device) if done == [SYNTHESIZE] else _simulation(path, facts)
    if (seed := facts.get("Seed")) != getattr(read.config, "seed", None):
        raise ValueError(f"Seed: is {brief(seed)}, which its settings contradict")
    return replace(read, facts=facts)


def _synthesis(path: Path, facts: dict[str, Any], device: str | None) -> SidecarRecord:
    settings, model = _entry(facts, "Settings", dict), _entry(facts, "Model", dict)
    preparation = settings.get("preparation", {"prepare": "none"})
    with _named("Settings: preparation"):
        asked = _preparation(preparation)
        found_mask_for = _found_mask_for(preparation)
    with _named("Settings: output"):
        output = _config(OutputConfig, settings.get("output", asdict(OutputConfig())))
    with _named("Model"):
        name, digest = _entry(model, "Name", str), _digest(model, "SHA256")
    return SidecarRecord(
        path=path,
        sources=_sources(facts),
        versions=_versions(facts, "Versions") | _versions(preparation, "libraries", {}),
        config=_synthesis_config(settings, facts, device),
        model=name,
        model_sha256=digest,
        threads=_threads(preparation if "threads" in preparation else facts),
        preparation=asked,
        found_mask_for=found_mask_for,
        output=output,
        **_image(facts),
    )


def _simulation(path: Path, facts: dict[str, Any]) -> SidecarRecord:
    settings = _entry(facts, "Settings", dict)
    image = settings.get("image", PAIR[0])
    if image not in PAIR:
        raise ValueError(f"Settings: image must be {' or '.join(PAIR)}, got {brief(image)}")
    with _named("Settings: noise"):
        config = _config(SimulationConfig, settings.get("noise"))
    return SidecarRecord(
        path=path,
        sources=_sources(facts),
        versions=_versions(facts, "Versions"),
        config=config,
        image=image,
        **_image(facts),
    )


def _sources(facts: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    name = "SourceFiles" if "SourceFiles" in facts else "Sources"
    found = _entry(facts, name, list)
    if not 0 < len(found) <= MOST_SOURCES:
        raise ValueError(f"{name}: must hold 1 to {MOST_SOURCES} files, got {len(found)}")
    with _named(name):
        return tuple(_source(entry) for entry in found)


def _source(entry: Any) -> dict[str, Any]:
    """Return what identifies one file, or one volume that was never saved to a file."""
    if not isinstance(entry, dict):
        raise ValueError(f"must hold objects, got {brief(entry)}")
    if "Series" in entry:
        number, n_files = _entry(entry, "Series", int), _entry(entry, "Files", int)
        found: dict[str, Any] = {
            "Series": number,
            "Files": n_files,
            CONVERTER: _entry(entry, CONVERTER, str),
        }
    elif "File" not in entry:
        name, digest = _entry(entry, "Name", str), _digest(entry, "VoxelsSHA256")
        return {"Name": name, "VoxelsSHA256": digest}
    else:
        found = {"File": _file_name(entry, "File")}
    found["SHA256"] = _digest(entry, "SHA256")
    if "Index" not in entry:
        return found
    if (index := _entry(entry, "Index", int)) < 0:
        raise ValueError(f"Index must be at least 0, got {brief(index)}")
    return found | {"Index": index}


def _image(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies the image; nothing for a sidecar of version 0.1."""
    if "Image" not in facts:
        return {}
    image = _entry(facts, "Image", dict)
    with _named("Image"):
        return {
            "image_name": _file_name(image, "File"), "image_sha256": _digest(image, "SHA256")
        }  # fmt: skip


def _preparation(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"must be an object, got {brief(values)}")
    asked: dict[str, Any] = {"prepare": _entry(values, "prepare", str)}
    PreparationConfig(**asked)
    for name in ("mask", "transform"):
        if values.get(name) is not None:
            with _named(name):
                asked[name] = _source(values[name])
    return asked


def _found_mask_for(preparation: dict[str, Any]) -> tuple[str, ...]:
    steps = preparation.get(FOUND_MASK_FOR, [])
    if steps not in ([], *(list(ESTIMATED[:n]) for n in (1, 2))):
        known = " or ".join([ESTIMATED[0], ", ".join(ESTIMATED)])
        raise ValueError(f"{FOUND_MASK_FOR} must be {known}, got {brief(steps)}")
    return tuple(steps)


def _threads(facts: dict[str, Any]) -> int | None:
    name = "threads" if "threads" in facts else "Threads"
    if facts.get(name) is None:
        return None
    n_threads, most = _entry(facts, name, int), most_threads()
    if not 1 <= n_threads <= most:
        raise ValueError(f"{name} must be 1 to {most} on this machine, got {brief(n_threads)}")
    return n_threads


def most_threads() -> int:
    """Return how many threads of the CPU a sidecar may ask for on this machine."""
    return max(MOST_THREADS, os.cpu_count() or 1)


def _versions(
    facts: dict[str, Any], name: str, default: dict[str, str] | None = None
) -> dict[str, str]:
    found = default if default is not None and name not in facts else _entry(facts, name, dict)
    if len(found) > MOST_VERSIONS:
        raise ValueError(f"{name}: must hold at most {MOST_VERSIONS} libraries")
    with _named(name):
        return {library: _entry(found, library, str) for library in found}


def _synthesis_config(
    settings: dict[str, Any], facts: dict[str, Any], device: str | None
) -> SynthesisConfig:
    """Return the settings with what "auto" came to."""
    asked = {key: value for key, value in settings.items() if key not in NOT_OF_SYNTHESIS}
    recorded, precision = _entry(facts, "Device", str), _entry(facts, "Precision", str)
    with _named("Precision"):
        SynthesisConfig(precision=precision)
    with _named("Settings"):
        asked["planes"] = tuple(_entry(asked, "planes", list))
        _config(SynthesisConfig, asked)
    return _config(SynthesisConfig, asked | {"device": device or recorded, "precision": precision})


def _config(kind: type[Config], values: Any) -> Config:
    if not isinstance(values, dict):
        raise ValueError(f"must be an object, got {brief(values)}")
    known = {entry.name for entry in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"settings of another version: {brief(', '.join(unknown))}")
    if missing := sorted(known - set(values)):
        raise ValueError(f"lacks {', '.join(missing)}")
    return kind(**values)


def _entry(facts: Any, name: str, kind: type[Entry]) -> Entry:
    """Return an entry of an object in JSON, if it is there and of its type."""
    if not isinstance(facts, dict) or name not in facts:
        raise ValueError(f"lacks {visible(name)}, which a repetition needs")
    value: Any = facts[name]
    if not isinstance(value, kind) or not is_of_type(value, kind):
        raise ValueError(f"{visible(name)} must be {WORDS[kind]}, got {brief(value)}")
    if kind is str and len(str(value)) > LONGEST_TEXT:
        raise ValueError(f"{visible(name)} is longer than {LONGEST_TEXT} characters")
    return value


def _digest(facts: Any, name: str) -> str:
    digest = _entry(facts, name, str)
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"{name} must be 64 hexadecimal digits, got {brief(digest)}")
    return digest


def _file_name(facts: Any, name: str) -> str:
    """Return the name of a file beside the sidecar, without any folder."""
    found = _entry(facts, name, str)
    if not is_file_name(found):
        raise ValueError(f"{name} must be the name of a file, without a folder, got {brief(found)}")
    return found


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the name of the entry before what is wrong in it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
