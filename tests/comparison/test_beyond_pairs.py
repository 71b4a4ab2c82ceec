import math

import numpy as np
import pytest
from scipy import stats

from pipeline.comparison.beyond_pairs import (
    UnpairedComparison,
    corrected_test,
    expected_best,
    friedman,
    ratio,
    trend,
    unpaired_comparison,
)
from pipeline.comparison.verdict import unpaired_verdict

RNG = np.random.default_rng(5)
A, B = RNG.normal(10, 1, 12), RNG.normal(9, 1, 12)


def test_ratio_is_that_of_geometric_means():
    of = ratio(np.array([2.0, 8.0]), np.array([1.0, 1.0]), 0.95)
    assert of.ratio == pytest.approx(4)
    # Logarithms ln 2 and ln 8: mean ln 4, half their distance ln 2, which is the standard error.
    half = stats.t.ppf(0.975, 1) * math.log(2)
    assert (of.ci_low, of.ci_high) == pytest.approx((4 * math.exp(-half), 4 * math.exp(half)))
    assert of.t_test_p == pytest.approx(stats.ttest_1samp(np.log([2, 8]), 0).pvalue)


def test_ratio_of_one_pair_or_of_equal_pairs():
    one = ratio(np.array([2.0]), np.array([1.0]), 0.95)
    assert (one.ratio, one.ci_low, one.ci_high, one.t_test_p) == (2, None, None, None)
    assert ratio(np.array([2.0, 4.0]), np.array([1.0, 2.0]), 0.95).t_test_p is None
    # The logarithms differ in their last digits.
    assert ratio(np.array([0.3, 0.9, 2.1]), np.array([0.1, 0.3, 0.7]), 0.95).t_test_p is None


@pytest.mark.parametrize("shape", [(9, 4), (2, 3)])
def test_friedman(shape):
    values = RNG.normal(size=shape)
    of = friedman(values)
    expected = stats.friedmanchisquare(*values.T)
    assert (of.blocks, of.cells) == shape
    assert (of.chi_square, of.p) == (expected.statistic, expected.pvalue)


@pytest.mark.parametrize("shape", [(9, 2), (1, 4)])
def test_friedman_takes_three_cells_and_two_blocks(shape):
    assert friedman(RNG.normal(size=shape)) is None


def test_friedman_takes_a_difference():
    assert friedman(np.ones((5, 3))) is None


def test_corrected_test_by_hand():
    # Mean 2, variance 1, 3 folds: the mean's variance is 1/3 + 1/2, with 2 degrees of freedom.
    of = corrected_test(np.array([1.0, 2.0, 3.0]), 3, 0.95)
    error = math.sqrt(5 / 6)
    assert of.p == pytest.approx(2 * stats.t.sf(2 / error, 2))
    half = 4.302652729911275 * error
    assert (of.ci_low, of.ci_high) == pytest.approx((2 - half, 2 + half))


def test_corrected_test_of_two_halves_by_hand():
    # Mean 1.5, variance 1/2: the mean's variance is (1/2 + 1) / 2, with 1 degree of freedom.
    of = corrected_test(np.array([1.0, 2.0]), 2, 0.95)
    half = 12.706204736432095 * math.sqrt(3 / 4)
    assert (of.ci_low, of.ci_high) == pytest.approx((1.5 - half, 1.5 + half))


def test_corrected_test_of_a_repeated_split():
    differences = RNG.normal(0.5, 1, 20)
    of = corrected_test(differences, 5, 0.9)
    t = differences.mean() / math.sqrt((1 / 20 + 1 / 4) * differences.var(ddof=1))
    assert of.p == pytest.approx(2 * stats.t.sf(abs(t), 19))


@pytest.mark.parametrize(
    ("differences", "folds"), [([1.0], 5), ([1.0, 1.0], 5), ([1.0, 2.0], 1), ([], 5)]
)
def test_corrected_test_of_too_little(differences, folds):
    assert corrected_test(np.array(differences), folds, 0.95) is None


@pytest.mark.parametrize("smaller", [True, False])
def test_unpaired(smaller):
    of = unpaired_comparison(A, B[:7], 0.9, smaller_is_better=smaller)
    welch = stats.ttest_ind(A, B[:7], equal_var=False)
    won = np.mean([(a < b) if smaller else (a > b) for a in A for b in B[:7]])
    assert (of.n_candidate, of.n_baseline) == (12, 7)
    assert of.mean == pytest.approx(A.mean() - B[:7].mean())
    assert (of.ci_low, of.ci_high) == pytest.approx((*welch.confidence_interval(0.9),))
    assert of.welch_p == welch.pvalue
    assert of.mann_whitney_p == stats.mannwhitneyu(A, B[:7]).pvalue
    assert of.probability_of_outperforming == pytest.approx(won)


@pytest.mark.parametrize(
    ("a", "b"),
    [([1.0], [2.0, 3.0]), ([1.0, 1.0], [2.0, 2.0]), ([0.1 + 0.2, 0.3], [0.7, 0.1 * 7])],
)
def test_unpaired_without_spread(a, b):
    of = unpaired_comparison(np.array(a), np.array(b), 0.95)
    assert (of.ci_low, of.ci_high, of.welch_p) == (None, None, None)
    assert of.probability_of_outperforming == 0


