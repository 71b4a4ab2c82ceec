"""From a study's results to its verdict, by rules fixed beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.comparison.effects import Effect, effects
from pipeline.comparison.needed import Needed, pairs_needed
from pipeline.comparison.statistics import PairedComparison
from pipeline.comparison.verdict import fewest_pairs, too_few_in_words, verdict
from pipeline.studies.study import Rule, Study, short
from pipeline.studies.words import smaller_is_better

Verdict = Literal["supported", "refuted", "not settled"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a rule at one point where it was tested.

    Attributes:
        at: the point of the grid, if the rule is tested at every point; else empty.
        chosen: the points that the rule itself chose, by variant.
        means: the candidate's and the baseline's mean over seeds; or, for the latter, the number
            that the rule compares with.
        effect: of the candidate over the baseline; its p is adjusted over all effects of the study.
        verdict: the verdict at this point alone.
    """

    at: Mapping[str, Any]
    chosen: Mapping[str, Mapping[str, Any]]
    means: tuple[float, float]
    effect: Effect
    verdict: Verdict


@dataclass(frozen=True)
class Judged:
    """A rule with its outcomes.

    Attributes:
        rule: as the study states it.
        candidate: the name of a variant.
        baseline: the name of a variant; None where the rule compares with a number.
        outcomes: one, or one per point of the grid.
    """

    rule: Rule
    candidate: str
    baseline: str | None
    outcomes: tuple[Outcome, ...]

    @property
    def verdict(self) -> Verdict:
        """Supported if every outcome is, refuted if any outcome is."""
        return _all_of(outcome.verdict for outcome in self.outcomes)


@dataclass(frozen=True, eq=False)
class _Question:
    """One number per seed for the candidate and the baseline: [seeds], indexed by seed."""

    at: Mapping[str, Any]
    chosen: Mapping[str, Mapping[str, Any]]
    candidate: pd.Series[float]
    baseline: pd.Series[float]


def judge(study: Study, table: pd.DataFrame) -> list[Judged]:
    """Returns each rule with its outcomes.

    Args:
        study: whose rules are judged.
        table: one row per point, variant and seed; see `pipeline.studies.run`.
    """
    defaults = study.params.comparison
    questions: list[_Question] = []
    of_rule: list[tuple[str, str | None, range]] = []
    for rule in study.about.rules:
        candidate = rule.candidate or defaults.candidate
        baseline = None if rule.number is not None else rule.baseline or defaults.baseline
        first = len(questions)
        questions += _questions(rule, study, table, candidate, baseline)
        of_rule.append((candidate, baseline, range(first, len(questions))))
    # Each side of a question is a cell, whose runs are the seeds.
    runs = pd.concat(
        pd.DataFrame({"cell": 2 * place + role, "seed": side.index, "number": side.to_numpy(float)})
        for place, question in enumerate(questions)
        for role, side in enumerate((question.candidate, question.baseline))
    )
    pairs = [(2 * place, 2 * place + 1) for place in range(len(questions))]
    of_questions = effects(runs, pairs, "number", defaults.confidence)

    def outcome(rule: Rule, place: int) -> Outcome:
        question, effect = questions[place], of_questions[place]
        return Outcome(
            at=question.at,
            chosen=question.chosen,
            means=(float(question.candidate.mean()), float(question.baseline.mean())),
            effect=effect,
            verdict=_verdict(rule, effect.paired, effect.p, defaults.confidence),
        )

    return [
        Judged(rule, candidate, baseline, tuple(outcome(rule, place) for place in places))
        for rule, (candidate, baseline, places) in zip(study.about.rules, of_rule, strict=True)
    ]


def too_few_seeds(study: Study) -> str:
    """Returns how many seeds a verdict takes; '' where the study's are enough for each rule."""
    about, defaults = study.about, study.params.comparison
    family = sum(len(study.points) if rule.everywhere else 1 for rule in about.rules)
    seeds = study.params.variants[defaults.candidate].training.seeds
    told = (
        # A margin is tested by the interval alone, whose p is not adjusted.
        too_few_in_words(
            seeds - (rule.chosen_on or 0), defaults.confidence, family if rule.margin is None else 1
        )
        for rule in about.rules
    )
    return next(filter(None, told), "")


