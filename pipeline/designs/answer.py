"""From a design to the answer that it allows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.comparison.beyond_pairs import expected_best, trend
from pipeline.comparison.verdict import fewest_together
from pipeline.designs.answers import (
    Answer,
    Basis,
    Cell,
    Search,
    StratumTrend,
    Trends,
    Values,
)
from pipeline.designs.asked import Inference
from pipeline.designs.columns import distinct, together
from pipeline.designs.design import Design
from pipeline.designs.factors import FEWEST_FOR_TREND, MOST_COMPARED, shown
from pipeline.designs.levels import MOST_WITH_EACH_OTHER, baseline_of, level_of, paired, unpaired
from pipeline.designs.metric import listed
from pipeline.designs.pairing import Question
from pipeline.designs.values import ordered
from pipeline.errors import ArgumentError

_SHOWN = 10


def answer(design: Design, confidence: float) -> Answer:
    """Returns what can be said of a design.

    Args:
        design: what is compared, and how.
        confidence: of every interval, in (0, 1).

    Raises:
        ArgumentError: if `design.against` is no level of what is compared.
    """
    _check_against(design)
    basis = _basis(design, confidence)
    first = design.questions[0]
    if len(design.questions) == 1 and (found := _of_one(first, basis, design.against)):
        return found
    pairs = paired(design, basis)
    if any(comparison.paired.n > 1 for comparison in pairs.comparisons):
        return pairs
    if len(design.questions) == 1 and (one := _in_one_block(first)):
        told = f"Compared only where {listed(first.pair_by)} is the same: {len(one.runs)} runs."
        basis = _beside(basis, first)
        basis = replace(basis, inferences=(*basis.inferences, Inference(told, "--pair-by")))
        return unpaired(one, basis, design.against)
    return _values(first, _beside(basis, first))


def _check_against(design: Design) -> None:
    factors = [question.factor for question in design.questions]
    against = design.against
    if against is None or any(level_of(factor, against) is not None for factor in factors):
        return
    has = [f"{of.label} has {', '.join(map(shown, of.levels))}" for of in factors]
    raise ArgumentError(f"--against {against!r} is no value of what is compared: {'; '.join(has)}")


def _of_one(question: Question, basis: Basis, against: str | None) -> Answer | None:
    """Returns the answer to a question that takes no pairs; None to any other."""
    if against is None and question.factor.is_number:
        return _trends(question, basis)
    if against is None and len(question.factor.levels) > MOST_COMPARED:
        return _search(question, _beside(basis, question))
    if question.unit == "alone" and _repeated(question.runs):
        return unpaired(question, basis, against)
    return None


def _repeated(runs: pd.DataFrame) -> bool:
    """Whether at least two cells have more than one run."""
    return int((runs.groupby("cell").size() > 1).sum()) > 1


def _in_one_block(question: Question) -> Question | None:
    """Returns the question of the only block that has repeated runs of several cells, if any."""
    runs = question.runs
    shared = runs.groupby("block")["cell"].transform("nunique") > 1
    there = runs[shared]
    if len(there["block"].unique()) != 1 or not _repeated(there):
        return None
    return replace(question, runs=there)


def _beside(basis: Basis, question: Question) -> Basis:
    """Returns the basis of an answer without pairs."""
    told = tuple(
        of
        for of in basis.inferences
        if of not in question.told and of.flag not in {"--pair-by", "--against"}
    )
    differing = ((question.factor.label, question.differing),) if question.differing else ()
    return replace(basis, inferences=told, confounders=differing, repeats=0)


def _told_baselines(design: Design) -> list[Inference]:
    """Returns what is said of factors with too many levels to compare each with each."""
    return [
        Inference(
            f"Each {of.factor.label} is compared with {baseline_of(of.factor, of.runs)}, which has "
            "the most runs or comes first.",
            "--against",
        )
        for of in design.questions
        if design.against is None and len(of.factor.levels) > MOST_WITH_EACH_OTHER
    ]


def _basis(design: Design, confidence: float) -> Basis:
    questions = design.questions
    told = _told_baselines(design)
    return Basis(
        metric=design.metric,
        runs=design.runs,
        confidence=confidence,
        inferences=(*design.inferences, *design.of_pairs, *told),
        left_out=design.left_out,
        copies=design.copies,
        repeats=max(question.repeats for question in questions),
        confounders=tuple(
            (question.factor.label, question.confounders)
            for question in questions
            if question.confounders
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
    naming = [name for name in held if len(others[name].unique()) > 1]
    trends = []
    for _, of in kept.groupby(stratum[enough]):
        points = of.sort_values(["number", "value"])[["number", "value"]].to_numpy(float)
        first = others.loc[of.index[0]]
        trends.append(
            StratumTrend(
                where=", ".join(f"{name} {shown(first[name])}" for name in naming),
                trend=trend(points[:, 0], points[:, 1], basis.confidence),
                points=tuple((x, y) for x, y in points.tolist()),
            )
        )
    beside = tuple(
        of
        for of in question.differing
        if of.name not in held and (distinct(others[of.name], stratum[enough]) > 1).any()
    )
    basis = replace(_beside(basis, question), confounders=())
    if beside:
        basis = replace(basis, confounders=((question.factor.label, beside),))
    return Trends(basis, question.factor.label, tuple(trends), int((~enough).sum()))


def _held(question: Question) -> list[str]:
    """Returns what else was set, to be held equal in a trend; nothing if few runs share it."""
    numbers = question.runs["cell"]
    data = [name for name in question.set_by if name in question.data]
    for held in (list(question.set_by), data):
        if distinct(numbers, together(question.others, held)).max() >= FEWEST_FOR_TREND:
            return held
    return []


def _values(question: Question, basis: Basis) -> Values:
    return Values(
        basis=basis,
        factor=question.factor.label,
        cells=tuple(_cells(question)),
        fewest=fewest_together(basis.confidence, max(1, math.comb(len(question.factor.levels), 2))),
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
