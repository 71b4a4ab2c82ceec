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
# Differences with a mean of 0, of which one side is likelier to win a pair. The rule promises
# nothing of these, for it is about winning pairs; what it makes of them should be known.
LOPSIDED = {
    "63 % lost, by less than is won": lambda rng, size: rng.exponential(size=size) - 1,
    "80 % won, by a quarter of what is lost": lambda rng, size: (
        0.25 - 1.25 * (rng.random(size) < 0.2) + rng.normal(0, 0.01, size)
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


def errors(looks, series=SERIES, seed=0, differences=WITHOUT_DIFFERENCE):
    """The share of series in which a side was said to be better."""
    return {
        name: (ends(draw(np.random.default_rng(seed), (series, AT_MOST)), looks).pairs > 0).mean()
        for name, draw in differences.items()
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
    click.echo(f"Verdicts in {series} series without a difference, up to {AT_MOST} pairs")
    click.echo(_table_of_errors(columns, series, WITHOUT_DIFFERENCE))
    columns |= {f"{pairs} pairs, looked at once": [(pairs, ONCE)] for pairs in (10, 20)}
    click.echo(f"\nVerdicts in {series} series with a mean of 0, and one side likelier to win")
    click.echo(_table_of_errors(columns, series, LOPSIDED))
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


def _table_of_errors(columns, series, differences):
    told = [errors(looks, series, differences=differences) for looks in columns.values()]
    rows = [[name, *(f"{100 * of[name]:.1f} %" for of in told)] for name in differences]
    return tabulate(rows, ["differences", *columns], "github")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
