"""What the subjects allow to say of the methods, tested in pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_mri7t.engine.evaluation.baselines import BASELINES
from napari_mri7t.engine.evaluation.methods import SOURCE, label_of, networks_of, ordered_methods
from napari_mri7t.engine.evaluation.results import SubjectResult
from napari_mri7t.engine.evaluation.scoring import METRICS
from napari_mri7t.engine.evaluation.statistics import MIN_PAIRS, PairedTest, paired_tests
from napari_mri7t.engine.evaluation.study_tables import (
    best_places,
    heading,
    method_summary,
    paired_gain,
)
from napari_mri7t.engine.evaluation.table import Table, number


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
