"""From a raw scan to a brain that a model can process: the plan, and its execution.

Three steps, each skipped where the scan does not need it or replaced by the user's own result:
brain extraction, bias field correction, registration to MNI space. The brain stays on the scan's
own grid.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.preparation import checks
from napari_mri7t.engine.preparation.bias_field import (
    LEAST_STRENGTH,
    estimate_bias_field,
    strength_of,
)
from napari_mri7t.engine.preparation.cache import KeptFiles, PreparationCache, open_cache
from napari_mri7t.engine.preparation.checks import (
    alignment,
    check_alignment,
    check_handedness,
    check_resolution,
    fits_as_it_is,
    lies_in_mni,
)
from napari_mri7t.engine.preparation.extraction import check_mask, extract_brain, mask_of
from napari_mri7t.engine.preparation.optional import LIBRARIES
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.preparation.registration import load_transform, register
from napari_mri7t.engine.preparation.reuse import (
    FILES,
    OWN,
    decide_steps,
    edit_in_words,
    edited_files,
    found_mask_for,
    source_of,
)
from napari_mri7t.engine.preparation.steps import (
    CORRECTION,
    EXTRACTION,
    REGISTRATION,
    STEPS,
    Decision,
    running,
)
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.system import library_versions
from napari_mri7t.engine.texts import brief
from napari_mri7t.engine.typed import check_kind, check_types
from napari_mri7t.engine.volumes.brain import foreground_mask
from napari_mri7t.engine.volumes.digests import checksum, image_digest, voxel_digest
from napari_mri7t.engine.volumes.provenance import check_is_scan
from napari_mri7t.engine.volumes.scale import find_scale, zeroed
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, VolumeLike, as_volume

MODES = ("auto", "none", "full")
N_STEPS = len(STEPS) + 1  # the last one checks the registration
_FROM_CACHE = (Decision.REUSE, Decision.KEPT)
_KINDS = {"transform": Path | None, "keep": Path | KeptFiles | None}


@dataclass(frozen=True)
class PreparationConfig:
    """How a raw scan is prepared.

    Parameters
    ----------
    prepare : {"auto", "none", "full"}
        auto does what the scan needs; none takes it as brain-extracted and corrected; full does
        every step, whatever the scan looks like.
    mask : str, Path, nibabel image, Volume or None
        The user's own, in place of the brain extraction.
    transform : str, Path or None
        The user's own, in place of the registration.
    keep : str, Path, KeptFiles or None
        Folder, or files, that cache the results of the steps. A mask or transform that was edited
        there is taken for the user's own.
    allow_out_of_domain : bool
        True accepts a scan that is too coarse, with a warning.
    """

    prepare: str = "auto"
    mask: Path | Volume | None = None
    transform: Path | None = None
    keep: Path | KeptFiles | None = None
    allow_out_of_domain: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if self.prepare not in MODES:
            raise ValueError(f"prepare must be {' or '.join(MODES)}, got {brief(self.prepare)}")
        for name in ("mask", "transform", "keep"):
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, Path(value))
            elif name != "mask" and not isinstance(value, _KINDS[name]):
                raise ValueError(f"{name} must be a path, got {brief(value)}")
        if self.mask is not None and not isinstance(self.mask, Path):
            object.__setattr__(self, "mask", as_volume(self.mask))

    def record(self, scan: Volume) -> dict[str, Any]:
        """Return what decides the result, for a sidecar: a file by its name and digest."""
        asked: dict[str, Any] = {"prepare": self.prepare}
        for name, own in (("mask", self.mask), ("transform", self.transform)):
            if isinstance(own, Path):
                asked[name] = {"File": own.name, "SHA256": image_digest(own)}
            elif own is not None:
                on_grid = scan.with_array(own.array > 0)  # as a repetition reads it from a file
                asked[name] = {"Name": own.name, "VoxelsSHA256": voxel_digest(on_grid)}
        return asked | {"libraries": library_versions(LIBRARIES)}


@dataclass(frozen=True, eq=False)
class PreparationPlan:
    """What a preparation will do; `plan_preparation` makes it, `prepare` executes it.

    Attributes
    ----------
    config : PreparationConfig
    decisions : dict
        Step to `Decision`; empty where the scan goes to the model as is.
    warnings : tuple of str
        If the scan is out of the models' domain and that is allowed; the edited files of the cache
        that replace a step.
    cache : PreparationCache or None
    space : {"native", "mni"}
        Where the estimate goes.
    checksum : int
        Of the scan's voxels and affine: the plan is for no other.
    origins : dict
        Step to what its result comes from, for the cache.
    """

    config: PreparationConfig
    decisions: Mapping[str, Decision]
    warnings: tuple[str, ...] = ()
    cache: PreparationCache | None = None
    space: str = "native"
    checksum: int = 0
    origins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def check_is_for(self, scan: Volume) -> None:
        """Raise a ValueError if the plan was made for another scan."""
        if checksum(zeroed(scan)) != self.checksum:
            raise ValueError(f"{scan.name}: the preparation was planned for another scan")

    @property
    def is_current(self) -> bool:
        """Whether every result that is to be reused is still there, and unchanged."""
        found, known = self.cache, self.origins
        reused = [step for step, how in self.decisions.items() if how in _FROM_CACHE]
        return found is None or all(found.origin(FILES[s]) == known[s] for s in reused)

    @property
    def is_needed(self) -> bool:
        """Whether anything is done; otherwise the scan goes to the model as is."""
        return bool(self.decisions)

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that are computed, by the messages of their progress."""
        return tuple(s for s in self.decisions if self.decisions[s] is Decision.COMPUTE)

    @property
    def skips_if_aligned(self) -> bool:
        """Whether a brain that turns out to lie in MNI space is not registered."""
        is_asked = self.config.prepare == "auto" and self.config.transform is None
        return is_asked and self.space == "native"

    def describe(self) -> str:
        """Return the plan as a sentence."""
        if not self.is_needed:
            return "The scan goes to the model as is."  # whatever the scan may need
        computed = [
            f"{step} if needed" if step == REGISTRATION and self.skips_if_aligned else step
            for step in self.steps
        ]
        others = [
            f"{step} {f'replaced by your {OWN[step]}' if how is Decision.GIVEN else how.value}"
            for step, how in self.decisions.items()
            if how is not Decision.COMPUTE
        ]
        return f"Preparation: {'; '.join([', '.join(computed), *others]).removeprefix('; ')}."


