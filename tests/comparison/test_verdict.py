from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pipeline.comparison.statistics import paired_comparison
from pipeline.comparison.verdict import (
    ONCE,
    Looks,
    fewest_pairs,
    fewest_together,
    fewest_wins,
    level_of_look,
    looks_in_words,
    rule_in_words,
    too_few_in_words,
    verdict,
)

# Ten pairs around 0.97: nine are won, and the tenth is lost by so much that Wilcoxon's p is too
# large, though the interval and the share of pairs won are clear.
NINE_OF_TEN = np.array(
    [-.0019, .0006, .0014, .0008, .0009, .0001, .0007, .0038, .0001, .0016]
)  # fmt: skip


def compare(differences, confidence=0.95):
    differences = np.asarray(differences, float)
    return paired_comparison(0.97 + differences, np.full(len(differences), 0.97), confidence)


def judged(differences, confidence=0.95):
    paired = compare(differences, confidence)
    return verdict(paired, paired.wilcoxon_p, confidence)


def outcome(wins, losses, ties=0):
    """Makes differences with `wins` large leads, `losses` small deficits and `ties`."""
    leads, defects = np.linspace(0.02, 0.03, wins), np.linspace(-0.002, -0.001, losses)
    return np.concatenate([leads, defects, np.zeros(ties)])


@pytest.mark.parametrize(
    ("wins", "losses", "ties", "settled"),
    [
        (5, 0, 0, "too_few_pairs"),
        (6, 0, 0, True),
        (5, 0, 1, False),
        (9, 1, 0, True),
        (8, 2, 0, False),
        (9, 0, 1, True),
        # 22 of 30 differs from a half, but is less than three quarters.
        (22, 8, 0, False),
        (23, 7, 0, True),
    ],
)
@pytest.mark.parametrize("direction", [1, -1])
def test_a_verdict_needs_a_share_of_wins_that_excludes_a_half(
    wins, losses, ties, settled, direction
):
    better = "candidate_better" if direction == 1 else "baseline_better"
    expected = {True: better, False: "not_settled"}.get(settled, settled)
    assert judged(direction * outcome(wins, losses, ties)) == expected


@pytest.mark.parametrize("direction", [1, -1])
def test_many_small_wins_do_not_outweigh_one_large_loss(direction):
    differences = direction * np.array([*np.linspace(0.001, 0.002, 11), -0.1])
    paired = compare(differences)
    assert paired.ci_low < 0 < paired.ci_high
    assert judged(differences) == "not_settled"


@pytest.mark.parametrize("direction", [1, -1])
def test_a_clear_interval_and_share_are_not_enough_where_wilcoxons_p_is_large(direction):
    paired = compare(direction * NINE_OF_TEN)

    # The p is from scipy. The other two conditions alone would settle it.
    assert paired.wilcoxon_p == pytest.approx(stats.wilcoxon(NINE_OF_TEN.round(9)).pvalue)
    assert paired.wilcoxon_p > 0.05
    assert paired.ci_low * paired.ci_high > 0
    assert max(paired.wins, 10 - paired.wins) == 9
    assert stats.binomtest(9, 10).proportion_ci(0.95).low > 0.5
    assert judged(direction * NINE_OF_TEN) == "not_settled"
    # At 90 % it is small enough.
    assert judged(direction * NINE_OF_TEN, 0.9) == (
        "candidate_better" if direction == 1 else "baseline_better"
    )


