"""Two cells compared pair by pair: which parameters differ, and what effect that has."""

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
    """A parameter that differs, by its name in DVC; None on a side that lacks it."""

    key: str
    a: Any
    b: Any


@dataclass(frozen=True, eq=False)
class Contrast:
    """A candidate compared with a baseline.

    Attributes:
        a: the candidate, with only the runs that have a partner.
        b: the baseline, with the partners in the same order.
        effect: of `a` over `b` on test accuracy.
        loss: the statistics of test loss. Lower is better, so its wins mean nothing.
        beyond_test_set: the interval of the mean difference in accuracy over other images too;
            None where predictions are unknown.
        steady: the statistics of accuracy over the pairs in which neither run diverged; None if
            there are none.
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
        """The effect's verdict; `same` where every pair has the same test scores."""
        return "same" if self.same_scores else self.effect.verdict

    @property
    def same_seeds(self) -> bool:
        """Whether the runs of each pair share initial weights and batches."""
        return all(a == b for a, b in self.effect.seeds)

    @property
    def same_data(self) -> bool:
        """Whether both cells used the same prepared data."""
        return self.a.data_sha256 == self.b.data_sha256

    @property
    def same_code(self) -> bool:
        """Whether both cells were trained by the same code."""
        return self.a.code_sha256 == self.b.code_sha256

    @property
    def same_inputs(self) -> bool:
        """Whether variant, parameters, data, code and seeds are all the same."""
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
    """Returns the contrast of each pair of cells, p values adjusted over all of them.

    Args:
        pairs: each a candidate and a baseline.
        confidence: in (0, 1).
        labels: true classes [images] of the test images, by the hash of the prepared data. Where
            given, the contrast covers other images too, which takes a second per pair.

    Raises:
        ArgumentError: if the cells of a pair share no seed.
    """
    cells = [cell for pair in pairs for cell in pair]
    for a, b in pairs:
        if not paired_seeds(a.seeds, b.seeds):
            raise ArgumentError(
                f"{a.label} ({a.origin}) and {b.label} ({b.origin}) have no run of the same seed: "
                "there is nothing to pair"
            )
    # `table` numbers the cells: candidate 0 and baseline 1, then 2 and 3, and so on.
    numbers = [(2 * pair, 2 * pair + 1) for pair in range(len(pairs))]
    of_accuracy = effects(table(cells), numbers, "accuracy", confidence)
    return [
        _contrast(*pair, effect, confidence, labels or {})
        for pair, effect in zip(pairs, of_accuracy, strict=True)
    ]


def _contrast(
    a: Cell,
    b: Cell,
    effect: Effect,
    confidence: float,
    labels: Mapping[str, NDArray[np.uint8]],
) -> Contrast:
    seeds_a, seeds_b = zip(*effect.seeds, strict=True)
    a, b = a.of_seeds(seeds_a), b.of_seeds(seeds_b)
    if a.label == b.label:
        # A variant has the same label in two commits.
        a = replace(a, label=f"{a.label} ({a.origin})")
        b = replace(b, label=f"{b.label} ({b.origin})")
    loss = paired_comparison(a.scores["loss"].to_numpy(), b.scores["loss"].to_numpy(), confidence)
    truth = labels.get(a.data_sha256) if a.data_sha256 == b.data_sha256 else None
    beyond = None
    if truth is not None and len(truth) == a.predicted.shape[1] == b.predicted.shape[1]:
        beyond = beyond_test_set(a.predicted == truth, b.predicted == truth, confidence)
    steady = _steady(a, b, effect.paired, confidence)
    parameters = _differing(a.parameters, b.parameters)
    return Contrast(a, b, effect, loss, beyond, steady, parameters, confidence)


def _steady(
    a: Cell, b: Cell, all_pairs: PairedComparison, confidence: float
) -> PairedComparison | None:
    """Returns the statistics of accuracy without the pairs in which a run diverged."""
    steady = np.logical_and(
        *(~cell.scores["seed"].isin(cell.diverged).to_numpy() for cell in (a, b))
    )
    if steady.all():
        return all_pairs
    if not steady.any():
        return None
    candidate, baseline = (cell.scores["accuracy"].to_numpy()[steady] for cell in (a, b))
    return paired_comparison(candidate, baseline, confidence)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Difference, ...]:
    left, right = dict(flat(a)), dict(flat(b))
    # Compared as text: MLflow keeps parameters as text.
    return tuple(
        Difference(key, left.get(key), right.get(key))
        for key in left | right
        if str(left.get(key)) != str(right.get(key))
    )


def record(contrast: Contrast) -> dict[str, Any]:
    """Returns a contrast without its tables of runs, ready for JSON."""
    return {
        "a": _side_record(contrast.a, contrast.confidence),
        "b": _side_record(contrast.b, contrast.confidence),
        "pairs": [{"a": a, "b": b} for a, b in contrast.effect.seeds],
        "left_out": dict(zip("ab", map(list, contrast.effect.left_out), strict=True)),
        "parameters": [asdict(difference) for difference in contrast.parameters],
        "same_data": contrast.same_data,
        "same_code": contrast.same_code,
        "same_inputs": contrast.same_inputs,
        "same_scores": contrast.same_scores,
        "test": None if contrast.same_scores else statistics_record(contrast),
    }


def statistics_record(contrast: Contrast) -> dict[str, Any]:
    """Returns the statistics of a contrast, ready for JSON."""
    loss = asdict(contrast.loss)
    return {
        "sentence": verdict_sentence(contrast.effect.verdict, contrast.a.label, contrast.b.label),
        "accuracy": asdict(contrast.accuracy) | {"verdict": contrast.effect.verdict},
        "p_holm": contrast.effect.p,
        "beyond_test_set": contrast.beyond_test_set and asdict(contrast.beyond_test_set),
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
