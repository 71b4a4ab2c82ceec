"""Any two variants, of any two commits or experiments, set against each other pair by pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.results import Comparison, VariantResults, compare
from pipeline.comparison.statistics import Summary, summary
from pipeline.comparison.words import verdict_sentence
from pipeline.params import flat

MEASURES = ("accuracy", "loss")


@dataclass(frozen=True, eq=False)
class Side:
    """A variant's runs, or one of them, as a name stands for them.

    Attributes:
        results: its runs; where the predictions are not known, they are of no images.
        variant: its name in params.yaml.
        origin: what tells it from its namesake elsewhere: `workspace`, a revision, a run.
        data_sha256: of the prepared data.
        code_sha256: of the modules that training depends on.
    """

    results: VariantResults
    variant: str
    origin: str
    data_sha256: str
    code_sha256: str


@dataclass(frozen=True)
class Difference:
    """A parameter that differs, named as DVC does; None where a side does not have it."""

    key: str
    a: Any
    b: Any


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two sides and what tells them from each other.

    Attributes:
        a: the first side, its runs those of the pairs.
        b: the second side, its runs in the same order.
        left_out: seeds that only the first side has, and only the second.
        parameters: those that differ.
        same_inputs: whether both sides were made from the same.
        comparison: a against b; None where every pair has the same test scores.
        confidence: of its intervals.
    """

    a: Side
    b: Side
    left_out: tuple[tuple[int, ...], tuple[int, ...]]
    parameters: tuple[Difference, ...]
    same_inputs: bool
    comparison: Comparison | None
    confidence: float

    @property
    def seeds(self) -> list[tuple[int, int]]:
        """The seeds of each pair."""
        return list(zip(_seeds(self.a), _seeds(self.b), strict=True))

    @property
    def same_seeds(self) -> bool:
        """Whether each pair shares its initial weights and batches."""
        return all(a == b for a, b in self.seeds)

    @property
    def same_data(self) -> bool:
        """Whether both sides learnt and were tested on the same prepared data."""
        return self.a.data_sha256 == self.b.data_sha256

    @property
    def same_code(self) -> bool:
        """Whether both sides were trained by the same code."""
        return self.a.code_sha256 == self.b.code_sha256

    def summary(self, side: Side, measure: str) -> Summary:
        """Returns mean and spread of a side's test scores, over the pairs."""
        return summary(side.results.scores[measure].to_numpy(), self.confidence)


def contrast(
    a: Side, b: Side, labels: NDArray[np.uint8] | None, confidence: float
) -> Contrast | None:
    """Returns the contrast of two sides, or None if they have no seed in common.

    A single run is set against a single run whatever their seeds.

    Args:
        a: one side.
        b: the other; differences are a minus b.
        labels: [images], the true classes of the test images, if they are at hand.
        confidence: in (0, 1).
    """
    seeds_a, seeds_b = _seeds(a), _seeds(b)
    shared = [seed for seed in seeds_a if seed in seeds_b]
    if shared:
        a, b = _of_seeds(a, shared), _of_seeds(b, shared)
    elif not len(seeds_a) == len(seeds_b) == 1:
        return None
    a, b = _told_apart(a, b)
    return Contrast(
        a=a,
        b=b,
        left_out=(_without(seeds_a, _seeds(a)), _without(seeds_b, _seeds(b))),
        parameters=_differing(a.results.parameters, b.results.parameters),
        same_inputs=_inputs(a) == _inputs(b),
        comparison=None
        if _same_scores(a, b)
        else compare(a.results, b.results, _known(labels, a, b), confidence),
        confidence=confidence,
    )


def record(one: Contrast) -> dict[str, Any]:
    """Returns all of a contrast but its tables of runs, ready for JSON."""
    return {
        "a": _side_record(one, one.a),
        "b": _side_record(one, one.b),
        "pairs": [{"a": a, "b": b} for a, b in one.seeds],
        "left_out": dict(zip("ab", map(list, one.left_out), strict=True)),
        "parameters": [asdict(difference) for difference in one.parameters],
        "same_data": one.same_data,
        "same_code": one.same_code,
        "same_inputs": one.same_inputs,
        "same_scores": one.comparison is None,
        "test": one.comparison and _test_record(one, one.comparison),
    }


def _test_record(one: Contrast, comparison: Comparison) -> dict[str, Any]:
    loss = asdict(comparison.loss)
    return {
        # In the verdict, a is the candidate and b the baseline.
        "sentence": verdict_sentence(comparison.accuracy, one.a.results.label, one.b.results.label),
        "accuracy": asdict(comparison.accuracy),
        "beyond_test_set": comparison.beyond_test_set and asdict(comparison.beyond_test_set),
        "loss": {key: loss[key] for key in ("mean", "ci_low", "ci_high", "wilcoxon_p")},
    }


def _side_record(one: Contrast, side: Side) -> dict[str, Any]:
    return {
        "label": side.results.label,
        "variant": side.variant,
        "origin": side.origin,
        "parameters": dict(side.results.parameters),
        "data_sha256": side.data_sha256,
        "code_sha256": side.code_sha256,
        "diverged": len(side.results.diverged),
        "test": {measure: vars(one.summary(side, measure)) for measure in MEASURES},
    }


def _seeds(side: Side) -> list[int]:
    return [int(seed) for seed in side.results.scores["seed"]]


def _without(seeds: list[int], paired: list[int]) -> tuple[int, ...]:
    return tuple(seed for seed in seeds if seed not in paired)


def _of_seeds(side: Side, seeds: list[int]) -> Side:
    """Returns the side with the runs of these seeds alone, in this order."""
    own, results = _seeds(side), side.results
    rows = [own.index(seed) for seed in seeds]
    return replace(
        side,
        results=replace(
            results,
            history=results.history[results.history["seed"].isin(seeds)],
            scores=results.scores.iloc[rows].reset_index(drop=True),
            predicted=results.predicted[rows],
        ),
    )


def _told_apart(a: Side, b: Side) -> tuple[Side, Side]:
    """Returns both with labels that differ: a variant of two commits has the same in either."""
    if a.results.label != b.results.label:
        return a, b
    a, b = (
        replace(side, results=replace(side.results, label=f"{side.results.label} ({side.origin})"))
        for side in (a, b)
    )
    return a, b


def _inputs(side: Side) -> tuple[Any, ...]:
    """Returns what makes the fingerprints of the runs."""
    parameters = dict(side.results.parameters)
    return side.variant, parameters, side.data_sha256, side.code_sha256, _seeds(side)


def _same_scores(a: Side, b: Side) -> bool:
    tables = [side.results.scores[list(MEASURES)].to_numpy(float) for side in (a, b)]
    return np.array_equal(*tables, equal_nan=True)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Difference, ...]:
    left, right = dict(flat(a)), dict(flat(b))
    # As text: what MLflow keeps of a number is its digits.
    return tuple(
        Difference(key, left.get(key), right.get(key))
        for key in left | right
        if str(left.get(key)) != str(right.get(key))
    )


def _known(labels: NDArray[np.uint8] | None, a: Side, b: Side) -> NDArray[np.uint8] | None:
    """Returns the labels, if they are those of the images that both sides predicted."""
    if labels is None or not len(labels):
        return None
    images = {side.results.predicted.shape[1] for side in (a, b)}
    return labels if images == {len(labels)} else None
