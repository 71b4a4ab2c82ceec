"""Paired statistics: the unit is the seed; a pair shares initial weights and batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Of fewer the spread is not known.
FEWEST_PAIRS = 3
# Resamples of the test set drawn per call: enough that calls cost little, few enough for memory.
_DRAWN_AT_ONCE = 100
# Values that the bootstrap over pairs holds at once: 10,000 resamples of a thousand pairs.
_MOST_VALUES = 10_000_000


@dataclass(frozen=True)
class Summary:
    """Mean over seeds, standard deviation, and Student's interval for the mean.

    A figure that the data do not determine is None; all are None if a value is not finite.
    """

    mean: float | None
    sd: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class PairedComparison:
    """How a candidate compares with a baseline.

    Differences are candidate minus baseline. A figure that the data do not determine is None.

    Attributes:
        n: how many pairs.
        mean: mean difference.
        sd: standard deviation of the differences.
        ci_low: lower end of the BCa bootstrap interval of the mean difference (Efron 1987).
        ci_high: its upper end.
        wins: how many pairs the candidate wins: by a higher value, or by a smaller one where that
            is better.
        ties: how many pairs are equal.
        probability_of_outperforming: share of pairs won; a tie counts half.
        probability_ci_low: Clopper-Pearson bound, ties counted as lost. It is exact; a bootstrap
            interval would have no width when every pair is won.
        probability_ci_high: Clopper-Pearson bound, ties counted as won.
        wilcoxon_p: of the two-sided Wilcoxon signed-rank test.
        t_test_p: of the two-sided paired t test.
        pairing_correlation: Pearson correlation within pairs; near 0, pairing gained nothing.
    """

    n: int
    mean: float | None
    sd: float | None
    ci_low: float | None
    ci_high: float | None
    wins: int
    ties: int
    probability_of_outperforming: float
    probability_ci_low: float
    probability_ci_high: float
    wilcoxon_p: float | None
    t_test_p: float | None
    pairing_correlation: float | None


@dataclass(frozen=True)
class Interval:
    """An interval at the comparison's confidence."""

    ci_low: float
    ci_high: float


def summary(values: NDArray[np.floating], confidence: float) -> Summary:
    """Returns mean, spread and Student's interval of one value per seed."""
    if not np.isfinite(values).all():
        return Summary(None, None, None, None)
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Summary(mean, None, None, None)
    sd = float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / math.sqrt(n)
    return Summary(mean, sd, mean - half, mean + half)


def paired_comparison(  # noqa: PLR0913
    candidate: NDArray[np.floating],
    baseline: NDArray[np.floating],
    confidence: float,
    *,
    smaller_is_better: bool = False,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedComparison:
    """Compares the values of two variants, one per seed, in the same order of seeds.

    Args:
        candidate: [pairs].
        baseline: [pairs].
        confidence: of every interval, in (0, 1).
        smaller_is_better: whether a smaller value wins a pair, not a higher one.
        resamples: how many the bootstrap draws.
        seed: of the bootstrap.
    """
    differences = _differences(candidate, baseline)
    finite = bool(np.isfinite(differences).all())
    won = differences < 0 if smaller_is_better else differences > 0
    n, wins, ties = len(differences), int(won.sum()), int((differences == 0).sum())
    ci = _bca(differences, confidence, resamples, seed) if finite else None
    probability_low = stats.binomtest(wins, n).proportion_ci(confidence).low
    probability_high = stats.binomtest(wins + ties, n).proportion_ci(confidence).high
    probability = (wins + ties / 2) / n
    varies = finite and bool(np.ptp(differences) > 0)
    return PairedComparison(
        n=n,
        mean=float(differences.mean()) if finite else None,
        sd=float(differences.std(ddof=1)) if finite and n > 1 else None,
        ci_low=ci.ci_low if ci else None,
        ci_high=ci.ci_high if ci else None,
        wins=wins,
        ties=ties,
        probability_of_outperforming=probability,
        probability_ci_low=float(probability_low),
        probability_ci_high=float(probability_high),
        wilcoxon_p=float(stats.wilcoxon(differences).pvalue) if finite and ties < n else None,
        t_test_p=float(stats.ttest_1samp(differences, 0).pvalue) if varies else None,
        pairing_correlation=_correlation(candidate, baseline) if finite else None,
    )


def _differences(
    candidate: NDArray[np.floating], baseline: NDArray[np.floating]
) -> NDArray[np.float64]:
    sides = np.array([candidate, baseline], np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf is nan: both runs diverged.
        differences = sides[0] - sides[1]
    # 0.97 - 0.95 and 0.93 - 0.91 must tie, not differ in the seventeenth digit.
    return differences.round(tying_decimals(sides))


def tying_decimals(values: NDArray[np.floating]) -> int:
    """Returns to how many decimals differences of such values are rounded, so that ties are ties.

    Nine, or nine significant digits of the largest value where that is more. NumPy rounds to 300 at
    most.
    """
    largest = np.max(np.abs(values), initial=0, where=np.isfinite(values))
    return min(max(9, 8 - math.floor(math.log10(largest))), 300) if largest > 0 else 9


def beyond_test_set(
    candidate_right: NDArray[np.bool_],
    baseline_right: NDArray[np.bool_],
    confidence: float,
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> Interval | None:
    """Returns a percentile interval of the mean difference over other seeds and other images.

    Each resample draws seeds and, independently, test images. The interval covers other images from
    the same source, whereas that of `paired_comparison` takes the test set as given. Like that, it
    is None for fewer than three pairs, which say little about other seeds.

    Args:
        candidate_right: [pairs, images], whether each run got each image right.
        baseline_right: [pairs, images].
        confidence: in (0, 1).
        resamples: how many the bootstrap draws.
        seed: of the bootstrap.
    """
    differences = candidate_right.astype(np.float64) - baseline_right.astype(np.float64)
    pairs, images = differences.shape
    if pairs < FEWEST_PAIRS:
        return None
    rng = np.random.default_rng(seed)
    seed_weights = rng.multinomial(pairs, np.full(pairs, 1 / pairs), size=resamples)
    # Sums of whole numbers are exact, in whatever order a processor's library adds them.
    by_image = seed_weights.astype(np.float64) @ differences
    even = np.full(images, 1 / images)
    means = [
        count @ row / (pairs * images)
        for rows in np.array_split(by_image, max(1, resamples // _DRAWN_AT_ONCE))
        for count, row in zip(rng.multinomial(images, even, size=len(rows)), rows, strict=True)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _bca(
    differences: NDArray[np.float64], confidence: float, resamples: int, seed: int
) -> Interval | None:
    if len(differences) < FEWEST_PAIRS:
        return None
    if np.ptp(differences) == 0:
        # Every resample has the same mean, so the acceleration of BCa would be 0 / 0.
        return Interval(float(differences[0]), float(differences[0]))
    low, high = stats.bootstrap(
        (differences,),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        batch=max(1, _MOST_VALUES // len(differences)),
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(low), float(high)) if math.isfinite(low + high) else None


def _correlation(candidate: NDArray[np.floating], baseline: NDArray[np.floating]) -> float | None:
    if len(candidate) < 3 or np.ptp(candidate) == 0 or np.ptp(baseline) == 0:
        return None
    # The last digits depend on the processor, by way of BLAS.
    return round(float(stats.pearsonr(candidate, baseline).statistic), 12)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Returns a family's p values, adjusted (Holm 1979); None stays None and does not count."""
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[place] = largest
    return adjusted
