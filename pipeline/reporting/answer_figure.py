"""A figure of what was found out about anybody's runs, for each kind of answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from pipeline.colors import COLORS
from pipeline.comparison.words import level
from pipeline.designs.answers import (
    Answer,
    Cell,
    Comparison,
    Paired,
    Search,
    StratumTrend,
    Trends,
    Unpaired,
    UnpairedPair,
    Values,
)
from pipeline.designs.factors import ABSENT as NO_VALUE
from pipeline.designs.metric import Metric
from pipeline.errors import printable
from pipeline.reporting.labels import shown_names
from pipeline.reporting.words import shortened

# In inches: a row, everything but the rows, and a panel of a trend.
_ROW, _REST, _PANEL = 0.32, 1.1, (3.7, 3.0)
_WIDTH = 9.0
# In characters of a label, of a level in it, also beside no factor, and of a line; and in rows.
_LONGEST, _LEVEL, _LEVEL_ALONE, _LINE, _MOST = 80, 22, 35, 40, 40
_PANELS_ABREAST, _MOST_PANELS = 3, 9
_DECIDED, _OPEN = COLORS[0], "#777777"


@dataclass(frozen=True)
class _Effect:
    """A row of a forest plot."""

    value: float
    low: float | None
    high: float | None
    is_decided: bool


@singledispatch
def figure(answer: Answer) -> Figure:
    """Returns effects with their intervals, points of a trend, or the values of each setting.

    Of more than 40 rows or 9 trends it shows the first.
    """
    raise TypeError(type(answer))


@figure.register
def _(answer: Paired) -> Figure:
    return _forest([_of_pairs(one) for one in answer.comparisons], answer)


@figure.register
def _(answer: Unpaired) -> Figure:
    return _forest([_unpaired(one) for one in answer.comparisons], answer)


@figure.register
def _(answer: Trends) -> Figure:
    trends = answer.trends[:_MOST_PANELS]
    abreast = min(_PANELS_ABREAST, len(trends))
    down = math.ceil(len(trends) / abreast)
    size = (max(_PANEL[0] * abreast, _PANEL[0] * 1.4), _PANEL[1] * down)
    drawn = Figure(figsize=size, layout="constrained")
    axes = drawn.subplots(down, abreast, squeeze=False).flat
    for axis, trend in zip(axes, trends, strict=False):
        _draw_trend(axis, trend)
        axis.set_xlabel(_shown(answer.factor))
        axis.set_ylabel(_shown(answer.basis.metric.name))
    for axis in list(axes)[len(trends) :]:
        axis.set_axis_off()
    return drawn


@figure.register
def _(answer: Values) -> Figure:
    return _dots(answer.cells, answer.factor, answer.basis.metric)


@figure.register
def _(answer: Search) -> Figure:
    return _dots(answer.best, answer.factor, answer.basis.metric)


def _of_pairs(of: Comparison) -> _Effect:
    interval = of.ratio or of.corrected or of.paired
    value = of.paired.mean if of.ratio is None else of.ratio.ratio
    # As in the table: over so few pairs an interval would look more certain than it is.
    few = of.verdict == "too_few_pairs"
    low, high = (None, None) if few else (interval.ci_low, interval.ci_high)
    return _Effect(math.nan if value is None else value, low, high, _is_decided(of))


def _unpaired(of: UnpairedPair) -> _Effect:
    value, low, high = (
        math.exp(end) if of.as_ratio and end is not None else end
        for end in (of.compared.mean, of.compared.ci_low, of.compared.ci_high)
    )
    return _Effect(math.nan if value is None else value, low, high, _is_decided(of))


def _pair(of: Comparison | UnpairedPair, *, has_factor: bool) -> str:
    longest = _LEVEL if has_factor else _LEVEL_ALONE
    a, b = (shortened(level or NO_VALUE, longest) for level in (of.candidate, of.baseline))
    return f"{of.factor}: {a} against {b}" if has_factor else f"{a} against {b}"


def _is_decided(of: Comparison | UnpairedPair) -> bool:
    return of.verdict in {"candidate_better", "baseline_better"}


def _forest(effects: Sequence[_Effect], answer: Paired | Unpaired) -> Figure:
    metric, comparisons = answer.basis.metric, answer.comparisons
    several = len({of.factor for of in comparisons}) > 1
    drawn, axis = _rows([_pair(of, has_factor=several) for of in comparisons])
    if not several:
        axis.set_ylabel(_shown(comparisons[0].factor))
    axis.axvline(1 if metric.as_ratio else 0, color="black", linewidth=0.8)
    for place, effect in enumerate(effects[:_MOST]):
        color = _DECIDED if effect.is_decided else _OPEN
        if effect.low is not None and effect.high is not None:
            axis.plot([effect.low, effect.high], [place, place], color=color, linewidth=2)
        axis.plot(effect.value, place, "o", color=color, markersize=6)
    what = "ratio of" if metric.as_ratio else "difference in"
    better = "smaller" if metric.smaller_is_better else "larger"
    has_intervals = any(effect.low is not None for effect in effects)
    interval = f" and {level(answer.basis.confidence)} interval" if has_intervals else ""
    axis.set_title(
        f"{what.capitalize()} {_shown(metric.name)}{interval}; {better} is better",
        fontsize=11,
    )
    if metric.as_ratio:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    for color, name in ((_DECIDED, "settled"), (_OPEN, "not settled")):
        if any(effect.is_decided is (color == _DECIDED) for effect in effects[:_MOST]):
            axis.plot([], [], "o-", color=color, label=name)
    drawn.legend(loc="outside lower center", ncols=2, frameon=False)
    return drawn


def _dots(cells: Sequence[Cell], factor: str, metric: Metric) -> Figure:
    drawn, axis = _rows([cell.level or NO_VALUE for cell in cells])
    for place, cell in enumerate(cells[:_MOST]):
        axis.plot([cell.low, cell.high], [place, place], color=_OPEN, linewidth=2, alpha=0.6)
        axis.plot(cell.mean, place, "o", color=_OPEN, markersize=6)
    repeated = any(cell.runs > 1 for cell in cells)
    what = f"Mean, lowest and highest {_shown(metric.name)}" if repeated else _shown(metric.name)
    axis.set_title(what, fontsize=11)
    axis.set_ylabel(_shown(factor))
    return drawn


def _rows(labels: Sequence[str]) -> tuple[Figure, Axes]:
    """Returns a figure with a row for each label, the first at the top."""
    drawn_labels = [printable(label) for label in labels[:_MOST]]
    names = shown_names(drawn_labels, range(len(drawn_labels)), "row", _LONGEST)
    wrapped = ["\n".join(wrap(name, _LINE)) for name in names]
    lines = sum(max(1, label.count("\n") * 0.7 + 0.7) for label in wrapped)
    drawn = Figure(figsize=(_WIDTH, _REST + _ROW * lines), layout="constrained")
    axis = drawn.subplots()
    axis.set_yticks(range(len(wrapped)), wrapped)
    axis.set_ylim(len(wrapped) - 0.5, -0.5)
    axis.tick_params("y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", alpha=0.25, linewidth=0.6)
    return drawn, axis


def _draw_trend(axis: Axes, of: StratumTrend) -> None:
    axis.plot(*zip(*of.points, strict=True), "o", color=COLORS[0], markersize=5)
    found = "" if of.trend is None else f"r = {of.trend.pearson.coefficient:.2f}, "
    title = f"{_shown(of.where)}\n" if of.where else ""
    axis.set_title(f"{title}{found}n = {len(of.points)}", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25, linewidth=0.6)


def _shown(name: str, longest: int = _LINE) -> str:
    (label,) = shown_names([printable(name)], [0], "name", longest)
    return label
