"""Score every held-out estimate of a study, and the baselines beside it; stop and go on at will.

What is known of a study here is only this: pairs of volumes, who was held out with whom as
training subjects, and where the estimates lie. How they came about is training's affair.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from napari_mri7t.engine.evaluation.baselines import (
    BASELINES,
    Baseline,
    choose_parameter,
    denoise_steps,
    tuning_steps,
)
from napari_mri7t.engine.evaluation.results import (
    SOURCE,
    Cost,
    SubjectResult,
    file_name,
    fingerprint,
    load_record,
    load_result,
    save_record,
    save_result,
)
from napari_mri7t.engine.metrics.scoring import flatten, score_steps
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.volumes.volume import Volume, load_volume

SCORES_FOLDER, TUNING_FOLDER = "scores", "tuning"  # inside the results folder
SCORING_VERSION = 2  # raised whenever a figure's definition changes: old results are redone


@dataclass(frozen=True)
class Pair:
    """One subject's source and target, loaded when needed.

    Parameters
    ----------
    fingerprint : str
        Changes whenever the volumes would.
    load : callable
        Gives source and target, on one grid, in [0, 1].
    """

    fingerprint: str
    load: Callable[[], tuple[Volume, Volume]]


@dataclass(frozen=True)
class Case:
    """One held-out subject.

    Parameters
    ----------
    subject : str
    training : tuple of str
        The fold's training subjects: all that a baseline may be tuned on.
    estimates : mapping of str to Path
        Network's name to its estimate of the subject.
    costs : mapping of str to Cost
        What each estimate took, where it is known.
    """

    subject: str
    training: tuple[str, ...]
    estimates: Mapping[str, Path]
    costs: Mapping[str, Cost] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation is: `done` of `total` results, and what is being worked on."""

    done: int
    total: int
    message: str


def evaluate(
    pairs: Mapping[str, Pair],
    cases: Sequence[Case],
    folder: Path,
    *,
    baselines: Mapping[str, Baseline] | None = None,
) -> Generator[EvaluationProgress, None, list[SubjectResult]]:
    """Score source, baselines and estimates of every held-out subject.

    Every result is a file, written when it is ready. What is there already and still fits is not
    computed again, so a stopped evaluation is resumed by calling this again.

    Parameters
    ----------
    pairs : mapping of str to Pair
        By subject: those held out and those trained on.
    cases : sequence of Case
    folder : Path
        For results; made if missing.
    baselines : mapping of str to Baseline, optional
        `BASELINES` by default. Cases without training subjects go without.

    Yields
    ------
    EvaluationProgress

    Returns
    -------
    list of SubjectResult
        By case, then source, baselines, estimates.

    Raises
    ------
    ValueError
        If a case names a subject without a pair, or one on both sides of its fold.
    """
    chosen = BASELINES if baselines is None else baselines
    _check(pairs, cases)
    to_tune = sorted({name for case in cases for name in case.training}) if chosen else []
    jobs = {case.subject: _jobs_but_baselines(case, pairs[case.subject]) for case in cases}
    n_baselines = len(chosen) * sum(bool(case.training) for case in cases)
    total = len(to_tune) + n_baselines + sum(map(len, jobs.values()))
    tuned: dict[str, dict[str, list[float]]] = {}
    for subject in to_tune:
        at = EvaluationProgress(len(tuned), total, f"{subject}: tuning the baselines")
        tuned[subject] = yield from _tune(pairs[subject], chosen, folder / TUNING_FOLDER, at)
    results: list[SubjectResult] = []
    for case in cases:
        pair, training = pairs[case.subject], [tuned[name] for name in case.training if chosen]
        first, *others = jobs[case.subject]
        ordered = [first, *_baseline_jobs(chosen, training, pair), *others]
        at = EvaluationProgress(len(to_tune) + len(results), total, case.subject)
        results += yield from _run_jobs(ordered, case.subject, pair, folder / SCORES_FOLDER, at)
    return results


@dataclass(frozen=True)
class _Job:
    """One method on one subject: `make` turns the source into the estimate."""

    method: str
    fingerprint: str
    note: str
    make: Callable[[Volume], Generator[object, None, Volume]]
    cost: Cost | None = None  # measured here by default


