"""Score the held-out estimates of a study, and the baselines beside them; resumable at any time.

Here, a study consists of its pairs of volumes, the held-out and training subjects of each fold, and
the files of the estimates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from napari_mri7t.engine.evaluation.baselines import (
    BASELINES,
    Baseline,
    choose_parameter,
    denoise,
    try_parameters,
)
from napari_mri7t.engine.evaluation.results import (
    SOURCE,
    Cost,
    StudyResults,
    SubjectResult,
    file_name,
    fingerprint,
    load_record,
    load_result,
    save_record,
    save_result,
)
from napari_mri7t.engine.metrics.scoring import flatten, score
from napari_mri7t.engine.progress import Progress, Report, ignore, part
from napari_mri7t.engine.volumes.digests import file_digest
from napari_mri7t.engine.volumes.volume import Volume, load_volume

SCORES_FOLDER, TUNING_FOLDER = "scores", "tuning"  # inside the results folder
SCORING_VERSION = 2  # raised whenever the definition of a metric changes: old results are redone


@dataclass(frozen=True)
class Pair:
    """One subject's source and target, loaded when needed.

    Parameters
    ----------
    fingerprint : str
        Changes whenever the volumes would.
    load : callable
        Returns source and target, on one grid, in [0, 1].
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
        The fold's training subjects, the only ones that a baseline may be tuned on.
    estimates : mapping of str to Path
        Network's name to its estimate of the subject.
    costs : mapping of str to Cost
        Of the estimates, where known.
    """

    subject: str
    training: tuple[str, ...]
    estimates: Mapping[str, Path]
    costs: Mapping[str, Cost] = field(default_factory=dict)


def evaluate(
    pairs: Mapping[str, Pair],
    cases: Sequence[Case],
    folder: Path,
    *,
    baselines: Mapping[str, Baseline] | None = None,
    report: Report = ignore,
) -> StudyResults:
    """Score source, baselines and estimates of every held-out subject.

    Each result is a file, written as soon as it is ready. Valid results are not computed again, so
    a stopped evaluation resumes when this is called again.

    Parameters
    ----------
    pairs : mapping of str to Pair
        By subject: those held out and those trained on.
    cases : sequence of Case
    folder : Path
        For results; made if missing.
    baselines : mapping of str to Baseline, optional
        `BASELINES` by default. Cases without training subjects have none.
    report : callable
        Called with the number of results done.

    Returns
    -------
    StudyResults
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
        here = part(report, len(tuned), total)
        tuned[subject] = _tune(subject, pairs[subject], chosen, folder / TUNING_FOLDER, here)
    results: list[SubjectResult] = []
    for case in cases:
        pair, training = pairs[case.subject], [tuned[name] for name in case.training if chosen]
        first, *others = jobs[case.subject]
        ordered = [first, *_baseline_jobs(chosen, training, pair), *others]
        here = part(report, len(to_tune) + len(results), total, share=len(ordered))
        results += _run_jobs(ordered, case.subject, pair, folder / SCORES_FOLDER, here)
    report(Progress(total, total, "evaluated"))
    return StudyResults(tuple(results))


@dataclass(frozen=True)
class _Job:
    """One method on one subject: `make` turns the source into the estimate."""

    method: str
    fingerprint: str
    note: str
    make: Callable[[Volume, Report], Volume]
    cost: Cost | None = None  # measured here by default


def _run_jobs(
    jobs: Sequence[_Job], subject: str, pair: Pair, folder: Path, report: Report
) -> list[SubjectResult]:
    """Run the jobs without a result; the pair is loaded only if there are any."""
    volumes: tuple[Volume, Volume] | None = None
    results = []
    for done, job in enumerate(jobs):
        message = f"{subject}: {job.method}"
        report(Progress(done, len(jobs), message))
        result = load_result(folder, subject, job.method, job.fingerprint)
        if result is None:
            here = part(report, done, len(jobs), message, share=0)
            source, target = volumes = volumes or pair.load()
            here(Progress(0, 1, message))
            start = time.perf_counter()
            estimate = job.make(source, here)
            cost = job.cost or Cost(time.perf_counter() - start)
            scores = score(target, estimate, report=here)
            result = SubjectResult(subject, job.method, flatten(scores), job.note, cost)
            save_result(folder, result, job.fingerprint)
        results.append(result)
    return results


