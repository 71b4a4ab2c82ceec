"""Two cells compared pair by pair: which parameters differ, and what effect that has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.cells import Cell, table
from pipeline.comparison.effects import Effect, effects, paired_seeds
from pipeline.comparison.measures import MEASURES, Measure
from pipeline.comparison.needed import Needed, pairs_needed
from pipeline.comparison.statistics import (
    Interval,
    PairedComparison,
    beyond_test_set,
    paired_comparison,
)
from pipeline.comparison.verdict import ONCE, Looks, Verdict
from pipeline.comparison.words import verdict_sentence
from pipeline.errors import ArgumentError, MissingInputError
from pipeline.params import flat

# Known of every run, whatever version scored it.
SCORES = ("accuracy", "loss")


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
        measure: the score on the test set that decides.
        effect: of `a` over `b` on the measure.
        beyond_test_set: the interval of the mean difference over other test examples too; None
            where predictions are unknown, or the measure is not accuracy.
        steady: the statistics of the measure over the pairs in which neither run diverged; None if
            there are none.
        parameters: those that differ.
    """

    a: Cell
    b: Cell
    measure: Measure
    effect: Effect
    beyond_test_set: Interval | None
    steady: PairedComparison | None
    parameters: tuple[Difference, ...]

    @property
    def confidence(self) -> float:
        """Of every interval: that of this look."""
        return self.effect.confidence

    @property
    def paired(self) -> PairedComparison:
        """The statistics of the effect."""
        return self.effect.paired

    @cached_property
    def others(self) -> Mapping[str, PairedComparison]:
        """The statistics of the other scores that both cells have, by name."""
        # Computed on demand only: each takes thousands of resamples.
        return {
            name: _paired(self.a.scores, self.b.scores, measure, self.confidence)
            for name, measure in MEASURES.items()
            if measure != self.measure and name in self.a.scores and name in self.b.scores
        }

    @property
    def verdict(self) -> Verdict | Literal["same"]:
        """The effect's verdict; `same` where every pair has the same test scores."""
        return "same" if self.same_scores else self.effect.verdict

    @cached_property
    def needed(self) -> Needed | None:
        """How many pairs would settle it; None if it is settled, or a score is not finite."""
        differences = np.array(self.effect.differences)
        is_open = self.verdict in ("not_settled", "too_few_pairs")
        if not is_open or not np.isfinite(differences).all():
            return None
        effect = self.effect
        return pairs_needed(
            differences, effect.over_all_looks, max(effect.family, 1), looks=effect.looks
        )

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
        names = [*SCORES, self.measure.name]
        a, b = (cell.scores[names].to_numpy(float) for cell in (self.a, self.b))
        return np.array_equal(a, b, equal_nan=True)


def contrasts(
    pairs: Sequence[tuple[Cell, Cell]],
    measure: Measure,
    confidence: float,
    labels: Mapping[str, NDArray[np.uint8]] | None = None,
    looks: Looks = ONCE,
) -> list[Contrast]:
    """Returns the contrast of each pair of cells, p values adjusted over all of them.

    Args:
        pairs: each a candidate and a baseline.
        measure: the score on the test set that decides.
        confidence: in (0, 1).
        labels: true classes [examples] of the test set, by the hash of the prepared data. Where
            given, a contrast of accuracies covers other examples too, which takes a second per
            pair.
        looks: how often it is looked at.

    Raises:
        ArgumentError: if the cells of a pair share no seed.
        MissingInputError: if a cell was scored without the measure.
    """
    cells = [cell for pair in pairs for cell in pair]
    for cell in cells:
        if measure.name not in cell.scores:
            raise MissingInputError(
                f"{cell.label} ({cell.origin}) was scored without {measure.name}, by an older "
                "version: compare by accuracy or loss, or score it again"
            )
    for a, b in pairs:
        if not paired_seeds(a.seeds, b.seeds):
            raise ArgumentError(
                f"{a.label} ({a.origin}) and {b.label} ({b.origin}) have no run of the same seed: "
                "there is nothing to pair"
            )
    # `table` numbers the cells: candidate 0 and baseline 1, then 2 and 3, and so on.
    numbers = [(2 * pair, 2 * pair + 1) for pair in range(len(pairs))]
    of_pairs = effects(
        table(cells),
        numbers,
        measure.name,
        confidence,
        smaller_is_better=measure.smaller_is_better,
        looks=looks,
    )
    return [
        _contrast(pair, measure, effect, labels or {})
        for pair, effect in zip(pairs, of_pairs, strict=True)
    ]


def _contrast(
    pair: tuple[Cell, Cell],
    measure: Measure,
    effect: Effect,
    labels: Mapping[str, NDArray[np.uint8]],
) -> Contrast:
    confidence = effect.confidence
    seeds_a, seeds_b = zip(*effect.seeds, strict=True)
    a, b = pair[0].of_seeds(seeds_a), pair[1].of_seeds(seeds_b)
    if a.label == b.label:
        # A variant has the same label in two commits.
        a = replace(a, label=f"{a.label} ({a.origin})")
        b = replace(b, label=f"{b.label} ({b.origin})")
    truth = labels.get(a.data_sha256) if a.data_sha256 == b.data_sha256 else None
    beyond = None
    if (
        measure.name == "accuracy"
        and truth is not None
        and len(truth) == a.predicted.shape[1] == b.predicted.shape[1]
    ):
        beyond = beyond_test_set(a.predicted == truth, b.predicted == truth, confidence)
    steady = _steady(a, b, measure, effect.paired, confidence)
    parameters = _differing(a.parameters, b.parameters)
    return Contrast(a, b, measure, effect, beyond, steady, parameters)


def _paired(
    a: pd.DataFrame, b: pd.DataFrame, measure: Measure, confidence: float
) -> PairedComparison:
    return paired_comparison(
        a[measure.name].to_numpy(),
        b[measure.name].to_numpy(),
        confidence,
        smaller_is_better=measure.smaller_is_better,
    )


def _steady(
    a: Cell, b: Cell, measure: Measure, all_pairs: PairedComparison, confidence: float
) -> PairedComparison | None:
    """Returns the statistics of the measure without the pairs in which a run diverged."""
    steady = np.logical_and(
        *(~cell.scores["seed"].isin(cell.diverged).to_numpy() for cell in (a, b))
    )
    if steady.all():
        return all_pairs
    if not steady.any():
        return None
    return _paired(a.scores[steady], b.scores[steady], measure, confidence)


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
    """Returns the statistics of a contrast by measure, ready for JSON."""
    return {
        "sentence": verdict_sentence(contrast.effect.verdict, contrast.a.label, contrast.b.label),
        "measure": contrast.measure.name,
        contrast.measure.name: asdict(contrast.paired) | {"verdict": contrast.effect.verdict},
        "p_holm": contrast.effect.p,
        "beyond_test_set": contrast.beyond_test_set and asdict(contrast.beyond_test_set),
        **{
            name: {key: getattr(paired, key) for key in ("mean", "ci_low", "ci_high", "wilcoxon_p")}
            for name, paired in contrast.others.items()
        },
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
