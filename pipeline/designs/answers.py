"""What can be said of a design: an answer of its own for each kind."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.beyond_pairs import (
    CorrectedTest,
    Friedman,
    Ratio,
    Trend,
    UnpairedComparison,
    corrected_test,
    expected_best,
    friedman,
    ratio,
    trend,
    unpaired_comparison,
)
from pipeline.comparison.statistics import PairedComparison, holm, paired_comparison
from pipeline.comparison.verdict import Verdict, fewest_pairs, unpaired_verdict, verdict
from pipeline.designs.asked import Inference, LeftOut
from pipeline.designs.columns import together
from pipeline.designs.design import Design
from pipeline.designs.factors import FEWEST_FOR_TREND, MOST_COMPARED, Factor
from pipeline.designs.metric import Metric
from pipeline.designs.pairing import Confounder, Question, Unit
from pipeline.designs.values import ordered
from pipeline.errors import ArgumentError

# Among more levels each is compared with one of them, not with each other.
_ALL_PAIRS = 6
# `paired_comparison` rounds differences to nine decimals; smaller values are scaled up for it.
_SMALL = 1e-3
_SHOWN = 10


@dataclass(frozen=True)
class Basis:
    """What an answer rests on.

    Attributes:
        metric: what was compared.
        runs: how many runs count.
        confidence: of every interval, in (0, 1).
        inferences: what was inferred.
        left_out: runs that do not count.
        copies: how many runs count as one with another, because they are the same.
        repeats: how many were averaged with others of the same cell and block.
        confounders: by factor, what changes with it.
    """

    metric: Metric
    runs: int
    confidence: float
    inferences: tuple[Inference, ...]
    left_out: tuple[LeftOut, ...]
    copies: int
    repeats: int
    confounders: tuple[tuple[str, tuple[Confounder, ...]], ...]


@dataclass(frozen=True)
class Comparison:
    """Two levels of a factor in pairs.

    Attributes:
        factor: what is compared.
        candidate: a level.
        baseline: another one.
        candidate_mean: over the pairs; of a ratio, the geometric mean.
        baseline_mean: the same of the baseline.
        paired: candidate minus baseline.
        ratio: candidate over baseline; None if the metric is no time.
        corrected: where pairs are folds, the test that allows for what they share; else None.
        without_partner: runs of either level without one of the other in their block.
        p: Wilcoxon's, or the corrected test's; Holm-adjusted over the family.
        family: how many p values were adjusted together.
        fewest: how many pairs, all won, a verdict takes in this family.
        verdict: see `pipeline.comparison.verdict`.
    """

    factor: str
    candidate: str
    baseline: str
    candidate_mean: float
    baseline_mean: float
    paired: PairedComparison
    ratio: Ratio | None
    corrected: CorrectedTest | None
    without_partner: int
    p: float | None
    family: int
    fewest: int
    verdict: Verdict


@dataclass(frozen=True)
class Paired:
    """Runs in pairs or larger blocks.

    Attributes:
        basis: what it rests on.
        unit: what a block is.
        pair_by: what the runs of a block share.
        comparisons: of each factor, in order.
        friedman: of all levels at once, where blocks are data and there are more than two levels.
    """

    basis: Basis
    unit: Unit
    pair_by: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    friedman: Friedman | None


@dataclass(frozen=True)
class UnpairedPair:
    """Two levels whose runs share nothing; as in `Comparison`, with the statistics of `compared`."""

    factor: str
    candidate: str
    baseline: str
    candidate_mean: float
    baseline_mean: float
    compared: UnpairedComparison
    as_ratio: bool
    p: float | None
    family: int
    verdict: Verdict


@dataclass(frozen=True)
class Unpaired:
    """Repeated runs that share no seed, fold, data set or other setting."""

    basis: Basis
    comparisons: tuple[UnpairedPair, ...]


@dataclass(frozen=True)
class StratumTrend:
    """A trend over runs that differ in one number only.

    Attributes:
        where: what these runs share and others do not: `experiment kettle`; '' if there are no
            others.
        trend: None if the metric does not vary.
        points: the number and the metric of each point.
    """

    where: str
    trend: Trend | None
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Trends:
    """One run, or a mean of some, for each of many values of a number.

    Attributes:
        basis: what it rests on.
        factor: the number's name.
        trends: one for each group of runs that differ in the number only.
        elsewhere: how many runs are in groups too small for a trend.
    """

    basis: Basis
    factor: str
    trends: tuple[StratumTrend, ...]
    elsewhere: int


@dataclass(frozen=True)
class Cell:
    """All runs of one level.

    Attributes:
        level: its value, or its combination of values.
        runs: how many, copies not counted.
        mean: of the metric.
        low: the smallest value.
        high: the largest one.
        beside: what else these runs were made with: the values of each confounder.
    """

    level: str
    runs: int
    mean: float
    low: float
    high: float
    beside: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Values:
    """Levels that cannot be compared, because hardly any run has a partner or a repetition.

    Attributes:
        basis: what it rests on.
        factor: what differs.
        cells: each level with its values, in order.
        fewest: how many runs of each level, all paired, a verdict takes.
    """

    basis: Basis
    factor: str
    cells: tuple[Cell, ...]
    fewest: int


@dataclass(frozen=True)
class Search:
    """Many settings, of which the best was picked.

    Attributes:
        basis: what it rests on.
        factor: what was searched over.
        settings: how many.
        best: the best settings, the best first.
        ahead: how far the best lies from the mean of all, in standard deviations; None if the
            metric does not vary.
        expected_ahead: how far the best of as many normal values lies from their mean.
    """

    basis: Basis
    factor: str
    settings: int
    best: tuple[Cell, ...]
    ahead: float | None
    expected_ahead: float


Answer = Paired | Unpaired | Trends | Values | Search


def answer(design: Design, confidence: float) -> Answer:
    """Returns what can be said of a design.

    Args:
        design: what is compared, and how.
        confidence: of every interval, in (0, 1).

    Raises:
        ArgumentError: if `design.against` is no level of what is compared.
    """
    questions = design.questions
    first = questions[0]
    basis = _basis(design, confidence)
    if len(questions) == 1:
        if first.factor.is_number:
            return _trends(first, basis)
        if len(first.factor.levels) > MOST_COMPARED and not design.against:
            return _search(first, _beside(basis, first))
        if first.unit == "alone" and (first.runs.groupby("cell").size() > 1).sum() > 1:
            return _unpaired(first, basis, design.against)
    paired = _paired(design, basis)
    if any(comparison.paired.n > 1 for comparison in paired.comparisons):
        return paired
    return _values(first, _beside(basis, first))


def _beside(basis: Basis, question: Question) -> Basis:
    """Returns the basis of an answer without pairs."""
    told = tuple(of for of in basis.inferences if of not in question.told)
    differing = ((question.factor.label, question.differing),) if question.differing else ()
    return replace(basis, inferences=told, confounders=differing, repeats=0)


def _basis(design: Design, confidence: float) -> Basis:
    questions = design.questions
    return Basis(
        metric=design.metric,
        runs=design.runs,
        confidence=confidence,
        inferences=(*design.inferences, *design.of_pairs),
        left_out=design.left_out,
        copies=max(question.copies for question in questions),
        repeats=max(question.repeats for question in questions),
        confounders=tuple(
            (question.factor.label, question.confounders)
            for question in questions
            if question.confounders
        ),
    )


def _pairs_of_levels(
    factor: Factor, runs: pd.DataFrame, against: str | None
) -> list[tuple[str, str]]:
    """Returns which levels are compared, each a candidate and a baseline, in the factor's order."""
    levels = [level for level in factor.levels if (runs["cell"] == level).any()]
    if against is None and len(levels) <= _ALL_PAIRS:
        return list(combinations(levels, 2))
    if against is not None and against not in levels:
        raise ArgumentError(
            f"--against {against!r} is no value of {factor.label}; it has {', '.join(levels)}"
        )
    baseline = against or str(runs["cell"].value_counts().reindex(levels).idxmax())
    return [(level, baseline) for level in levels if level != baseline]


