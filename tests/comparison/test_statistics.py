import numpy as np
import pytest
from scipy import stats

from pipeline.comparison import statistics
from pipeline.comparison.statistics import (
    beyond_test_set,
    holm,
    paired_comparison,
    summary,
)

RNG = np.random.default_rng(0)
BASELINE = RNG.normal(0.95, 0.006, 12)
CANDIDATE = 0.3 * BASELINE + RNG.normal(0.68, 0.002, 12)
DIFFERENCES = CANDIDATE - BASELINE


def compare(differences, **options):
    differences = np.asarray(differences, float)
    return paired_comparison(differences, np.zeros_like(differences), 0.95, **options)


def outcome(wins, losses, ties=0):
    """Compares pairs with `wins` large leads, `losses` small deficits and `ties`."""
    leads, defects = np.linspace(0.02, 0.03, wins), np.linspace(-0.002, -0.001, losses)
    return np.concatenate([leads, defects, np.zeros(ties)])


def test_summary_by_hand():
    # sd = √(10 / 4); Student's t is 2.776 for four degrees of freedom.
    result = summary(np.array([1, 2, 3, 4, 5.0]), 0.95)
    assert (result.mean, result.sd) == pytest.approx((3, 1.58114), rel=1e-5)
    assert (result.ci_low, result.ci_high) == pytest.approx((3 - 1.963, 3 + 1.963), abs=1e-3)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_summary_has_students_interval(confidence):
    result = summary(BASELINE, confidence)
    expected = stats.t.interval(confidence, 11, BASELINE.mean(), stats.sem(BASELINE))
    assert (result.ci_low, result.ci_high) == pytest.approx(expected)


def test_summary_of_one_value_has_no_spread():
    result = summary(np.array([0.97]), 0.95)
    assert result.mean == 0.97
    assert (result.sd, result.ci_low, result.ci_high) == (None, None, None)


def test_summary_of_two_values_has_an_interval():
    # sd = √2; Student's t is 12.706 for one degree of freedom.
    result = summary(np.array([1.0, 3]), 0.95)
    assert (result.ci_low, result.ci_high) == pytest.approx((2 - 12.706, 2 + 12.706), abs=1e-3)


def test_differences_are_candidate_minus_baseline():
    result = paired_comparison(np.array([3.0, 5, 4]), np.array([1.0, 6, 4]), 0.95)
    assert (result.n, result.wins, result.ties) == (3, 1, 1)
    assert result.mean == pytest.approx(1 / 3)
    assert result.sd == pytest.approx(np.sqrt(7 / 3))


def test_tests_and_correlation_agree_with_scipy():
    result = paired_comparison(CANDIDATE, BASELINE, 0.95)
    assert result.t_test_p == pytest.approx(stats.ttest_rel(CANDIDATE, BASELINE).pvalue)
    assert result.wilcoxon_p == pytest.approx(stats.wilcoxon(CANDIDATE, BASELINE).pvalue)
    assert result.pairing_correlation == pytest.approx(np.corrcoef(CANDIDATE, BASELINE)[0, 1])


def test_wilcoxon_by_hand():
    # All six signs equal: two of 2⁶ ways. The smallest with the other sign: four.
    assert compare([1, 2, 3, 4, 5, 6]).wilcoxon_p == pytest.approx(2 / 64)
    assert compare([-1, 2, 3, 4, 5, 6]).wilcoxon_p == pytest.approx(4 / 64)


def test_wilcoxon_does_not_depend_on_the_unit_of_accuracy():
    right = np.array([9433, 9427, 9429, 9405, 9417, 9408, 9433, 9435, 9411, 9422])
    more = np.array([7, 4, 3, -4, 11, -4, -3, -3, -3, -1])
    expected = stats.wilcoxon(more).pvalue
    result = paired_comparison((right + more) / 10_000, right / 10_000, 0.95)
    assert result.wilcoxon_p == pytest.approx(expected)