def test_unpaired_of_two_runs_each():
    of = unpaired_comparison(np.array([2.0, 4.0]), np.array([1.0, 2.0]), 0.95)
    # Variances 2 and 1/2: t is 1.5 / sqrt(1 + 1/4), with (5/4)² / (1 + 1/16) degrees of freedom.
    assert of.welch_p == pytest.approx(2 * stats.t.sf(1.5 / math.sqrt(1.25), 1.5625 / 1.0625))


def test_unpaired_with_spread_on_one_side():
    # The mean of ten times 0.3 is 0.3 but for its last digit.
    of = unpaired_comparison(np.full(10, 0.3), A, 0.95)
    error = A.std(ddof=1) / math.sqrt(12)
    t = (0.3 - A.mean()) / error
    assert of.welch_p == pytest.approx(2 * stats.t.sf(abs(t), 11))


def test_ties_count_half():
    of = unpaired_comparison(np.array([1.0, 2.0]), np.array([1.0, 2.0]), 0.95)
    assert of.probability_of_outperforming == 0.5


def test_trend():
    numbers, values = np.arange(20.0), np.arange(20) + RNG.normal(0, 5, 20)
    of = trend(numbers, values, 0.95)
    pearson, spearman = stats.pearsonr(numbers, values), stats.spearmanr(numbers, values)
    assert of.n == 20
    assert (of.pearson.coefficient, of.pearson.p) == (pearson.statistic, pearson.pvalue)
    # Fisher: atanh r ± 1.96 / sqrt(n - 3).
    half = 1.959963984540054 / math.sqrt(17)
    assert of.pearson.ci_low == pytest.approx(math.tanh(math.atanh(pearson.statistic) - half))
    assert of.pearson.ci_high == pytest.approx(math.tanh(math.atanh(pearson.statistic) + half))
    rho = spearman.statistic
    assert (of.spearman.coefficient, of.spearman.p) == (rho, spearman.pvalue)
    half *= math.sqrt(1 + rho**2 / 2)
    assert of.spearman.ci_low == pytest.approx(math.tanh(math.atanh(rho) - half))
    assert of.spearman.ci_high == pytest.approx(math.tanh(math.atanh(rho) + half))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_trend_has_an_interval(sign):
    of = trend(np.arange(9.0), sign * np.arange(9.0) ** 2, 0.95)
    assert of.spearman.coefficient == pytest.approx(sign)
    assert -1 <= of.spearman.ci_low <= of.spearman.ci_high <= 1
    assert min(abs(of.spearman.ci_low), abs(of.spearman.ci_high)) > 0.99


@pytest.mark.parametrize(
    ("numbers", "values"), [([1, 2, 3], [1, 2, 3]), ([1] * 5, range(5)), (range(5), [1] * 5)]
)
def test_trend_of_too_little(numbers, values):
    assert trend(np.array(numbers, float), np.array(values, float), 0.95) is None


@pytest.mark.parametrize("n", [2, 5, 18, 100])
def test_expected_best_against_the_integral(n):
    exact = stats.norm.expect(lambda x: n * x * stats.norm.cdf(x) ** (n - 1))
    assert expected_best(n) == pytest.approx(exact, abs=0.03)


def unpaired(n, m, low, high, probability):
    return UnpairedComparison(n, m, (low + high) / 2, low, high, 0.01, 0.01, probability)


@pytest.mark.parametrize(
    ("of", "p", "family", "smaller", "expected"),
    [
        (unpaired(8, 8, 0.1, 0.5, 0.9), 0.01, 1, False, "candidate_better"),
        (unpaired(8, 8, -0.5, -0.1, 0.1), 0.01, 1, False, "baseline_better"),
        (unpaired(8, 8, -0.5, -0.1, 0.9), 0.01, 1, True, "candidate_better"),
        (unpaired(8, 8, 0.1, 0.5, 0.1), 0.01, 1, True, "baseline_better"),
        (unpaired(8, 8, -0.1, 0.5, 0.9), 0.01, 1, False, "not_settled"),
        (unpaired(8, 8, 0.1, 0.5, 0.74), 0.01, 1, False, "not_settled"),
        (unpaired(8, 8, -0.5, -0.1, 0.26), 0.01, 1, False, "not_settled"),
        (unpaired(8, 8, 0.1, 0.5, 0.75), 0.05, 1, False, "candidate_better"),
        (unpaired(8, 8, -0.5, -0.1, 0.25), 0.05, 1, False, "baseline_better"),
        (unpaired(8, 8, 0.1, 0.5, 0.9), 0.06, 1, False, "not_settled"),
        (unpaired(8, 8, 0.1, 0.5, 0.9), None, 1, False, "not_settled"),
        # All of 4 beat all of 4 by chance in 2 of 70 orders; of 3 in 2 of 20.
        (unpaired(4, 4, 0.1, 0.5, 1), 0.03, 1, False, "candidate_better"),
        (unpaired(4, 4, 0.1, 0.5, 1), 0.03, 2, False, "too_few_pairs"),
        (unpaired(3, 3, 0.1, 0.5, 1), 0.1, 1, False, "too_few_pairs"),
    ],
)
def test_verdict_on_unpaired_runs(of, p, family, smaller, expected):
    assert unpaired_verdict(of, p, 0.95, family=family, smaller_is_better=smaller) == expected
