"""Results as figures, which are returned, not shown or saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.colors import COLORS
from pipeline.comparison.cells import Cell
from pipeline.comparison.contrast import Contrast
from pipeline.comparison.words import level
from pipeline.reporting.confusion import Confusions
from pipeline.reporting.curves import PANELS, counted, most_of, printed
from pipeline.reporting.labels import literal, room_for, shown_names
from pipeline.reporting.words import Words

_GREY = "#666666"
# In characters: what fits below half a panel, and above a whole one.
_LABEL_WIDTH, _TITLE_WIDTH = 20, 56


def learning_curves(cells: Sequence[Cell], confidence: float) -> Figure:
    """Shows loss and accuracy by epoch: each run thin, the mean thick, its interval shaded.

    Losses of diverged runs count in no mean and lie outside the axes, unless all runs diverged.
    """
    figure = Figure(figsize=(10, 7.2), layout="constrained")
    for axis, (split, score) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        used = counted(cells, score)
        for cell, of in zip(cells, used, strict=True):
            _draw_curve(axis, cell, of, (split, score), confidence)
        axis.set_title(f"{split.capitalize()} {score}", fontsize=11)
        _count_epochs(axis, cells)
        if score == "accuracy":
            axis.yaxis.set_major_formatter(PercentFormatter(1))
        else:
            axis.set_ylabel("Cross-entropy")
        axis.set_ylim(*most_of(used, split, score))
        _tidy(axis)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = min(len(cells), 3)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def paired_differences(contrast: Contrast) -> Figure:
    """Shows the difference of each pair in the measure, and the mean with its interval."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    _draw_pairs(left, contrast)
    _draw_differences(right, contrast)
    return figure


