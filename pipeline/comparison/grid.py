"""Any number of experiments side by side: where their cells differ, and the effect of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from pipeline.comparison.cells import Cell
from pipeline.comparison.contrast import SCORES, Contrast, contrasts
from pipeline.comparison.measures import MEASURES, Measure
from pipeline.comparison.verdict import ONCE, Looks
from pipeline.comparison.words import ABSENT
from pipeline.errors import ArgumentError
from pipeline.params import flat

_SHORT = 8
# The last part of a parameter's name that means nothing without the part before it.
_VAGUE = "name"


@dataclass(frozen=True, eq=False)
class Experiment:
    """An experiment's name, and its cells by variant name."""

    name: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True, eq=False)
class Row:
    """A cell, with all experiments that share it.

    Attributes:
        cell: the variant with its runs.
        experiments: the names of those in which both the cell and its baseline are the same.
        at: its value on each axis that applies to its variant; None for a parameter it lacks.
        against: its baseline's values on the axes, as in `at`; None for a baseline.
        contrast: of the cell with its baseline; None for a baseline.
    """

    cell: Cell
    experiments: tuple[str, ...]
    at: Mapping[str, Any]
    against: Mapping[str, Any] | None
    contrast: Contrast | None


@dataclass(frozen=True, eq=False)
class Grid:
    """All cells of some experiments, without repetition, in the order of the grid.

    Attributes:
        rows: sorted along the axes; at each place the baseline comes first.
        axes: what differs among the cells, by its shortest clear name.
        variants: their names, in the order of the experiments.
        baseline: the name of the variant that the others are compared with.
        experiments: their names.
        measure: the score on the test set that decides.
        confidence: of every interval; over all looks, where they are repeated.
        looks: how often it is looked at.
    """

    rows: tuple[Row, ...]
    axes: tuple[str, ...]
    variants: tuple[str, ...]
    baseline: str
    experiments: tuple[str, ...]
    measure: Measure
    confidence: float
    looks: Looks = ONCE

    @property
    def contrasts(self) -> list[tuple[Row, Contrast]]:
        """The rows that are compared with a baseline, with their contrasts."""
        return [(row, row.contrast) for row in self.rows if row.contrast]

    @property
    def family(self) -> int:
        """How many p values were adjusted together."""
        return max((contrast.effect.family for _, contrast in self.contrasts), default=0)

    @property
    def disagreeing(self) -> list[Row]:
        """The rows whose scores differ from those of another row with the same inputs."""
        scores: dict[tuple[str, str], set[bytes]] = {}
        for row in self.rows:
            scores.setdefault(_made_from(row), set()).add(_scores(row.cell))
        return [row for row in self.rows if len(scores[_made_from(row)]) > 1]


def grid(
    experiments: Sequence[Experiment],
    baseline: str,
    measure: Measure,
    confidence: float,
    looks: Looks = ONCE,
) -> Grid:
    """Returns all cells of the experiments, each compared with its experiment's baseline.

    Args:
        experiments: at least one.
        baseline: the name of a variant that every experiment has.
        measure: the score on the test set that decides.
        confidence: in (0, 1).
        looks: how often it is looked at.

    Raises:
        ArgumentError: if an experiment lacks the baseline, or a variant shares no seed with it.
        MissingInputError: if a cell was scored without the measure.
    """
    # Each cell once per baseline that it meets, with the experiments in which they meet.
    meetings: dict[tuple[Any, ...], tuple[Cell, Cell | None, list[str]]] = {}
    for experiment in experiments:
        if baseline not in experiment.cells:
            raise ArgumentError(
                f"{experiment.name} has no variant {baseline!r}, which params.yaml names as the "
                f"baseline; it has {', '.join(experiment.cells)}"
            )
        for name, cell in experiment.cells.items():
            against = None if name == baseline else experiment.cells[baseline]
            key = _identity(cell), against and _identity(against)
            meetings.setdefault(key, (cell, against, []))[2].append(experiment.name)
    pairs = [(cell, against) for cell, against, _ in meetings.values() if against]
    of_pairs = iter(contrasts(pairs, measure, confidence, looks=looks) if pairs else [])

    axes = _axes([cell for experiment in experiments for cell in experiment.cells.values()])
    keys_of: dict[str, set[str]] = {}
    for cell, *_ in meetings.values():
        keys_of.setdefault(cell.variant, set()).update(_inputs(cell))

    def place(cell: Cell) -> dict[str, Any]:
        values = _inputs(cell)
        return {axis: values.get(key) for key, axis in axes.items() if key in keys_of[cell.variant]}

    rows = [
        Row(
            cell=cell,
            experiments=tuple(names),
            at=place(cell),
            against=place(against) if against else None,
            contrast=next(of_pairs) if against else None,
        )
        for cell, against, names in meetings.values()
    ]
    variants = tuple(dict.fromkeys(row.cell.variant for row in rows))
    order = [baseline, *variants]
    rows.sort(
        key=lambda row: (
            [_rank(row.at.get(axis)) for axis in axes.values()],
            order.index(row.cell.variant),
        )
    )
    names = tuple(experiment.name for experiment in experiments)
    return Grid(
        tuple(rows), tuple(axes.values()), variants, baseline, names, measure, confidence, looks
    )