def _jobs_but_baselines(case: Case, pair: Pair) -> list[_Job]:
    """Return the jobs of the source as it is, then of the networks."""
    jobs = [_Job(SOURCE, _mark(pair, SOURCE), "", lambda source, _: source, Cost())]
    for method, path in case.estimates.items():
        mark = _mark(pair, method, file_digest(path))
        cost = case.costs.get(method, Cost())
        jobs.append(_Job(method, mark, path.name, partial(_from_file, path), cost))
    return jobs


def _baseline_jobs(
    baselines: Mapping[str, Baseline], training: Sequence[Mapping[str, list[float]]], pair: Pair
) -> list[_Job]:
    """Return the jobs of the baselines, tuned on the fold's training subjects."""
    jobs = []
    for baseline in baselines.values() if training else ():
        parameter = choose_parameter(baseline, training)
        note = f"{baseline.parameter}: {parameter:g}"
        mark = _mark(pair, baseline.name, parameter)
        jobs.append(_Job(baseline.name, mark, note, partial(_denoised, baseline, parameter)))
    return jobs


def _from_file(path: Path, source: Volume, report: Report) -> Volume:
    return load_volume(path)


def _denoised(baseline: Baseline, parameter: float, source: Volume, report: Report) -> Volume:
    return source.with_array(denoise(baseline, source.array, parameter, report=report))


def _tune(
    subject: str, pair: Pair, baselines: Mapping[str, Baseline], folder: Path, report: Report
) -> dict[str, list[float]]:
    """Try all parameters on one training subject, or read the results of an earlier run."""
    message = f"{subject}: tuning the baselines"
    report(Progress(0, 1, message))
    grids = tuple((b.name, b.grid, b.is_tuned_whole) for b in baselines.values())
    mark = _mark(pair, "tuning", grids)
    name = file_name(pair.fingerprint)
    known = _known_trials(load_record(folder, name, mark), baselines)
    if known is not None:
        return known

    def report_trial(progress: Progress) -> None:
        report(replace(progress, message=f"{message}, {progress.message}"))

    source, target = pair.load()
    report(Progress(0, 1, message))
    tried = try_parameters(source.array, target.array, baselines.values(), report=report_trial)
    save_record(folder, name, mark, {"psnr": tried})
    return tried


def _known_trials(
    record: Mapping[str, Any] | None, baselines: Mapping[str, Baseline]
) -> dict[str, list[float]] | None:
    """Return the scores of every parameter that a record holds; None if it lacks any."""
    if record is None:
        return None
    try:
        scores = record["psnr"]
        known = {b.name: [float(value) for value in scores[b.name]] for b in baselines.values()}
    except (LookupError, OverflowError, TypeError, ValueError):
        return None
    is_whole = all(len(known[b.name]) == len(b.grid) for b in baselines.values())
    return known if is_whole else None


def _mark(pair: Pair, *parts: object) -> str:
    """Return the fingerprint of a result: of the pair, the definitions, and its other inputs."""
    return fingerprint(SCORING_VERSION, pair.fingerprint, *parts)


def _check(pairs: Mapping[str, Pair], cases: Sequence[Case]) -> None:
    """Refuse a study whose scores would be meaningless."""
    for case in cases:
        missing = [name for name in (case.subject, *case.training) if name not in pairs]
        if missing:
            raise ValueError(f"{', '.join(missing)}: has no pair of volumes to score with")
        if case.subject in case.training:
            raise ValueError(f"{case.subject}: is both held out and trained on; correct the folds")
        own = pairs[case.subject].fingerprint
        for name in case.training:
            if pairs[name].fingerprint == own:
                raise ValueError(
                    f"{case.subject} and {name}: are one pair, both held out and trained on; "
                    "correct the folds"
                )
        taken = {SOURCE, *BASELINES} & set(case.estimates)
        if taken:
            raise ValueError(f"{', '.join(taken)}: is the name of a baseline; rename the network")
