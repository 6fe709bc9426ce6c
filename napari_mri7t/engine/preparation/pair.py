"""From one person's raw 3T and 7T scans to a pair to train on: the plan, and its execution.

Both brains are extracted and corrected for their bias field; the 3T is registered to the 7T; each
scan is interpolated once, onto one grid. Intensities stay linear.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.metrics.pair_agreement import (
    PairAgreement,
    boundary_distance,
    dice,
)
from napari_mri7t.engine.preparation.bias_field import estimate_bias_field, strength_of
from napari_mri7t.engine.preparation.cache import open_cache
from napari_mri7t.engine.preparation.checks import FAILED, alignment, check_contrast
from napari_mri7t.engine.preparation.mp2rage import combined, is_mp2rage, without_air
from napari_mri7t.engine.preparation.pair_grid import grid_in_words, grid_of, masked, on_grid
from napari_mri7t.engine.preparation.pair_problems import (
    FIELDS,
    check_side,
    comparable,
    pair_problems,
)
from napari_mri7t.engine.preparation.pair_registration import (
    informations_both_ways,
    is_rigid,
    register_pair,
)
from napari_mri7t.engine.preparation.prepare import (
    PreparationConfig,
    PreparationPlan,
    plan_preparation,
    prepare,
)
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.preparation.registration import centre_of, load_transform, register
from napari_mri7t.engine.preparation.reuse import edit_in_words, edited_files
from napari_mri7t.engine.preparation.steps import CORRECTION, REGISTRATION, Decision
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.texts import brief
from napari_mri7t.engine.typed import check_types
from napari_mri7t.engine.volumes.provenance import is_pseudo_3t
from napari_mri7t.engine.volumes.scale import zeroed
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, VolumeLike, as_volume

GRIDS = ("mni", "7t")
REGISTRATIONS = ("rigid", "affine")
VOXEL_MM = (0.3, 2.0)  # of a grid that is given as a number
# Of N4. ITK's default convergence ends with half of a strong field left; with 3 levels more of the
# shading of two scans of one person differs, with 5 the anatomy is taken for shading.
CONVERGENCE, N_LEVELS = 1e-5, 4
N_STEPS = 4
KEPT = {"source": "3T", "target": "7T"}  # folders in that of the cache
STAYED_RIGID = "The affine registration gained nothing or failed: the rigid one is used."


@dataclass(frozen=True)
class PairConfig:
    """How the raw pairs of a study are made; one for all people.

    Parameters
    ----------
    grid : str or float
        "mni", the models' grid of 1 mm; "7t", the 7T scan's own; or a voxel size in mm, of an
        upright grid around the 7T brain.
    registration : {"rigid", "affine"}
        Of the 3T to the 7T.
    prepare : {"auto", "none", "full"}
        As in `PreparationConfig`, for both scans.
    allow_out_of_domain : bool
        True accepts scans that are too coarse, with a warning.
    """

    grid: str | float = "mni"
    registration: str = "rigid"
    prepare: str = "auto"
    allow_out_of_domain: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        PreparationConfig(self.prepare)
        if self.registration not in REGISTRATIONS:
            known = " or ".join(REGISTRATIONS)
            raise ValueError(f"registration must be {known}, got {brief(self.registration)}")
        if self.grid in GRIDS:
            return
        try:
            size = float(self.grid)
        except (TypeError, ValueError):
            size = 0.0
        if not VOXEL_MM[0] <= size <= VOXEL_MM[1]:
            raise ValueError(
                f"grid must be mni, 7t or a voxel size from {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm, "
                f"got {brief(self.grid)}"
            )
        object.__setattr__(self, "grid", size)

    def record(self) -> dict[str, Any]:
        """Return what decides the result, for a sidecar."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class RawPair:
    """The scans of one person.

    Parameters
    ----------
    source, target : str, Path, nibabel image or Volume
        3T and 7T, T1w; the target may be the uniform image of an MP2RAGE.
    name : str
        Of the person, for messages and names.
    source_mask, target_mask : Path, Volume or None
        The user's own brain masks, on the scans' grids.
    transform : Path or None
        The user's own, from the 3T to the 7T, as `load_transform` reads it.
    to_mni : Path or None
        The user's own, from the 7T to MNI space.
    inversions : tuple or None
        Magnitudes of the 7T MP2RAGE's inversions.
    keep : Path or None
        Folder that caches the results of the steps, in `KEPT` each. What was edited there is taken
        for the user's own. A scan with a mask of the user's own is not cached.
    """

    source: VolumeLike
    target: VolumeLike
    name: str = ""
    source_mask: Path | Volume | None = None
    target_mask: Path | Volume | None = None
    transform: Path | None = None
    to_mni: Path | None = None
    inversions: tuple[VolumeLike, VolumeLike] | None = None
    keep: Path | None = None