@pytest.mark.parametrize(
    ("n", "ci", "probability", "low", "high", "p", "expected"),
    [
        (6, (0.1, 0.2), 1, 0.54, 1, 0.05, "candidate_better"),
        (6, (0.1, 0.2), 1, 0.54, 1, 1 - 0.95, "candidate_better"),
        (6, (-0.2, -0.1), 0, 0, 0.46, 0.05, "baseline_better"),
        (5, (0.1, 0.2), 1, 0.54, 1, 0.01, "too_few_pairs"),
        (6, (None, None), 1, 0.54, 1, 0.01, "not_settled"),
        (6, (0, 0.2), 1, 0.54, 1, 0.01, "not_settled"),
        (6, (0.1, 0.2), 1, 0.5, 1, 0.01, "not_settled"),
        (6, (0.1, 0.2), 0.75, 0.54, 1, 0.01, "candidate_better"),
        (6, (0.1, 0.2), 0.74, 0.54, 1, 0.01, "not_settled"),
        (6, (-0.2, -0.1), 0.25, 0, 0.46, 0.01, "baseline_better"),
        (6, (-0.2, -0.1), 0.26, 0, 0.46, 0.01, "not_settled"),
        (6, (-0.2, 0), 0, 0, 0.46, 0.01, "not_settled"),
        (6, (-0.2, -0.1), 0, 0, 0.5, 0.01, "not_settled"),
        (6, (0.1, 0.2), 0, 0, 0.46, 0.01, "not_settled"),
        (6, (0.1, 0.2), 1, 0.54, 1, 0.051, "not_settled"),
        (6, (-0.2, -0.1), 0, 0, 0.46, 0.051, "not_settled"),
        (6, (0.1, 0.2), 1, 0.54, 1, None, "not_settled"),
    ],
)
def test_the_verdict_follows_the_rule(n, ci, probability, low, high, p, expected):
    paired = replace(
        compare(np.ones(6)), n=n, ci_low=ci[0], ci_high=ci[1],
        probability_of_outperforming=probability, probability_ci_low=low, probability_ci_high=high,
    )  # fmt: skip
    assert verdict(paired, p, 0.95) == expected
    # The same with all signs turned, as of a loss: a win is a smaller value.
    ends = [None if end is None else -end for end in reversed(ci)]
    turned = replace(paired, ci_low=ends[0], ci_high=ends[1])
    assert verdict(turned, p, 0.95, smaller_is_better=True) == expected


# Holm's smallest p is that of n won pairs, 2 / 2**n, times the family.
@pytest.mark.parametrize(("family", "pairs"), [(1, 6), (2, 7), (3, 7), (4, 8), (6, 8), (7, 9)])
def test_over_a_family_p_can_be_small_enough_from_so_many_pairs_on(family, pairs):
    assert family * 2 / 2**pairs <= 0.05 < family * 2 / 2 ** (pairs - 1)
    assert fewest_together(0.95, family) == pairs
    assert too_few_in_words(pairs, 0.95, family) == ""
    assert too_few_in_words(pairs - 1, 0.95, family).endswith(f"that takes {pairs} seeds.")


def test_repeated_looks_take_more_pairs():
    looks = Looks(repeated=True)
    fewest = fewest_together(0.95, 1, looks)
    assert fewest_wins(fewest - 1, 0.95) is None
    assert fewest_wins(fewest, 0.95) == fewest > fewest_together(0.95, 1)


@pytest.mark.parametrize(("confidence", "pairs"), [(0.9, 5), (0.95, 6), (0.99, 8)])
def test_fewest_pairs_all_won_exclude_a_half_and_one_pair_fewer_does_not(confidence, pairs):
    assert fewest_pairs(confidence) == pairs
    for n, told in ((pairs, True), (pairs - 1, False)):
        interval = stats.binomtest(n, n).proportion_ci(confidence)
        assert (interval.low > 0.5) is told
    assert judged(np.linspace(0.01, 0.02, pairs), confidence) == "candidate_better"


def test_the_rule_in_words_names_its_numbers():
    alone, many = rule_in_words(0.99), rule_in_words(0.9, family=2)
    assert "test is at most 0.01. With fewer than 8 pairs there is no verdict." in alone
    assert "at least 0.75" in alone
    assert "test, adjusted over the 2 comparisons made here (Holm), is at most 0.1. With" in many
    # Twice 2 / 2⁵ is above 0.1, twice 2 / 2⁶ is not.
    assert many.endswith(
        "With fewer than 5 pairs there is no verdict, and with fewer than 6 in each of the 2 there "
        "is none either."
    )


REPEATED = Looks(repeated=True)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_boundary_of_repeated_looks_is_that_of_robbins(confidence):
    for pairs in range(1, 200):
        counts = np.arange(pairs + 1)
        # Robbins 1970: (n + 1) times the binomial probability of what was seen.
        beyond = (pairs + 1) * stats.binom.pmf(counts, pairs, 0.5) <= 1 - confidence
        winning = counts[beyond & (counts > pairs / 2)]
        assert fewest_wins(pairs, confidence) == (winning[0] if len(winning) else None)


@pytest.mark.parametrize(
    ("pairs", "wins"),
    # By hand: 8 * 1 / 2**7 = 0.0625 and 9 * 1 / 2**8 = 0.035; 13 * 12 / 2**12 = 0.038.
    [(7, None), (8, 8), (9, 9), (12, 11)],
)
def test_the_first_numbers_of_the_boundary(pairs, wins):
    assert fewest_wins(pairs, 0.95) == wins


