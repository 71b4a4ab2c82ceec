"""How many pairs would probably settle a comparison, by simulation from those that are there."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.comparison.statistics import FEWEST_PAIRS, PairedComparison, tying_decimals
from pipeline.comparison.verdict import (
    MEANINGFUL,
    ONCE,
    Looks,
    fewest_together,
    level_of_look,
    verdict,
)
from pipeline.comparison.words import level

# Whether a comparison is settled, by its statistics, its p adjusted over the family, and the
# confidence of its intervals.
Settles = Callable[[PairedComparison, float, float], bool]
# The exact distribution of Wilcoxon's statistic is that of scipy up to so many pairs.
_MOST_EXACT = 50


@dataclass(frozen=True)
class Needed:
    """How many pairs would probably settle a comparison.

    Attributes:
        there: how many there are.
        pairs: how many it takes, those that are there included; None if `at_most` are not enough.
            Where the spread is not known, the fewest that the rule allows.
        is_spread_known: whether there are enough pairs to tell how they vary.
        ahead: the share of pairs won by the side that wins more; a tie counts half.
        power: the probability with which so many would settle it.
        at_most: the largest number that was tried.
    """

    there: int
    pairs: int | None
    is_spread_known: bool
    ahead: float
    power: float
    at_most: int


def settled_by_the_rule(paired: PairedComparison, p: float, confidence: float) -> bool:
    """Returns whether the one rule settles a comparison, in whichever direction."""
    return verdict(paired, p, confidence) in ("candidate_better", "baseline_better")


def pairs_needed(  # noqa: PLR0913
    differences: NDArray[np.floating],
    confidence: float,
    family: int = 1,
    *,
    looks: Looks = ONCE,
    settles: Settles = settled_by_the_rule,
    power: float = 0.8,
    at_most: int = 1000,
    series: int = 1000,
    seed: int = 0,
) -> Needed:
    """Returns how many pairs would settle a comparison with a probability of `power`.

    In each simulated series the pairs that are there stay, and those to come are drawn from them
    with replacement: so they have their mean and their spread. Each is judged by the rule itself,
    but with Student's interval in place of the bootstrap's, which would take minutes. Which side is
    better does not matter, for the rule is the same both ways.

    Args:
        differences: of the pairs that are there, [pairs], finite.
        confidence: of the rule, in (0, 1).
        family: how many p values are adjusted together. The largest factor of Holm's method is
            taken, so the number may be higher than it need be.
        looks: one, at the number that is returned; or repeated, of which that is the last.
        settles: the rule.
        power: in (0, 1).
        at_most: the largest number to try.
        series: how many are simulated.
        seed: of the simulation.
    """
    seen = np.asarray(differences, np.float64)
    seen = seen.round(tying_decimals(seen))
    there, at_most = len(seen), max(at_most, len(seen))
    ahead = 0.5 + abs(float(np.sign(seen).mean())) / 2
    fewest = fewest_together(confidence, family, looks)
    if there < FEWEST_PAIRS:
        return Needed(there, fewest, False, ahead, power, at_most)  # noqa: FBT003
    drawn = np.random.default_rng(seed).integers(there, size=(series, at_most - there))
    simulated = np.hstack([np.broadcast_to(seen, (series, there)), seen[drawn]])

    @cache
    def share_settled(pairs: int) -> float:
        at_look = level_of_look(pairs, confidence, looks, family)
        judged = _statistics(simulated[:, :pairs], at_look, family)
        return sum(settles(paired, p, at_look) for paired, p in judged) / series

    first = max(there, fewest)
    pairs = None
    if share_settled(at_most) >= power:
        pairs = first + bisect_left(range(first, at_most), power, key=share_settled)
    return Needed(there, pairs, True, ahead, power, at_most)  # noqa: FBT003


def needed_in_words(needed: Needed, within: str, add: Callable[[int], str]) -> str:
    """Returns how many pairs it takes, what that assumes, and how to add them.

    Args:
        needed: of a comparison that is not settled.
        within: what the size of the mean difference is probably at most, with its unit.
        add: returns a sentence on how to come to so many pairs.
    """
    if needed.pairs is not None and not needed.is_spread_known:
        return (
            f"How much pairs vary is not known from {needed.there}; a verdict takes at least "
            f"{needed.pairs}. {add(needed.pairs)}"
        )
    assumed = f"If the pairs to come vary like these {needed.there}"
    probability = f"with a probability of {level(needed.power)}, by simulation"
    if needed.pairs is None:
        share = f"{100 * MEANINGFUL:.0f} %"
        too_little = (
            f"and neither side wins clearly more than {share} of the pairs, as a verdict demands"
            if needed.ahead <= MEANINGFUL
            else "too little beside its spread"
        )
        return (
            f"{assumed}, not even {needed.at_most} in all would settle it {probability}: the mean "
            f"difference is probably within ± {within}, {too_little}."
        )
    return f"{assumed}, {needed.pairs} in all would settle it {probability}. {add(needed.pairs)}"


def _statistics(
    series: NDArray[np.float64], confidence: float, family: int
) -> list[tuple[PairedComparison, float]]:
    """Returns what the rule goes by, for each row of differences [series, pairs], and its p."""
    pairs = series.shape[1]
    means = series.mean(axis=1)
    halves = stats.t.ppf((1 + confidence) / 2, pairs - 1) * stats.sem(series, axis=1)
    wins, ties = (series > 0).sum(axis=1), (series == 0).sum(axis=1)
    counts = np.arange(1, pairs + 1)
    # Clopper-Pearson: the lower bound of each number of wins; the upper is its mirror image.
    low = np.concatenate([[0], stats.beta.ppf((1 - confidence) / 2, counts, pairs - counts + 1)])
    figures = {
        "mean": means,
        "ci_low": means - halves,
        "ci_high": means + halves,
        "wins": wins,
        "ties": ties,
        "probability_of_outperforming": (wins + ties / 2) / pairs,
        "probability_ci_low": low[wins],
        "probability_ci_high": 1 - low[pairs - wins - ties],
    }
    unused: Any = dict.fromkeys(("sd", "wilcoxon_p", "t_test_p", "pairing_correlation"))
    rows = zip(*(column.tolist() for column in figures.values()), strict=True)
    adjusted = np.minimum(1, family * _wilcoxon(series)).tolist()
    return [
        (PairedComparison(n=pairs, **dict(zip(figures, row, strict=True)), **unused), p)
        for row, p in zip(rows, adjusted, strict=True)
    ]


def _wilcoxon(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the p of Wilcoxon's test for each row; 1 where all differences are 0."""
    # All rows begin with the same pairs, so either all have a difference or, mostly, none has.
    p = np.ones(len(series))
    varied = series.any(axis=1)
    # Drawn with replacement they are tied, which sends scipy through all permutations of each.
    method = "exact" if series.shape[1] <= _MOST_EXACT else "asymptotic"
    if varied.any():
        p[varied] = stats.wilcoxon(series[varied], axis=1, method=method).pvalue
    return p
