"""The rule by which a comparison is decided, in code and in words.

One rule, fixed before the runs, decides every comparison. A candidate is better if

1. the interval of the mean difference lies above 0, or below 0 if smaller values are better;
2. the interval of its probability of outperforming lies above 0.5, and the probability itself is at
   least `MEANINGFUL` (Bouthillier et al. 2021, "Accounting for variance in machine learning
   benchmarks", section 4);
3. Wilcoxon's p, adjusted over all effects examined together (Holm 1979), is at most
   1 - confidence.

A baseline is better by the mirror image of this. Fewer pairs than `fewest_pairs` give no verdict.

Whoever adds pairs until there is a verdict looks more than once, and each look could err. There the
same rule holds at every look, with a stricter confidence: that of `level_of_look`. Over all looks,
however many there are and whenever they end, a verdict is then wrong with a probability of at most
1 - confidence, if neither side is the likelier one to win a pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from pipeline.comparison.words import level

if TYPE_CHECKING:
    from pipeline.comparison.beyond_pairs import UnpairedComparison
    from pipeline.comparison.statistics import PairedComparison

Verdict = Literal["candidate_better", "baseline_better", "not_settled", "too_few_pairs"]

# The lowest probability of outperforming that is meaningful (Bouthillier et al. 2021).
MEANINGFUL = 0.75


@dataclass(frozen=True)
class Looks:
    """How often a comparison is looked at.

    Attributes:
        repeated: whether pairs are added until there is a verdict. Else their number was fixed.
        before: at how many pairs there had been a look by the rule for one; 0 if at none.
    """

    repeated: bool = False
    before: int = 0


ONCE = Looks()


def verdict(
    paired: PairedComparison, p: float | None, confidence: float, *, smaller_is_better: bool = False
) -> Verdict:
    """Returns which of the two is better.

    Args:
        paired: candidate against baseline.
        p: that of Wilcoxon's test, adjusted over the family; None if it cannot be computed.
        confidence: of the intervals, in (0, 1).
        smaller_is_better: whether smaller values are better, as `paired` counted its wins.
    """
    if paired.n < fewest_pairs(confidence):
        return "too_few_pairs"
    low, high = paired.ci_low, paired.ci_high
    if low is None or high is None or p is None or p > 1 - confidence:
        return "not_settled"
    if smaller_is_better:
        low, high = -high, -low
    probability = paired.probability_of_outperforming
    if low > 0 and paired.probability_ci_low > 0.5 and probability >= MEANINGFUL:
        return "candidate_better"
    if high < 0 and paired.probability_ci_high < 0.5 and 1 - probability >= MEANINGFUL:
        return "baseline_better"
    return "not_settled"


def unpaired_verdict(
    compared: UnpairedComparison,
    p: float | None,
    confidence: float,
    *,
    family: int = 1,
    smaller_is_better: bool = False,
) -> Verdict:
    """Returns which of two is better whose runs are not paired, by the same rule as far as may be.

    The interval is Welch's, p is the Mann-Whitney test's, and of the probability of outperforming
    only the value counts, because the test is of that probability.

    Args:
        compared: candidate against baseline.
        p: adjusted over the family.
        confidence: of the interval, in (0, 1).
        family: how many p values were adjusted together.
        smaller_is_better: whether smaller values are better.
    """
    n, m = compared.n_candidate, compared.n_baseline
    # The smallest p that these numbers of runs can have: every run of one beats all of the other.
    if family * 2 / math.comb(n + m, n) > 1 - confidence:
        return "too_few_pairs"
    low, high = compared.ci_low, compared.ci_high
    if low is None or high is None or p is None or p > 1 - confidence:
        return "not_settled"
    if smaller_is_better:
        low, high = -high, -low
    probability = compared.probability_of_outperforming
    if low > 0 and probability >= MEANINGFUL:
        return "candidate_better"
    if high < 0 and 1 - probability >= MEANINGFUL:
        return "baseline_better"
    return "not_settled"


def fewest_pairs(confidence: float) -> int:
    """Returns how many pairs, all won, it takes to exclude a probability of 0.5: 6 at 95 %.

    With n wins in n pairs, the Clopper-Pearson bound is `((1 - confidence) / 2) ** (1 / n)`.
    Wilcoxon's p is then `2 / 2 ** n`, which is at most `1 - confidence`.
    """
    return math.floor(math.log((1 - confidence) / 2) / math.log(0.5)) + 1


def fewest_together(confidence: float, family: int, looks: Looks = ONCE) -> int:
    """Returns how many pairs it takes where p is adjusted over a family: 8 over 4 at 95 %.

    With n pairs, all won, Wilcoxon's p is `2 / 2 ** n`; Holm multiplies the smallest by the family.

    Args:
        confidence: over all looks, in (0, 1).
        family: how many comparisons are made together, at least 1.
        looks: how often they are looked at.
    """
    return fewest_pairs(level_of_look(1, 1 - (1 - confidence) / family, looks))


def too_few_in_words(pairs: int, confidence: float, family: int, looks: Looks = ONCE) -> str:
    """Returns how many seeds a verdict takes; '' where p can be small enough with these pairs.

    Args:
        pairs: how many there are, or will be.
        confidence: see `fewest_together`, as for the others.
        family: likewise.
        looks: likewise.
    """
    fewest = fewest_together(confidence, family, looks)
    if pairs >= fewest:
        return ""
    together = f" where {family} comparisons are adjusted together" if family > 1 else ""
    there = f"{pairs} {'pair' if pairs == 1 else 'pairs'}"
    return (
        f"{there} cannot give a verdict{together}, whatever they show: that takes {fewest} seeds."
    )


def level_of_look(pairs: int, confidence: float, looks: Looks, family: int = 1) -> float:
    """Returns the confidence that the rule takes at a look.

    With repeated looks it is the level at which `fewest_wins` wins exclude a probability of 0.5.
    Then the second condition alone holds the error over all looks below 1 - confidence.

    Args:
        pairs: how many there are at this look.
        confidence: over all looks, in (0, 1).
        looks: where there is one, it has the whole confidence.
        family: how many comparisons are made together. Where looks are repeated, each has an
            equal share of the error.
    """
    return _at_look(pairs, _left(confidence, looks, family)) if looks.repeated else confidence


def fewest_wins(pairs: int, confidence: float) -> int | None:
    """Returns how many pairs must be won at one of many looks; None if even all are too few.

    The boundary of Robbins (1970, "Statistical methods related to the law of the iterated
    logarithm", Ann. Math. Statist. 41): if both sides are equally likely to win a pair, the
    probability that `(pairs + 1) * comb(pairs, wins) / 2**pairs` is ever at most `1 - confidence`,
    at any number of pairs, is itself at most that. It is computed with whole numbers, the same on
    every machine.
    """
    winning = range(pairs // 2 + 1, pairs + 1)
    return next((wins for wins in winning if _is_beyond(wins, pairs, confidence)), None)


def _is_beyond(wins: int, pairs: int, confidence: float) -> bool:
    return (pairs + 1) * math.comb(pairs, wins) / 2**pairs <= 1 - confidence


def _left(confidence: float, looks: Looks, family: int) -> float:
    """Returns the confidence over all repeated looks: what a look before them left of the error."""
    error = (1 - confidence) / family
    return 1 - (error - _spent(looks.before, error))


def _spent(pairs: int, error: float) -> float:
    """Returns the probability with which the second condition errs at one look, at most `error`."""
    meaningful = range(math.ceil(MEANINGFUL * pairs), pairs + 1)
    sizes = (_both_tails(wins, pairs) for wins in meaningful if pairs)
    return next((size for size in sizes if size < error), 0.0)


def _both_tails(wins: int, pairs: int) -> float:
    """Returns the probability that either side wins so many pairs or more, by chance alone."""
    return 2 * sum(math.comb(pairs, count) for count in range(wins, pairs + 1)) / 2**pairs


@cache
def _at_look(pairs: int, confidence: float) -> float:
    while (wins := fewest_wins(pairs, confidence)) is None:
        # Of too few pairs it is the level of the fewest: that says that they are too few.
        pairs += 1
    # A hair more, so that so many wins exclude 0.5 whatever way their interval is rounded.
    return 1 - _both_tails(wins, pairs) * (1 + 1e-6)


def rule_in_words(confidence: float, family: int = 1, fewest: int | None = None) -> str:
    """Returns the rule in words.

    Args:
        confidence: of the intervals at this look, in (0, 1).
        family: how many p values were adjusted together.
        fewest: pairs that a verdict takes, if they are not those of one look.
    """
    alone, together = fewest_pairs(confidence), fewest_together(confidence, max(family, 1))
    fewer = (
        f", and with fewer than {together} in each of the {family} there is none either"
        if fewest is None and together > alone
        else ""
    )
    adjusted = f", adjusted over the {family} comparisons made here (Holm)," if family > 1 else ""
    return (
        "The rule, fixed beforehand: one is better than the other if the interval of the mean "
        f"difference excludes 0, its probability of outperforming is at least {MEANINGFUL} with an "
        "interval that excludes 0.5 (Bouthillier et al. 2021), and the p value of Wilcoxon's "
        f"signed-rank test{adjusted} is at most {1 - confidence:.2g}. With fewer than "
        f"{fewest or alone} pairs there is no verdict{fewer}."
    )


def looks_in_words(pairs: int, confidence: float, looks: Looks) -> str:
    """Returns in words that looks were repeated, and what that asks of the last one.

    Args:
        pairs: how many there are.
        confidence: over all looks, in (0, 1).
        looks: repeated ones.
    """
    wins = fewest_wins(pairs, _left(confidence, looks, 1))
    boundary = "even all are too few" if wins is None else f"at least {wins} must be won"
    # Of too few pairs, a look by that rule could not have settled anything.
    counts = _spent(looks.before, 1 - confidence) > 0
    before = f", the first with {looks.before} pairs, by the rule for one look" if counts else ""
    return (
        f"Looks were repeated while pairs were added{before}. So each is held to a stricter level "
        f"than {level(confidence)}, here {level(level_of_look(pairs, confidence, looks))}: of "
        f"{pairs} pairs {boundary} (the boundary of Robbins 1970). If neither side is likelier to "
        f"win a pair, the probability of a wrong verdict is at most {1 - confidence:.2g} over all "
        "looks together."
    )