def error_over_all_looks(looks, confidence, most=400):
    """The probability that either side ever wins as many pairs as the rule asks for, by chance.

    Exact, by the distribution of wins among the series that have not been settled yet.
    """
    alive, error = np.array([1.0]), 0.0
    for pairs in range(1, most + 1):
        alive = (np.append(alive, 0) + np.append(0, alive)) / 2
        counts = np.arange(pairs + 1)
        if pairs == looks.before:
            level = confidence
        elif pairs > looks.before:
            level = level_of_look(pairs, confidence, looks)
        else:
            continue
        # Clopper and Pearson's lower bound exceeds 0.5 where the upper tail is small enough.
        excludes = stats.binom.sf(counts - 1, pairs, 0.5) < (1 - level) / 2
        settled = excludes & (counts / pairs >= 0.75)
        settled |= settled[::-1]
        error += alive[settled].sum()
        alive = np.where(settled, 0, alive)
    return error


def test_a_boundary_that_is_just_reached_is_reached():
    # Two of two: (2 + 1) / 2**2 is 1 - 0.25.
    assert fewest_wins(2, 0.25) == 2
    assert fewest_wins(2, 0.26) is None


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("before", [0, 1, 5, 6, 8, 10, 13, 17, 20, 40])
def test_over_all_looks_and_one_before_them_the_error_is_at_most_that_of_one(confidence, before):
    error = error_over_all_looks(Looks(repeated=True, before=before), confidence)
    assert error <= 1 - confidence
    # Not by far: whoever had 40 pairs looks at few that could be told apart by chance.
    assert before == 40 or error > 0.1 * (1 - confidence)


def test_one_rule_for_one_look_looked_at_repeatedly_errs_more_often():
    alive, error = np.array([1.0]), 0.0
    for pairs in range(1, 51):
        alive = (np.append(alive, 0) + np.append(0, alive)) / 2
        counts = np.arange(pairs + 1)
        settled = (stats.binom.sf(counts - 1, pairs, 0.5) < 0.025) & (counts / pairs >= 0.75)
        settled |= settled[::-1]
        error += alive[settled].sum()
        alive = np.where(settled, 0, alive)
    assert error > 0.1


@pytest.mark.parametrize("before", [0, 10])
@pytest.mark.parametrize("pairs", [10, 11, 12, 20, 33, 60, 200, 1000])
def test_at_the_level_of_a_look_the_wins_of_the_boundary_just_exclude_a_half(pairs, before):
    looks = Looks(repeated=True, before=before)
    level = level_of_look(pairs, 0.95, looks)
    # 9 of 10 pairs have a p of 0.0215 together.
    wins = fewest_wins(pairs, 0.95 if not before else 0.95 + 22 / 1024)
    assert stats.binomtest(wins, pairs).proportion_ci(level).low > 0.5
    assert stats.binomtest(wins - 1, pairs).proportion_ci(level).low < 0.5


def test_one_look_has_the_whole_confidence():
    assert level_of_look(7, 0.95, ONCE, family=4) == 0.95


def test_of_several_comparisons_each_has_its_share_of_the_error():
    assert level_of_look(20, 0.95, REPEATED, family=5) == pytest.approx(
        level_of_look(20, 0.99, REPEATED)
    )


@pytest.mark.parametrize(
    ("wins", "losses", "expected"),
    [
        (7, 0, "too_few_pairs"),
        (8, 0, "candidate_better"),
        (11, 1, "candidate_better"),
        (10, 2, "not_settled"),
        (9, 1, "not_settled"),
    ],
)
def test_the_same_rule_holds_at_each_look_with_its_level(wins, losses, expected):
    level = level_of_look(wins + losses, 0.95, REPEATED)
    assert judged(outcome(wins, losses), level) == expected


def test_repeated_looks_in_words_name_the_boundary_and_what_is_promised():
    told = looks_in_words(14, 0.95, Looks(repeated=True, before=10))
    assert "the first with 10 pairs, by the rule for one look." in told
    assert "a stricter level than 95 %, here 99.82 %: of 14 pairs at least 13 must be won" in told
    assert "at most 0.05 over all looks together" in told
    few = looks_in_words(5, 0.95, Looks(repeated=True, before=5))
    assert "of 5 pairs even all are too few" in few
    assert "the first" not in few
