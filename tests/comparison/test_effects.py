import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.effects import effects, paired_seeds
from pipeline.comparison.verdict import ONCE, Looks


def runs(**cells):
    """A table of runs: the accuracy of each seed, by cell."""
    return pd.DataFrame(
        [
            {"cell": cell, "seed": seed, "accuracy": accuracy, "noise": -accuracy}
            for cell, values in cells.items()
            for seed, accuracy in values.items()
        ]
    )


def spaced(first, step=0.01, count=8):
    return {seed: first + step * seed for seed in range(count)}


def test_runs_are_paired_by_seed_whatever_their_order():
    table = runs(a={7: 1.0, 4: 0.5, 0: 0.75}, b={0: 0.25, 1: 0.5, 7: 0.6, 9: 0.4})

    (effect,) = effects(table, [("a", "b")], "accuracy", 0.95)

    assert effect.seeds == ((7, 7), (0, 0))
    assert effect.left_out == ((4,), (1, 9))
    assert effect.paired.mean == pytest.approx((0.4 + 0.5) / 2)
    assert effect.paired.wins == 2


@pytest.mark.parametrize(
    ("a", "b", "pairs"),
    [
        ([2, 0, 1], [1, 2], [(2, 2), (1, 1)]),
        ([3], [5], [(3, 5)]),
        ([3], [5, 6], []),
        ([0, 1], [2, 3], []),
    ],
)
def test_only_a_single_run_meets_a_run_of_another_seed(a, b, pairs):
    assert paired_seeds(a, b) == pairs


def test_sides_turn_the_effect_round():
    table = runs(a=spaced(0.9, 0.012), b=spaced(0.8))
    there, back = effects(table, [("a", "b"), ("b", "a")], "accuracy", 0.95)
    assert (there.verdict, back.verdict) == ("candidate_better", "baseline_better")
    assert there.paired.mean == -back.paired.mean


def test_the_measure_is_the_column_that_is_named():
    table = runs(a=spaced(0.9, 0.012), b=spaced(0.8))
    (effect,) = effects(table, [("a", "b")], "noise", 0.95)
    assert effect.verdict == "baseline_better"


def test_p_is_wilcoxons_adjusted_over_all_that_are_compared():
    mixed = [0.03, -0.01, 0.02, -0.02, 0.05, 0.01, 0.04, -0.03]
    both_ways = {seed: 0.8 + 0.01 * seed + gain for seed, gain in enumerate(mixed)}
    table = runs(a=spaced(0.9, 0.012), b=spaced(0.8), c=both_ways)

    family = effects(table, [("a", "b"), ("c", "b"), ("b", "b")], "accuracy", 0.95)

    # Two of 2⁸ ways, twice that of two; the larger is not multiplied. Equal runs have no p.
    larger = stats.wilcoxon(mixed).pvalue
    assert [effect.p for effect in family] == [pytest.approx(4 / 256), pytest.approx(larger), None]
    assert {effect.family for effect in family} == {2}


def test_confidence_is_that_of_intervals_and_verdict():
    five = {seed: 0.9 + 0.01 * seed for seed in range(5)}
    table = runs(a={seed: value + 0.1 + 0.001 * seed for seed, value in five.items()}, b=five)
    verdicts = [effects(table, [("a", "b")], "accuracy", level)[0].verdict for level in (0.9, 0.95)]
    assert verdicts == ["candidate_better", "too_few_pairs"]


def test_a_run_that_is_not_finite_leaves_no_number():
    (effect,) = effects(
        runs(a=spaced(0.9) | {3: np.nan}, b=spaced(0.8)), [("a", "b")], "accuracy", 0.95
    )
    assert (effect.paired.mean, effect.p, effect.verdict) == (None, None, "not_settled")


@pytest.mark.parametrize(
    ("smaller_is_better", "wins", "expected"),
    [(False, 8, "candidate_better"), (True, 0, "baseline_better")],
)
def test_the_direction_decides_who_wins_but_leaves_the_difference(
    smaller_is_better, wins, expected
):
    table = runs(a=spaced(0.9, 0.012), b=spaced(0.8))
    (effect,) = effects(table, [("a", "b")], "accuracy", 0.95, smaller_is_better=smaller_is_better)
    assert effect.paired.mean == pytest.approx(0.107)
    assert (effect.paired.wins, effect.verdict) == (wins, expected)


def test_differences_are_the_pairs_own():
    table = runs(a={7: 1.0, 4: 0.5, 0: 0.75}, b={0: 0.25, 1: 0.5, 7: 0.6, 9: 0.4})
    (effect,) = effects(table, [("a", "b")], "accuracy", 0.95)
    assert effect.differences == pytest.approx((0.4, 0.5))


def test_repeated_looks_take_a_stricter_level_for_the_intervals_and_the_rule():
    table = runs(a=spaced(0.9, 0.012, count=7), b=spaced(0.8, count=7))
    once, repeated = (
        effects(table, [("a", "b")], "accuracy", 0.95, looks=looks)[0]
        for looks in (ONCE, Looks(repeated=True))
    )
    assert (once.verdict, repeated.verdict) == ("candidate_better", "too_few_pairs")
    # With 8 pairs, the fewest, all must be won: 2 / 2**8.
    assert (once.confidence, repeated.over_all_looks) == (0.95, 0.95)
    assert repeated.confidence == pytest.approx(1 - 2 / 2**8, abs=1e-6)
    expected = stats.binomtest(7, 7).proportion_ci(repeated.confidence).low
    assert repeated.paired.probability_ci_low == pytest.approx(expected)

    table = runs(a=spaced(0.9, 0.012), b=spaced(0.8))
    (enough,) = effects(table, [("a", "b")], "accuracy", 0.95, looks=Looks(repeated=True))
    assert enough.verdict == "candidate_better"