def named(at: Mapping[str, Any]) -> str:
    """Returns the values on the axes as text: `learning_rate 0.001, momentum 0.9`."""
    return ", ".join(f"{axis} {shown(value)}" for axis, value in at.items())


def shown(value: Any) -> str:
    """Returns a value on an axis as text; a missing one as a dash."""
    return ABSENT if value is None else str(value)


def record(grid: Grid) -> dict[str, Any]:
    """Returns a grid without its tables of runs, ready for JSON."""
    return {
        "baseline": grid.baseline,
        "measure": grid.measure.name,
        "axes": list(grid.axes),
        "p_values_in_family": grid.family,
        "cells": [_row_record(row, grid.confidence) for row in grid.rows],
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
    of_cell, of_baseline = contrast.effect.left_out
    same = contrast.same_scores
    return {
        "baseline_at": dict(row.against or {}),
        "left_out": {"cell": list(of_cell), "baseline": list(of_baseline)},
        contrast.measure.name: None if same else asdict(contrast.paired),
        "steady": None if same or contrast.steady is None else asdict(contrast.steady),
        "p_holm": contrast.effect.p,
        "verdict": contrast.verdict,
    }


def _inputs(cell: Cell) -> dict[str, Any]:
    """Returns what a cell was made from, apart from its variant, by name."""
    others = {
        "seeds": len(cell.scores),
        "data": cell.data_sha256[:_SHORT],
        "code": cell.code_sha256[:_SHORT],
    }
    return dict(flat(cell.parameters)) | others


def _identity(cell: Cell) -> tuple[Any, ...]:
    """Returns a key that two cells share only if they are the same.

    It includes the scores, because the same inputs may have led to different scores.
    """
    inputs = tuple(sorted((key, str(value)) for key, value in _inputs(cell).items()))
    return cell.variant, inputs, _scores(cell)


def _scores(cell: Cell) -> bytes:
    return cell.scores[["seed", *SCORES]].to_numpy(float).tobytes()


def _made_from(row: Row) -> tuple[str, str]:
    return row.cell.variant, named(row.at)


def _axes(cells: Sequence[Cell]) -> dict[str, str]:
    """Returns the inputs in which cells of one variant differ, the most shared first, named."""
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        by_variant.setdefault(cell.variant, []).append(_inputs(cell))
    variants = Counter(key for of in by_variant.values() for key in dict.fromkeys(chain(*of)))
    differing = [
        key
        for key in variants
        if any(len({str(inputs.get(key)) for inputs in of}) > 1 for of in by_variant.values())
    ]
    return _shortened(sorted(differing, key=lambda key: -variants[key]))


def _shortened(keys: Sequence[str]) -> dict[str, str]:
    """Returns each key with the shortest ending that no other key has."""
    short = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[-count:]) for count in range(1, len(parts))]
        clear = (
            end
            for end in ends
            if end != _VAGUE
            and not any(f".{other}".endswith(f".{end}") for other in keys if other != key)
        )
        short[key] = next(clear, key)
    return short


def _rank(value: Any) -> tuple[Any, ...]:
    """Returns a sort key: an axis that does not apply first, then numbers by size, then text."""
    match value:
        case None:
            return (0,)
        case int() | float():
            return 1, value
        case list() | tuple() if all(isinstance(number, int | float) for number in value):
            return 2, tuple(value)
        case _:
            return 3, str(value)
