import time
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pipeline.comparison import needed
from pipeline.comparison.needed import Needed, needed_in_words, pairs_needed, settled_by_the_rule
from pipeline.comparison.statistics import paired_comparison
from pipeline.comparison.verdict import Looks, verdict

pytestmark = pytest.mark.slow

REPEATED = Looks(repeated=True)


def normal(mean, pairs=10, seed=1):
    """Differences whose mean and standard deviation, of 1, are exactly these."""
    drawn = np.random.default_rng(seed).normal(size=pairs)
    return mean + (drawn - drawn.mean()) / drawn.std(ddof=1)


def really_settled(differences, confidence, family=1):
    """Whether the rule settles them, with the bootstrap's own interval."""
    paired = paired_comparison(differences, np.zeros(len(differences)), confidence)
    p = paired.wilcoxon_p if paired.wilcoxon_p is None else min(1, family * paired.wilcoxon_p)
    return verdict(paired, p, confidence).endswith("better")


@pytest.mark.parametrize(
    ("family", "looks", "expected"),
    # All won, Wilcoxon's p is 2 / 2**n: 7 pairs make at most 0.05 / 2, 9 make 0.05 / 10. Robbins'
    # boundary is 9 / 2**8 with 8 pairs.
    [(1, Looks(), 6), (2, Looks(), 7), (10, Looks(), 9), (1, REPEATED, 8)],
)
def test_pairs_that_are_all_won_settle_it_as_soon_as_the_rule_allows(family, looks, expected):
    for direction in (1, -1):
        told = pairs_needed(direction * np.array([0.02, 0.03, 0.025]), 0.95, family, looks=looks)
        assert (told.pairs, told.there, told.is_spread_known) == (expected, 3, True)


@pytest.mark.parametrize(("pairs", "family", "expected"), [(1, 1, 6), (2, 1, 6), (2, 2, 7)])
def test_of_fewer_than_three_pairs_the_spread_is_not_known(pairs, family, expected):
    told = pairs_needed(np.full(pairs, 0.1), 0.95, family)
    assert (told.pairs, told.is_spread_known) == (expected, False)


def test_without_a_difference_no_number_in_reach_settles_it():
    for differences in (normal(0), np.zeros(5), normal(0.1, pairs=30)):
        assert pairs_needed(differences, 0.95).pairs is None
    assert pairs_needed(np.array([1, 1, 1, 0, -1.0]), 0.95).ahead == pytest.approx(0.7)
    assert pairs_needed(np.array([1, -1, -1, -1.0]), 0.95).ahead == pytest.approx(0.75)


def test_a_number_that_is_out_of_reach_is_not_told():
    # Three of four won, by little: in the long run that is enough, after about 200 pairs.
    differences = np.array([0.9, 1.0, 1.1, 1.0, -1.0, 1.2, 1.1, -0.9, 1.0, 0.8])
    reached = pairs_needed(differences, 0.95)
    assert reached.pairs > 11
    assert pairs_needed(differences, 0.95, at_most=reached.pairs - 1).pairs is None
    assert pairs_needed(differences, 0.95, at_most=reached.pairs).pairs == reached.pairs


@pytest.mark.parametrize("lost", [-0.5, -1.5])
def test_so_many_settle_it_with_that_probability_by_the_rule_itself(lost):
    seen = np.array([1.5, 0.8, 2.0, 0.3, lost, 1.1, 0.9, 1.7])
    told = pairs_needed(seen, 0.95)
    rng = np.random.default_rng(99)

    def one(pairs):
        # A hair apart, for among ties scipy goes through all permutations, which takes long.
        come = rng.choice(seen, pairs - len(seen)) + rng.normal(0, 1e-6, pairs - len(seen))
        return really_settled(np.concatenate([seen, come]), 0.95)

    def share(pairs, series=60):
        return np.mean([one(pairs) for _ in range(series)])

    # 60 series tell a share within 10 points; the number of wins moves it by as much.
    assert 0.68 < share(told.pairs) < 0.98
    if told.pairs > 10:
        assert share(max(8, told.pairs // 2)) < 0.8


@pytest.mark.parametrize("pairs", [14, 20])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, size: rng.normal(0.8, 1, size),
        lambda rng, size: rng.exponential(size=size) - 0.2,
        lambda rng, size: 1 + rng.standard_t(3, size),
        lambda rng, size: rng.integers(-1, 9, size).astype(float),
    ],
    ids=["normal", "skewed", "heavy-tailed", "tied"],
)
def test_students_interval_judges_as_the_bootstrap_does(draw, pairs):
    series = draw(np.random.default_rng(5), (60, pairs))
    simply = [
        settled_by_the_rule(paired, p, 0.95) for paired, p in needed._statistics(series, 0.95, 1)
    ]
    really = [really_settled(each, 0.95) for each in series]
    # They differ where one far outlier widens Student's interval more than the bootstrap's.
    assert np.mean(np.equal(simply, really)) >= 0.9
    assert np.mean(simply) == pytest.approx(np.mean(really), abs=0.05)
    assert 0.2 < np.mean(really) < 0.95