@dataclass(frozen=True, eq=False)
class PairPlan:
    """What will be done with a raw pair; `plan_pair` makes it, `make_pair` executes it.

    Attributes
    ----------
    raw : RawPair
        Its scans are loaded.
    config : PairConfig
    source, target : PreparationPlan
    target_scan : Volume
        The 7T, without the noise around an MP2RAGE's head.
    is_mp2rage : bool
    """

    raw: RawPair
    config: PairConfig
    source: PreparationPlan
    target: PreparationPlan
    target_scan: Volume
    is_mp2rage: bool = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was noticed in both scans."""
        return tuple(dict.fromkeys((*self.source.warnings, *self.target.warnings)))

    @property
    def steps(self) -> tuple[str, ...]:
        """What is computed."""
        steps = [f"3T: {step}" for step in self.source.steps]
        steps += ["7T: background of the MP2RAGE"] * self.is_mp2rage
        steps += [f"7T: {step}" for step in self.target.steps]
        own = self.raw.transform is not None
        return (*steps, *([] if own else [f"{self.config.registration} registration"]))

    def describe(self) -> str:
        """Return the plan as a sentence."""
        return f"{', '.join(self.steps) or 'no step'}; {grid_in_words(self.config.grid)}."


@dataclass(frozen=True, eq=False)
class PreparedPair:
    """Two scans of one person on one grid.

    Attributes
    ----------
    name : str
    source, target : Volume
        3T and 7T, 0 outside the mask, above 0 in it.
    mask : ndarray of bool, shape (I, J, K)
        The brain in both.
    source_prepared, target_prepared : Prepared
        Each on its own grid.
    to_target : ndarray, shape (4, 4)
        mm of the 3T to mm of the 7T.
    to_grid : ndarray, shape (4, 4)
        mm of the 7T to mm of the grid.
    agreement : PairAgreement
    problems : tuple of str
        Why the pair should not be trained on.
    warnings : tuple of str
    config : PairConfig
    is_mp2rage : bool
    """

    name: str
    source: Volume
    target: Volume
    mask: np.ndarray
    source_prepared: Prepared
    target_prepared: Prepared
    to_target: np.ndarray
    to_grid: np.ndarray
    agreement: PairAgreement
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    config: PairConfig = field(default_factory=PairConfig)
    is_mp2rage: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """What was done and measured, as text and numbers for the sidecars."""
        source_to_grid = self.to_grid @ self.to_target
        to_mni = {
            "source_grid_to_mni": self.source_prepared.to_mni @ np.linalg.inv(source_to_grid),
            "target_grid_to_mni": self.target_prepared.to_mni @ np.linalg.inv(self.to_grid),
        }
        return {
            "settings": self.config.record(),
            "source": self.source_prepared.facts,
            "target": self.target_prepared.facts | {"mp2rage": self.is_mp2rage},
            "transform_3t_to_7t": self.to_target.round(6).tolist(),
            "centre_3t": centre_of(self.source_prepared.brain).round(3).tolist(),
            "to_grid": self.to_grid.round(6).tolist(),
            **{name: matrix.round(6).tolist() for name, matrix in to_mni.items()},
            "agreement": asdict(self.agreement),
        }


def plan_pair(raw: RawPair, config: PairConfig = PairConfig()) -> PairPlan:
    """Load the scans of a person and decide what they need.

    Parameters
    ----------
    raw : RawPair
    config : PairConfig

    Raises
    ------
    FileNotFoundError, VolumeError
        As `load_volume`, `load_transform`, `check_t1w` and `plan_preparation`, or if a scan is a
        synthetic image, or the 7T a pseudo-3T.
    """
    source, target = as_volume(raw.source), as_volume(raw.target)
    for own in filter(None, (raw.transform, raw.to_mni)):
        load_transform(own)  # before the heads are prepared for it
    first, second = raw.inversions or (None, None)
    both = None if first is None or second is None else (as_volume(first), as_volume(second))
    raw = replace(raw, source=source, target=target, inversions=both)
    scan, is_uniform = target, is_mp2rage(target)
    check_side(source, "3T")
    check_side(target, "7T", is_uniform=is_uniform or both is not None)
    if both is not None:
        scan, is_uniform = combined(target, (both[0], both[1])), True
    elif is_uniform:
        scan = without_air(target)
    plans = [_plan(raw, config, *side) for side in (("source", source), ("target", scan))]
    return PairPlan(raw, config, plans[0], plans[1], scan, is_uniform)


def _plan(raw: RawPair, config: PairConfig, side: str, scan: Volume) -> PreparationPlan:
    """Plan the preparation of one scan.

    An own mask ends the caching: a field found with another mask would not be found again.
    """
    mask, transform = raw.target_mask, raw.to_mni
    if side == "source":
        mask, transform = raw.source_mask, None
    keep, edited = None if raw.keep is None else raw.keep / KEPT[side], {}
    known = zeroed(scan)
    if (kept := open_cache(known, keep)) is not None and config.prepare != "none":
        edited = edited_files(kept, known, {"mask": mask, "transform": transform})
    mask, transform = edited.get("mask", mask), edited.get("transform", transform)
    kept_in = keep if mask is None else None
    how = PreparationConfig(config.prepare, mask, transform, kept_in, config.allow_out_of_domain)
    notes = [edit_in_words(path, name) for name, path in edited.items()]
    if side == "source" and is_pseudo_3t(scan):
        notes.append(f"{scan.name}: is a pseudo-3T: the pair compares a 7T scan with itself")
    # in MNI space: a registration is found even for a brain that nearly lies there
    plan = plan_preparation(scan, how, "mni")
    return replace(plan, warnings=(*plan.warnings, *notes))


def make_pair(
    pair: RawPair | PairPlan, config: PairConfig = PairConfig(), report: Report = ignore
) -> PreparedPair:
    """Make a pair of one person's 3T and 7T scans.

    Parameters
    ----------
    pair : RawPair or PairPlan
        A plan is executed as it is.
    config : PairConfig
        Of a raw pair.
    report : callable
        Called at least every 0.2 s in the long steps; what it raises cancels.

    Raises
    ------
    VolumeError
        If a brain is implausible, a registration fails, or the two brains do not overlap.
    Mri7tError
        If a library of the extra `native` is needed and missing.

    Examples
    --------
    >>> template = load_template()
    >>> pair = make_pair(RawPair(template, template), PairConfig(grid="7t", prepare="none"))
    >>> pair.agreement.overlap, pair.problems[0].split(":")[0]  # here one scan is both
    (1.0, 'One scan seems to be a copy of the other')
    """
    plan = pair if isinstance(pair, PairPlan) else plan_pair(pair, config)
    source, target = sides = _prepared(plan, report)
    to_target = _to_target(plan, source, target, part(report, 2, N_STEPS))
    report(Progress(3, N_STEPS, "resampling both scans"))
    grid, to_grid = grid_of(plan.config.grid, target)
    made, masks = on_grid((source, target), grid, (to_grid @ to_target, to_grid))
    mask = masks[0] & masks[1]
    if not mask.any():
        raise VolumeError(
            f"{plan.raw.name or source.scan.name}: the two brains do not overlap after the "
            "registration: check that both scans show one person's head, or provide a transform",
            argument="transform",
        )
    volumes = [
        masked(array, mask, grid, side.scan.name) for array, side in zip(made, sides, strict=True)
    ]
    report(Progress(3, N_STEPS, "measuring the agreement"))
    measuring = part(report, 3, N_STEPS)
    informations = informations_both_ways(
        source.brain, target.brain, to_target, target.to_mni, measuring
    )
    agreement = _agreement(volumes, masks, informations)
    in_mni = {name: _in_mni(side) for name, side in zip(FIELDS, sides, strict=True)}
    notes = [*plan.warnings, *source.warnings, *target.warnings]
    is_affine = plan.config.registration == "affine" and plan.raw.transform is None
    notes += [STAYED_RIGID] * (is_affine and is_rigid(to_target))
    found = PreparedPair(
        plan.raw.name, volumes[0], volumes[1], mask, source, target, to_target, to_grid, agreement,
        pair_problems(agreement, in_mni),
        tuple(dict.fromkeys(notes)), plan.config, plan.is_mp2rage,
    )  # fmt: skip
    report(Progress(N_STEPS, N_STEPS, "pair done"))
    return found


def _prepared(plan: PairPlan, report: Report) -> list[Prepared]:
    scans = (as_volume(plan.raw.source), plan.source), (plan.target_scan, plan.target)
    reports = [part(report, n, N_STEPS) for n in range(len(scans))]
    return [
        _completed(prepare(scan, how, report=part(own, 0, 2)), plan.config, part(own, 1, 2))
        for (scan, how), own in zip(scans, reports, strict=True)
    ]


def _completed(side: Prepared, config: PairConfig, report: Report) -> Prepared:
    """Correct a scan for the whole of its bias field; find a registration that was not asked for.

    A pair shows what a weak field or an early end of N4 leaves: the shading of two scanners.
    """
    if config.prepare == "none":
        check_contrast(side.brain, f"{side.scan.name}: ")
        if side.decisions[REGISTRATION] is Decision.GIVEN:
            return side
        to_mni = register(side.brain, load_template(), report=report)
        return replace(side, to_mni=to_mni, registration_score=alignment(side.brain, to_mni))
    bias = estimate_bias_field(
        side.scan, side.mask, report, convergence=CONVERGENCE, n_levels=N_LEVELS
    )
    return replace(
        side,
        corrected=side.scan.with_array(side.scan.array / bias),
        decisions={**side.decisions, CORRECTION: Decision.COMPUTE},
        bias_field_strength=strength_of(bias, side.mask),
    )


def _to_target(plan: PairPlan, source: Prepared, target: Prepared, report: Report) -> np.ndarray:
    if plan.raw.transform is not None:
        return load_transform(plan.raw.transform)
    starts = [np.linalg.inv(target.to_mni) @ source.to_mni]
    is_affine = plan.config.registration == "affine"
    return register_pair(source.brain, target.brain, starts, affine=is_affine, report=report)


def _agreement(
    volumes: list[Volume], masks: list[np.ndarray], informations: tuple[float, float]
) -> PairAgreement:
    source, target = volumes
    mask = masks[0] & masks[1]
    try:
        apart = boundary_distance(target.array, source.array, mask, target.voxel_size)
    except ValueError:  # one of them has no three tissues
        apart = None
    return PairAgreement(
        mutual_information=round(informations[0], 4),
        mirrored_information=round(informations[1], 4),
        correlation=round(float(np.corrcoef(source.array[mask], target.array[mask])[0, 1]), 4),
        overlap=round(dice(*masks), 4),
        boundary_mm=None if apart is None else round(apart, 3),
    )


def _in_mni(side: Prepared) -> np.ndarray | None:
    """Return a brain as `comparable` does; None where it was not registered to MNI space."""
    if side.registration_score < FAILED:
        return None
    return comparable(side.brain, side.to_mni)
