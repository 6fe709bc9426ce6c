"""Tables: a table as text, its CSV, Markdown and LaTeX, and what a study shows in tables.

Table 1 of the report beside its published values, summaries by method, scores by subject, tests.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from napari_mri7t.engine.evaluation.baselines import BASELINES
from napari_mri7t.engine.evaluation.results import SOURCE, StudyResults, label_of, published_of
from napari_mri7t.engine.metrics.scoring import METRICS
from napari_mri7t.engine.report.statistics import network_tests, summary_of
from napari_mri7t.engine.texts import as_cell

UNDEFINED = "–"
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}
RESULT_KEYS = ("brain_psnr", "brain_ssim", "brain_mae", "whole_psnr", "whole_ssim", "whole_mae")
TABLE_1_DIGITS = {"whole_mae": 6, "whole_psnr": 4, "whole_ssim": 5}  # as printed in the report
MEAN_NOTE = "Mean ± standard deviation over the held-out subjects; the best mean in bold."
TESTS_NOTE = (
    "Gain: positive where the method is better. Interval: BCa bootstrap over subjects. p: "
    "two-sided Wilcoxon signed-rank test, Holm-corrected over this table; methods that share fewer "
    "than two subjects are not tested. Subjects of a leave-one-out study share training data, so "
    "p-values are somewhat optimistic."
)


@dataclass(frozen=True)
class Table:
    """A table as text.

    Parameters
    ----------
    title : str
    header : tuple of str
    rows : tuple of tuple of str
        Each as long as the header.
    strong : frozenset of (int, int)
        Row and column of the cells to set in bold.
    note : str
        Printed below the table.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: frozenset[tuple[int, int]] = frozenset()
    note: str = ""


def number(value: float, digits: int) -> str:
    """Format a number.

    Parameters
    ----------
    value : float
        NaN becomes a dash.
    digits : int
        Decimals.
    """
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits}f}"


def spread(mean: float, std: float, digits: int) -> str:
    """Format a mean with its standard deviation, or alone where there is none.

    Parameters
    ----------
    mean, std : float
    digits : int
        Decimals.
    """
    return number(mean, digits) + ("" if math.isnan(std) else f" ± {number(std, digits)}")