def plan_preparation(
    scan: VolumeLike, config: PreparationConfig = PreparationConfig(), space: str = "native"
) -> PreparationPlan:
    """Decide what a scan needs before a model can process it, which takes about a second.

    Parameters
    ----------
    scan : str, Path, nibabel image or Volume
        T1w.
    config : PreparationConfig
        A folder `keep` that does not exist is not made.
    space : {"native", "mni"}
        Where the estimate goes; MNI space needs a registration.

    Raises
    ------
    VolumeError
        If the scan is too coarse and that is not allowed, or its header contradicts itself about
        left and right.

    Examples
    --------
    >>> plan_preparation(load_template()).describe()
    'The scan goes to the model as is.'
    >>> plan = plan_preparation(load_template(), PreparationConfig(prepare="full"))
    >>> plan.describe()
    'Preparation: brain extraction, bias field correction, registration.'
    """
    check_kind(config=(config, PreparationConfig))
    scan = zeroed(as_volume(scan))
    warnings = check_resolution(scan, allowed=config.allow_out_of_domain) + check_is_scan(scan)
    if not (is_none := config.prepare == "none"):
        check_handedness(scan)
    found = open_cache(scan, config.keep)
    if found is not None and not is_none:
        own = edited_files(found, scan, {name: getattr(config, name) for name in OWN.values()})
        config = replace(config, **own)
        warnings += tuple(edit_in_words(path, name) for name, path in own.items())
    is_free = space == "native" and config.mask is None and config.transform is None
    if is_free and (is_none or (config.prepare == "auto" and fits_as_it_is(scan))):
        return PreparationPlan(config, {}, warnings, None, space, checksum(scan))
    source = {} if found is None else source_of(scan, library_versions(LIBRARIES))
    how = {name: getattr(config, name) for name in ("prepare", "mask", "transform")}
    decisions, origins = decide_steps(scan, found, source, **how)
    return PreparationPlan(config, decisions, warnings, found, space, checksum(scan), origins)


