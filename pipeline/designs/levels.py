"""Levels of a factor compared with each other, in pairs or not."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.beyond_pairs import (
    CorrectedTest,
    Friedman,
    Ratio,
    corrected_test,
    friedman,
    ratio,
    unpaired_comparison,
)
from pipeline.comparison.needed import pairs_needed
from pipeline.comparison.statistics import PairedComparison, holm, paired_comparison
from pipeline.comparison.verdict import (
    Verdict,
    fewest_pairs,
    fewest_together,
    unpaired_verdict,
    verdict,
)
from pipeline.designs.answers import Basis, Comparison, Paired, Unpaired, UnpairedPair
from pipeline.designs.design import Design
from pipeline.designs.factors import ABSENT, Factor
from pipeline.designs.names import is_number
from pipeline.designs.pairing import Question, Unit
from pipeline.designs.values import MISSING

# Among more levels each is compared with one of them, not with each other.
MOST_WITH_EACH_OTHER = 6
# Each simulation takes up to a second; a longer one is not worth waiting for.
_MOST_SIMULATED, _MOST_PAIRS = 6, 200


def paired(design: Design, basis: Basis) -> Paired:
    """Returns every two levels of a factor that share a block, compared in pairs."""
    compared: list[Comparison] = []
    differences: list[NDArray[np.float64]] = []
    apart: list[tuple[str, str, str]] = []
    for question in design.questions:
        pairs = _pairs_of_levels(question.factor, question.runs, design.against)
        of_question = _comparisons(question, pairs, basis)
        met = {(of.candidate, of.baseline) for of, _ in of_question}
        apart += [(question.factor.label, *pair) for pair in pairs if pair not in met]
        compared += [of for of, _ in of_question]
        differences += [of_pairs for _, of_pairs in of_question]
    adjusted = holm([of.p for of in compared])
    family = sum(p is not None for p in adjusted)
    fewest = fewest_together(basis.confidence, max(family, 1))
    first = design.questions[0]
    judged = [
        replace(of, p=p, family=family, fewest=fewest, verdict=_verdict(of, p, basis))
        for of, p in zip(compared, adjusted, strict=True)
    ]
    if first.unit != "folds":
        judged = _with_needed(judged, differences, basis.confidence)
    return Paired(
        basis=basis,
        unit=first.unit,
        pair_by=first.pair_by,
        comparisons=tuple(judged),
        apart=tuple(apart),
        friedman=_friedman(first) if len(design.questions) == 1 and first.unit == "data" else None,
    )


def _with_needed(
    judged: list[Comparison], differences: list[NDArray[np.float64]], confidence: float
) -> list[Comparison]:
    """Returns the same, with how many pairs would settle what is open, unless that takes long."""
    is_open = [
        # How fewer pairs than any verdict takes vary says too little about those to come.
        of.verdict == "not_settled" and np.ptp(of_pairs) > 0
        for of, of_pairs in zip(judged, differences, strict=True)
    ]
    if sum(is_open) > _MOST_SIMULATED or max(map(len, differences), default=0) > _MOST_PAIRS:
        return judged
    return [
        # Their size does not matter to the rule, but small ones would be rounded.
        replace(of, needed=pairs_needed(of_pairs / np.abs(of_pairs).max(), confidence, of.family))
        if open_
        else of
        for of, of_pairs, open_ in zip(judged, differences, is_open, strict=True)
    ]


def _comparisons(
    question: Question, pairs: list[tuple[str, str]], basis: Basis
) -> list[tuple[Comparison, NDArray[np.float64]]]:
    """Returns the levels that share a block, compared, and their differences.

    Of ratios, these are of logarithms. The p values are not adjusted yet.
    """
    if question.unit == "alone":
        return []
    table = _by_block(question)
    compared = []
    for candidate, baseline in pairs:
        both = table[[candidate, baseline]].dropna()
        if both.empty:
            continue
        a, b = both[candidate].to_numpy(float), both[baseline].to_numpy(float)
        corrected = None
        differences = np.log(a) - np.log(b) if basis.metric.as_ratio else a - b
        if question.unit == "folds":
            corrected = corrected_test(differences, question.folds, basis.confidence)
        paired = paired_comparison(
            a, b, basis.confidence, smaller_is_better=basis.metric.smaller_is_better
        )
        of_level = question.runs["cell"].isin([candidate, baseline])
        compared.append(
            (
                Comparison(
                    factor=question.factor.label,
                    aliases=question.factor.aliases,
                    candidate=candidate,
                    baseline=baseline,
                    candidate_mean=float(a.mean()),
                    baseline_mean=float(b.mean()),
                    paired=paired,
                    ratio=_ratio(a, b, corrected, basis),
                    corrected=corrected,
                    without_partner=int(
                        (~question.runs.loc[of_level, "block"].isin(both.index)).sum()
                    ),
                    p=_decisive(question.unit, paired, corrected),
                    family=1,
                    fewest=fewest_pairs(basis.confidence),
                    verdict="not_settled",
                    needed=None,
                ),
                differences,
            )
        )
    return compared


def _by_block(question: Question) -> pd.DataFrame:
    """Returns the mean value of each cell, a column each, in each block, a row each."""
    return question.runs.pivot_table(index="block", columns="cell", values="value", aggfunc="mean")


def _decisive(
    unit: Unit, paired: PairedComparison, corrected: CorrectedTest | None
) -> float | None:
    if unit != "folds":
        return paired.wilcoxon_p
    return corrected.p if corrected else None


def _ratio(
    a: NDArray[np.float64], b: NDArray[np.float64], corrected: CorrectedTest | None, basis: Basis
) -> Ratio | None:
    if not basis.metric.as_ratio:
        return None
    of = ratio(a, b, basis.confidence)
    if corrected is None:
        return of
    return Ratio(of.ratio, math.exp(corrected.ci_low), math.exp(corrected.ci_high), corrected.p)


def _verdict(of: Comparison, p: float | None, basis: Basis) -> Verdict:
    """Returns what the rule says, of the interval that fits the design."""
    paired = of.paired
    if of.ratio is not None:
        low, high = of.ratio.ci_low, of.ratio.ci_high
        paired = replace(
            paired,
            ci_low=None if low is None else math.log(low),
            ci_high=None if high is None else math.log(high),
        )
    elif of.corrected is not None:
        paired = replace(paired, ci_low=of.corrected.ci_low, ci_high=of.corrected.ci_high)
    return verdict(paired, p, basis.confidence, smaller_is_better=basis.metric.smaller_is_better)


def _friedman(question: Question) -> Friedman | None:
    return friedman(_by_block(question).dropna().to_numpy(float))


def unpaired(question: Question, basis: Basis, against: str | None) -> Unpaired:
    """Returns every two levels of a factor compared by all their runs."""
    metric = basis.metric
    values = {
        str(cell): np.sort(of.to_numpy(float))
        for cell, of in question.runs.groupby("cell")["value"]
    }
    compared = []
    for candidate, baseline in _pairs_of_levels(question.factor, question.runs, against):
        a, b = values[candidate], values[baseline]
        scaled = (np.log(a), np.log(b)) if metric.as_ratio else (a, b)
        of = unpaired_comparison(
            *scaled, basis.confidence, smaller_is_better=metric.smaller_is_better
        )
        compared.append((candidate, baseline, float(a.mean()), float(b.mean()), of))
    adjusted = holm([of.mann_whitney_p for *_, of in compared])
    return Unpaired(
        basis=basis,
        comparisons=tuple(
            UnpairedPair(
                factor=question.factor.label,
                aliases=question.factor.aliases,
                candidate=candidate,
                baseline=baseline,
                candidate_mean=a_mean,
                baseline_mean=b_mean,
                compared=of,
                as_ratio=metric.as_ratio,
                p=p,
                family=len(adjusted),
                verdict=unpaired_verdict(
                    of,
                    p,
                    basis.confidence,
                    family=len(adjusted),
                    smaller_is_better=metric.smaller_is_better,
                ),
            )
            for (candidate, baseline, a_mean, b_mean, of), p in zip(compared, adjusted, strict=True)
        ),
    )


def _pairs_of_levels(
    factor: Factor, runs: pd.DataFrame, against: str | None
) -> list[tuple[str, str]]:
    """Returns which levels are compared, each a candidate and a baseline, in the factor's order."""
    levels = [level for level in factor.levels if (runs["cell"] == level).any()]
    baseline = None if against is None else level_of(factor, against)
    if baseline is None:
        if len(levels) <= MOST_WITH_EACH_OTHER:
            return list(combinations(levels, 2))
        baseline = baseline_of(factor, runs)
    return [(level, baseline) for level in levels if level != baseline]


def level_of(factor: Factor, named: str) -> str | None:
    """Returns the level that a user named, however it is written; None if there is none."""
    wanted = MISSING if named == ABSENT else named.strip()
    if wanted in factor.levels:
        return wanted
    numbers = {Decimal(level): level for level in factor.levels if is_number(level)}
    return numbers.get(Decimal(wanted)) if is_number(wanted) else None


def baseline_of(factor: Factor, runs: pd.DataFrame) -> str:
    """Returns the level with the most runs, the first one of several."""
    return str(runs["cell"].value_counts().reindex(list(factor.levels)).idxmax())
