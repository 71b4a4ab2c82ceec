"""A figure of a grid: a row per cell with its accuracy, its effect, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.colors import variant_colors
from pipeline.comparison.cells import Cell
from pipeline.comparison.grid import Grid, Row, named
from pipeline.comparison.measures import Measure
from pipeline.comparison.statistics import PairedComparison, Summary
from pipeline.comparison.words import level
from pipeline.reporting.grid_report import baseline_label
from pipeline.reporting.labels import literal

# In inches: a cell, a line of a label, the gap between groups, and everything but the rows.
_CELL, _LINE, _BETWEEN, _REST = 0.24, 0.17, 0.12, 1.1
_WIDTH = 11.0
# In characters.
_LABEL_WIDTH = 36
_UNBROKEN = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, eq=False)
class _Group:
    """Cells at one place on the axes, with a common label; heights are inches from the top."""

    label: str
    rows: Sequence[Row]
    top: float
    height: float

    @property
    def middle(self) -> float:
        return self.top + self.height / 2

    def place(self, row: Row) -> float:
        """Returns the height at which to draw a cell."""
        return self.middle + _CELL * (self.rows.index(row) - (len(self.rows) - 1) / 2)


def figure(grid: Grid) -> Figure:
    """Shows each cell's mean of the measure and its mean difference, with their intervals."""
    groups, measure = _groups(grid), grid.measure
    end = groups[-1].top + groups[-1].height
    drawn = Figure(figsize=(_WIDTH, _REST + end), layout="constrained")
    axes = drawn.subplots(1, 2 if grid.contrasts else 1, sharey=True, squeeze=False)[0]
    colors = variant_colors(grid.variants)
    for group in groups:
        for row in group.rows:
            color, place = colors[row.cell.variant], group.place(row)
            _draw(axes[0], place, row.cell.summary(measure.name, grid.confidence), color)
            if row.contrast and not row.contrast.same_scores:
                _draw(axes[1], place, row.contrast.paired, color)
            _draw_diverged(axes[0], place, row.cell, measure)
    title = f"Test {measure.words}: mean and {level(grid.confidence)} interval"
    axes[0].set_title(title, fontsize=11)
    sign = "%" if measure.is_share else ""
    axes[0].xaxis.set_major_formatter(lambda value, _: f"{measure.scale * value:.4g}{sign}")
    if grid.contrasts:
        axes[1].axvline(0, color="black", linewidth=0.8)
        title = f"Difference to {literal(baseline_label(grid))}, {measure.unit}"
        axes[1].set_title(title, fontsize=11)
        axes[1].xaxis.set_major_formatter(
            lambda value, _: f"{measure.scale * value:+.4g}" if value else "0"
        )
    for axis in axes:
        _finish(axis, groups, end)
    _legend(drawn, grid, colors)
    return drawn


def _groups(grid: Grid) -> list[_Group]:
    groups, top = [], 0.0
    for _, of in groupby(grid.rows, key=lambda row: named(row.at)):
        rows = tuple(of)
        label = _label(rows)
        height = max(_CELL * len(rows), _LINE * len(label.splitlines())) + _BETWEEN
        groups.append(_Group(label, rows, top, height))
        top += height
    return groups


def _label(rows: Sequence[Row]) -> str:
    """Returns the lines of a group's label: its place, or its variants if there are no axes."""
    at = rows[0].at
    parts = [named({axis: at[axis]}) for axis in at] or [row.cell.label for row in rows]
    # A line must not break inside a part.
    whole = ", ".join(literal(part).replace(" ", _UNBROKEN) for part in parts)
    return "\n".join(wrap(whole, _LABEL_WIDTH, break_long_words=False)).replace(_UNBROKEN, " ")


def _draw(axis: Axes, place: float, of: Summary | PairedComparison, color: str) -> None:
    if of.ci_low is not None and of.ci_high is not None:
        axis.plot([of.ci_low, of.ci_high], [place, place], color=color, linewidth=2, alpha=0.6)
    if of.mean is not None:
        axis.plot(of.mean, place, "o", color=color, markersize=5.5)


def _draw_diverged(axis: Axes, place: float, cell: Cell, measure: Measure) -> None:
    mean = cell.scores[measure.name].mean()
    # A loss may be finite in no run: then there is no point to write above.
    x, across = (mean, "data") if math.isfinite(mean) else (0.5, "axes fraction")
    if count := len(cell.diverged):
        axis.annotate(
            f"{count} diverged", (x, place), (0, 4), xycoords=(across, "data"),
            textcoords="offset points", fontsize=7, ha="center",
        )  # fmt: skip


def _finish(axis: Axes, groups: Sequence[_Group], end: float) -> None:
    axis.set_ylim(end, 0)
    axis.set_yticks([group.middle for group in groups], [group.label for group in groups])
    axis.tick_params("y", length=0)
    for group in groups[1:]:
        axis.axhline(group.top, color="#666666", alpha=0.25, linewidth=0.6)
    axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", alpha=0.25, linewidth=0.6)


def _legend(drawn: Figure, grid: Grid, colors: dict[str, str]) -> None:
    labels = {row.cell.variant: row.cell.label for row in reversed(grid.rows)}
    handles = [
        drawn.axes[0].plot([], [], "o-", color=color, label=literal(labels[name]))[0]
        for name, color in colors.items()
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
