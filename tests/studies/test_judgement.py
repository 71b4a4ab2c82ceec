import numpy as np
import pandas as pd
import pytest

from pipeline.studies.judgement import judge, needed, overall, too_few_seeds
from pipeline.studies.study import Rule

RATE = "training.optimizer.learning_rate"
RATES = (0.01, 0.1, 1.0)


def table(accuracy, seeds=8):
    """Makes rows whose accuracies are `accuracy(rate, variant, seed)`."""
    return pd.DataFrame(
        {
            "learning_rate": rate,
            "variant": name,
            "seed": seed,
            "test_accuracy": accuracy(rate, name, seed),
            "validation_accuracy": accuracy(rate, name, seed) + 0.001,
        }
        for rate in RATES
        for name in ("a", "b")
        for seed in range(seeds)
    )


def spread(seed):
    """Returns a small number that differs by seed, so that intervals have a width."""
    return 0.001 * np.sin(7 * seed)


AHEAD = table(lambda _, name, seed: 0.9 + (name == "a") * (0.02 + spread(seed)))
SEVEN = (
    "8 pairs cannot give a verdict where 7 comparisons are adjusted together, whatever they show: "
    "that takes 9 seeds."
)
RULE = Rule(measure="test_accuracy", expected="greater", at={RATE: 0.1})


def of(rule, **changes):
    return rule.model_copy(update=changes)


def only(judged):
    """Returns the outcome of a rule that is tested once."""
    (outcome,) = judged.outcomes
    return outcome


def needed_of(rule, judged):
    """Returns how many seeds the first of the judged rules would take."""
    return needed(rule, only(judged[0]))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (RULE, "supported"),
        (of(RULE, expected="smaller"), "refuted"),
        (of(RULE, baseline="a", candidate="b"), "refuted"),
        (of(RULE, expected="equal", margin=0.001), "refuted"),
        (of(RULE, expected="equal", margin=0.05), "supported"),
        (of(RULE, expected="equal", margin=0.02), "not settled"),
        (of(RULE, expected="equal", margin=0.02, baseline="a", candidate="b"), "not settled"),
        (of(RULE, expected="not_smaller", margin=0.001), "supported"),
        (of(RULE, expected="not_smaller", margin=0.001, baseline="a", candidate="b"), "refuted"),
        (of(RULE, expected="not_smaller", margin=0.02, baseline="a", candidate="b"), "not settled"),
        (of(RULE, expected="not_smaller", margin=0.05, baseline="a", candidate="b"), "supported"),
    ],
)
def test_a_clear_difference_is_judged_by_the_expectation(study, rule, expected):
    (judged,) = judge(study(rule), AHEAD)

    assert judged.verdict == expected
    assert abs(only(judged).effect.paired.mean) == pytest.approx(
        np.mean([0.02 + spread(seed) for seed in range(8)])
    )


@pytest.mark.parametrize("candidate", ["a", "b"])
def test_a_difference_as_large_as_the_margin_is_neither_equal_nor_unequal(study, candidate):
    # The interval of equal differences has no width.
    same = table(lambda _, name, __: 0.75 if name == candidate else 0.5)
    (judged,) = judge(study(of(RULE, expected="equal", margin=0.25)), same)

    assert judged.verdict == "not settled"
    assert abs(only(judged).effect.paired.ci_low) == 0.25


def test_a_difference_in_both_directions_is_not_settled(study):
    (judged,) = judge(study(RULE), table(lambda _, name, seed: 0.9 + (name == "a") * spread(seed)))

    assert judged.verdict == "not settled"


