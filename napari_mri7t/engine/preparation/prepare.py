"""From a scan as it comes from the scanner to a brain that a model can take.

Three steps, each skipped where it is not needed or replaced by the user's own: brain extraction,
bias field, registration to MNI space. The brain stays on the scan's own grid; `ways_back.py`
carries it to the model's space and home.

What a preparation will do to a scan, told before anything is computed.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.preparation.bias_field import (
    LEAST_STRENGTH,
    estimate_bias_field,
    strength_of,
)
from napari_mri7t.engine.preparation.cache import PreparationCache, open_cache
from napari_mri7t.engine.preparation.checks import (
    UPRIGHT,
    alignment,
    check_alignment,
    check_handedness,
    check_resolution,
    fits_as_it_is,
)
from napari_mri7t.engine.preparation.extraction import check_mask, extract_brain, mask_of
from napari_mri7t.engine.preparation.optional import PreparationProgress, library_versions
from napari_mri7t.engine.preparation.registration import load_transform, register
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.volumes.brain import brain_litres, foreground_mask, looks_extracted
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, load_volume

MODES = ("auto", "none", "full")
SPACES = ("native", "mni")
WAYS = ("grid", "model")
OUTSIDES = ("scan", "zero")
N_STEPS = 4
STEPS = ("brain extraction", "bias field", "registration")  # by the names that progress gives


@dataclass(frozen=True)
class PreparationConfig:
    """How a raw scan is prepared, and where its estimate goes.

    Parameters
    ----------
    prepare : {"auto", "none", "full"}
        auto does what the scan needs; none takes it as extracted and corrected; full does every
        step whatever the scan looks like.
    space : {"native", "mni"}
        Grid of the result: the scan's own, or 1 mm in MNI space.
    way : {"grid", "model"}
        To a native result: the network works on the scan's own voxels, or on 1 mm in MNI space
        and its estimate is resampled back.
    outside : {"scan", "zero"}
        What the result shows outside the brain.
    mask : Path, Volume or None
        The user's own, in place of the brain extraction.
    transform : Path or None
        The user's own, in place of the registration.
    keep : Path or None
        Folder for what the steps find, and to take it from where it is there already.
    allow_out_of_domain : bool
        True goes on with a scan that is too coarse, with a warning.
    """

    prepare: str = "auto"
    space: str = "native"
    way: str = "grid"
    outside: str = "scan"
    mask: Path | Volume | None = None
    transform: Path | None = None
    keep: Path | None = None
    allow_out_of_domain: bool = False

    def __post_init__(self) -> None:
        choices = {"prepare": MODES, "space": SPACES, "way": WAYS, "outside": OUTSIDES}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )

    @property
    def asks_for_nothing(self) -> bool:
        """True where the scan is to go to the model untouched, and its estimate to the scan."""
        return self.prepare == "none" and self.space == "native" and not self.has_own

    @property
    def has_own(self) -> bool:
        """True where the user gave a mask or a transform."""
        return (self.mask, self.transform) != (None, None)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan's brain, ready for a model.

    Attributes
    ----------
    scan : Volume
        As it came.
    corrected : Volume
        Without its bias field; the scan itself where that was left in.
    mask : ndarray of bool, shape (I, J, K)
        The brain.
    to_mni : ndarray, shape (4, 4)
        mm of the scan to mm of MNI space.
    facts : dict
        What each step did or why it was skipped, and what was measured; for the sidecar.
    """

    scan: Volume
    corrected: Volume
    mask: np.ndarray
    to_mni: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def brain(self) -> Volume:
        """The corrected scan, 0 outside the brain."""
        return self.corrected.with_array(np.where(self.mask, self.corrected.array, 0))