@pytest.mark.parametrize(("wins", "losses", "ties"), [(9, 1, 0), (6, 0, 0), (0, 7, 0), (5, 2, 3)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_probability_of_outperforming_has_clopper_pearson_bounds(wins, losses, ties, confidence):
    n, tail = wins + losses + ties, (1 - confidence) / 2
    differences = outcome(wins, losses, ties)
    result = paired_comparison(differences, np.zeros(n), confidence)
    # By the beta distribution: the lower bound counts ties as lost, the upper as won.
    low = stats.beta.ppf(tail, wins, n - wins + 1) if wins else 0
    high = stats.beta.ppf(1 - tail, wins + ties + 1, losses) if losses else 1
    assert result.probability_of_outperforming == pytest.approx((wins + ties / 2) / n)
    assert result.probability_ci_low == pytest.approx(low)
    assert result.probability_ci_high == pytest.approx(high)


def test_interval_of_normal_differences_is_close_to_students():
    differences = np.random.default_rng(1).normal(0.01, 0.02, 300)
    result = compare(differences)
    expected = stats.t.interval(0.95, 299, differences.mean(), stats.sem(differences))
    assert (result.ci_low, result.ci_high) == pytest.approx(expected, abs=0.1 * 0.02 / 300**0.5)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    results = [compare(rng.normal(0.5, 1, 15), resamples=199) for _ in range(150)]
    covered = np.mean([one.ci_low <= 0.5 <= one.ci_high for one in results])
    assert 0.85 <= covered <= 0.97  # a bootstrap of 15 values covers slightly less than it claims


def test_interval_of_skewed_differences_follows_efron():
    differences = np.random.default_rng(3).exponential(size=30) - 0.5
    draws = np.random.default_rng(4).choice(differences, (200_000, 30)).mean(1)
    # Efron 1987, equations 2.3 and 6.6: bias correction, and acceleration by the jackknife.
    bias = stats.norm.ppf((draws < differences.mean()).mean())
    leaning = differences - differences.mean()
    acceleration = (leaning**3).sum() / (6 * (leaning**2).sum() ** 1.5)
    z = bias + stats.norm.ppf([0.025, 0.975])
    expected = np.quantile(draws, stats.norm.cdf(bias + z / (1 - acceleration * z)))

    result = compare(differences, resamples=100_000)

    assert (result.ci_low, result.ci_high) == pytest.approx(expected, abs=0.02 * np.ptp(expected))
    percentile = np.quantile(draws, [0.025, 0.975])
    assert (np.abs(expected - percentile) > 0.04 * np.ptp(expected)).all()


def test_interval_grows_with_confidence():
    widths = [
        result.ci_high - result.ci_low
        for confidence in (0.8, 0.95, 0.99)
        for result in [paired_comparison(CANDIDATE, BASELINE, confidence)]
    ]
    assert widths == sorted(widths)
    assert len(set(widths)) == 3


def test_comparison_is_reproducible():
    assert compare(DIFFERENCES) == compare(DIFFERENCES)
    assert compare(DIFFERENCES, seed=1).ci_low != compare(DIFFERENCES).ci_low


@pytest.mark.parametrize(
    ("differences", "absent"),
    [
        ([0.3], {"sd", "ci_low", "ci_high", "t_test_p", "pairing_correlation"}),
        ([0.3, 0.1], {"ci_low", "ci_high", "pairing_correlation"}),
        ([0.5] * 8, {"t_test_p", "pairing_correlation"}),
        ([0.0] * 8, {"wilcoxon_p", "t_test_p", "pairing_correlation"}),
    ],
    ids=["one", "two", "all equal", "all zero"],
)
def test_figures_that_the_data_do_not_determine_are_none(differences, absent):
    result = compare(differences)
    assert {name for name, value in vars(result).items() if value is None} == absent
    assert result.mean == pytest.approx(np.mean(differences))


@pytest.mark.parametrize(
    ("candidate", "baseline", "correlation"),
    [
        # By hand: the products of the deviations sum up to 1/4, their squares to 1/2 twice.
        ([0, 0.5, 1], [0, 1, 0.5], 0.5),
        ([0, 0.5], [0, 1], None),
        ([0.5, 0.5, 0.5], [0, 1, 0.5], None),
        ([0, 1, 0.5], [0.5, 0.5, 0.5], None),
    ],
)
def test_the_correlation_needs_three_pairs_and_a_spread_on_both_sides(
    candidate, baseline, correlation
):
    result = paired_comparison(np.array(candidate), np.array(baseline), 0.95)
    assert result.pairing_correlation == pytest.approx(correlation)


@pytest.mark.parametrize(("difference", "wins", "ties"), [(4e-10, 0, 3), (4e-9, 3, 0)])
def test_a_difference_counts_from_its_ninth_decimal(difference, wins, ties):
    result = paired_comparison(np.full(3, 0.5 + difference), np.full(3, 0.5), 0.95)
    assert (result.wins, result.ties) == (wins, ties)


def test_differences_of_tiny_values_keep_their_digits():
    tiny = np.array([7.323e-8, 7.863e-8, 9.05e-8])
    result = paired_comparison(tiny, np.zeros(3), 0.95)
    assert result.mean == pytest.approx(np.mean(tiny), rel=1e-8)
    # Beside a huge value all others keep their ninth decimal.
    assert compare([0.03, 0.04, 1e12]).wins == 3


def test_a_diverged_run_leaves_no_interval_and_no_test():
    result = compare([0.1, np.nan, 0.3, 0.2, 0.5, 0.4, 0.7])
    assert (result.ci_low, result.ci_high) == (None, None)
    assert (result.wilcoxon_p, result.t_test_p) == (None, None)


def test_equal_differences_are_equal_whatever_their_rounding():
    exact = paired_comparison(np.full(7, 0.75), np.full(7, 0.5), 0.95)
    hundredths = np.arange(89, 96)
    rounded = paired_comparison((hundredths + 2) / 100, hundredths / 100, 0.95)
    assert rounded.wins == exact.wins == 7
    assert (rounded.ci_low, rounded.ci_high) == (0.02, 0.02)


def right_answers(seed=0, pairs=20, images=300):
    """Draws which images each run gets right: more for the candidate; some images are harder."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(0, 1, images)
    skill = rng.normal([[[1.5]], [[1.0]]], 0.1, (2, pairs, 1))
    return rng.normal(0, 0.3, (2, pairs, images)) + skill > hardness


def width(interval):
    return interval.ci_high - interval.ci_low


def test_interval_beyond_the_test_set_is_wider_than_over_seeds_alone():
    candidate, baseline = right_answers()
    seeds_alone = paired_comparison(candidate.mean(1), baseline.mean(1), 0.95)
    beyond = beyond_test_set(candidate, baseline, 0.95)
    assert width(beyond) > 1.2 * width(seeds_alone)
    middle = (beyond.ci_low + beyond.ci_high) / 2
    assert middle == pytest.approx(candidate.mean() - baseline.mean(), abs=0.1 * width(beyond))


def test_interval_beyond_the_test_set_of_equal_runs_is_that_of_the_images():
    # McNemar's standard error: 60 images of 400 are won, 20 lost.
    candidate, baseline = np.zeros((2, 5, 400), bool)
    candidate[:, :60], baseline[:, 60:80] = True, True
    mean, error = 0.1, np.sqrt((80 / 400 - 0.1**2) / 400)
    beyond = beyond_test_set(candidate, baseline, 0.95, resamples=8_000)
    expected = stats.norm.interval(0.95, mean, error)
    assert (beyond.ci_low, beyond.ci_high) == pytest.approx(expected, abs=0.1 * error)


def test_interval_beyond_the_test_set_of_equal_images_is_that_of_the_seeds():
    # Of 50 runs, the candidate gets everything right in 30 and the baseline in none.
    candidate = np.tile(np.arange(50)[:, None] < 30, (1, 7))
    mean, error = 0.6, np.sqrt(0.6 * 0.4 / 50)
    beyond = beyond_test_set(candidate, np.zeros_like(candidate), 0.9, resamples=8_000)
    expected = stats.norm.interval(0.9, mean, error)
    assert (beyond.ci_low, beyond.ci_high) == pytest.approx(expected, abs=0.2 * error)


def test_interval_beyond_the_test_set_is_reproducible():
    runs = right_answers(pairs=3)
    assert beyond_test_set(*runs, 0.95) == beyond_test_set(*runs, 0.95)
    assert beyond_test_set(*runs, 0.95) != beyond_test_set(*runs, 0.95, seed=1)


@pytest.mark.parametrize(("pairs", "told"), [(1, False), (2, False), (3, True)])
def test_an_interval_beyond_the_test_set_takes_three_pairs(pairs, told):
    found = beyond_test_set(*right_answers(pairs=pairs), 0.95, resamples=10)
    assert (found is not None) is told


def test_interval_beyond_the_test_set_does_not_depend_on_how_many_are_drawn_at_once(monkeypatch):
    runs = np.random.default_rng(0).random((2, 4, 50)) < 0.9
    expected = beyond_test_set(*runs, 0.95, resamples=250)

    monkeypatch.setattr(statistics, "_DRAWN_AT_ONCE", 1)

    assert beyond_test_set(*runs, 0.95, resamples=250) == expected


def test_holm_multiplies_the_smallest_most_and_never_falls():
    # By hand (Holm 1979): 4 * 0.01; 3 * 0.02; 2 * 0.025 = 0.05 < 0.06; 1 * 0.5.
    assert holm([0.02, None, 0.5, 0.01, 0.025]) == [
        pytest.approx(0.06),
        None,
        pytest.approx(0.5),
        pytest.approx(0.04),
        pytest.approx(0.06),
    ]


def test_holm_stops_at_1():
    assert holm([0.7, 0.9]) == [1.0, 1.0]