@pytest.mark.parametrize("rule", [RULE, of(RULE, expected="equal", margin=0.05)])
@pytest.mark.parametrize(("seeds", "verdict"), [(5, "not settled"), (6, "supported")])
def test_too_few_seeds_settle_nothing(study, rule, seeds, verdict):
    few = AHEAD[AHEAD["seed"] < seeds]

    assert [judged.verdict for judged in judge(study(rule), few)] == [verdict]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([RULE], ""),
        # 2 * 7 / 2**8 is more than 0.05, and 2 * 6 / 2**8 is not.
        ([RULE] * 6, ""),
        ([RULE] * 7, SEVEN),
        ([of(RULE, at=None, everywhere=True), *[RULE] * 4], SEVEN),
        ([of(RULE, expected="equal", margin=0.05)] * 7, ""),
        # Six of eight seeds are left, which are enough for a margin though not for two rules.
        (
            [
                RULE,
                of(
                    RULE,
                    at=None,
                    best_by="validation_accuracy",
                    chosen_on=2,
                    expected="equal",
                    margin=0.05,
                ),
            ],
            "",
        ),
        (
            [of(RULE, at=None, best_by="validation_accuracy", chosen_on=3)],
            "5 pairs cannot give a verdict, whatever they show: that takes 6 seeds.",
        ),
    ],
)
def test_too_few_seeds_are_told_of_before_they_are_trained(study, rules, told):
    assert too_few_seeds(study(*rules)) == told


def test_each_variant_is_scored_at_the_rate_that_other_seeds_chose(study):
    # On the seeds that choose, A is best at 1 and B at 0.01; on the scored seeds, at other rates.
    def accuracy(rate, name, seed):
        best = rate == (1.0 if name == "a" else 0.01)
        if seed < 2:
            return 0.95 if best else 0.9
        return 0.8 + (name == "a") * (0.05 + spread(seed)) if best else 0.99

    rule = of(RULE, at=None, best_by="validation_accuracy", chosen_on=2)
    (judged,) = judge(study(rule), table(accuracy))

    assert only(judged).chosen == {"a": {"learning_rate": 1.0}, "b": {"learning_rate": 0.01}}
    assert only(judged).effect.paired.n == 6
    assert only(judged).means == (pytest.approx(0.85, abs=0.001), pytest.approx(0.8))


def test_the_largest_rate_is_taken_per_seed_and_is_0_where_none_reaches_the_measure(study):
    def accuracy(rate, name, seed):
        return float(rate <= (1.0 if name == "a" else 0.01) and not (name == "b" and seed == 0))

    rule = of(RULE, at=None, largest=RATE, reaching=1.0)
    (judged,) = judge(study(rule), table(accuracy))

    # By hand: A 1 on every seed; B 0.01 but 0 on seed 0.
    assert only(judged).means == (1.0, pytest.approx(7 * 0.01 / 8))
    assert judged.verdict == "supported"


def test_the_point_with_the_smallest_loss_is_the_best_and_so_of_its_mean(study):
    # As above, with losses: on the seeds that choose, A's is smallest at 1 and B's at 0.01.
    def loss(rate, name, seed):
        best = rate == (1.0 if name == "a" else 0.01)
        return (0.05 if best else 0.1) if seed < 2 else 0.2

    losses = table(loss).rename(columns={"test_accuracy": "test_loss"})
    losses["validation_expected_calibration_error"] = losses["test_loss_mean"] = losses["test_loss"]
    for by in ("test_loss", "test_loss_mean", "validation_expected_calibration_error"):
        rule = of(RULE, measure="test_loss", at=None, best_by=by, chosen_on=2)
        (judged,) = judge(study(rule), losses)
        assert only(judged).chosen == {"a": {"learning_rate": 1.0}, "b": {"learning_rate": 0.01}}


def test_the_largest_rate_with_a_small_loss_is_that_at_which_it_is_small_enough(study):
    losses = table(lambda rate, name, _: rate * (1 if name == "a" else 5)).rename(
        columns={"test_accuracy": "test_loss"}
    )
    rule = of(RULE, measure="test_loss", at=None, largest=RATE, reaching=0.1)
    (judged,) = judge(study(rule), losses)
    # By hand: A's loss is 0.1 at 0.1; B's is 0.05 at 0.01, and 0.5 at 0.1.
    assert only(judged).means == (pytest.approx(0.1), pytest.approx(0.01))


