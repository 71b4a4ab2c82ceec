"""Any number of experiments beside each other: what tells their cells apart, what each gains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from pipeline.comparison.cells import Cell
from pipeline.comparison.contrast import MEASURES, Contrast, contrasts
from pipeline.comparison.words import ABSENT
from pipeline.errors import ArgumentError
from pipeline.params import flat

_SHORT = 8
# The last part of a parameter's name that says nothing without the part before it.
_VAGUE = "name"


@dataclass(frozen=True, eq=False)
class Experiment:
    """An experiment's name, and its cells by the names of their variants."""

    name: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True, eq=False)
class Row:
    """A cell as one or more experiments have it.

    Attributes:
        cell: its runs.
        experiments: the names of all in which it, and what it is set against, is the same.
        at: its value on each axis that its variant has; None where it leaves a parameter out.
        against: where the baseline of its experiment is, as in `at`; None for a baseline.
        contrast: of the cell and that baseline; None for a baseline.
    """

    cell: Cell
    experiments: tuple[str, ...]
    at: Mapping[str, Any]
    against: Mapping[str, Any] | None
    contrast: Contrast | None


@dataclass(frozen=True, eq=False)
class Grid:
    """All cells of some experiments, each once, in the order of the grid.

    Attributes:
        rows: sorted along the axes, the baseline's before those that are set against it.
        axes: what differs among the cells, by the shortest name that is clear.
        variants: the names of all, in the order of the experiments.
        baseline: the name of the variant that the others are set against.
        experiments: the names of all.
        confidence: of every interval.
    """

    rows: tuple[Row, ...]
    axes: tuple[str, ...]
    variants: tuple[str, ...]
    baseline: str
    experiments: tuple[str, ...]
    confidence: float

    @property
    def contrasts(self) -> list[tuple[Row, Contrast]]:
        """The rows that are set against a baseline."""
        return [(row, row.contrast) for row in self.rows if row.contrast]

    @property
    def family(self) -> int:
        """How many p values were adjusted together."""
        return max((contrast.effect.family for _, contrast in self.contrasts), default=0)

    @property
    def disagreeing(self) -> list[Row]:
        """The rows made from the same as another, with other scores all the same."""
        scores: dict[tuple[str, str], set[bytes]] = {}
        for row in self.rows:
            scores.setdefault(_made_from(row), set()).add(_scores(row.cell))
        return [row for row in self.rows if len(scores[_made_from(row)]) > 1]


def grid(experiments: Sequence[Experiment], baseline: str, confidence: float) -> Grid:
    """Returns all cells of the experiments, each variant set against its experiment's baseline.

    Args:
        experiments: at least one.
        baseline: the name of a variant.
        confidence: in (0, 1).

    Raises:
        ArgumentError: if an experiment has no such variant, or no seed in common with it.
    """
    # Each variant once for every baseline that it meets, with the experiments in which it does.
    met: dict[tuple[Any, ...], tuple[Cell, Cell | None, list[str]]] = {}
    for one in experiments:
        if baseline not in one.cells:
            raise ArgumentError(
                f"{one.name} has no variant {baseline!r}, which params.yaml names as the baseline; "
                f"it has {', '.join(one.cells)}"
            )
        for name, cell in one.cells.items():
            against = None if name == baseline else one.cells[baseline]
            key = _identity(cell), against and _identity(against)
            met.setdefault(key, (cell, against, []))[2].append(one.name)
    pairs = [(cell, against) for cell, against, _ in met.values() if against]
    found = iter(contrasts(pairs, confidence) if pairs else [])

    axes = _axes([cell for one in experiments for cell in one.cells.values()])
    has: dict[str, set[str]] = {}
    for cell, *_ in met.values():
        has.setdefault(cell.variant, set()).update(_inputs(cell))

    def place(cell: Cell) -> dict[str, Any]:
        values = _inputs(cell)
        return {axis: values.get(key) for key, axis in axes.items() if key in has[cell.variant]}

    rows = [
        Row(
            cell=cell,
            experiments=tuple(names),
            at=place(cell),
            against=place(against) if against else None,
            contrast=next(found) if against else None,
        )
        for cell, against, names in met.values()
    ]
    variants = tuple(dict.fromkeys(row.cell.variant for row in rows))
    order = [baseline, *variants]
    rows.sort(
        key=lambda row: (
            [_rank(row.at.get(axis)) for axis in axes.values()],
            order.index(row.cell.variant),
        )
    )
    names = tuple(one.name for one in experiments)
    return Grid(tuple(rows), tuple(axes.values()), variants, baseline, names, confidence)