def _run_jobs(
    jobs: Sequence[_Job], subject: str, pair: Pair, folder: Path, at: EvaluationProgress
) -> Generator[EvaluationProgress, None, list[SubjectResult]]:
    """Do what is not done yet; the pair is loaded only if something is missing."""
    volumes: tuple[Volume, Volume] | None = None
    results = []
    for number, job in enumerate(jobs):
        now = replace(at, done=at.done + number, message=f"{subject}: {job.method}")
        yield now
        result = load_result(folder, subject, job.method, job.fingerprint)
        if result is None:
            source, target = volumes = volumes or pair.load()
            start = time.perf_counter()
            estimate = yield from with_records(job.make(source), partial(_same, now))
            cost = job.cost or Cost(time.perf_counter() - start)
            scores = yield from with_records(score_steps(target, estimate), partial(_same, now))
            result = SubjectResult(subject, job.method, flatten(scores), job.note, cost)
            save_result(folder, result, job.fingerprint)
        results.append(result)
    return results


def _same(now: EvaluationProgress, _: object) -> EvaluationProgress:
    return now


def _jobs_but_baselines(case: Case, pair: Pair) -> list[_Job]:
    """Make the jobs of the source as it is, then of the networks."""
    jobs = [_Job(SOURCE, _mark(pair, SOURCE), "", _as_is, Cost())]
    for method, path in case.estimates.items():
        mark = _mark(pair, method, hashlib.sha256(path.read_bytes()).hexdigest())
        cost = case.costs.get(method, Cost())
        jobs.append(_Job(method, mark, path.name, partial(_from_file, path), cost))
    return jobs


def _baseline_jobs(
    baselines: Mapping[str, Baseline], training: Sequence[Mapping[str, list[float]]], pair: Pair
) -> list[_Job]:
    """Make the jobs of the baselines, tuned on the fold's training subjects."""
    jobs = []
    for baseline in baselines.values() if training else ():
        parameter = choose_parameter(baseline, training)
        note = f"{baseline.parameter}: {parameter:g}"
        mark = _mark(pair, baseline.name, parameter)
        jobs.append(_Job(baseline.name, mark, note, partial(_denoise, baseline, parameter)))
    return jobs


def _as_is(source: Volume) -> Generator[object, None, Volume]:
    yield from ()
    return source


def _from_file(path: Path, source: Volume) -> Generator[object, None, Volume]:
    yield from ()
    return load_volume(path)


def _denoise(
    baseline: Baseline, parameter: float, source: Volume
) -> Generator[object, None, Volume]:
    array = yield from denoise_steps(baseline, source.array, parameter)
    return source.with_array(array)


def _tune(
    pair: Pair, baselines: Mapping[str, Baseline], folder: Path, at: EvaluationProgress
) -> Generator[EvaluationProgress, None, dict[str, list[float]]]:
    """Try all parameters on one training subject, or read what came of it before."""
    yield at
    grids = tuple((b.name, b.grid, b.is_tuned_whole) for b in baselines.values())
    mark = _mark(pair, "tuning", grids)
    name = file_name(pair.fingerprint)
    record = load_record(folder, name, mark)
    if record is not None and isinstance(scores := record.get("psnr"), dict):
        return {str(key): [float(value) for value in values] for key, values in scores.items()}
    source, target = pair.load()
    steps = tuning_steps(source.array, target.array, baselines.values())
    tried = yield from with_records(
        steps, lambda label: replace(at, message=f"{at.message}, {label}")
    )
    save_record(folder, name, mark, {"psnr": tried})
    return tried


def _mark(pair: Pair, *parts: object) -> str:
    """Fingerprint of a result: of the pair, of the definitions, and of what else counts."""
    return fingerprint(SCORING_VERSION, pair.fingerprint, *parts)


def _check(pairs: Mapping[str, Pair], cases: Sequence[Case]) -> None:
    """Refuse a study in which a score would mean nothing."""
    for case in cases:
        missing = [name for name in (case.subject, *case.training) if name not in pairs]
        if missing:
            raise ValueError(f"{', '.join(missing)}: no pair of volumes was given to score with")
        if case.subject in case.training:
            raise ValueError(f"{case.subject}: is held out and trained on at once; mend the folds")
        taken = {SOURCE, *BASELINES} & set(case.estimates)
        if taken:
            raise ValueError(f"{', '.join(taken)}: is a baseline's name; rename the network")