def _paired(design: Design, basis: Basis) -> Paired:
    compared = [
        comparison
        for question in design.questions
        for comparison in _comparisons(question, basis, design.against)
    ]
    adjusted = holm([of.p for of in compared])
    family = sum(p is not None for p in adjusted)
    # Wilcoxon's p of n pairs, all won, is 2 / 2**n; Holm multiplies the smallest by the family.
    fewest = fewest_pairs(1 - (1 - basis.confidence) / max(family, 1))
    first = design.questions[0]
    return Paired(
        basis=basis,
        unit=first.unit,
        pair_by=first.pair_by,
        comparisons=tuple(
            replace(of, p=p, family=family, fewest=fewest, verdict=_verdict(of, p, basis))
            for of, p in zip(compared, adjusted, strict=True)
        ),
        friedman=_friedman(first) if len(design.questions) == 1 and first.unit == "data" else None,
    )


def _comparisons(question: Question, basis: Basis, against: str | None) -> list[Comparison]:
    """Returns the levels that share a block, compared; p values are not adjusted yet."""
    if question.unit == "alone":
        return []
    table = _by_block(question)
    compared = []
    for candidate, baseline in _pairs_of_levels(question.factor, question.runs, against):
        both = table[[candidate, baseline]].dropna()
        if both.empty:
            continue
        a, b = both[candidate].to_numpy(float), both[baseline].to_numpy(float)
        corrected = None
        if question.unit == "folds":
            differences = np.log(a) - np.log(b) if basis.metric.as_ratio else a - b
            corrected = corrected_test(differences, question.folds, basis.confidence)
        paired = _scaled_comparison(a, b, basis)
        of_level = question.runs["cell"].isin([candidate, baseline])
        compared.append(
            Comparison(
                factor=question.factor.label,
                candidate=candidate,
                baseline=baseline,
                candidate_mean=float(a.mean()),
                baseline_mean=float(b.mean()),
                paired=paired,
                ratio=_ratio(a, b, corrected, basis),
                corrected=corrected,
                without_partner=int((~question.runs.loc[of_level, "block"].isin(both.index)).sum()),
                p=_decisive(question.unit, paired, corrected),
                family=1,
                fewest=fewest_pairs(basis.confidence),
                verdict="not_settled",
            )
        )
    return compared