def test_p_values_are_those_of_a_family(study):
    rules = [RULE, of(RULE, at={RATE: 1.0}), of(RULE, at={RATE: 0.01})]

    judged = judge(study(*rules), AHEAD)

    # Wilcoxon, eight of eight pairs won: 2 / 2 ** 8. Holm over three equal ones: three times that.
    assert [only(rule).effect.p for rule in judged] == [pytest.approx(3 * 2 / 256)] * 3


@pytest.mark.parametrize(("expected", "alone"), [("greater", "supported"), ("smaller", "refuted")])
def test_a_rule_that_is_settled_alone_may_not_be_settled_beside_another(study, expected, alone):
    rules = [of(RULE, at={RATE: rate}, expected=expected) for rate in (0.1, 1.0)]
    six = AHEAD[AHEAD["seed"] < 6]

    (single,) = judge(study(rules[0]), six)
    two = judge(study(*rules), six)

    # Wilcoxon, six of six pairs won: 2 / 2 ** 6, which is below 0.05. With two, Holm doubles it.
    assert (only(single).effect.p, single.verdict) == (pytest.approx(0.03125), alone)
    assert [only(rule).effect.p for rule in two] == [pytest.approx(0.0625)] * 2
    assert [rule.verdict for rule in two] == ["not settled"] * 2
    assert overall(two) == "not settled"


def test_it_takes_more_seeds_for_a_rule_beside_another(study):
    rules = [of(RULE, at={RATE: rate}) for rate in (0.1, 1.0)]
    # All pairs are won, so Wilcoxon's p is 2 / 2**n: 6 make at most 0.05, and 7 half of that.
    five, six = (AHEAD[AHEAD["seed"] < seeds] for seeds in (5, 6))

    assert needed_of(rules[0], judge(study(rules[0]), five)).pairs == 6
    assert needed_of(rules[0], judge(study(*rules), six)).pairs == 7
    assert needed_of(rules[0], judge(study(rules[0]), six)) is None


def test_a_rule_that_no_number_of_seeds_settles_is_told_from_one_with_too_few(study):
    equal = of(RULE, expected="equal", margin=0.05)
    wide = table(lambda _, name, seed: 0.5 + (name == "a") * 0.1 * np.sin(7 * seed))

    # Whether its interval is within the margin is asked of at least as many as a verdict takes.
    assert needed_of(equal, judge(study(equal), AHEAD[AHEAD["seed"] < 5])).pairs == 6
    assert needed_of(RULE, judge(study(RULE), wide)).pairs is None


def test_of_one_seed_it_is_known_how_many_a_rule_takes_at_least(study):
    told = needed_of(RULE, judge(study(RULE), AHEAD[AHEAD["seed"] < 1]))
    assert (told.pairs, told.is_spread_known) == (6, False)


def test_of_differences_that_are_not_finite_nothing_follows(study):
    infinite = table(lambda _, name, seed: np.inf if (name, seed) == ("a", 3) else 0.5)
    assert needed_of(RULE, judge(study(RULE), infinite)) is None


def test_a_study_is_supported_by_all_its_rules_and_refuted_by_one(study):
    supported, against = RULE, of(RULE, expected="smaller")
    unsettled = of(RULE, expected="equal", margin=0.02)

    assert overall(judge(study(supported, supported), AHEAD)) == "supported"
    assert overall(judge(study(supported, unsettled), AHEAD)) == "not settled"
    assert overall(judge(study(supported, unsettled, against), AHEAD)) == "refuted"


def test_a_change_between_two_points_is_compared_with_the_baselines_change(study):
    # From 0.01 to 0.1 A loses 0.1 and B half of that; at 0.1 itself A is still ahead.
    def accuracy(rate, name, seed):
        lost = {"a": 0.1, "b": 0.05}[name] + spread(seed) * (name == "a")
        return 0.9 + (name == "a") * 0.2 - lost * (rate == 0.1)

    rule = of(RULE, expected="smaller", minus={RATE: 0.01})
    (judged,) = judge(study(rule), table(accuracy))

    assert only(judged).means == (pytest.approx(-0.1, abs=0.001), pytest.approx(-0.05))
    assert judged.verdict == "supported"


