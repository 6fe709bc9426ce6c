"""What a sidecar records of how its image was made: all that a repetition needs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from napari_mri7t.engine.atomic import read_object
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.preparation.optional import LIBRARIES
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.preparation.reuse import ESTIMATED, FOUND_MASK_FOR
from napari_mri7t.engine.simulation.pseudo_3t import PAIR, SimulationConfig
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.synthesis.uncertainty import UNCERTAINTY
from napari_mri7t.engine.system import library_versions
from napari_mri7t.engine.texts import brief
from napari_mri7t.engine.volumes.digests import file_digest
from napari_mri7t.engine.volumes.files.dicom_conversion import CONVERTER
from napari_mri7t.engine.volumes.files.sidecars import NAME
from napari_mri7t.engine.volumes.files.writing import OUTPUT_EXTENSIONS
from napari_mri7t.engine.volumes.provenance import versions
from napari_mri7t.engine.workflows.recorded import (
    digest_entry,
    entry_of,
    image_entry,
    naming,
    source_entries,
    source_entry,
    thread_count,
    version_entries,
)

SYNTHESIZE: str = "synthesize"
SIMULATE: str = "simulate"
MAKE_PAIR: str = "pair"
COMMANDS = (SYNTHESIZE, SIMULATE, MAKE_PAIR)
IMAGES_OF_PAIR = ("source", "target", "mask")
OWN = ("source_mask", "target_mask", "transform", "to_mni")  # of a pair: the user's own
NOT_OF_SYNTHESIS = ("harmonized", "noise", "preparation", "output")  # of a sidecar's settings
OF_THE_MACHINE = ("device", "precision", "memory_mb", "preparation")  # which a repetition may set
# Of a warning about where a file came from; a repetition is given the file itself.
OF_ORIGIN = (
    " of a derivative replaces the ",
    " was edited, or put there by hand",
    " 7T scan by its ",
    " T1w scan by its ",
)
Config = TypeVar("Config", SynthesisConfig, SimulationConfig, OutputConfig)


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
    config : SynthesisConfig, SimulationConfig or None
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
    pair : dict or None
        Of a pair of scans: `config`, as `PairConfig.record` gives it, and `own`, the user's masks
        and transforms, each as one of `sources`.
    image : {"source", "target", "mask"}
        Which image of a pair the sidecar belongs to.
    image_name, image_sha256 : str
        Of the image's file; empty in a sidecar of version 0.1.
    facts : dict
        The whole sidecar.
    """

    path: Path
    sources: tuple[dict[str, Any], ...]
    versions: dict[str, str]
    config: SynthesisConfig | SimulationConfig | None
    model: str = ""
    model_sha256: str = ""
    threads: int | None = None
    preparation: Mapping[str, Any] = field(default_factory=dict)
    found_mask_for: tuple[str, ...] = ()
    output: OutputConfig = OutputConfig()  # noqa: RUF009 - frozen
    pair: Mapping[str, Any] | None = None
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
        said, told = (_of_voxels(facts.get("Warnings")) for facts in (self.facts, again))
        same = ("Notice", "Model")
        names = [name for name in same if self.facts.get(name) != again.get(name)]
        names += ["Warnings"] if said != told else []
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
        if not self.image_name and len(found) > 1:
            raise StateError(
                f"{self.path}: is of version 0.1, which does not record whether it describes "
                f"{' or '.join(path.name for path in found)}: move the other image away"
            )
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
    facts = read_object(path, "use the .json beside a synthetic image", StateError)
    try:
        return _record(path, facts, device)
    except ValueError as error:
        raise StateError(
            f"{path}: {error}: use the .json that was written beside a synthetic image, unchanged"
        ) from error


def _record(path: Path, facts: dict[str, Any], device: str | None) -> SidecarRecord:
    """Check every entry that a repetition uses; ValueError names the first that is wrong."""
    done = [entry_of(maker, "Description", str) for maker in entry_of(facts, "GeneratedBy", list)]
    if done not in [[command] for command in (*COMMANDS, UNCERTAINTY)]:
        raise ValueError(
            f"GeneratedBy: records {brief(', '.join(done))}: only {', '.join(COMMANDS)} can be "
            "repeated"
        )
    if (maker := entry_of(facts["GeneratedBy"][0], "Name", str)) != NAME:
        raise ValueError(f"GeneratedBy: Name must be {NAME}, got {brief(maker)}")
    if entry_of(facts, "Synthetic", bool) == (done == [MAKE_PAIR]):
        raise ValueError(f"Synthetic: must be {'false' if done == [MAKE_PAIR] else 'true'}")
    if done in ([SYNTHESIZE], [UNCERTAINTY]):
        read = _synthesis(path, facts, device)
    else:
        read = (_pair if done == [MAKE_PAIR] else _simulation)(path, facts)
    if (seed := facts.get("Seed")) != getattr(read.config, "seed", None):
        raise ValueError(f"Seed: is {brief(seed)}, which its settings contradict")
    return replace(read, facts=facts)


