"""A study's figure: each measure that a rule uses, with published values beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

from pipeline.colors import variant_colors
from pipeline.comparison.statistics import summary
from pipeline.studies.judgement import Judged
from pipeline.studies.measures.course import parted
from pipeline.studies.study import Study, short
from pipeline.studies.words import headed, is_share, words

_LABEL_WIDTH = 10
# How many panels are side by side, where it is not all of them.
_COLUMNS = {4: 2, 5: 3, 6: 3}
# An axis is logarithmic if its largest value is so many times its smallest: x axis, y axis.
_WIDE = 10, 50


def figure(
    study: Study, table: pd.DataFrame, course: pd.DataFrame, judged: Sequence[Judged]
) -> Figure:
    """Shows the measures over the course of training, over the grid, or seed by seed.

    Args:
        study: what was run.
        table: its results, one row per point, variant and seed.
        course: the same by `step`; empty unless the study follows its runs.
        judged: the rules, whose measures are drawn.
    """
    by_step = not study.axes and not course.empty
    names = [judgement.rule.measure for judgement in judged]
    measures = list(dict.fromkeys(parted(name)[0] if by_step else name for name in names))
    along, *others = [*study.axes, ""]
    others = [axis for axis in others if axis]
    panels = list(product(product(*(study.axes[axis] for axis in others)), measures))
    columns = len(measures) if others else _COLUMNS.get(len(measures), len(measures))
    lines = -(-len(panels) // columns)
    result = Figure(figsize=(5.2 * max(columns, 1.4), 0.6 + 3.8 * lines), layout="constrained")
    axes = result.subplots(lines, columns, squeeze=False).ravel()
    for axis, (values, measure) in zip(axes, panels, strict=True):
        rows = table
        for other, value in zip(others, values, strict=True):
            rows = rows[rows[short(other)] == value]
        if by_step:
            _draw_course(axis, study, course, measure)
        elif study.axes:
            _draw_grid(axis, study, along, rows, measure)
        else:
            _draw_seeds(axis, study, rows, measure)
        at = [f"{words(short(other))} {value}" for other, value in zip(others, values, strict=True)]
        axis.set_title(", ".join([headed(measure), *at]), fontsize=11)
        _finish(axis, measure)
    _legend(result)
    if study.is_quick:
        result.suptitle("quick: not reliable", fontsize=9, color="#D55E00")
    return result


def _finish(axis: Axes, measure: str) -> None:
    shown = np.concatenate([line.get_ydata() for line in axis.lines] or [np.ones(1)])
    shown = shown[np.isfinite(shown)]
    if is_share(measure):
        axis.yaxis.set_major_formatter(PercentFormatter(1))
    elif len(shown) and shown.min() > 0 and shown.max() / shown.min() >= _WIDE[1]:
        axis.set_yscale("log")
    axis.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure) -> None:
    handles = {
        label: handle
        for axis in figure.axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(
            list(handles.values()), list(handles), loc="outside lower center", ncols=4,
            frameon=False,
        )  # fmt: skip


def _colored(study: Study) -> Iterator[tuple[str, str, str]]:
    """Yields each variant's name, label and colour."""
    for name, color in variant_colors(study.params.variants).items():
        yield name, study.params.variants[name].label, color


def _draw_course(axis: Axes, study: Study, course: pd.DataFrame, measure: str) -> None:
    best = []
    for name, label, color in _colored(study):
        groups = course[course["variant"] == name].groupby("step")[measure]
        steps = np.array(list(groups.groups), dtype=float)
        values = [group.to_numpy() for _, group in groups]
        means = _draw_means(axis, study, (steps, values), color=color, label=label, marker="")
        best.append(float(np.nanmax(means)))
        published = _published(study, name, measure)
        if "step" in published:
            axis.plot(
                published["step"], published[measure], "--", color=color, linewidth=1.4,
                label=f"{label}, published",
            )  # fmt: skip
    if is_share(measure):
        # The first steps, far below the rest, would squeeze everything after them.
        shown = 4 * (1 - min(best))
        axis.set_ylim(max(0, 1 - shown), min(1, max(best) + shown / 20))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_xlabel("Step")


def _draw_grid(axis: Axes, study: Study, along: str, table: pd.DataFrame, measure: str) -> None:
    values = study.axes[along]
    is_numeric = all(isinstance(value, int | float) for value in values)
    places = np.array(values if is_numeric else range(len(values)), dtype=float)
    for name, label, color in _colored(study):
        rows = table[table["variant"] == name]
        groups = [rows[rows[short(along)] == value][measure].to_numpy() for value in values]
        for place, group in zip(places, groups, strict=True):
            axis.plot(np.full(len(group), place), group, ".", color=color, alpha=0.25, ms=4)
        _draw_means(axis, study, (places, groups), color=color, label=label, marker="o")
    if is_numeric and places.min() > 0 and places.max() / places.min() >= _WIDE[0]:
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
    labels = [f"{value:g}" if is_numeric else str(value) for value in values]
    axis.set_xticks(places, labels, fontsize=8)
    axis.set_xlabel(headed(short(along)))


def _draw_means(
    axis: Axes,
    study: Study,
    points: tuple[NDArray[np.floating], Sequence[NDArray[np.floating]]],
    **style: Any,
) -> NDArray[np.floating]:
    """Draws the means over seeds with their intervals, and returns the means.

    `points` are places on the axis, and for each place the values of all seeds.
    """
    places, groups = points
    summaries = [summary(group, study.params.comparison.confidence) for group in groups]
    shown = [[at.mean, at.ci_low, at.ci_high] for at in summaries]
    means, low, high = np.array(shown, dtype=float).T
    axis.plot(places, means, ms=4.5, **style)
    axis.fill_between(places, low, high, color=style["color"], alpha=0.2, linewidth=0)
    return means


def _draw_seeds(axis: Axes, study: Study, table: pd.DataFrame, measure: str) -> None:
    colored = list(_colored(study))
    columns = [table[table["variant"] == name].sort_values("seed") for name, *_ in colored]
    values = np.array([column[measure].to_numpy(dtype=float) for column in columns])
    axis.plot(range(len(colored)), values, color="#666666", linewidth=0.6, alpha=0.5, zorder=1)
    for place, (name, _, color) in enumerate(colored):
        axis.scatter(np.full(values.shape[1], place), values[place], color=color, s=22, zorder=2)
        published = _published(study, name, measure)
        if len(published):
            places = [place] * len(published)
            axis.plot(places, published[measure], "*", color="black", ms=11, label="published")
    axis.set_xticks(range(len(colored)), [fill(label, _LABEL_WIDTH) for _, label, _ in colored])
    axis.set_xlim(-0.4, len(colored) - 0.6)


def _published(study: Study, variant: str, measure: str) -> pd.DataFrame:
    """Returns the values published for a variant; empty if the measure is not among them."""
    values = pd.DataFrame((study.about.published_values or {}).get(variant, {}))
    return values if measure in values else pd.DataFrame()