def prepare(
    scan: VolumeLike,
    preparation: PreparationConfig | PreparationPlan = PreparationConfig(),
    report: Report = ignore,
) -> Prepared:
    """Extract the brain of a scan, correct its bias field and register it, where needed.

    Parameters
    ----------
    scan : str, Path, nibabel image or Volume
        T1w.
    preparation : PreparationConfig or PreparationPlan
        A plan for this scan is executed as it is; for settings, `plan_preparation` makes one.
    report : callable
        Called at least every 0.2 s in the long steps; what it raises cancels.

    Returns
    -------
    Prepared
        Where nothing is needed, the scan itself.

    Raises
    ------
    ValueError
        If the plan was made for another scan.
    VolumeError
        If the brain is implausible or the registration fails.
    Mri7tError
        If a library of the extra `native` is needed and missing.

    Examples
    --------
    >>> template = load_template()
    >>> prepare(template).brain.shape == template.shape
    True
    >>> mask = template.with_array(template.array > 0)
    >>> prepared = prepare(template, PreparationConfig(prepare="none", mask=mask))
    >>> prepared.facts["brain_extraction"], prepared.facts["registration"]
    ('mask provided', 'skipped (not requested)')
    """
    scan = as_volume(scan)
    scale = find_scale(scan)
    scan = scale.zeroed(scan)
    plan = _plan_for(scan, preparation)
    if not plan.is_needed:
        facts = (scan, scan, foreground_mask(scan), np.eye(4), alignment(scan, np.eye(4)))
        return Prepared(*facts, warnings=(*plan.warnings, *scale.warnings), scale=scale)
    decisions, asked = dict(plan.decisions), plan.config.record(scan)
    if plan.cache is not None and plan.steps:
        plan.cache.check_folder()
    own = None if plan.config.mask is None else as_volume(plan.config.mask)
    mask = _brain_mask(scan, plan, part(report, 0, N_STEPS), own)
    bias = _bias_field(scan, mask, plan, part(report, 1, N_STEPS))
    corrected, strength = scan, None if bias is None else strength_of(bias, mask)
    if strength is not None and plan.config.prepare == "auto" and strength < LEAST_STRENGTH:
        decisions[CORRECTION] = Decision.WEAK
    elif bias is not None:
        corrected = scan.with_array(scan.array / bias)
    brain = corrected.with_array(np.where(mask, corrected.array, 0))
    on_registration = part(report, 2, N_STEPS)
    on_registration(running(REGISTRATION))
    if plan.skips_if_aligned and lies_in_mni(brain):
        to_mni, decisions[REGISTRATION] = np.eye(4), Decision.ALIGNED
    else:
        to_mni = _to_mni(brain, plan, on_registration)
    report(Progress(3, N_STEPS, "checking the registration"))
    score = alignment(brain, to_mni)
    if plan.config.prepare != "none":
        check_alignment(brain, score, decisions)
    if decisions[REGISTRATION] is Decision.COMPUTE:  # and has not failed
        _keep(plan, REGISTRATION, to_mni)
    report(Progress(N_STEPS, N_STEPS, "preparation done"))
    _check_same(asked, plan.config.record(scan), scan)
    asked |= found_mask_for(plan.decisions, decisions)
    found = (scan, corrected, mask, to_mni, score, decisions, asked, strength)
    return Prepared(*found, (*plan.warnings, *_warnings_of(own), *scale.warnings), scale)