def prepare(
    scan: Volume, config: PreparationConfig = PreparationConfig()
) -> Generator[PreparationProgress, None, Prepared | None]:
    """Do what a scan needs before a model can take it.

    Parameters
    ----------
    scan : Volume
        T1w.
    config : PreparationConfig

    Yields
    ------
    PreparationProgress
        At least every 0.2 s in the long steps; closing the generator cancels.

    Returns
    -------
    Prepared or None
        None where nothing is needed: the scan goes to the model as it is.

    Raises
    ------
    VolumeError
        If its header contradicts itself about left and right, its brain is implausible or the
        registration fails.
    Mri7tError
        If a library of the extra `native` is needed and missing.
    """
    yield PreparationProgress(0, N_STEPS, "look at the scan")
    if config.prepare != "none":
        check_handedness(scan)
    if config.asks_for_nothing or (is_free(config) and fits_as_it_is(scan)):
        return None
    kept = open_cache(scan, config.keep, key_of(config))
    facts: dict[str, Any] = {}
    mask = yield from _brain_mask(scan, config, kept, facts)
    corrected = yield from _correct(scan, mask, config, kept, facts)
    brain = corrected.with_array(np.where(mask, corrected.array, 0))
    to_mni = yield from _to_mni(brain, config, kept, facts)
    yield PreparationProgress(N_STEPS, N_STEPS, "prepared")
    return Prepared(scan, corrected, mask, to_mni, facts)


def is_free(config: PreparationConfig) -> bool:
    """Tell whether the user leaves it to us what to do, and asks for the scan's own grid."""
    return config.prepare == "auto" and config.space == "native" and not config.has_own


def counts_as_extracted(scan: Volume, config: PreparationConfig) -> bool:
    """Tell whether the scan's own zeros are taken for the brain's outline."""
    return config.prepare == "none" or (config.prepare == "auto" and looks_extracted(scan))


def key_of(config: PreparationConfig) -> dict[str, Any]:
    """List what decides the steps' findings, beside the scan; for `open_cache`."""
    return {
        "prepare": config.prepare,
        "mask": config.mask,
        "transform": config.transform,
        "libraries": library_versions(),
    }


def _brain_mask(
    scan: Volume, config: PreparationConfig, kept: PreparationCache | None, facts: dict[str, Any]
) -> Generator[PreparationProgress, None, np.ndarray]:
    now = PreparationProgress(0, N_STEPS, "brain extraction")
    yield now
    if config.mask is not None:
        own = config.mask if isinstance(config.mask, Volume) else load_volume(config.mask)
        mask, how = mask_of(own, scan), "the mask given"
    elif counts_as_extracted(scan, config):
        mask, how = foreground_mask(scan), "skipped: the scan is extracted"
    elif kept is not None and (found := kept.load("mask")) is not None:
        mask, how = found > 0, "deepbet"
    else:
        mask = yield from with_records(extract_brain(scan), lambda _: now)
        how = "deepbet"
    facts["brain_extraction"] = how
    facts["brain_litres"] = round(brain_litres(scan, mask), 3)
    if config.prepare != "none":
        check_mask(scan, mask)
    if kept is not None:
        kept.save("mask", scan.with_array(mask))
    return mask


def _correct(
    scan: Volume,
    mask: np.ndarray,
    config: PreparationConfig,
    kept: PreparationCache | None,
    facts: dict[str, Any],
) -> Generator[PreparationProgress, None, Volume]:
    now = PreparationProgress(1, N_STEPS, "bias field")
    yield now
    if config.prepare == "none":
        facts["bias_field"] = "skipped: not asked for"
        return scan
    found = None if kept is None else kept.load("bias-field")
    if found is None:
        found = yield from with_records(estimate_bias_field(scan, mask), lambda _: now)
    if kept is not None:
        kept.save("bias-field", scan.with_array(found))
    strength = strength_of(found, mask)
    facts["bias_field_strength"] = round(strength, 3)
    if config.prepare == "auto" and strength < LEAST_STRENGTH:
        facts["bias_field"] = f"left in: weaker than {LEAST_STRENGTH}"
        return scan
    facts["bias_field"] = "N4, divided out"
    return scan.with_array(scan.array / found)


def _is_upright(brain: Volume) -> bool:
    return alignment(brain, np.eye(4)) >= UPRIGHT