def as_csv(table: Table) -> str:
    """Format header and rows as CSV, in which no name becomes a spreadsheet's formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([as_cell(cell) for cell in row] for row in (table.header, *table.rows))
    return text.getvalue()


def as_markdown(table: Table) -> str:
    """Format as Markdown with pipes, title above, note below."""
    lines = [
        f"**{_markdown(table.title)}**",
        "",
        _markdown_row([_markdown(cell) for cell in table.header]),
        "|" + " --- |" * len(table.header),
    ]
    for i, row in enumerate(table.rows):
        cells = [_markdown(cell) for cell in row]
        bold = [f"**{c}**" if (i, j) in table.strong else c for j, c in enumerate(cells)]
        lines.append(_markdown_row(bold))
    if table.note:
        lines += ["", _markdown(table.note)]
    return "\n".join(lines) + "\n"


def as_latex(table: Table) -> str:
    """Format as a LaTeX float with booktabs rules."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(f'{table.title}. {table.note}' if table.note else table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"\toprule",
        " & ".join(_latex(cell) for cell in table.header) + r" \\",
        r"\midrule",
    ]
    for i, row in enumerate(table.rows):
        cells = [_latex(cell) for cell in row]
        bold = [rf"\textbf{{{c}}}" if (i, j) in table.strong else c for j, c in enumerate(cells)]
        lines.append(" & ".join(bold) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _markdown(text: str) -> str:
    """Escape what Markdown or the HTML inside it would interpret."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text).replace("\n", " ")


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _latex(text: str) -> str:
    """Escape what LaTeX would interpret."""
    return "".join(LATEX.get(sign, sign) for sign in text.replace("\n", " "))


def table_1(results: StudyResults) -> Table:
    """Return the report's Table 1: whole volume, data range 1, ours beside the published values.

    Parameters
    ----------
    results : StudyResults
        Of the report's subjects and input.

    Returns
    -------
    Table
        A row for MAE, PSNR and SSIM; two columns (ours, published) for the report's methods, one
        for further networks.
    """
    methods = [m for m in results.methods if published_of(m) or m not in BASELINES]
    counts = {method: len(results.values(method, "mae")) for method in methods}
    most = max(counts.values(), default=0)
    header = [""]
    for method in methods:
        n = counts[method]
        label = label_of(method) if n == most else f"{label_of(method)} ({n} of {most} subjects)"
        header += [f"{label}, ours", f"{label}, published"] if published_of(method) else [label]
    rows = []
    for key, digits in TABLE_1_DIGITS.items():
        row = [METRICS[key].label.removesuffix(", whole volume")]
        for method in methods:
            summary = summary_of(results, method, key)
            row.append(spread(summary.mean, summary.std, digits))
            if published := published_of(method):
                row.append(spread(*published[key], digits))
        rows.append(tuple(row))
    of = "1 held-out subject" if most == 1 else f"{most} held-out subjects"
    note = (
        f"Mean ± standard deviation over {of}, whole volume, data range 1. Published: the report's "
        "ten subjects, sub-TELL0101 to 0110. Four fifths of a volume are background, so the scores "
        "inside the brain are more meaningful."
    )
    return Table("Table 1 as in the report", tuple(header), tuple(rows), note=note)


def summary_table(results: StudyResults, keys: Sequence[str] = tuple(METRICS)) -> Table:
    """Return mean and standard deviation of metrics, a row per method, the best mean in bold.

    A method with fewer subjects than others is never in bold: its mean is over other brains.

    Parameters
    ----------
    results : StudyResults
    keys : sequence of str
        Of `METRICS`.
    """
    methods = results.methods
    cells = [[summary_of(results, method, key) for key in keys] for method in methods]
    strong = set()
    for column, key in enumerate(keys):
        most = max((row[column].n for row in cells), default=0)
        means = np.array([s.mean if (s := row[column]).n == most else math.nan for row in cells])
        strong |= {(line, column + 1) for line in METRICS[key].best_places(means)}
    rows = [
        (
            label_of(method),
            *(spread(s.mean, s.std, METRICS[k].digits) for s, k in zip(row, keys, strict=True)),
        )
        for method, row in zip(methods, cells, strict=True)
    ]
    header = ("Method", *(METRICS[key].heading for key in keys))
    return Table("All methods", header, tuple(rows), frozenset(strong), MEAN_NOTE)


def result_table(results: StudyResults) -> Table:
    """Return the main table of a study: cost, and scores in the brain and the whole volume.

    Returns
    -------
    Table
        A row per method: subjects, parameters, seconds per volume (median), gain in brain PSNR
        over the source on the same subjects, then mean and standard deviation of `RESULT_KEYS`.
    """
    judged = summary_table(results, RESULT_KEYS)
    rows = []
    for method, row in zip(results.methods, judged.rows, strict=True):
        costs = [result.cost for result in results if result.method == method]
        seconds = [cost.seconds for cost in costs if not math.isnan(cost.seconds)]
        n_parameters = max(cost.n_parameters for cost in costs)
        gains = results.gains(method, SOURCE, "brain_psnr")
        facts = (
            str(len(costs)),
            f"{n_parameters:,}" if n_parameters else UNDEFINED,
            number(median(seconds) if seconds else math.nan, 1),
            number(float(gains.mean()) if gains.size else math.nan, 2),
        )
        rows.append((row[0], *facts, *row[1:]))
    header = ("Method", "Subjects", "Parameters", "Seconds", "Gain, dB", *judged.header[1:])
    added = len(header) - len(judged.header)
    strong = {(line, column + added) for line, column in judged.strong}
    note = (
        f"{MEAN_NOTE} Seconds: median per volume. Gain: of the brain PSNR over the 3T as is, on "
        "the same subjects. The means of a method with fewer subjects are over other brains; "
        "compare its gain."
    )
    return Table("Results", header, tuple(rows), frozenset(strong), note)


def spread_table(results: StudyResults, key: str) -> Table:
    """Return mean, standard deviation, median and worst subject of one metric, a row per method.

    Parameters
    ----------
    results : StudyResults
    key : str
        Of `METRICS`.
    """
    metric, rows = METRICS[key], []
    for method in results.methods:
        s = summary_of(results, method, key)
        figures = (number(x, metric.digits) for x in (s.mean, s.std, s.median, s.worst))
        rows.append((label_of(method), str(s.n), *figures))
    header = ("Method", "Subjects", "Mean", "Std", "Median", "Worst")
    return Table(metric.heading, header, tuple(rows))


def subject_table(results: StudyResults) -> Table:
    """Return every score of every subject and method, in full precision, machine-readable.

    Returns
    -------
    Table
        With the keys of `METRICS` as header.
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


def per_subject_table(results: StudyResults, key: str) -> Table:
    """Return one metric, a row per subject, a column per method, each subject's best in bold.

    Parameters
    ----------
    results : StudyResults
    key : str
        Of `METRICS`.
    """
    metric, methods = METRICS[key], results.methods
    columns = [results.values(method, key) for method in methods]
    rows, strong = [], set()
    for line, subject in enumerate(results.subjects):
        values = np.array([column.get(subject, math.nan) for column in columns])
        rows.append((subject, *(number(value, metric.digits) for value in values)))
        strong |= {(line, place + 1) for place in metric.best_places(values)}
    header = ("Subject", *map(label_of, methods))
    return Table(metric.heading, header, tuple(rows), frozenset(strong))


def metric_table(results: StudyResults) -> Table:
    """Return all metrics of one subject, a row per metric, a column per method.

    Parameters
    ----------
    results : StudyResults
        Of one subject.

    Returns
    -------
    Table
        The best value of each row in bold, if there are several methods.
    """
    by_method = {result.method: result.metrics for result in results}
    rows, strong = [], set()
    for line, (key, metric) in enumerate(METRICS.items()):
        values = np.array([by_method[method][key] for method in results.methods])
        rows.append((metric.heading, *(number(value, metric.digits) for value in values)))
        if len(by_method) > 1:
            strong |= {(line, column + 1) for column in metric.best_places(values)}
    header = ("Metric", *map(label_of, results.methods))
    note = "The best value of each row in bold." if len(by_method) > 1 else ""
    return Table("All metrics", header, tuple(rows), frozenset(strong), note)


def tests_table(results: StudyResults, key: str) -> Table:
    """Return the paired tests of one metric.

    Parameters
    ----------
    results : StudyResults
    key : str
        Of `METRICS`.

    Returns
    -------
    Table
        A row per test of `network_tests`.
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
        for test in network_tests(results, key)
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
    return Table(f"Paired tests: {metric.heading}", header, rows, note=TESTS_NOTE)