def _plan_for(scan: Volume, given: PreparationConfig | PreparationPlan) -> PreparationPlan:
    """Return a plan for a scan: the one that is given, if the cache is as it was."""
    check_kind(preparation=(given, (PreparationConfig, PreparationPlan)))
    if isinstance(given, PreparationConfig):
        return plan_preparation(scan, given)
    given.check_is_for(scan)
    return given if given.is_current else plan_preparation(scan, given.config, given.space)


def _check_same(before: dict[str, Any], after: dict[str, Any], scan: Volume) -> None:
    """Refuse a record of files that are no longer those that were used."""
    if before != after:
        raise VolumeError(f"{scan.name}: its mask or transform was changed meanwhile: run it again")


def _warnings_of(mask: Volume | None) -> tuple[str, ...]:
    return () if mask is None else tuple(f"mask {mask.name}: {text}" for text in mask.warnings)


def find_before(
    scan: Volume, config: PreparationConfig, steps: Collection[str], report: Report = ignore
) -> None:
    """Estimate with the mask found what a run reused after its user had corrected that mask.

    For a repetition: the cache then holds what it held for that run.

    Parameters
    ----------
    scan : Volume
    config : PreparationConfig
        With an empty cache. The user's mask is not used here.
    steps : collection of str
        As the run's facts name them: the bias field correction, with or without the registration.
    report : callable

    Raises
    ------
    VolumeError, Mri7tError
        As `prepare`.
    """
    scan = zeroed(scan)
    plan = plan_preparation(scan, replace(config, mask=None), "mni")  # which needs a registration
    if REGISTRATION in steps:
        prepare(scan, plan, report)
    else:
        _bias_field(scan, _brain_mask(scan, plan, report), plan, report)


def _cached(plan: PreparationPlan, step: str) -> np.ndarray | None:
    if plan.cache is None or plan.decisions[step] not in _FROM_CACHE:
        return None
    return plan.cache.load(FILES[step])


def _keep(plan: PreparationPlan, step: str, result: Volume | np.ndarray) -> None:
    if plan.cache is not None:
        plan.cache.save(FILES[step], result, plan.origins[step])


def _brain_mask(
    scan: Volume, plan: PreparationPlan, report: Report, own: Volume | None = None
) -> np.ndarray:
    report(running(EXTRACTION))
    if own is not None:
        mask = mask_of(own, scan)
    elif plan.decisions[EXTRACTION] in (Decision.EXTRACTED, Decision.NOT_REQUESTED):
        mask = foreground_mask(scan)
    elif (found := _cached(plan, EXTRACTION)) is not None:
        mask = found > 0
    else:
        mask = extract_brain(scan, report=report)
    if plan.config.prepare != "none":
        check_mask(scan, mask)
    if plan.decisions[EXTRACTION] in (Decision.COMPUTE, Decision.EXTRACTED):
        _keep(plan, EXTRACTION, scan.with_array(mask))
    return mask


def _bias_field(
    scan: Volume, mask: np.ndarray, plan: PreparationPlan, report: Report
) -> np.ndarray | None:
    report(running(CORRECTION))
    if plan.decisions[CORRECTION] is Decision.NOT_REQUESTED:
        return None
    bias = _cached(plan, CORRECTION)
    if bias is None:
        bias = estimate_bias_field(scan, mask, report=report)
        _keep(plan, CORRECTION, scan.with_array(bias))
    return bias


def _to_mni(brain: Volume, plan: PreparationPlan, report: Report) -> np.ndarray:
    if plan.config.transform is not None:
        return load_transform(plan.config.transform)
    if plan.decisions[REGISTRATION] is Decision.NOT_REQUESTED:
        return np.eye(4)
    found = _cached(plan, REGISTRATION)
    if found is None:
        found = register(brain, load_template(), report=report)
        if alignment(brain, found) < checks.FAILED:  # as a small brain may
            again = register(checks.enlarged(brain), load_template(), report=report)
            found = max(found, again, key=lambda to_mni: alignment(brain, to_mni))
    return found
