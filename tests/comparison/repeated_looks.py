"""The rule for repeated looks on simulated pairs: how often it errs, and how many pairs it takes.

`python -m tests.comparison.repeated_looks` prints what docs/verdict.md quotes, in minutes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache

import click
import numpy as np
from scipy import stats
from tabulate import tabulate

from pipeline.commands.settle import BLOCK
from pipeline.comparison.statistics import paired_comparison
from pipeline.comparison.verdict import (
    ONCE,
    Looks,
    fewest_pairs,
    level_of_look,
    verdict,
)

CONFIDENCE, AT_MOST, SERIES = 0.95, 50, 2000
REPEATED = Looks(repeated=True)
FEWEST = fewest_pairs(level_of_look(1, CONFIDENCE, REPEATED))
FROM_THE_START = tuple((pairs, REPEATED) for pairs in range(FEWEST, AT_MOST + 1, BLOCK))


def after(before):
    """The looks of `settle` where there was one before, by the rule for one look."""
    repeated = Looks(repeated=True, before=before)
    return (before, ONCE), *(
        (pairs, repeated) for pairs in range(before + BLOCK, AT_MOST + 1, BLOCK)
    )


# Differences of two sides of which neither is likelier to win a pair, [series, pairs].
WITHOUT_DIFFERENCE = {
    "normal": lambda rng, size: rng.normal(size=size),
    "of skewed scores": lambda rng, size: rng.lognormal(size=size) - rng.lognormal(size=size),
    "skewed, median 0": lambda rng, size: rng.exponential(size=size) - np.log(2),
    "heavy-tailed": lambda rng, size: rng.standard_t(2, size=size),
    "discrete, with ties": lambda rng, size: (
        rng.binomial(360, 0.99, size) - rng.binomial(360, 0.99, size)
    ),
}


@dataclass(frozen=True)
class Ends:
    """Where each series ended: [series].

    Attributes:
        pairs: at how many; 0 where it was not settled.
        is_candidate: whether the candidate was said to be better.
    """

    pairs: np.ndarray
    is_candidate: np.ndarray


@cache
def wins_at(pairs, confidence):
    """How many wins exclude a probability of 0.5."""
    for wins in range(pairs + 1):
        if stats.binomtest(wins, pairs).proportion_ci(confidence).low > 0.5:
            return wins
    return pairs + 1


def ends(differences, looks, confidence=CONFIDENCE):
    """Looks at each series until it is settled.

    Args:
        differences: [series, pairs].
        looks: at how many pairs, and by which form of the rule.
        confidence: over all looks.
    """
    found = [_end(series, looks, confidence) for series in differences]
    pairs, better = zip(*found, strict=True)
    return Ends(np.array(pairs), np.array(better) == "candidate_better")


def _end(series, looks, confidence):
    for pairs, how in looks:
        first = series[:pairs]
        at_look = level_of_look(pairs, confidence, how)
        # Fewer wins cannot meet the second condition, and resampling would take long.
        if max((first > 0).sum(), (first < 0).sum()) < wins_at(pairs, at_look):
            continue
        paired = paired_comparison(first, np.zeros(pairs), at_look)
        told = verdict(paired, paired.wilcoxon_p, at_look)
        if told.endswith("better"):
            return pairs, told
    return 0, "not_settled"


def errors(looks, series=SERIES, seed=0):
    """The share of series without a difference in which a side was said to be better."""
    return {
        name: (ends(draw(np.random.default_rng(seed), (series, AT_MOST)), looks).pairs > 0).mean()
        for name, draw in WITHOUT_DIFFERENCE.items()
    }


def costs(effect, series=SERIES, seed=0):
    """What a difference of so many standard deviations takes, by either form of the rule.

    Returns the fewest pairs, fixed beforehand, that settle 80 % of series; then of repeated looks
    the mean number of pairs, the number by which 80 % are settled, and the share settled in the
    end. None where fewer than 80 % are.
    """
    drawn = np.random.default_rng(seed).normal(effect, 1, (series, AT_MOST))
    fixed = (
        pairs
        for pairs in range(fewest_pairs(CONFIDENCE), AT_MOST + 1)
        if (ends(drawn, [(pairs, ONCE)]).pairs > 0).mean() >= 0.8
    )
    looked = ends(drawn, FROM_THE_START)
    taken = np.where(looked.pairs > 0, looked.pairs, AT_MOST)
    by = [
        pairs
        for pairs, _ in FROM_THE_START
        if np.mean((looked.pairs > 0) & (taken <= pairs)) >= 0.8
    ]
    return next(fixed, None), taken.mean(), by[0] if by else None, (looked.pairs > 0).mean()


def main(series=SERIES):
    columns = {"from the start": FROM_THE_START, "after ten pairs, looked at once": after(10)}
    wrong = {name: errors(looks, series) for name, looks in columns.items()}
    rows = [
        [name, *(f"{100 * of[name]:.1f} %" for of in wrong.values())] for name in WITHOUT_DIFFERENCE
    ]
    click.echo(f"Wrong verdicts in {series} series without a difference, up to {AT_MOST} pairs")
    click.echo(tabulate(rows, ["differences", *columns], "github"))
    rows = []
    for effect in (0.5, 1, 2):
        fixed, mean, by, settled = costs(effect, series // 4)
        rows.append(
            [
                f"{effect} sd",
                fixed or f"> {AT_MOST}",
                f"{mean:.1f}",
                by or f"> {AT_MOST}",
                f"{100 * settled:.0f} %",
            ]
        )
    click.echo(f"\nPairs that a difference takes, in {series // 4} series of normal differences")
    header = [
        "difference",
        "fixed: settles 80 %",
        "repeated: mean",
        "repeated: settles 80 %",
        "settled in the end",
    ]
    click.echo(tabulate(rows, header, "github"))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