def overall(judged: Sequence[Judged]) -> Verdict:
    """Returns the study's verdict: supported if every rule is, refuted if any rule is."""
    return _all_of(judgement.verdict for judgement in judged)


def _all_of(verdicts: Iterable[Verdict]) -> Verdict:
    kinds = set(verdicts)
    if "refuted" in kinds:
        return "refuted"
    return "supported" if kinds == {"supported"} else "not settled"


def _questions(
    rule: Rule, study: Study, table: pd.DataFrame, candidate: str, baseline: str | None
) -> Iterator[_Question]:
    """Yields the questions of a rule: one, or one per point of the grid."""
    for at in [point.at for point in study.points] if rule.everywhere else [{}]:
        rows = _at(table, at)
        of_candidate, point = _numbers(rule, study, rows[rows["variant"] == candidate])
        chosen = {candidate: point} if point else {}
        if baseline is None:
            of_baseline = of_candidate.mask(of_candidate.notna(), rule.number)
        else:
            of_baseline, point = _numbers(rule, study, rows[rows["variant"] == baseline])
            chosen |= {baseline: point} if point else {}
        yield _Question(at, chosen, of_candidate.sort_index(), of_baseline.sort_index())


def _numbers(
    rule: Rule, study: Study, rows: pd.DataFrame
) -> tuple[pd.Series[float], dict[str, Any]]:
    """Returns one number per seed, and the point that the rule chose; empty if it chooses none."""
    axes = [short(axis) for axis in study.axes]
    if rule.best_by is not None:
        chosen_on = rule.chosen_on or 0
        means = rows[rows["seed"] < chosen_on].groupby(axes)[rule.best_by].mean()
        best = means.idxmin() if smaller_is_better(rule.best_by) else means.idxmax()
        point = dict(zip(axes, best if isinstance(best, tuple) else (best,), strict=True))
        scored = _at(rows[rows["seed"] >= chosen_on], point)
        return scored.set_index("seed")[rule.measure], point
    if rule.largest is not None:
        axis, numbers = short(rule.largest), rows[rule.measure]
        reaches = (
            numbers <= rule.reaching
            if smaller_is_better(rule.measure)
            else numbers >= rule.reaching
        )
        largest = rows[axis].where(reaches, 0).groupby(rows["seed"]).max()
        return largest, {}
    number = _at(rows, rule.at or {}).set_index("seed")[rule.measure]
    if rule.minus is not None:
        number = number - _at(rows, rule.minus).set_index("seed")[rule.measure]
    return number, {}


def _at(rows: pd.DataFrame, point: Mapping[str, Any]) -> pd.DataFrame:
    for axis, value in point.items():
        rows = rows[rows[short(axis)] == value]
    return rows


def needed(rule: Rule, outcome: Outcome) -> Needed | None:
    """Returns how many seeds would settle an outcome; None if it is settled or not finite."""
    effect = outcome.effect
    differences = np.array(effect.differences)
    if outcome.verdict != "not settled" or not np.isfinite(differences).all():
        return None

    def settles(paired: PairedComparison, p: float, confidence: float) -> bool:
        return _verdict(rule, paired, p, confidence) != "not settled"

    return pairs_needed(differences, effect.confidence, max(effect.family, 1), settles=settles)


def _verdict(rule: Rule, paired: PairedComparison, p: float | None, confidence: float) -> Verdict:
    if rule.margin is not None:
        low, high = paired.ci_low, paired.ci_high
        if low is None or high is None or paired.n < fewest_pairs(confidence):
            return "not settled"
        # Two one-sided tests at the level of the interval, or the lower one alone.
        above = np.inf if rule.expected == "not_smaller" else rule.margin
        if -rule.margin < low and high < above:
            return "supported"
        return "refuted" if high < -rule.margin or low > above else "not settled"
    ahead = {"candidate_better": "greater", "baseline_better": "smaller"}.get(
        verdict(paired, p, confidence)
    )
    if ahead is None:
        return "not settled"
    return "supported" if ahead == rule.expected else "refuted"
