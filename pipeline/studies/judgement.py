"""From a study's results to its verdict, by rules fixed beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.comparison.statistics import PairedComparison, fewest_pairs, holm, paired_comparison
from pipeline.studies.study import Rule, Study, short

Verdict = Literal["supported", "refuted", "not settled"]


@dataclass(frozen=True)
class Judged:
    """One rule, and what came of it.

    Attributes:
        rule: as the study states it.
        candidate: the variant's name.
        baseline: the variant's name.
        numbers: mean over the seeds of the candidate's number, and of the baseline's.
        comparison: of the two over the seeds, candidate minus baseline.
        p: of Wilcoxon's test, Holm-adjusted over the study's rules; None where there is none.
        verdict: of this rule alone.
        points: where the numbers were taken, where the rule itself chose: by variant.
    """

    rule: Rule
    candidate: str
    baseline: str
    numbers: tuple[float, float]
    comparison: PairedComparison
    p: float | None
    verdict: Verdict
    points: dict[str, dict[str, Any]]


def judge(study: Study, table: pd.DataFrame) -> list[Judged]:
    """Returns what each rule comes to.

    Args:
        study: its rules.
        table: a row a point, variant and seed; see `studies.cells`.
    """
    level = study.params.comparison.confidence
    found = [_compared(rule, study, table) for rule in study.about.rules]
    adjusted = holm([comparison.wilcoxon_p for *_, comparison, _ in found])
    return [
        Judged(
            rule=rule,
            candidate=candidate,
            baseline=baseline,
            numbers=numbers,
            comparison=comparison,
            p=p,
            verdict=_verdict(rule, comparison, p, level),
            points=points,
        )
        for rule, (candidate, baseline, numbers, comparison, points), p in zip(
            study.about.rules, found, adjusted, strict=True
        )
    ]


def overall(judged: Sequence[Judged]) -> Verdict:
    """Returns the study's verdict: supported if every rule is, refuted if one is refuted."""
    verdicts = {one.verdict for one in judged}
    if "refuted" in verdicts:
        return "refuted"
    return "supported" if verdicts == {"supported"} else "not settled"


def _compared(
    rule: Rule, study: Study, table: pd.DataFrame
) -> tuple[str, str, tuple[float, float], PairedComparison, dict[str, dict[str, Any]]]:
    settled = study.params.comparison
    candidate, baseline = rule.candidate or settled.candidate, rule.baseline or settled.baseline
    sides, points = [], {}
    for variant in (candidate, baseline):
        numbers, point = _numbers(rule, study, table[table["variant"] == variant])
        sides.append(numbers.sort_index())
        if point:
            points[variant] = point
    a, b = (side.to_numpy(np.float64) for side in sides)
    comparison = paired_comparison(a, b, settled.confidence)
    return candidate, baseline, (float(a.mean()), float(b.mean())), comparison, points


def _numbers(rule: Rule, study: Study, rows: pd.DataFrame) -> tuple[pd.Series[Any], dict[str, Any]]:
    """Returns the one number of each seed, and the point that the rule chose."""
    axes = [short(axis) for axis in study.axes]
    if rule.best_by is not None:
        chosen_on = rule.chosen_on or 0
        means = rows[rows["seed"] < chosen_on].groupby(axes)[rule.best_by].mean()
        best = means.idxmin() if rule.best_by.endswith("loss") else means.idxmax()
        point = dict(zip(axes, best if isinstance(best, tuple) else (best,), strict=True))
        there = _at(rows[rows["seed"] >= chosen_on], point)
        return there.set_index("seed")[rule.measure], point
    if rule.largest is not None:
        axis, reaches = short(rule.largest), rows[rule.measure] >= rule.reaching
        largest = rows[axis].where(reaches, 0).groupby(rows["seed"]).max()
        return largest, {}
    number = _at(rows, rule.at or {}).set_index("seed")[rule.measure]
    if rule.minus is not None:
        number = number - _at(rows, rule.minus).set_index("seed")[rule.measure]
    return number, {}


def _at(rows: pd.DataFrame, point: dict[str, Any]) -> pd.DataFrame:
    for axis, value in point.items():
        rows = rows[rows[short(axis)] == value]
    return rows


def _verdict(
    rule: Rule, comparison: PairedComparison, p: float | None, confidence: float
) -> Verdict:
    low, high = comparison.ci_low, comparison.ci_high
    if low is None or high is None or comparison.n < fewest_pairs(confidence):
        return "not settled"
    if rule.margin is not None:
        # Two one-sided tests, at the interval's level.
        if -rule.margin < low and high < rule.margin:
            return "supported"
        return "refuted" if high < -rule.margin or low > rule.margin else "not settled"
    if p is None or p > 1 - confidence:
        return "not settled"
    ahead = {"candidate_better": "greater", "baseline_better": "smaller"}.get(comparison.verdict)
    if ahead is None:
        return "not settled"
    return "supported" if ahead == rule.expected else "refuted"
