from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pipeline.comparison.statistics import paired_comparison
from pipeline.comparison.verdict import fewest_pairs, rule_in_words, verdict

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
