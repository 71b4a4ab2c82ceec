"""Any number of experiments beside each other: what tells their cells apart, what each gains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Literal

from pipeline.comparison.contrast import MEASURES, Contrast, Side, contrast
from pipeline.comparison.results import Comparison
from pipeline.comparison.statistics import Summary, holm, summary
from pipeline.comparison.words import ABSENT
from pipeline.errors import ArgumentError
from pipeline.params import flat

Verdict = Literal["better", "worse", "not settled", "too few pairs", "the same"]

_SHORT = 8
# The last part of a parameter's name that says nothing without the part before it.
_VAGUE = "name"


@dataclass(frozen=True, eq=False)
class Experiment:
    """An experiment's name, and the runs of its variants by the names of these."""

    name: str
    sides: Mapping[str, Side]


@dataclass(frozen=True, eq=False)
class Effect:
    """What a cell gains over the baseline of its own experiment.

    Attributes:
        reference: where the baseline is, as in `Cell.at`.
        contrast: of the cell and that baseline, pair by pair.
        p: of Wilcoxon's test, Holm-adjusted over all effects; None where there is none.
        verdict: that of the comparison, which `p` must bear out.
    """

    reference: Mapping[str, Any]
    contrast: Contrast
    p: float | None
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class Cell:
    """A variant as one or more experiments have it.

    Attributes:
        side: its runs.
        experiments: the names of all in which it, and what it is set against, is the same.
        at: its value on each axis that its variant has; None where it leaves a parameter out.
        effect: None for a baseline.
    """

    side: Side
    experiments: tuple[str, ...]
    at: Mapping[str, Any]
    effect: Effect | None

    def summary(self, measure: str, confidence: float) -> Summary:
        """Returns mean and spread of its test scores over all of its seeds."""
        return summary(self.side.results.scores[measure].to_numpy(), confidence)


@dataclass(frozen=True, eq=False)
class Ablation:
    """All cells of some experiments, each once, in the order of the grid.

    Attributes:
        cells: sorted along the axes, the baseline's before those that are set against it.
        axes: what differs among the cells, by the shortest name that is clear.
        variants: the names of all, in the order of the experiments.
        baseline: the name of the variant that the others are set against.
        experiments: the names of all.
        confidence: of every interval.
    """

    cells: tuple[Cell, ...]
    axes: tuple[str, ...]
    variants: tuple[str, ...]
    baseline: str
    experiments: tuple[str, ...]
    confidence: float

    @property
    def effects(self) -> list[tuple[Cell, Effect]]:
        """The cells that are set against a baseline."""
        return [(cell, cell.effect) for cell in self.cells if cell.effect]

    @property
    def disagreeing(self) -> list[Cell]:
        """The cells made from the same as another, with other scores all the same."""
        scores: dict[tuple[str, str], set[bytes]] = {}
        for cell in self.cells:
            scores.setdefault(_made_from(cell), set()).add(_scores(cell.side))
        return [cell for cell in self.cells if len(scores[_made_from(cell)]) > 1]

    @property
    def family(self) -> int:
        """How many p values were adjusted together."""
        return sum(effect.p is not None for _, effect in self.effects)


def ablation(experiments: Sequence[Experiment], baseline: str, confidence: float) -> Ablation:
    """Returns all cells of the experiments, each variant set against its experiment's baseline.

    Args:
        experiments: at least one.
        baseline: the name of a variant.
        confidence: in (0, 1).

    Raises:
        ArgumentError: if an experiment has no such variant, or no seed in common with it.
    """
    axes = _axes([side for one in experiments for side in one.sides.values()])
    cells = _with_effects(_merged(experiments, baseline), axes, confidence)
    names, variants = tuple(axes.values()), tuple({cell.side.variant: None for cell in cells})
    order = [baseline, *variants]
    cells.sort(key=lambda cell: (_place(cell.at, names), order.index(cell.side.variant)))
    return Ablation(
        cells=tuple(cells),
        axes=names,
        variants=variants,
        baseline=baseline,
        experiments=tuple(one.name for one in experiments),
        confidence=confidence,
    )


def named(at: Mapping[str, Any]) -> str:
    """Returns a place on the axes for people: `learning_rate 0.001, momentum 0.9`."""
    return ", ".join(f"{axis} {shown(value)}" for axis, value in at.items())


def shown(value: Any) -> str:
    """Returns a value on an axis for people; one that is left out as a dash."""
    return ABSENT if value is None else str(value)


def record(found: Ablation) -> dict[str, Any]:
    """Returns all of an ablation but its tables of runs, ready for JSON."""
    return {
        "baseline": found.baseline,
        "axes": list(found.axes),
        "p_values_in_family": found.family,
        "cells": [_cell_record(cell, found.confidence) for cell in found.cells],
    }


def _cell_record(cell: Cell, confidence: float) -> dict[str, Any]:
    side = cell.side
    return {
        "at": dict(cell.at),
        "variant": side.variant,
        "label": side.results.label,
        "experiments": list(cell.experiments),
        "seeds": [int(seed) for seed in side.results.scores["seed"]],
        "diverged": list(side.results.diverged),
        "parameters": dict(side.results.parameters),
        "data_sha256": side.data_sha256,
        "code_sha256": side.code_sha256,
        "test": {measure: vars(cell.summary(measure, confidence)) for measure in MEASURES},
        "difference": cell.effect and _effect_record(cell.effect),
    }


