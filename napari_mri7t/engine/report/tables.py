"""What a study says in tables: Table 1 beside its published values, summaries, each subject.

What the subjects allow to say of the methods, tested in pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np

from napari_mri7t.engine.evaluation.baselines import BASELINES
from napari_mri7t.engine.evaluation.results import (
    SOURCE,
    SubjectResult,
    label_of,
    networks_of,
    ordered_methods,
    published_of,
    values_of,
)
from napari_mri7t.engine.metrics.scoring import METRICS, Metric
from napari_mri7t.engine.report.statistics import (
    MIN_PAIRS,
    PairedTest,
    Summary,
    paired_tests,
    summarize,
)
from napari_mri7t.engine.report.table import Table, number, spread

RESULT_KEYS = ("brain_psnr", "brain_ssim", "brain_mae", "whole_psnr", "whole_ssim", "whole_mae")
TABLE_1_DIGITS = {"whole_mae": 6, "whole_psnr": 4, "whole_ssim": 5}  # as printed in the report


def table_1(results: Sequence[SubjectResult]) -> Table:
    """Set the report's Table 1: whole volume, data range 1, our figures beside the published ones.

    Parameters
    ----------
    results : sequence of SubjectResult

    Returns
    -------
    Table
        A row for MAE, PSNR and SSIM; two columns (ours, published) for what the report has, one
        for further networks.
    """
    methods = [m for m in ordered_methods(results) if published_of(m) or m not in BASELINES]
    header = [""]
    for method in methods:
        label = label_of(method)
        header += [f"{label}, ours", f"{label}, published"] if published_of(method) else [label]
    rows = []
    for key, digits in TABLE_1_DIGITS.items():
        row = [METRICS[key].label.removesuffix(", whole volume")]
        for method in methods:
            summary = method_summary(results, method, METRICS[key])
            row.append(spread(summary.mean, summary.std, digits))
            if published := published_of(method):
                row.append(spread(*published[key], digits))
        rows.append(tuple(row))
    n_subjects = len({result.subject for result in results})
    of = "1 held-out subject" if n_subjects == 1 else f"{n_subjects} held-out subjects"
    note = (
        f"Mean ± standard deviation over {of}, whole volume, data "
        "range 1. Published: the report's ten subjects, sub-TELL0101 to 0110, whoever is held out "
        "here. Four fifths of a volume are background: judge by the figures inside the brain."
    )
    return Table("Table 1 in the report's form", tuple(header), tuple(rows), note=note)


def summary_table(results: Sequence[SubjectResult], keys: Sequence[str] = tuple(METRICS)) -> Table:
    """Set mean and standard deviation of every metric, a row per method, the best mean in bold.

    A method with fewer subjects than others has means over other brains, and is not judged.

    Parameters
    ----------
    results : sequence of SubjectResult
    keys : sequence of str
        Of `METRICS`.

    Returns
    -------
    Table
    """
    methods = ordered_methods(results)
    cells = [[method_summary(results, method, METRICS[key]) for key in keys] for method in methods]
    strong = set()
    for column, key in enumerate(keys):
        most = max((row[column].n for row in cells), default=0)
        means = np.array([s.mean if (s := row[column]).n == most else math.nan for row in cells])
        strong |= {(line, column + 1) for line in best_places(means, METRICS[key])}
    rows = [
        (
            label_of(method),
            *(spread(s.mean, s.std, METRICS[k].digits) for s, k in zip(row, keys, strict=True)),
        )
        for method, row in zip(methods, cells, strict=True)
    ]
    header = ("Method", *(heading(METRICS[key]) for key in keys))
    note = "Mean ± standard deviation over the held-out subjects; the best mean in bold."
    return Table("All methods", header, tuple(rows), frozenset(strong), note)


def result_table(results: Sequence[SubjectResult]) -> Table:
    """Set the table that a study is known by: figures in the brain and in the whole volume, cost.

    Parameters
    ----------
    results : sequence of SubjectResult

    Returns
    -------
    Table
        A row per method: subjects, parameters, seconds per volume (median), gain in brain PSNR
        over the source on the same subjects, then mean and standard deviation of `RESULT_KEYS`.
    """
    methods = ordered_methods(results)
    n_subjects = {m: sum(result.method == m for result in results) for m in methods}
    judged = summary_table(results, RESULT_KEYS)
    rows = []
    for method, row in zip(methods, judged.rows, strict=True):
        costs = [result.cost for result in results if result.method == method]
        seconds = [cost.seconds for cost in costs if not math.isnan(cost.seconds)]
        n_parameters = max(cost.n_parameters for cost in costs)
        gains = paired_gain(results, method, SOURCE, METRICS["brain_psnr"])
        facts = (
            str(n_subjects[method]),
            f"{n_parameters:,}" if n_parameters else "–",
            number(median(seconds) if seconds else math.nan, 1),
            number(float(gains.mean()) if gains.size else math.nan, 2),
        )
        rows.append((row[0], *facts, *row[1:]))
    header = ("Method", "Subjects", "Parameters", "Seconds", "Gain, dB", *judged.header[1:])
    added = len(header) - len(judged.header)
    strong = {(line, column + added) for line, column in judged.strong}
    note = (
        "Mean ± standard deviation over the held-out subjects; the best mean in bold. Seconds: "
        "median per volume. Gain: of the brain's PSNR over the 3T as is, on the same subjects. A "
        "row with fewer subjects than others has means over other brains: compare its gain."
    )
    return Table("Results", header, tuple(rows), frozenset(strong), note)


def spread_table(results: Sequence[SubjectResult], key: str) -> Table:
    """Set mean, standard deviation, median and worst subject of one metric, a row per method.

    Parameters
    ----------
    results : sequence of SubjectResult
    key : str
        Of `METRICS`.

    Returns
    -------
    Table
    """
    metric, rows = METRICS[key], []
    for method in ordered_methods(results):
        s = method_summary(results, method, metric)
        figures = (number(x, metric.digits) for x in (s.mean, s.std, s.median, s.worst))
        rows.append((label_of(method), str(s.n), *figures))
    header = ("Method", "Subjects", "Mean", "Std", "Median", "Worst")
    return Table(heading(metric), header, tuple(rows))


def subject_table(results: Sequence[SubjectResult]) -> Table:
    """Set every figure of every subject and method: the data behind all else.

    Parameters
    ----------
    results : sequence of SubjectResult

    Returns
    -------
    Table
        Full precision, keys as header, for machines.
    """
    rows = (
        (
            r.subject,
            r.method,
            r.note,
            *(repr(float(r.metrics.get(key, math.nan))) for key in METRICS),
        )
        for r in results
    )
    return Table("Per subject", ("subject", "method", "note", *METRICS), tuple(rows))


def per_subject_table(results: Sequence[SubjectResult], key: str) -> Table:
    """Set one metric, a row per subject, a column per method, each subject's best in bold.

    Parameters
    ----------
    results : sequence of SubjectResult
    key : str
        Of `METRICS`.

    Returns
    -------
    Table
    """
    metric, methods = METRICS[key], ordered_methods(results)
    columns = [values_of(results, method, key) for method in methods]
    rows, strong = [], set()
    for line, subject in enumerate(dict.fromkeys(result.subject for result in results)):
        values = np.array([column.get(subject, math.nan) for column in columns])
        rows.append((subject, *(number(value, metric.digits) for value in values)))
        strong |= {(line, place + 1) for place in best_places(values, metric)}
    header = ("Subject", *(label_of(method) for method in methods))
    return Table(heading(metric), header, tuple(rows), frozenset(strong))


def heading(metric: Metric) -> str:
    """Name a metric with its unit and an arrow to where better lies.

    Parameters
    ----------
    metric : Metric

    Returns
    -------
    str
    """
    arrow = {"higher": "↑", "lower": "↓", "zero": "→ 0"}[metric.better]
    return f"{metric.label}{f', {metric.unit}' if metric.unit else ''} {arrow}"


def paired_gain(
    results: Sequence[SubjectResult], ours: str, theirs: str, metric: Metric
) -> np.ndarray:
    """Give the gain of one method over another on every subject that has both.

    Parameters
    ----------
    results : sequence of SubjectResult
    ours, theirs : str
        Methods.
    metric : Metric

    Returns
    -------
    ndarray, shape (n,)
        Positive where ours is better; NaN where both are infinite.
    """
    a, b = (values_of(results, method, metric.key) for method in (ours, theirs))
    common = [subject for subject in a if subject in b]
    with np.errstate(invalid="ignore"):  # infinite against infinite: NaN, left out of the test
        return metric.gain(np.array([a[s] for s in common]), np.array([b[s] for s in common]))


def method_summary(results: Sequence[SubjectResult], method: str, metric: Metric) -> Summary:
    """Summarise one metric of one method over its subjects.

    Parameters
    ----------
    results : sequence of SubjectResult
    method : str
    metric : Metric

    Returns
    -------
    Summary
    """
    values = values_of(results, method, metric.key)
    return summarize(np.array(list(values.values())), metric.better)


def best_places(values: np.ndarray, metric: Metric) -> list[int]:
    """Find the place of the best value.

    Parameters
    ----------
    values : ndarray, shape (n,)
    metric : Metric

    Returns
    -------
    list of int
        One, or none where nothing is defined.
    """
    gains = metric.gain(values, np.zeros_like(values))
    return [] if np.isnan(gains).all() else [int(np.nanargmax(gains))]


def tests_of(results: Sequence[SubjectResult], key: str) -> list[PairedTest]:
    """Test every network against the source, the best baseline, and the other networks.

    The best baseline is the one with the best mean of this very metric: chosen with hindsight, in
    its favour. Methods that share fewer than two subjects are not tested. All tests of one metric
    are one family for Holm's correction.

    Parameters
    ----------
    results : sequence of SubjectResult
    key : str
        Of `METRICS`.

    Returns
    -------
    list of PairedTest
    """
    metric, networks = METRICS[key], networks_of(results)
    baselines = [m for m in ordered_methods(results) if m in BASELINES]
    means = np.array([method_summary(results, m, metric).mean for m in baselines])
    rivals = [m for m in ordered_methods(results) if m == SOURCE]
    rivals += [baselines[place] for place in best_places(means, metric)]
    pairs = [(ours, theirs) for ours in networks for theirs in rivals]
    pairs += [(b, a) for i, a in enumerate(networks) for b in networks[i + 1 :]]
    gains = [(a, b, paired_gain(results, a, b, metric)) for a, b in pairs]
    return paired_tests([each for each in gains if each[2].size >= MIN_PAIRS])


def tests_table(results: Sequence[SubjectResult], key: str) -> Table:
    """Set `tests_of` one metric.

    Parameters
    ----------
    results : sequence of SubjectResult
    key : str
        Of `METRICS`.

    Returns
    -------
    Table
    """
    metric = METRICS[key]
    rows = tuple(
        (
            label_of(test.ours),
            label_of(test.theirs),
            str(test.n),
            number(test.gain, metric.digits),
            f"{number(test.low, metric.digits)} to {number(test.high, metric.digits)}",
            number(test.p, 4),
            number(test.p_holm, 4),
            number(test.rank_biserial, 2),
            number(test.d_z, 2),
        )
        for test in tests_of(results, key)
    )
    header = (
        "Method",
        "against",
        "Subjects",
        "Mean gain",
        "95 % interval",
        "p",
        "p (Holm)",
        "Rank-biserial r",
        "d_z",
    )
    note = (
        "Gain: positive where the method is better. Interval: BCa bootstrap over subjects. p: "
        "two-sided Wilcoxon signed-rank test, corrected by Holm over this table; methods that "
        "share fewer than two subjects are not tested. Subjects of a leave-one-out share training "
        "data, so p-values are somewhat optimistic."
    )
    return Table(f"Paired tests: {heading(metric)}", header, rows, note=note)