def test_the_statistics_of_a_series_are_those_of_a_comparison():
    series = np.array([[0.3, -0.1, 0.2, 0.5, 0.0, 0.4, 0.7], [-1.0, -2, -3, -4, -5, 6, 0.5]])
    for row, (paired, p) in zip(series, needed._statistics(series, 0.9, 3), strict=True):
        expected = paired_comparison(row, np.zeros(7), 0.9)
        for name in (
            "n", "mean", "wins", "ties", "probability_of_outperforming", "probability_ci_low",
            "probability_ci_high",
        ):  # fmt: skip
            assert getattr(paired, name) == pytest.approx(getattr(expected, name))
        low, high = stats.t.interval(0.9, 6, row.mean(), stats.sem(row))
        assert (paired.ci_low, paired.ci_high) == pytest.approx((low, high))
        assert p == pytest.approx(min(1, 3 * stats.wilcoxon(row, method="exact").pvalue))


def test_which_side_is_better_and_the_unit_do_not_matter_and_nor_does_chance():
    seen = normal(0.9)
    told = pairs_needed(seen, 0.95)
    assert pairs_needed(seen, 0.95) == told
    assert pairs_needed(-seen, 0.95) == told
    assert pairs_needed(100 * seen, 0.95) == told
    other = pairs_needed(seen, 0.95, seed=1)
    assert other.pairs == pytest.approx(told.pairs, rel=0.25)


def test_more_is_asked_of_a_family_and_of_repeated_looks():
    seen = normal(0.9)
    alone = pairs_needed(seen, 0.95).pairs
    assert alone < pairs_needed(seen, 0.95, looks=REPEATED).pairs
    assert alone <= pairs_needed(seen, 0.95, 20).pairs


def test_another_rule_can_be_asked():
    # The interval of the mean must lie within 1: Student's half width is 1 with 7 pairs or so.
    def within(paired, p, confidence):
        assert (0 <= p <= 1, confidence) == (True, 0.95)
        return -1 < paired.ci_low < paired.ci_high < 1

    told = pairs_needed(normal(0.0, pairs=4), 0.95, settles=within)
    assert 5 <= told.pairs <= 9


def test_it_takes_a_second_at_most():
    started = time.process_time()
    pairs_needed(normal(0.75), 0.95)
    assert time.process_time() - started < 3


def test_the_answer_in_words():
    known = Needed(10, 24, is_spread_known=True, ahead=0.8, power=0.8, at_most=1000)
    told = needed_in_words(known, "0.5 points", "Add up to {}.".format)
    assert told == (
        "If the pairs to come vary like these 10, 24 in all would settle it with a probability of "
        "80 %, by simulation. Add up to 24."
    )
    out_of_reach = replace(known, pairs=None)
    told = needed_in_words(out_of_reach, "0.5 points", "Add up to {}.".format)
    assert told == (
        "If the pairs to come vary like these 10, not even 1000 in all would settle it with a "
        "probability of 80 %, by simulation: the mean difference is probably within ± 0.5 points, "
        "too little beside its spread."
    )
    often_lost = replace(out_of_reach, ahead=0.75)
    assert needed_in_words(often_lost, "0.5 points", "Add up to {}.".format).endswith(
        "within ± 0.5 points, and neither side wins clearly more than 75 % of the pairs, as a "
        "verdict demands."
    )
    unknown = replace(known, there=2, pairs=6, is_spread_known=False)
    told = needed_in_words(unknown, "0.5 points", "Add up to {}.".format)
    assert told == (
        "How much pairs vary is not known from 2; a verdict takes at least 6. Add up to 6."
    )