def contrasts(pairs: Sequence[Contrast]) -> Figure:
    """Shows a row per contrast: its pairs, their differences, and the curves of both sides."""
    rows = [contrast for contrast in pairs if not contrast.same_scores]
    figure = Figure(figsize=(14, 4.4 * len(rows)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, contrast in zip(parts, rows, strict=True):
        _draw_contrast(part, contrast)
    return figure


def confusion_matrices(confusions: Confusions, names: Sequence[str], words: Words) -> Figure:
    """Shows what each variant takes each class for; `names` are those of the classes."""
    variants, places = confusions.variants, confusions.places
    ticks = shown_names(names, places, "class")
    # Ten classes fit in the smallest, whose names are a digit each.
    side = 5.6 + 0.34 * max(0, len(places) - 10) + room_for(ticks)
    figure = Figure(figsize=(side * len(variants), side - 0.2), layout="constrained")
    shown = f"the {len(places)} most confused of {confusions.total} classes, "
    figure.suptitle(
        f"What each {words.category} is taken for: "
        f"{shown if len(places) < confusions.total else ''}"
        f"per cent of its test {words.input}s, mean of all runs",
        fontsize=11,
    )
    turned = 90 if room_for(ticks) else 0
    for axis, variant in zip(
        figure.subplots(1, len(variants), squeeze=False)[0], variants, strict=True
    ):
        mistakes = np.where(np.eye(len(places)) > 0, np.nan, variant.heat)
        axis.imshow(mistakes, cmap="Reds", vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(variant.shares):
            shown = f"{value:.1f}" if value >= 0.05 else ""
            dark = row != column and variant.heat[row, column] > 0.6
            axis.text(
                column, row, shown, ha="center", va="center", fontsize=7.5,
                color="white" if dark else "black", fontweight="bold" if row == column else None,
            )  # fmt: skip
        axis.set_title(literal(variant.label), fontsize=11)
        axis.set_xticks(range(len(ticks)), ticks, rotation=turned)
        axis.set_yticks(range(len(ticks)), ticks)
        axis.set_xlabel("Predicted")
        axis.set_ylabel("True")
    return figure


def _draw_contrast(part: SubFigure, contrast: Contrast) -> None:
    a, b = (
        replace(cell, label=literal(fill(cell.label, _LABEL_WIDTH)), color=color)
        for cell, color in zip((contrast.a, contrast.b), COLORS, strict=False)
    )
    drawn = replace(contrast, a=a, b=b)
    # A single pair has no mean and no interval to show.
    widths = [1, 1.3, 1.3] if contrast.paired.n > 1 else [1, 2]
    first, *middle, last = part.subplots(1, len(widths), width_ratios=widths)
    _draw_pairs(first, drawn)
    for axis in middle:
        _draw_differences(axis, drawn)
    for side in (a, b):
        _draw_curve(last, side, side, ("validation", "accuracy"), contrast.confidence)
    last.set_ylim(*most_of((a, b), "validation", "accuracy"))
    last.set_title("Validation accuracy", fontsize=11)
    _count_epochs(last, (a, b))
    last.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    last.legend(loc="lower right", framealpha=0.8, edgecolor="none")
    _tidy(last)


def _draw_pairs(axis: Axes, contrast: Contrast) -> None:
    candidate, baseline, measure = contrast.a, contrast.b, contrast.measure
    pairs = np.array([baseline.scores[measure.name], candidate.scores[measure.name]])
    axis.plot([0, 1], pairs, color=_GREY, linewidth=0.8, zorder=1)
    for place, side in ((1, candidate), (0, baseline)):
        axis.scatter(np.full(pairs.shape[1], place), pairs[place], color=side.color, s=28, zorder=2)
    axis.set_xticks([0, 1], [baseline.label, candidate.label])
    axis.set_xlim(-0.35, 1.35)
    if measure.is_share:
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axis.set_title(f"Test {measure.words} of each pair", fontsize=11)
    _tidy(axis)


def _draw_differences(axis: Axes, contrast: Contrast) -> None:
    candidate, baseline = contrast.a, contrast.b
    measure, result = contrast.measure, contrast.paired
    scores = (cell.scores[measure.name].to_numpy() for cell in (candidate, baseline))
    differences = measure.scale * np.subtract(*scores)
    ahead = -1 if measure.smaller_is_better else 1
    colors = {ahead: candidate.color, -ahead: baseline.color}
    painted = [colors.get(sign, _GREY) for sign in np.sign(differences)]
    axis.scatter(differences, candidate.scores["seed"], color=painted, s=28)
    axis.axvline(0, color="black", linewidth=0.8)
    if result.mean is not None:
        axis.axvline(measure.scale * result.mean, color=candidate.color, linewidth=1.6)
    if result.ci_low is not None and result.ci_high is not None:
        ends = measure.scale * result.ci_low, measure.scale * result.ci_high
        axis.axvspan(*ends, color=candidate.color, alpha=0.18, lw=0)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylabel("Seed")
    axis.set_xlabel(f"Difference in test {measure.words} ({measure.unit})")
    axis.set_title(_difference_title(contrast), fontsize=11)
    _tidy(axis)


def _difference_title(contrast: Contrast) -> str:
    what, shown = f"{contrast.a.label} minus {contrast.b.label}:", "mean"
    if contrast.paired.ci_low is not None:
        shown += f" and {level(contrast.confidence)} interval"
    title = f"{what} {shown}"
    return title if len(title) <= _TITLE_WIDTH else f"{fill(what, _TITLE_WIDTH)}\n{shown}"


def _draw_curve(
    axis: Axes,
    cell: Cell,
    counted: Cell,
    panel: tuple[str, str],
    confidence: float,
) -> None:
    """Draws every run of `cell`, and the mean of the `counted` runs with its interval."""
    split, score = panel
    scores = cell.history[cell.history["split"] == split]
    by_seed = scores.pivot_table(index="epoch", columns="seed", values=score)
    # A line needs two epochs.
    is_point = len(by_seed) == 1
    marker = "o" if is_point else ""
    axis.plot(
        by_seed.index, by_seed, marker=marker, color=cell.color, linewidth=0.6,
        markersize=3, alpha=0.35,
    )  # fmt: skip
    curve = counted.curve(split, score, confidence)
    lost = f", {len(cell.diverged)} diverged" if cell.diverged else ""
    label = f"{cell.label} (mean of {cell.history['seed'].nunique()}{lost})"
    axis.plot(
        curve.index, curve["mean"], marker=marker, color=cell.color, linewidth=2.2,
        label=label,
    )  # fmt: skip
    low, high = curve["ci_low"], curve["ci_high"]
    axis.fill_between(curve.index, low, high, color=cell.color, alpha=0.2, linewidth=0)
    if is_point:
        axis.vlines(curve.index, low, high, color=cell.color, alpha=0.2, linewidth=8)
    notebook = printed(cell, split, score)
    label = f"{cell.label}, as the notebook printed it" if notebook else None
    axis.plot(range(len(notebook)), notebook, ":", color=cell.color, linewidth=1.5, label=label)


def _count_epochs(axis: Axes, cells: Sequence[Cell]) -> None:
    axis.set_xlabel("Epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if all(cell.history["epoch"].max() == 0 for cell in cells):
        axis.set_xlim(-0.5, 0.5)
        axis.set_xticks([0])


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25, linewidth=0.6)
