"""From a table of runs to effects: what one cell gains over another, run by run.

This is the one way in which runs are set against each other: for the report, for `compare`, for
studies. Whoever compares makes a table of runs, a row a run, and says which cells are pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.comparison.statistics import PairedComparison, holm, paired_comparison
from pipeline.comparison.verdict import Verdict, verdict


@dataclass(frozen=True)
class Effect:
    """What a candidate gains over a baseline.

    Attributes:
        seeds: of the candidate's and the baseline's run in each pair.
        left_out: seeds without a partner, of the candidate and of the baseline.
        paired: the statistics of the pairs.
        p: of Wilcoxon's test, Holm-adjusted over the family; None where there is none.
        family: how many p values were adjusted together.
        verdict: see `pipeline.comparison.verdict`.
    """

    seeds: tuple[tuple[int, int], ...]
    left_out: tuple[tuple[int, ...], tuple[int, ...]]
    paired: PairedComparison
    p: float | None
    family: int
    verdict: Verdict


def paired_seeds(candidate: Sequence[int], baseline: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the seeds of each pair: those that both have, in the candidate's order.

    A single run is paired with a single run whatever their seeds.
    """
    shared = set(baseline)
    if pairs := [(seed, seed) for seed in candidate if seed in shared]:
        return pairs
    return [(candidate[0], baseline[0])] if len(candidate) == len(baseline) == 1 else []


def effects(
    runs: pd.DataFrame, pairs: Sequence[tuple[object, object]], measure: str, confidence: float
) -> list[Effect]:
    """Returns the effect of each pair of cells; together they are one family.

    Args:
        runs: one row a run, with the columns `cell`, `seed` and the measure, of which more is
            better.
        pairs: candidate and baseline, as the column `cell` names them; each pair shares a seed, or
            is of single runs.
        measure: a column.
        confidence: of every interval, in (0, 1).
    """
    by_cell: dict[object, pd.Series[float]] = {
        cell: rows.set_index("seed")[measure] for cell, rows in runs.groupby("cell")
    }
    compared = []
    for candidate, baseline in pairs:
        ours, theirs = by_cell[candidate], by_cell[baseline]
        seeds = paired_seeds([int(one) for one in ours.index], [int(one) for one in theirs.index])
        own, others = zip(*seeds, strict=True)
        left_out = (
            tuple(int(seed) for seed in ours.index if seed not in own),
            tuple(int(seed) for seed in theirs.index if seed not in others),
        )
        a, b = (
            side.loc[list(chosen)].to_numpy(np.float64)
            for side, chosen in ((ours, own), (theirs, others))
        )
        compared.append((tuple(seeds), left_out, paired_comparison(a, b, confidence)))
    adjusted = holm([paired.wilcoxon_p for *_, paired in compared])
    family = sum(p is not None for p in adjusted)
    return [
        Effect(seeds, left_out, paired, p, family, verdict(paired, p, confidence))
        for (seeds, left_out, paired), p in zip(compared, adjusted, strict=True)
    ]
