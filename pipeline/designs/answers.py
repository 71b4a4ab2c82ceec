"""What can be said of a design: an answer of its own for each kind."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.comparison.beyond_pairs import (
    CorrectedTest,
    Friedman,
    Ratio,
    Trend,
    UnpairedComparison,
)
from pipeline.comparison.needed import Needed
from pipeline.comparison.statistics import PairedComparison
from pipeline.comparison.verdict import Verdict
from pipeline.designs.asked import Inference, LeftOut
from pipeline.designs.metric import Metric
from pipeline.designs.pairing import Confounder, Unit


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
        aliases: what always changes together with it.
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
        needed: how many pairs would probably settle it; None if it is settled, if pairs are folds,
            or if many comparisons are open or have many pairs.
    """

    factor: str
    aliases: tuple[str, ...]
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
    needed: Needed | None


@dataclass(frozen=True)
class Paired:
    """Runs in pairs or larger blocks.

    Attributes:
        basis: what it rests on.
        unit: what a block is.
        pair_by: what the runs of a block share.
        comparisons: of each factor, in order.
        apart: factor and both levels, where two levels share no block.
        friedman: of all levels at once, where blocks are data and there are more than two levels.
    """

    basis: Basis
    unit: Unit
    pair_by: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    apart: tuple[tuple[str, str, str], ...]
    friedman: Friedman | None


@dataclass(frozen=True)
class UnpairedPair:
    """Two levels whose runs share nothing: `compared`, and the rest as in `Comparison`."""

    factor: str
    aliases: tuple[str, ...]
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