def _effect_record(effect: Effect) -> dict[str, Any]:
    comparison = effect.contrast.comparison
    own, others = effect.contrast.left_out
    return {
        "baseline_at": dict(effect.reference),
        "left_out": {"cell": list(own), "baseline": list(others)},
        "accuracy": comparison and asdict(comparison.accuracy),
        "steady": comparison and comparison.steady and asdict(comparison.steady),
        "p_holm": effect.p,
        "verdict": effect.verdict,
    }


@dataclass(frozen=True, eq=False)
class _Met:
    """A variant of some experiments beside what it is set against in all of them."""

    side: Side
    reference: Side | None
    experiments: tuple[str, ...]


def _merged(experiments: Sequence[Experiment], baseline: str) -> list[_Met]:
    """Returns each variant once for every baseline that it meets, in the order of experiments."""
    met: dict[tuple[Any, ...], _Met] = {}
    for one in experiments:
        if baseline not in one.sides:
            raise ArgumentError(
                f"{one.name} has no variant {baseline!r}, which params.yaml names as the baseline; "
                f"it has {', '.join(one.sides)}"
            )
        for name, side in one.sides.items():
            reference = None if name == baseline else one.sides[baseline]
            key = (_identity(side), reference and _identity(reference))
            before = met.get(key, _Met(side, reference, ()))
            met[key] = replace(before, experiments=(*before.experiments, one.name))
    return list(met.values())


def _with_effects(met: Sequence[_Met], axes: Mapping[str, str], confidence: float) -> list[Cell]:
    contrasts = [
        _contrast(one, one.reference, confidence) if one.reference else None for one in met
    ]
    adjusted = holm(
        [
            found.comparison.accuracy.wilcoxon_p if found and found.comparison else None
            for found in contrasts
        ]
    )
    had: dict[str, set[str]] = {}
    for one in met:
        had.setdefault(one.side.variant, set()).update(_inputs(one.side))

    def at(side: Side) -> dict[str, Any]:
        values, has = _inputs(side), had[side.variant]
        return {axis: values.get(key) for key, axis in axes.items() if key in has}

    return [
        Cell(
            side=one.side,
            experiments=one.experiments,
            at=at(one.side),
            effect=Effect(at(one.reference), found, p, _verdict(found.comparison, p, confidence))
            if one.reference and found
            else None,
        )
        for one, found, p in zip(met, contrasts, adjusted, strict=True)
    ]


def _contrast(one: _Met, reference: Side, confidence: float) -> Contrast:
    # Without labels: other images than these are not spoken of, which would take a second each.
    found = contrast(one.side, reference, None, confidence)
    if found is None:
        raise ArgumentError(
            f"{one.side.variant} and {reference.variant} of {one.experiments[0]} have no run of "
            "the same seed: there is nothing to pair"
        )
    return found


def _verdict(comparison: Comparison | None, p: float | None, confidence: float) -> Verdict:
    if comparison is None:
        return "the same"
    found = comparison.accuracy.verdict
    if found == "too_few_pairs":
        return "too few pairs"
    if p is None or p > 1 - confidence or found == "not_settled":
        return "not settled"
    return "better" if found == "candidate_better" else "worse"


def _inputs(side: Side) -> dict[str, Any]:
    """Returns what a cell was made from, beside its variant, by the name of each."""
    rest = {
        "seeds": len(side.results.scores),
        "data": side.data_sha256[:_SHORT],
        "code": side.code_sha256[:_SHORT],
    }
    return dict(flat(side.results.parameters)) | rest


def _identity(side: Side) -> tuple[Any, ...]:
    """Returns what two cells have in common only if they are the same one.

    The scores are part of it: what was made from the same may have come out otherwise.
    """
    inputs = tuple(sorted((key, str(value)) for key, value in _inputs(side).items()))
    return side.variant, inputs, _scores(side)


def _scores(side: Side) -> bytes:
    return side.results.scores[["seed", *MEASURES]].to_numpy(float).tobytes()


def _made_from(cell: Cell) -> tuple[str, str]:
    return cell.side.variant, named(cell.at)


def _axes(sides: Sequence[Side]) -> dict[str, str]:
    """Returns what differs between namesakes, with its short name; first what most have."""
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for side in sides:
        by_variant.setdefault(side.variant, []).append(_inputs(side))
    having = Counter(key for inputs in by_variant.values() for key in dict.fromkeys(chain(*inputs)))
    differing = [
        key
        for key in having
        if any(len({str(one.get(key)) for one in inputs}) > 1 for inputs in by_variant.values())
    ]
    return _shortened(sorted(differing, key=lambda key: -having[key]))


def _shortened(keys: Sequence[str]) -> dict[str, str]:
    """Returns each key with the end of its name that no other ends with."""
    short = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        clear = (
            end
            for end in ends
            if end != _VAGUE
            and not any(f".{other}".endswith(f".{end}") for other in keys if other != key)
        )
        short[key] = next(clear, key)
    return short


def _place(at: Mapping[str, Any], axes: Sequence[str]) -> tuple[Any, ...]:
    """Returns what cells are sorted by: numbers by size, what an axis does not touch first."""
    return tuple(_rank(at.get(axis)) for axis in axes)


def _rank(value: Any) -> tuple[Any, ...]:
    match value:
        case None:
            return (0,)
        case int() | float():
            return 1, value
        case list() | tuple() if all(isinstance(one, int | float) for one in value):
            return 2, tuple(value)
        case _:
            return 3, str(value)