def named(at: Mapping[str, Any]) -> str:
    """Returns a place on the axes for people: `learning_rate 0.001, momentum 0.9`."""
    return ", ".join(f"{axis} {shown(value)}" for axis, value in at.items())


def shown(value: Any) -> str:
    """Returns a value on an axis for people; one that is left out as a dash."""
    return ABSENT if value is None else str(value)


def record(found: Grid) -> dict[str, Any]:
    """Returns all of a grid but its tables of runs, ready for JSON."""
    return {
        "baseline": found.baseline,
        "axes": list(found.axes),
        "p_values_in_family": found.family,
        "cells": [_row_record(row, found.confidence) for row in found.rows],
    }


def _row_record(row: Row, confidence: float) -> dict[str, Any]:
    cell = row.cell
    return {
        "at": dict(row.at),
        "variant": cell.variant,
        "label": cell.label,
        "experiments": list(row.experiments),
        "seeds": cell.seeds,
        "diverged": list(cell.diverged),
        "parameters": dict(cell.parameters),
        "data_sha256": cell.data_sha256,
        "code_sha256": cell.code_sha256,
        "test": {measure: vars(cell.summary(measure, confidence)) for measure in MEASURES},
        "difference": row.contrast and _difference_record(row, row.contrast),
    }


def _difference_record(row: Row, contrast: Contrast) -> dict[str, Any]:
    own, others = contrast.effect.left_out
    same = contrast.same_scores
    return {
        "baseline_at": dict(row.against or {}),
        "left_out": {"cell": list(own), "baseline": list(others)},
        "accuracy": None if same else asdict(contrast.accuracy),
        "steady": None if same or contrast.steady is None else asdict(contrast.steady),
        "p_holm": contrast.effect.p,
        "verdict": contrast.verdict,
    }


def _inputs(cell: Cell) -> dict[str, Any]:
    """Returns what a cell was made from, beside its variant, by the name of each."""
    rest = {
        "seeds": len(cell.scores),
        "data": cell.data_sha256[:_SHORT],
        "code": cell.code_sha256[:_SHORT],
    }
    return dict(flat(cell.parameters)) | rest


def _identity(cell: Cell) -> tuple[Any, ...]:
    """Returns what two cells have in common only if they are the same one.

    The scores are part of it: what was made from the same may have come out otherwise.
    """
    inputs = tuple(sorted((key, str(value)) for key, value in _inputs(cell).items()))
    return cell.variant, inputs, _scores(cell)


def _scores(cell: Cell) -> bytes:
    return cell.scores[["seed", *MEASURES]].to_numpy(float).tobytes()


def _made_from(row: Row) -> tuple[str, str]:
    return row.cell.variant, named(row.at)


def _axes(cells: Sequence[Cell]) -> dict[str, str]:
    """Returns what differs between namesakes, with its short name; first what most have."""
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        by_variant.setdefault(cell.variant, []).append(_inputs(cell))
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


def _rank(value: Any) -> tuple[Any, ...]:
    """Returns what places are sorted by: numbers by size, what an axis does not touch first."""
    match value:
        case None:
            return (0,)
        case int() | float():
            return 1, value
        case list() | tuple() if all(isinstance(one, int | float) for one in value):
            return 2, tuple(value)
        case _:
            return 3, str(value)