def _synthesis(path: Path, facts: dict[str, Any], device: str | None) -> SidecarRecord:
    settings, model = entry_of(facts, "Settings", dict), entry_of(facts, "Model", dict)
    preparation = settings.get("preparation", {"prepare": "none"})
    with naming("Settings: preparation"):
        asked = _preparation(preparation)
        found_mask_for = _found_mask_for(preparation)
    with naming("Settings: output"):
        output = _config(OutputConfig, settings.get("output", asdict(OutputConfig())))
    with naming("Model"):
        name, digest = entry_of(model, "Name", str), digest_entry(model, "SHA256")
    return SidecarRecord(
        path=path,
        sources=source_entries(facts),
        versions=version_entries(facts, "Versions") | version_entries(preparation, "libraries", {}),
        config=_synthesis_config(settings, facts, device),
        model=name,
        model_sha256=digest,
        threads=thread_count(preparation if "threads" in preparation else facts),
        preparation=asked,
        found_mask_for=found_mask_for,
        output=output,
        **image_entry(facts),
    )


def _simulation(path: Path, facts: dict[str, Any]) -> SidecarRecord:
    settings = entry_of(facts, "Settings", dict)
    image = settings.get("image", PAIR[0])
    if image not in PAIR:
        raise ValueError(f"Settings: image must be {' or '.join(PAIR)}, got {brief(image)}")
    with naming("Settings: noise"):
        config = _config(SimulationConfig, settings.get("noise"))
    return SidecarRecord(
        path=path,
        sources=source_entries(facts),
        versions=version_entries(facts, "Versions"),
        config=config,
        image=image,
        **image_entry(facts),
    )


def _pair(path: Path, facts: dict[str, Any]) -> SidecarRecord:
    settings = entry_of(facts, "Settings", dict)
    image = entry_of(settings, "image", str)
    if image not in IMAGES_OF_PAIR:
        raise ValueError(f"Settings: image must be one of {', '.join(IMAGES_OF_PAIR)}")
    with naming("Settings: asked"):
        asked = entry_of(settings, "asked", dict)
        own = entry_of(asked, "own", dict)
        if unknown := sorted(set(own) - set(OWN)):
            raise ValueError(f"own: holds {brief(unknown[0])}, expected {', '.join(OWN)}")
        own = {name: source_entry(entry) for name, entry in own.items()}
        config = entry_of(asked, "config", dict)
    with naming("Settings"):
        source = entry_of(settings, "source", dict)
        libraries = version_entries(source, "libraries", {})
    return SidecarRecord(
        path=path,
        sources=source_entries(facts),
        versions=version_entries(facts, "Versions") | libraries,
        config=None,
        threads=thread_count(facts),
        pair={"config": config, "own": own},
        image=image,
        **image_entry(facts),
    )


def _of_voxels(warnings: Any) -> Any:
    """Return the warnings but for those about where a file came from."""
    if not isinstance(warnings, list):
        return warnings
    return [text for text in warnings if not any(words in str(text) for words in OF_ORIGIN)]


def _preparation(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"must be an object, got {brief(values)}")
    asked: dict[str, Any] = {"prepare": entry_of(values, "prepare", str)}
    PreparationConfig(**asked)
    for name in ("mask", "transform"):
        if values.get(name) is not None:
            with naming(name):
                asked[name] = source_entry(values[name])
    return asked


def _found_mask_for(preparation: dict[str, Any]) -> tuple[str, ...]:
    steps = preparation.get(FOUND_MASK_FOR, [])
    if steps not in ([], *(list(ESTIMATED[:n]) for n in (1, 2))):
        known = " or ".join([ESTIMATED[0], ", ".join(ESTIMATED)])
        raise ValueError(f"{FOUND_MASK_FOR} must be {known}, got {brief(steps)}")
    return tuple(steps)


def _synthesis_config(
    settings: dict[str, Any], facts: dict[str, Any], device: str | None
) -> SynthesisConfig:
    """Return the settings with what "auto" came to."""
    asked = {key: value for key, value in settings.items() if key not in NOT_OF_SYNTHESIS}
    asked["uncertainty"] = facts["GeneratedBy"][0]["Description"] == UNCERTAINTY
    recorded, precision = entry_of(facts, "Device", str), entry_of(facts, "Precision", str)
    with naming("Precision"):
        SynthesisConfig(precision=precision)
    with naming("Settings"):
        asked["planes"] = tuple(entry_of(asked, "planes", list))
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
