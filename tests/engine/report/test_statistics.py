"""Statistics by pencil, and against scipy where it has them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from napari_mri7t.engine.report import statistics


def test_summary_by_hand():
    summary = statistics.summarize(np.array([1.0, 2.0, 6.0]), "higher")
    assert (summary.n, summary.mean, summary.median, summary.worst) == (3, 3, 2, 1)
    assert summary.std == pytest.approx(math.sqrt((4 + 1 + 9) / 3))  # divided by n, as the report


@pytest.mark.parametrize(("better", "worst"), [("higher", -3), ("lower", 2), ("zero", -3)])
def test_the_worst_lies_where_the_metric_says(better, worst):
    assert statistics.summarize(np.array([2.0, 1.0, -3.0]), better).worst == worst


def test_summary_leaves_out_what_is_not_defined():
    assert statistics.summarize(np.array([math.nan, 4.0]), "lower").n == 1
    assert math.isnan(statistics.summarize(np.array([math.nan]), "lower").mean)
    assert math.isnan(statistics.summarize(np.array([4.0]), "lower").std)  # one has no spread


def test_holm_by_hand():
    # sorted 0.01 x 3, 0.02 x 2, 0.04 x 1; the last may not fall below the one before it
    assert statistics.holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert statistics.holm([0.03, 0.02, 0.9]) == pytest.approx([0.06, 0.06, 0.9])
    assert statistics.holm([0.6, 0.7]) == [1, 1]
    assert statistics.holm([]) == []


def test_ten_subjects_that_all_gain_have_the_smallest_p_there_is():
    gains = np.linspace(0.1, 1, 10)
    assert statistics.wilcoxon_p(gains) == pytest.approx(2 / 2**10)  # one of 2^10 signs, two sides


def test_wilcoxon_of_three_by_hand():
    # ranks 1, 2, 3 with sign -, +, +: W- = 1; signs with W- <= 1: 2 of 8; two-sided 4/8
    assert statistics.wilcoxon_p(np.array([-1.0, 2.0, 3.0])) == pytest.approx(0.5)


def test_no_difference_is_no_effect():
    zeros = np.zeros(5)
    assert statistics.wilcoxon_p(zeros) == 1
    assert statistics.rank_biserial(zeros) == 0
    assert statistics.bootstrap_interval(zeros) == (0, 0)


def test_rank_biserial_by_hand():
    assert statistics.rank_biserial(np.array([-1.0, 2.0, 3.0])) == pytest.approx((2 + 3 - 1) / 6)
    assert statistics.rank_biserial(np.array([0.0, 5.0])) == 1


def test_bootstrap_interval_of_many_values_is_the_normal_one():
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = statistics.bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02)  # noise of 10,000 resamples
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_interval_is_the_same_every_time_and_needs_two_values():
    values = np.array([1.0, 2.0, 4.0, 8.0])
    assert statistics.bootstrap_interval(values) == statistics.bootstrap_interval(values)
    assert all(math.isnan(bound) for bound in statistics.bootstrap_interval(values[:1]))


def test_paired_tests_correct_the_family():
    up, mixed = np.linspace(0.1, 1, 10), np.array([-1.0, 2, -3, 4, -5, 6, -7, 8, -9, 10])
    first, second = statistics.paired_tests([("a", "b", up), ("a", "c", mixed)])
    assert (first.ours, first.theirs, first.n) == ("a", "b", 10)
    assert first.gain == pytest.approx(0.55)
    assert first.low < 0.55 < first.high
    assert first.p_holm == pytest.approx(2 * first.p)
    assert second.p_holm == pytest.approx(second.p)
    assert first.rank_biserial == 1
    t = stats.ttest_1samp(up, 0).statistic  # t = d_z sqrt(n)
    assert first.d_z == pytest.approx(t / math.sqrt(10))


def test_paired_tests_leave_out_what_is_not_finite():
    (test,) = statistics.paired_tests([("a", "b", np.array([math.inf, math.nan, 1.0]))])
    assert (test.n, test.gain) == (1, 1.0)
    assert np.isnan([test.p, test.p_holm, test.rank_biserial, test.d_z]).all()
    (none,) = statistics.paired_tests([("a", "b", np.array([math.nan]))])
    assert none.n == 0
    assert math.isnan(none.gain)


@pytest.mark.parametrize(("value", "effect"), [(2.0, math.inf), (-2.0, -math.inf), (0.0, 0.0)])
def test_a_gain_without_spread_has_an_infinite_effect_unless_it_is_none(value, effect):
    (test,) = statistics.paired_tests([("a", "b", np.full(4, value))])
    assert test.d_z == effect
