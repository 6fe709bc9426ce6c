"""Robustness and lesions of one model, kept as they come, and summed up for its card."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.evaluation.results import file_name, fingerprint, load_record, save_record
from napari_mri7t.engine.evaluation.robustness import (
    CONDITIONS,
    Condition,
    Lesion,
    LesionConfig,
    LesionResult,
    Method,
    RobustnessPoint,
    RobustnessProgress,
    lesion_steps,
    robustness_steps,
    turning_points,
)
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.volumes.volume import Volume

STRESS_VERSION = 1  # raised whenever a definition changes: old results are redone


@dataclass(frozen=True)
class Stress:
    """What a model was put through.

    Parameters
    ----------
    points : tuple of RobustnessPoint
    lesions : tuple of LesionResult
    """

    points: tuple[RobustnessPoint, ...]
    lesions: tuple[LesionResult, ...]


@dataclass(frozen=True)
class StressCase:
    """A model, and a brain that it has not seen.

    Parameters
    ----------
    fingerprint : str
        Changes whenever model or volumes would.
    target : Volume
    method : callable
        Source to a generator that returns the estimate.
    reference : Volume or None
        Whose histogram source and target get.
    """

    fingerprint: str
    target: Volume
    method: Method
    reference: Volume | None = None


def stress_steps(
    case: StressCase,
    folder: Path,
    *,
    conditions: Sequence[Condition] = CONDITIONS,
    lesions: LesionConfig = LesionConfig(),  # noqa: B008 - frozen
) -> Generator[RobustnessProgress, None, Stress]:
    """Put a model through every condition and the lesions; what is done already is read.

    Parameters
    ----------
    case : StressCase
    folder : Path
        For one small file per condition; made if missing.
    conditions : sequence of Condition
    lesions : LesionConfig

    Yields
    ------
    RobustnessProgress

    Returns
    -------
    Stress
    """
    total, points = len(conditions) + 1, []
    for number, condition in enumerate(conditions):
        at = RobustnessProgress(number, total, f"{condition.kind} {condition.level:g}")
        points.append((yield from _one_condition(case, condition, folder, at)))
    at = RobustnessProgress(total - 1, total, "lesions")
    found = yield from _all_lesions(case, lesions, folder, at)
    return Stress(tuple(points), tuple(found))


def _one_condition(
    case: StressCase, condition: Condition, folder: Path, at: RobustnessProgress
) -> Generator[RobustnessProgress, None, RobustnessPoint]:
    yield at
    name, mark = _condition_key(case, condition)
    record = load_record(folder, name, mark)
    if record is not None:
        return RobustnessPoint(
            condition.kind,
            condition.level,
            *(_floats(record[key]) for key in ("source", "estimate")),
        )
    steps = robustness_steps(
        case.target, case.method, reference=case.reference, conditions=[condition]
    )
    (point,) = yield from with_records(steps, lambda _: at)
    save_record(folder, name, mark, asdict(point))
    return point


def _all_lesions(
    case: StressCase, config: LesionConfig, folder: Path, at: RobustnessProgress
) -> Generator[RobustnessProgress, None, list[LesionResult]]:
    yield at
    name, mark = _lesions_key(case, config)
    record = load_record(folder, name, mark)
    if record is not None:
        return [_lesion_from(entry) for entry in _entries(record["lesions"])]
    steps = lesion_steps(case.target, case.method, reference=case.reference, config=config)
    found = yield from with_records(
        steps, lambda step: replace(at, message=f"lesions, {step.message}")
    )
    save_record(folder, name, mark, {"lesions": [asdict(result) for result in found]})
    return found


def is_known(
    case: StressCase,
    folder: Path,
    *,
    conditions: Sequence[Condition] = CONDITIONS,
    lesions: LesionConfig = LesionConfig(),  # noqa: B008 - frozen
) -> bool:
    """Tell whether `stress_steps` would only have to read.

    Parameters
    ----------
    case, folder, conditions, lesions
        As for `stress_steps`.

    Returns
    -------
    bool
    """
    keys = [*(_condition_key(case, c) for c in conditions), _lesions_key(case, lesions)]
    return all(load_record(folder, name, mark) is not None for name, mark in keys)


def _condition_key(case: StressCase, condition: Condition) -> tuple[str, str]:
    """Name a condition's file and its fingerprint."""
    name = file_name(case.fingerprint, condition.kind, f"{condition.level:g}")
    return name, fingerprint(STRESS_VERSION, case.fingerprint, condition)


def _lesions_key(case: StressCase, config: LesionConfig) -> tuple[str, str]:
    """Name the lesions' file and its fingerprint."""
    mark = fingerprint(STRESS_VERSION, case.fingerprint, config)
    return file_name(case.fingerprint, "lesions"), mark


def summarize_stress(stress: Stress) -> dict[str, Any]:
    """Sum up for a model card, in what JSON can hold.

    Parameters
    ----------
    stress : Stress

    Returns
    -------
    dict
        "robustness": kind to levels with the brain PSNR (dB) of source and estimate, and the
        levels at which the model starts or stops to help; "lesions": "bright" and "dark" to
        diameters (mm) with the mean share of contrast left, its spread, and the number.
    """
    kinds = dict.fromkeys(point.kind for point in stress.points)
    robustness = {
        kind: {
            "levels": [
                {
                    "level": point.level,
                    "source_psnr": round(point.source["brain_psnr"], 3),
                    "estimate_psnr": round(point.estimate["brain_psnr"], 3),
                }
                for point in stress.points
                if point.kind == kind
            ],
            "helps_from": [
                {"level": round(level, 5), "helps": helps}
                for level, helps in turning_points(stress.points, kind)
            ],
        }
        for kind in kinds
    }
    signs = {"bright": 1, "dark": -1}
    return {
        "robustness": robustness,
        "lesions": {name: _contrast_left(stress.lesions, sign) for name, sign in signs.items()},
    }


def _contrast_left(lesions: Sequence[LesionResult], sign: int) -> list[dict[str, float]]:
    """Average over lesions of one sign, by diameter."""
    kept = [result for result in lesions if result.lesion.contrast * sign > 0]
    rows = []
    for diameter in sorted({result.lesion.diameter_mm for result in kept}):
        shares = [r.estimate_retained for r in kept if r.lesion.diameter_mm == diameter]
        values = np.array([share for share in shares if np.isfinite(share)])
        if values.size:
            mean, std = round(float(values.mean()), 3), round(float(values.std()), 3)
            rows.append({"diameter_mm": diameter, "mean": mean, "std": std, "n": values.size})
    return rows


def _floats(record: object) -> dict[str, float]:
    return {key: float(value) for key, value in dict(record).items()}  # type: ignore[call-overload]


def _entries(record: object) -> list[Mapping[str, Any]]:
    return list(record) if isinstance(record, list) else []


def _lesion_from(entry: Mapping[str, Any]) -> LesionResult:
    lesion = entry["lesion"]
    i, j, k = lesion["centre"]
    return LesionResult(
        Lesion((i, j, k), lesion["diameter_mm"], lesion["contrast"]),
        *(float(entry[key]) for key in ("target_contrast", "source_retained", "estimate_retained")),
    )
