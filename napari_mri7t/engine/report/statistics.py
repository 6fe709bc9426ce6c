"""Statistics over subjects: summaries, paired tests, confidence intervals, effect sizes.

References
----------
.. [1] Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1(6), 1945.
   DOI 10.2307/3001968.
.. [2] Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
   Statistics 6(2), 1979.
.. [3] Kerby, The simple difference formula: an approach to teaching nonparametric correlation,
   Comprehensive Psychology 3, 2014. DOI 10.2466/11.IT.3.1.
.. [4] Efron, Better bootstrap confidence intervals, Journal of the American Statistical
   Association 82(397), 1987. DOI 10.1080/01621459.1987.10478410.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_mri7t.engine.evaluation.baselines import BASELINES
from napari_mri7t.engine.evaluation.results import SOURCE, StudyResults
from napari_mri7t.engine.metrics.scoring import METRICS

CONFIDENCE = 0.95  # of the intervals
N_RESAMPLES = 10_000  # of the bootstrap
MIN_PAIRS = 2  # fewer have no standard deviation


@dataclass(frozen=True)
class Summary:
    """One metric of one method over the subjects.

    Parameters
    ----------
    n : int
        Subjects.
    mean, std, median : float
        `std` divides by n, as in the report's Table 1; NaN for a single subject.
    worst : float
        The value of the subject on which the method did worst.
    """

    n: int
    mean: float
    std: float
    median: float
    worst: float


@dataclass(frozen=True)
class PairedTest:
    """Difference of two methods on the same subjects.

    Parameters
    ----------
    ours, theirs : str
        Methods.
    n : int
        Subjects with both.
    gain, low, high : float
        Mean gain of ours over theirs and its bootstrap interval, positive where ours is better.
    p, p_holm : float
        Of the two-sided Wilcoxon test, and after Holm's correction over its family. NaN, like the
        effect sizes, for fewer than two subjects.
    rank_biserial : float
        Share of ranks for ours minus share against, from -1 to 1 [3].
    d_z : float
        Mean gain over its standard deviation (Cohen's d for pairs).
    """

    ours: str
    theirs: str
    n: int
    gain: float
    low: float
    high: float
    p: float
    p_holm: float
    rank_biserial: float
    d_z: float


def summarize(values: np.ndarray, better: str) -> Summary:
    """Summarise one metric over the subjects.

    Parameters
    ----------
    values : ndarray, shape (n,)
        NaN (not defined for a subject) is left out.
    better : str
        "higher", "lower" or "zero", as in `Metric`.

    Returns
    -------
    Summary
        All NaN if no value is left.
    """
    kept = np.asarray(values, np.float64)
    kept = kept[~np.isnan(kept)]
    if kept.size == 0:
        return Summary(0, math.nan, math.nan, math.nan, math.nan)
    distance = {"higher": -kept, "lower": kept, "zero": np.abs(kept)}[better]
    with np.errstate(invalid="ignore"):  # infinite PSNR has no spread
        spread = float(kept.std()) if kept.size >= MIN_PAIRS else math.nan
    worst = float(kept[int(np.argmax(distance))])
    return Summary(kept.size, float(kept.mean()), spread, float(np.median(kept)), worst)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct a family of p-values for its size by Holm's step-down procedure [2].

    Parameters
    ----------
    p_values : sequence of float
        NaN counts as no test.

    Returns
    -------
    list of float
        In the order given, at most 1; NaN stays.
    """
    corrected = [math.nan] * len(p_values)
    tested = (index for index, p in enumerate(p_values) if not math.isnan(p))
    order = sorted(tested, key=lambda index: p_values[index])
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def wilcoxon_p(gains: np.ndarray) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test [1]; zeros are left out.

    Parameters
    ----------
    gains : ndarray, shape (n,)
        Paired differences.

    Returns
    -------
    float
        Exact up to 50 subjects without ties; 1 if nothing differs.
    """
    from scipy import stats  # slow to import

    moved = gains[gains != 0]
    return float(stats.wilcoxon(moved).pvalue) if moved.size else 1.0


def rank_biserial(gains: np.ndarray) -> float:
    """Return the matched-pairs rank-biserial correlation, Wilcoxon's effect size [3].

    Parameters
    ----------
    gains : ndarray, shape (n,)
        Paired differences; zeros are left out.

    Returns
    -------
    float
        1 if every subject gains, -1 if every subject loses, 0 if nothing differs.
    """
    from scipy import stats  # slow to import

    moved = gains[gains != 0]
    if moved.size == 0:
        return 0.0
    ranks = stats.rankdata(np.abs(moved))
    return float((ranks * np.sign(moved)).sum() / ranks.sum())


def bootstrap_interval(values: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Return the BCa bootstrap confidence interval of a mean [4].

    Parameters
    ----------
    values : ndarray, shape (n,)
        Finite.
    seed : int
        Of the resampling.

    Returns
    -------
    low, high : float
        Of 95 %. Both NaN for fewer than two values; both that value if all are equal.
    """
    from scipy import stats  # slow to import

    if values.size < MIN_PAIRS:
        return math.nan, math.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # NaN says it
        interval = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=N_RESAMPLES,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(interval.low), float(interval.high)


def paired_tests(
    gains: Sequence[tuple[str, str, np.ndarray]], *, seed: int = 0
) -> list[PairedTest]:
    """Test a family of pairs of methods on one metric, corrected together.

    Parameters
    ----------
    gains : sequence of (ours, theirs, ndarray of shape (n,))
        Gain of ours over theirs for every subject; values that are not finite are left out.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of PairedTest
        In the order given; pairs with fewer than two subjects are not tested.
    """
    kept = [np.asarray(gain, np.float64)[np.isfinite(gain)] for _, _, gain in gains]
    p_values = [wilcoxon_p(gain) if gain.size >= MIN_PAIRS else math.nan for gain in kept]
    corrected = holm(p_values)
    return [
        PairedTest(
            ours,
            theirs,
            gain.size,
            float(gain.mean()) if gain.size else math.nan,
            *bootstrap_interval(gain, seed=seed),
            p,
            p_holm,
            rank_biserial(gain) if gain.size >= MIN_PAIRS else math.nan,
            _d_z(gain),
        )
        for (ours, theirs, _), gain, p, p_holm in zip(gains, kept, p_values, corrected, strict=True)
    ]


def summary_of(results: StudyResults, method: str, key: str) -> Summary:
    """Summarise one metric of one method over its subjects.

    Parameters
    ----------
    results : StudyResults
    method : str
    key : str
        Of `METRICS`.
    """
    return summarize(np.array(list(results.values(method, key).values())), METRICS[key].better)


def network_tests(results: StudyResults, key: str) -> list[PairedTest]:
    """Test each network against the source, the best baseline, and the other networks.

    The best baseline is the one with the best mean of this metric: chosen with hindsight, in its
    favour. Methods that share fewer than two subjects are not tested. All tests of one metric
    are one family for Holm's correction.

    Parameters
    ----------
    results : StudyResults
    key : str
        Of `METRICS`.
    """
    networks = results.networks
    baselines = [m for m in results.methods if m in BASELINES]
    means = np.array([summary_of(results, m, key).mean for m in baselines])
    rivals = [m for m in results.methods if m == SOURCE]
    rivals += [baselines[place] for place in METRICS[key].best_places(means)]
    pairs = [(ours, theirs) for ours in networks for theirs in rivals]
    pairs += [(b, a) for i, a in enumerate(networks) for b in networks[i + 1 :]]
    gains = [(a, b, results.gains(a, b, key)) for a, b in pairs]
    return paired_tests([each for each in gains if each[2].size >= MIN_PAIRS])


def _d_z(gains: np.ndarray) -> float:
    """Return the mean over the sample's standard deviation."""
    if gains.size < MIN_PAIRS:
        return math.nan
    spread, mean = float(gains.std(ddof=1)), float(gains.mean())
    if spread == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / spread
