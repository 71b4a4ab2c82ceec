"""Statistics of runs that are more, or less, than independent pairs."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.comparison.statistics import summary

# Differences of this share of a value come from rounding.
_NOISE = 1e-12


@dataclass(frozen=True)
class Ratio:
    """The candidate's geometric mean over the baseline's, with Student's interval of the logs.

    Attributes:
        ratio: above 0.
        ci_low: lower end of its interval; None for a single pair.
        ci_high: its upper end.
        t_test_p: of the t test of the differences of logarithms.
    """

    ratio: float
    ci_low: float | None
    ci_high: float | None
    t_test_p: float | None


@dataclass(frozen=True)
class Friedman:
    """Friedman's test (1937) of several cells on the same blocks.

    Attributes:
        cells: how many cells, at least 3.
        blocks: how many blocks, each with a value of every cell.
        chi_square: the statistic, corrected for ties.
        p: from the chi-square distribution with `cells - 1` degrees of freedom.
    """

    cells: int
    blocks: int
    chi_square: float
    p: float


@dataclass(frozen=True)
class CorrectedTest:
    """The corrected resampled t test.

    Nadeau & Bengio 2003, "Inference for the generalization error".

    Attributes:
        folds: into how many parts the data were split.
        ci_low: lower end of the interval of the mean difference.
        ci_high: its upper end.
        p: two-sided.
    """

    folds: int
    ci_low: float
    ci_high: float
    p: float


@dataclass(frozen=True)
class UnpairedComparison:
    """How a candidate compares with a baseline whose runs share nothing with its own.

    Attributes:
        n_candidate: how many runs.
        n_baseline: how many runs.
        mean: difference of the means, candidate minus baseline; of logarithms' if it is a ratio.
        ci_low: lower end of Welch's interval (1947); None if not determined.
        ci_high: its upper end.
        welch_p: of Welch's two-sided t test.
        mann_whitney_p: of the two-sided Mann-Whitney test.
        probability_of_outperforming: share of all pairs of a candidate's run and a baseline's that
            the candidate wins; a tie counts half.
    """

    n_candidate: int
    n_baseline: int
    mean: float
    ci_low: float | None
    ci_high: float | None
    welch_p: float | None
    mann_whitney_p: float | None
    probability_of_outperforming: float


@dataclass(frozen=True)
class Correlation:
    """A coefficient of correlation with its interval and the p value of the two-sided test."""

    coefficient: float
    ci_low: float
    ci_high: float
    p: float


@dataclass(frozen=True)
class Trend:
    """How a metric goes with a number.

    Attributes:
        n: how many points.
        pearson: of the values; its interval by Fisher's transformation.
        spearman: of the ranks; its interval after Bonett & Wright (2000).
    """

    n: int
    pearson: Correlation
    spearman: Correlation


def ratio(
    candidate: NDArray[np.floating], baseline: NDArray[np.floating], confidence: float
) -> Ratio:
    """Returns the ratio of paired values [pairs], all above 0, in the same order of pairs."""
    logs = np.log(candidate) - np.log(baseline)
    of = summary(logs, confidence)
    return Ratio(
        ratio=math.exp(float(np.mean(logs))),
        ci_low=None if of.ci_low is None else math.exp(of.ci_low),
        ci_high=None if of.ci_high is None else math.exp(of.ci_high),
        t_test_p=float(stats.ttest_1samp(logs, 0).pvalue) if _varies(logs) else None,
    )


def friedman(values: NDArray[np.floating]) -> Friedman | None:
    """Returns Friedman's test of values [blocks, cells]; None if they do not determine it."""
    blocks, cells = values.shape
    if cells < 3 or blocks < 2 or (np.ptp(values, axis=1) == 0).all():
        return None
    result = stats.friedmanchisquare(*values.T)
    return Friedman(cells, blocks, float(result.statistic), float(result.pvalue))


def corrected_test(
    differences: NDArray[np.floating], folds: int, confidence: float
) -> CorrectedTest | None:
    """Returns the corrected t test of differences, one for each fold of each repetition.

    The training sets of two folds overlap, so the variance of the mean is not s²/n but
    s² (1/n + test/train), where test/train is 1/(folds - 1). None if the differences are fewer
    than 2, or all equal.

    Args:
        differences: [pairs].
        folds: into how many parts the data were split, at least 2.
        confidence: of the interval, in (0, 1).
    """
    n = len(differences)
    if n < 2 or folds < 2 or not _varies(differences):
        return None
    mean = float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) * math.sqrt(1 / n + 1 / (folds - 1))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return CorrectedTest(folds, mean - half, mean + half, p)


def unpaired_comparison(
    candidate: NDArray[np.floating],
    baseline: NDArray[np.floating],
    confidence: float,
    *,
    smaller_is_better: bool = False,
) -> UnpairedComparison:
    """Compares values of two cells, [runs of the candidate] and [runs of the baseline].

    Args:
        candidate: finite.
        baseline: finite.
        confidence: of the interval, in (0, 1).
        smaller_is_better: whether a smaller value wins, not a higher one.
    """
    n, m = len(candidate), len(baseline)
    varies = min(n, m) > 1 and (_varies(candidate) or _varies(baseline))
    with warnings.catch_warnings():
        # That the values of one side are all the same is no fault, as long as the other's differ.
        warnings.simplefilter("ignore", RuntimeWarning)
        welch = stats.ttest_ind(candidate, baseline, equal_var=False) if varies else None
    interval = welch.confidence_interval(confidence) if welch else None
    ranks = stats.mannwhitneyu(candidate, baseline)
    won = float(ranks.statistic) / (n * m)
    return UnpairedComparison(
        n_candidate=n,
        n_baseline=m,
        mean=float(np.mean(candidate) - np.mean(baseline)),
        ci_low=float(interval.low) if interval else None,
        ci_high=float(interval.high) if interval else None,
        welch_p=float(welch.pvalue) if welch else None,
        mann_whitney_p=float(ranks.pvalue),
        probability_of_outperforming=1 - won if smaller_is_better else won,
    )


def trend(
    numbers: NDArray[np.floating], values: NDArray[np.floating], confidence: float
) -> Trend | None:
    """Returns how values [points] go with numbers [points].

    None if there are fewer than 4 points, or either does not vary.
    """
    n = len(numbers)
    if n < 4 or not _varies(numbers) or not _varies(values):
        return None
    line = stats.pearsonr(numbers, values)
    interval = line.confidence_interval(confidence)
    ranks = stats.spearmanr(numbers, values)
    rho = float(ranks.statistic)
    # Bonett & Wright 2000, "Sample size requirements for estimating Pearson, Kendall and Spearman
    # correlations", equation 3.
    half = float(stats.norm.ppf((1 + confidence) / 2)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    inner = math.atanh(min(max(rho, -1 + 1e-12), 1 - 1e-12))
    return Trend(
        n=n,
        pearson=Correlation(
            float(line.statistic), float(interval.low), float(interval.high), float(line.pvalue)
        ),
        spearman=Correlation(
            rho, math.tanh(inner - half), math.tanh(inner + half), float(ranks.pvalue)
        ),
    )


def expected_best(n: int) -> float:
    """Returns how far the best of n normal values lies above their mean, in standard deviations.

    Blom's approximation (1958), at most 0.03 off from n = 2 on.
    """
    return float(stats.norm.ppf((n - 0.375) / (n + 0.25)))


def _varies(values: NDArray[np.floating]) -> bool:
    """Whether values differ by more than the last digits that computing them leaves."""
    return len(values) > 1 and bool(np.ptp(values) > _NOISE * np.abs(values).max())