EVERYWHERE = of(RULE, at=None, everywhere=True)


def test_a_rule_that_holds_everywhere_is_tested_at_each_point(study):
    (judged,) = judge(study(EVERYWHERE), AHEAD)

    assert [outcome.at for outcome in judged.outcomes] == [{RATE: rate} for rate in RATES]
    # Wilcoxon, eight of eight pairs won: 2 / 2 ** 8. Holm over three equal ones: three times that.
    assert [outcome.effect.p for outcome in judged.outcomes] == [pytest.approx(3 * 2 / 256)] * 3
    assert judged.verdict == "supported"


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.02, "supported"), (0.0, "not settled"), (-0.02, "refuted")]
)
def test_one_point_decides_whether_a_claim_holds_everywhere(study, gain, verdict):
    def accuracy(rate, name, seed):
        return 0.9 + (name == "a") * ((gain if rate == 0.1 else 0.02) + spread(seed))

    judged = judge(study(EVERYWHERE), table(accuracy))

    assert [outcome.verdict for outcome in judged[0].outcomes] == [
        "supported",
        verdict,
        "supported",
    ]
    assert overall(judged) == verdict


def test_the_points_of_a_rule_share_the_family_with_other_rules(study):
    six = AHEAD[AHEAD["seed"] < 6]
    everywhere, single = judge(study(EVERYWHERE, RULE), six)

    # Four times 2 / 2 ** 6 is 0.125: six pairs are too few for a family of four.
    p_values = [outcome.effect.p for outcome in (*everywhere.outcomes, *single.outcomes)]
    assert p_values == [pytest.approx(4 * 2 / 64)] * 4
    assert (everywhere.verdict, single.verdict) == ("not settled", "not settled")


def test_a_study_tests_the_points_that_its_rules_use(study):
    at_1, change = of(RULE, at={RATE: 1.0}), of(RULE, minus={"learning_rate": 0.01})
    best = of(RULE, at=None, best_by="validation_accuracy", chosen_on=2)

    def rates(*rules):
        return [point[RATE] for point in study(*rules).tested()]

    assert rates(RULE) == [0.1]
    assert rates(at_1, RULE) == [0.1, 1.0]
    assert rates(change) == [0.01, 0.1]
    assert rates(EVERYWHERE) == rates(RULE, best) == list(RATES)


def test_where_nothing_differs_no_number_of_seeds_is_promised(study):
    judged = judge(study(RULE), table(lambda *_: 0.9))

    more = needed_of(RULE, judged)

    assert more is not None
    assert more.pairs is None


@pytest.mark.parametrize(
    ("number", "changes", "expected"),
    [
        (0.91, {}, "supported"),
        (0.93, {}, "refuted"),
        (0.92, {}, "not settled"),
        (0.92, {"expected": "equal", "margin": 0.005}, "supported"),
        (0.90, {"expected": "equal", "margin": 0.005}, "refuted"),
    ],
)
def test_a_rule_compares_with_a_number(study, number, changes, expected):
    (judged,) = judge(study(of(RULE, number=number, **changes)), AHEAD)

    outcome = only(judged)
    ahead = AHEAD[(AHEAD["variant"] == "a") & (AHEAD["learning_rate"] == 0.1)]["test_accuracy"]
    assert judged.verdict == expected
    assert judged.baseline is None
    assert outcome.means == (pytest.approx(ahead.mean()), number)
    assert outcome.effect.differences == pytest.approx(ahead - number)


def test_a_chosen_point_is_compared_with_a_number(study):
    rule = of(RULE, at=None, best_by="validation_accuracy", chosen_on=2, number=0.91)
    rows = AHEAD.assign(validation_accuracy=AHEAD["learning_rate"])
    (judged,) = judge(study(rule), rows)

    assert only(judged).chosen == {"a": {"learning_rate": rows["learning_rate"].max()}}
