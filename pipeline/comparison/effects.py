"""From a table of runs to effects: the paired differences of one cell over another.

This is the only way in which runs are compared: for the report, for `compare`, and for studies. A
caller makes a table with one row per run, and says which cells form pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.comparison.statistics import PairedComparison, holm, paired_comparison
from pipeline.comparison.verdict import ONCE, Looks, Verdict, level_of_look, verdict


@dataclass(frozen=True)
class Effect:
    """What a candidate gains over a baseline.

    Attributes:
        seeds: of each pair, the candidate's run first.
        left_out: seeds without a partner, the candidate's first.
        differences: of each pair, candidate minus baseline.
        paired: the statistics of the pairs.
        p: that of Wilcoxon's test, Holm-adjusted over the family; None if it cannot be computed.
        family: how many p values were adjusted together.
        verdict: see `pipeline.comparison.verdict`.
        confidence: of the intervals, and of the rule at this look.
        over_all_looks: the confidence of the rule; the same where there is one look.
        looks: how often it is looked at.
    """

    seeds: tuple[tuple[int, int], ...]
    left_out: tuple[tuple[int, ...], tuple[int, ...]]
    differences: tuple[float, ...]
    paired: PairedComparison
    p: float | None
    family: int
    verdict: Verdict
    confidence: float
    over_all_looks: float
    looks: Looks


def paired_seeds(candidate: Sequence[int], baseline: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the seeds of each pair: the shared seeds, in the candidate's order.

    If each side has a single run, the two are paired whatever their seeds.
    """
    shared = set(baseline)
    if pairs := [(seed, seed) for seed in candidate if seed in shared]:
        return pairs
    return [(candidate[0], baseline[0])] if len(candidate) == len(baseline) == 1 else []


def effects(  # noqa: PLR0913
    runs: pd.DataFrame,
    pairs: Sequence[tuple[object, object]],
    measure: str,
    confidence: float,
    *,
    smaller_is_better: bool = False,
    looks: Looks = ONCE,
) -> list[Effect]:
    """Returns the effect of each pair of cells; all pairs form one family.

    Args:
        runs: one row per run, with the columns `cell`, `seed` and the measure.
        pairs: each a candidate and a baseline, as in the column `cell`; the two share a seed, or
            have a single run each.
        measure: a column.
        confidence: of every interval, in (0, 1); over all looks, where they are repeated.
        smaller_is_better: whether smaller values of the measure are better.
        looks: how often it is looked at.
    """
    by_cell: dict[object, pd.Series[float]] = {
        cell: rows.set_index("seed")[measure] for cell, rows in runs.groupby("cell")
    }
    compared = []
    for pair in pairs:
        a, b = by_cell[pair[0]], by_cell[pair[1]]
        seeds = paired_seeds([int(seed) for seed in a.index], [int(seed) for seed in b.index])
        seeds_a, seeds_b = zip(*seeds, strict=True)
        left_out = (
            tuple(int(seed) for seed in a.index if seed not in seeds_a),
            tuple(int(seed) for seed in b.index if seed not in seeds_b),
        )
        candidate = a.loc[list(seeds_a)].to_numpy(np.float64)
        baseline = b.loc[list(seeds_b)].to_numpy(np.float64)
        with np.errstate(invalid="ignore"):  # inf - inf is nan: both runs diverged.
            differences = tuple((candidate - baseline).tolist())
        at_look = level_of_look(len(seeds), confidence, looks, len(pairs))
        paired = paired_comparison(
            candidate, baseline, at_look, smaller_is_better=smaller_is_better
        )
        compared.append((tuple(seeds), left_out, differences, paired, at_look))
    adjusted = holm([paired.wilcoxon_p for *_, paired, _ in compared])
    family = sum(p is not None for p in adjusted)
    return [
        Effect(
            seeds,
            left_out,
            differences,
            paired,
            p,
            family,
            verdict(paired, p, at_look, smaller_is_better=smaller_is_better),
            at_look,
            confidence,
            looks,
        )
        for (seeds, left_out, differences, paired, at_look), p in zip(
            compared, adjusted, strict=True
        )
    ]
