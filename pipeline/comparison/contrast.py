"""Two cells set against each other, pair by pair: what differs, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.cells import Cell, table
from pipeline.comparison.effects import Effect, effects, paired_seeds
from pipeline.comparison.statistics import (
    Interval,
    PairedComparison,
    beyond_test_set,
    paired_comparison,
)
from pipeline.comparison.verdict import Verdict
from pipeline.comparison.words import verdict_sentence
from pipeline.errors import ArgumentError
from pipeline.params import flat

MEASURES = ("accuracy", "loss")


@dataclass(frozen=True)
class Difference:
    """A parameter that differs, named as DVC does; None where a side does not have it."""

    key: str
    a: Any
    b: Any


@dataclass(frozen=True, eq=False)
class Contrast:
    """A cell against another, and what tells them from each other.

    Attributes:
        a: the candidate, its runs those of the pairs.
        b: the baseline, its runs in the same order.
        effect: of `a` over `b` on the accuracy on the test set.
        loss: of the test losses; lower is better, so its wins mean nothing.
        beyond_test_set: the interval of the mean difference in accuracy over other images too,
            where the predictions are known.
        steady: the accuracy over those pairs alone in which neither run diverged; None if there are
            none.
        parameters: those that differ.
        confidence: of every interval.
    """

    a: Cell
    b: Cell
    effect: Effect
    loss: PairedComparison
    beyond_test_set: Interval | None
    steady: PairedComparison | None
    parameters: tuple[Difference, ...]
    confidence: float

    @property
    def accuracy(self) -> PairedComparison:
        """The statistics of the effect."""
        return self.effect.paired

    @property
    def verdict(self) -> Verdict | Literal["same"]:
        """That of the effect; `same` where every pair has the same test scores."""
        return "same" if self.same_scores else self.effect.verdict

    @property
    def same_seeds(self) -> bool:
        """Whether each pair shares its initial weights and batches."""
        return all(a == b for a, b in self.effect.seeds)

    @property
    def same_data(self) -> bool:
        """Whether both learnt and were tested on the same prepared data."""
        return self.a.data_sha256 == self.b.data_sha256

    @property
    def same_code(self) -> bool:
        """Whether both were trained by the same code."""
        return self.a.code_sha256 == self.b.code_sha256

    @property
    def same_inputs(self) -> bool:
        """Whether both were made from the same."""
        same = not self.parameters and self.same_data and self.same_code and self.same_seeds
        return same and self.a.variant == self.b.variant

    @property
    def same_scores(self) -> bool:
        """Whether every pair has the same test scores."""
        a, b = (cell.scores[list(MEASURES)].to_numpy(float) for cell in (self.a, self.b))
        return np.array_equal(a, b, equal_nan=True)


def contrasts(
    pairs: Sequence[tuple[Cell, Cell]],
    confidence: float,
    labels: Mapping[str, NDArray[np.uint8]] | None = None,
) -> list[Contrast]:
    """Returns the contrast of each pair of cells; their p values are adjusted together.

    Args:
        pairs: candidate and baseline.
        confidence: in (0, 1).
        labels: true classes [images] of the test images, by the hash of the prepared data. Where
            they are known, the contrast speaks of other images too, which takes a second each.

    Raises:
        ArgumentError: if a pair has no run of the same seed.
    """
    cells = [cell for pair in pairs for cell in pair]
    for a, b in pairs:
        if not paired_seeds(a.seeds, b.seeds):
            raise ArgumentError(
                f"{a.label} ({a.origin}) and {b.label} ({b.origin}) have no run of the same seed: "
                "there is nothing to pair"
            )
    places = [(2 * place, 2 * place + 1) for place in range(len(pairs))]
    found = effects(table(cells), places, "accuracy", confidence)
    return [
        _contrast(*pair, effect, confidence, labels or {})
        for pair, effect in zip(pairs, found, strict=True)
    ]


def _contrast(
    a: Cell,
    b: Cell,
    effect: Effect,
    confidence: float,
    labels: Mapping[str, NDArray[np.uint8]],
) -> Contrast:
    own, others = zip(*effect.seeds, strict=True)
    parameters = _differing(a.parameters, b.parameters)
    a, b = _told_apart(a.of_seeds(own), b.of_seeds(others))
    loss = paired_comparison(a.scores["loss"].to_numpy(), b.scores["loss"].to_numpy(), confidence)
    truth = labels.get(a.data_sha256) if a.data_sha256 == b.data_sha256 else None
    beyond = None
    if truth is not None and len(truth) == a.predicted.shape[1] == b.predicted.shape[1]:
        beyond = beyond_test_set(a.predicted == truth, b.predicted == truth, confidence)
    steady = _steady(a, b, effect.paired, confidence)
    return Contrast(a, b, effect, loss, beyond, steady, parameters, confidence)


def _steady(
    a: Cell, b: Cell, every: PairedComparison, confidence: float
) -> PairedComparison | None:
    """Returns the comparison of accuracy without the pairs of which a run diverged."""
    chosen = np.logical_and(
        *(~cell.scores["seed"].isin(cell.diverged).to_numpy() for cell in (a, b))
    )
    if chosen.all():
        return every
    if not chosen.any():
        return None
    ours, theirs = (cell.scores["accuracy"].to_numpy()[chosen] for cell in (a, b))
    return paired_comparison(ours, theirs, confidence)


def _told_apart(a: Cell, b: Cell) -> tuple[Cell, Cell]:
    """Returns both with labels that differ: a variant of two commits has the same in either."""
    if a.label != b.label:
        return a, b
    return (
        replace(a, label=f"{a.label} ({a.origin})"),
        replace(b, label=f"{b.label} ({b.origin})"),
    )


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Difference, ...]:
    left, right = dict(flat(a)), dict(flat(b))
    # As text: what MLflow keeps of a number is its digits.
    return tuple(
        Difference(key, left.get(key), right.get(key))
        for key in left | right
        if str(left.get(key)) != str(right.get(key))
    )


def record(one: Contrast) -> dict[str, Any]:
    """Returns all of a contrast but its tables of runs, ready for JSON."""
    return {
        "a": _side_record(one.a, one.confidence),
        "b": _side_record(one.b, one.confidence),
        "pairs": [{"a": a, "b": b} for a, b in one.effect.seeds],
        "left_out": dict(zip("ab", map(list, one.effect.left_out), strict=True)),
        "parameters": [asdict(difference) for difference in one.parameters],
        "same_data": one.same_data,
        "same_code": one.same_code,
        "same_inputs": one.same_inputs,
        "same_scores": one.same_scores,
        "test": None if one.same_scores else statistics_record(one),
    }


def statistics_record(one: Contrast) -> dict[str, Any]:
    """Returns the statistics of a contrast, ready for JSON."""
    loss = asdict(one.loss)
    return {
        "sentence": verdict_sentence(one.effect.verdict, one.a.label, one.b.label),
        "accuracy": asdict(one.accuracy) | {"verdict": one.effect.verdict},
        "p_holm": one.effect.p,
        "beyond_test_set": one.beyond_test_set and asdict(one.beyond_test_set),
        "loss": {key: loss[key] for key in ("mean", "ci_low", "ci_high", "wilcoxon_p")},
    }


def _side_record(cell: Cell, confidence: float) -> dict[str, Any]:
    return {
        "label": cell.label,
        "variant": cell.variant,
        "origin": cell.origin,
        "parameters": dict(cell.parameters),
        "data_sha256": cell.data_sha256,
        "code_sha256": cell.code_sha256,
        "diverged": len(cell.diverged),
        "test": {measure: vars(cell.summary(measure, confidence)) for measure in MEASURES},
    }