def _by_block(question: Question) -> pd.DataFrame:
    """Returns the mean value of each cell, a column each, in each block, a row each."""
    return question.runs.groupby(["block", "cell"])["value"].mean().unstack("cell")


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


def _scaled_comparison(
    a: NDArray[np.float64], b: NDArray[np.float64], basis: Basis
) -> PairedComparison:
    largest = max(np.abs(a).max(), np.abs(b).max())
    scale = 10.0 ** -math.floor(math.log10(largest)) if 0 < largest < _SMALL else 1.0
    paired = paired_comparison(
        a * scale, b * scale, basis.confidence, smaller_is_better=basis.metric.smaller_is_better
    )
    if scale == 1:
        return paired
    scaled = {
        name: None if value is None else value / scale
        for name in ("mean", "sd", "ci_low", "ci_high")
        for value in [getattr(paired, name)]
    }
    return replace(paired, **scaled)


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


def _unpaired(question: Question, basis: Basis, against: str | None) -> Unpaired:
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


def _trends(question: Question, basis: Basis) -> Trends:
    """Returns a trend for each group of runs that differ in the number only, as far as may be."""
    runs = question.runs.assign(number=question.runs["cell"].astype(float))
    held = _held(question)
    stratum = together(question.others, held)
    enough = runs.groupby(stratum)["number"].transform("nunique") >= FEWEST_FOR_TREND
    kept, others = runs[enough], question.others.loc[enough]
    # Only what differs between these groups tells them apart.
    naming = [name for name in held if others[name].nunique() > 1]
    trends = []
    for _, of in kept.groupby(stratum[enough]):
        points = of.sort_values(["number", "value"])[["number", "value"]].to_numpy(float)
        first = others.loc[of.index[0]]
        trends.append(
            StratumTrend(
                where=", ".join(f"{name} {first[name]}" for name in naming),
                trend=trend(points[:, 0], points[:, 1], basis.confidence),
                points=tuple((x, y) for x, y in points.tolist()),
            )
        )
    beside = tuple(
        of
        for of in question.differing
        if of.name not in held and (others[of.name].groupby(stratum[enough]).nunique() > 1).any()
    )
    basis = replace(_beside(basis, question), confounders=())
    if beside:
        basis = replace(basis, confounders=((question.factor.label, beside),))
    return Trends(basis, question.factor.label, tuple(trends), int((~enough).sum()))


def _held(question: Question) -> list[str]:
    """Returns what else was set, to be held equal in a trend; nothing if hardly two runs share it."""
    numbers = question.runs["cell"]
    for names in (question.set_by, ()):
        held = [name for name in question.others if name in names]
        distinct = numbers.groupby(together(question.others, held)).nunique()
        if distinct.max() >= FEWEST_FOR_TREND:
            return held
    return []


def _values(question: Question, basis: Basis) -> Values:
    return Values(
        basis=basis,
        factor=question.factor.label,
        cells=tuple(_cells(question)),
        fewest=fewest_pairs(
            1 - (1 - basis.confidence) / max(1, math.comb(len(question.factor.levels), 2))
        ),
    )


def _search(question: Question, basis: Basis) -> Search:
    cells = _cells(question)
    means = np.array([cell.mean for cell in cells])
    sign = -1 if basis.metric.smaller_is_better else 1
    best = sorted(cells, key=lambda cell: (-sign * cell.mean, cell.level))
    sd = float(means.std(ddof=1))
    return Search(
        basis=basis,
        factor=question.factor.label,
        settings=len(cells),
        best=tuple(best[:_SHOWN]),
        ahead=sign * (best[0].mean - float(means.mean())) / sd if sd > 0 else None,
        expected_ahead=expected_best(len(cells)),
    )


def _cells(question: Question) -> list[Cell]:
    """Returns each level with its values."""
    names = [confounder.name for confounder in question.differing]
    runs = question.runs.join(question.others[names])
    found = {}
    for level, of in runs.groupby("cell"):
        beside = tuple(tuple(ordered(of[name])) for name in names)
        values = np.sort(of["value"].to_numpy(float))
        found[level] = Cell(
            str(level), len(of), float(values.mean()), float(values[0]), float(values[-1]), beside
        )
    return [found[level] for level in question.factor.levels if level in found]
