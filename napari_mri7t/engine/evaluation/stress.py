"""Robustness and lesions of one model: each result in a file, and the summary for its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
    measure_lesions,
    measure_robustness,
    turning_points,
)
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.volumes.volume import Volume

DAMAGED = (AttributeError, LookupError, OverflowError, TypeError, ValueError)  # a record is
STRESS_VERSION = 1  # raised whenever a definition changes: old results are redone


@dataclass(frozen=True)
class Stress:
    """Robustness and lesion results of one model."""

    points: tuple[RobustnessPoint, ...]
    lesions: tuple[LesionResult, ...]


@dataclass(frozen=True)
class StressCase:
    """A model, and a brain that it was not trained on.

    Parameters
    ----------
    fingerprint : str
        Changes whenever model or volumes would.
    target : Volume
    method : callable
        (source, report) to the estimate.
    reference : Volume or None
        Whose histogram source and target are matched to.
    """

    fingerprint: str
    target: Volume
    method: Method
    reference: Volume | None = None


def stress(
    case: StressCase,
    folder: Path,
    *,
    conditions: Sequence[Condition] = CONDITIONS,
    lesions: LesionConfig = LesionConfig(),  # noqa: B008 - frozen
    report: Report = ignore,
) -> Stress:
    """Measure robustness and lesions of a model; results of earlier runs are read.

    Parameters
    ----------
    case : StressCase
    folder : Path
        For one small file per condition; made if missing.
    conditions : sequence of Condition
    lesions : LesionConfig
    report : callable
        Called with the number of conditions done, and by the method.
    """
    total, points = len(conditions) + 1, []
    for done, condition in enumerate(conditions):
        here = part(report, done, total, f"{condition.kind} {condition.level:g}")
        points.append(_one_condition(case, condition, folder, here))
    found = _all_lesions(case, lesions, folder, part(report, total - 1, total))
    return Stress(tuple(points), tuple(found))


def _one_condition(
    case: StressCase, condition: Condition, folder: Path, report: Report
) -> RobustnessPoint:
    report(Progress(0, 1, ""))
    name, mark = _condition_key(case, condition)
    known = _known_point(condition, load_record(folder, name, mark))
    if known is not None:
        return known
    (point,) = measure_robustness(
        case.target, case.method, reference=case.reference, conditions=[condition], report=report
    )
    save_record(folder, name, mark, asdict(point))
    return point


def _all_lesions(
    case: StressCase, config: LesionConfig, folder: Path, report: Report
) -> list[LesionResult]:
    report(Progress(0, 1, "lesions"))
    name, mark = _lesions_key(case, config)
    known = _known_lesions(load_record(folder, name, mark))
    if known is not None:
        return known
    found = measure_lesions(
        case.target, case.method, reference=case.reference, config=config, report=report
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
    """Return whether `stress` has nothing left to compute.

    Parameters
    ----------
    case, folder, conditions, lesions
        As for `stress`.
    """
    points = (_known_point(c, load_record(folder, *_condition_key(case, c))) for c in conditions)
    found = _known_lesions(load_record(folder, *_lesions_key(case, lesions)))
    return found is not None and all(point is not None for point in points)


def _condition_key(case: StressCase, condition: Condition) -> tuple[str, str]:
    """Return a condition's file name and fingerprint."""
    name = file_name(case.fingerprint, condition.kind, f"{condition.level:g}")
    return name, fingerprint(STRESS_VERSION, case.fingerprint, condition)


def _lesions_key(case: StressCase, config: LesionConfig) -> tuple[str, str]:
    """Return the lesions' file name and fingerprint."""
    mark = fingerprint(STRESS_VERSION, case.fingerprint, config)
    return file_name(case.fingerprint, "lesions"), mark


def summarize_stress(found: Stress) -> dict[str, Any]:
    """Summarise for a model card, in what JSON can hold.

    Returns
    -------
    dict
        "robustness": kind to levels with the brain PSNR (dB) of source and estimate, and the
        levels at which the model starts or stops to help; "lesions": "bright" and "dark" to
        diameters (mm) with mean and standard deviation of the share of contrast retained, and the
        number.
    """
    kinds = dict.fromkeys(point.kind for point in found.points)
    robustness = {
        kind: {
            "levels": [
                {
                    "level": point.level,
                    "source_psnr": round(point.source["brain_psnr"], 3),
                    "estimate_psnr": round(point.estimate["brain_psnr"], 3),
                }
                for point in found.points
                if point.kind == kind
            ],
            "helps_from": [
                {"level": round(level, 5), "helps": helps}
                for level, helps in turning_points(found.points, kind)
            ],
        }
        for kind in kinds
    }
    signs = {"bright": 1, "dark": -1}
    return {
        "robustness": robustness,
        "lesions": {name: _contrast_retained(found.lesions, sign) for name, sign in signs.items()},
    }


def _contrast_retained(lesions: Sequence[LesionResult], sign: int) -> list[dict[str, float]]:
    """Average over lesions of one sign, by diameter."""
    signed = [result for result in lesions if result.lesion.contrast * sign > 0]
    rows = []
    for diameter in sorted({result.lesion.diameter_mm for result in signed}):
        shares = [r.estimate_retained for r in signed if r.lesion.diameter_mm == diameter]
        values = np.array([share for share in shares if np.isfinite(share)])
        if values.size:
            mean, std = round(float(values.mean()), 3), round(float(values.std()), 3)
            rows.append({"diameter_mm": diameter, "mean": mean, "std": std, "n": values.size})
    return rows


def _known_point(condition: Condition, record: Mapping[str, Any] | None) -> RobustnessPoint | None:
    """Return the result that a record holds; None if it is missing or damaged."""
    if record is None:
        return None
    try:
        source, estimate = (
            {key: float(value) for key, value in record[role].items()}
            for role in ("source", "estimate")
        )
    except DAMAGED:
        return None
    is_whole = "brain_psnr" in source and source.keys() == estimate.keys()
    return RobustnessPoint(condition.kind, condition.level, source, estimate) if is_whole else None


def _known_lesions(record: Mapping[str, Any] | None) -> list[LesionResult] | None:
    """Return the results that a record holds; None if it is missing or damaged."""
    try:
        return None if record is None else [_lesion_from(entry) for entry in record["lesions"]]
    except DAMAGED:
        return None


def _lesion_from(entry: Mapping[str, Any]) -> LesionResult:
    lesion = entry["lesion"]
    i, j, k = lesion["centre"]
    return LesionResult(
        Lesion((i, j, k), *(float(lesion[key]) for key in ("diameter_mm", "contrast"))),
        *(float(entry[key]) for key in ("target_contrast", "source_retained", "estimate_retained")),
    )