def _to_mni(
    brain: Volume, config: PreparationConfig, kept: PreparationCache | None, facts: dict[str, Any]
) -> Generator[PreparationProgress, None, np.ndarray]:
    now = PreparationProgress(2, N_STEPS, "registration")
    yield now
    to_mni = np.eye(4)
    if config.transform is not None:
        to_mni, how = load_transform(config.transform), "the transform given"
    elif config.prepare == "none":
        how = "skipped: not asked for"
    elif config.prepare == "auto" and config.space == "native" and _is_upright(brain):
        how = "skipped: the brain lies in MNI space"
    elif kept is not None and (found := kept.load_matrix()) is not None:
        to_mni, how = found, "rigid, Mattes mutual information"
    else:
        template = load_template()
        yield now
        to_mni = yield from with_records(register(brain, template), lambda _: now)
        how = "rigid, Mattes mutual information"
    yield PreparationProgress(3, N_STEPS, "check")
    score = alignment(brain, to_mni)
    facts |= {"registration": how, "registration_score": round(score, 3)}
    facts["to_mni"] = to_mni.round(6).tolist()
    if config.prepare != "none":
        check_alignment(brain, score)
    if kept is not None and not how.startswith("skipped"):  # an identity is no finding
        kept.save_matrix(to_mni)
    return to_mni


@dataclass(frozen=True)
class PreparationPlan:
    """What a preparation will do.

    Attributes
    ----------
    is_prepared : bool
        False where the scan goes to the model as it is.
    steps : tuple of str
        What is computed, by the names that progress gives; what is given, kept or left out is not
        among them.
    sentence : str
        All of it in words.
    """

    is_prepared: bool
    steps: tuple[str, ...]
    sentence: str


def plan_preparation(scan: Volume, config: PreparationConfig) -> PreparationPlan:
    """Tell what `prepare` would do, from what can be seen in a second.

    Whether a registration can be left out is known only when the brain is: it is counted.

    Parameters
    ----------
    scan : Volume
    config : PreparationConfig
        A folder `keep` that is not there yet is not made.

    Returns
    -------
    PreparationPlan

    Raises
    ------
    VolumeError
        If the scan is too coarse and that is not allowed, or its header contradicts itself.
    """
    check_resolution(scan, allowed=config.allow_out_of_domain)
    if config.prepare != "none":
        check_handedness(scan)
    if config.asks_for_nothing:
        return PreparationPlan(False, (), "The scan goes to the model as it is.")
    if is_free(config) and fits_as_it_is(scan):
        return PreparationPlan(
            False, (), "The scan needs no preparation and goes to the model as it is."
        )
    folder = config.keep if config.keep is not None and config.keep.is_dir() else None
    kept = open_cache(scan, folder, key_of(config))
    told = _of_mask(scan, config, kept), _of_field(config, kept), _of_transform(config, kept)
    named = dict(zip(STEPS, told, strict=True))
    steps = tuple(name for name, how in named.items() if how is None)
    parts = [f"{name} {how}" for name, how in named.items() if how is not None]
    if steps:
        parts.insert(0, ", ".join(steps))
    return PreparationPlan(True, steps, f"Preparation: {'; '.join(parts)}.")


def _of_mask(scan: Volume, config: PreparationConfig, kept: PreparationCache | None) -> str | None:
    """Say why no brain need be extracted; None if it must be."""
    if config.mask is not None:
        return "by your mask"
    if counts_as_extracted(scan, config):
        return "left out (the background is 0)"
    return "as kept" if kept is not None and kept.holds("mask") else None


def _of_field(config: PreparationConfig, kept: PreparationCache | None) -> str | None:
    if config.prepare == "none":
        return "left as it is"
    return "as kept" if kept is not None and kept.holds("bias-field") else None


def _of_transform(config: PreparationConfig, kept: PreparationCache | None) -> str | None:
    if config.transform is not None:
        return "by your transform"
    if config.prepare == "none":
        return "left out"
    return "as kept" if kept is not None and kept.holds("to-MNI", ".txt") else None
