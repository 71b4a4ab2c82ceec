"""Results as figures, which are returned, not shown or saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from pipeline.comparison.cells import Cell
from pipeline.comparison.contrast import Contrast
from pipeline.examples.dataset import Examples
from pipeline.reporting.colors import COLORS
from pipeline.reporting.curves import PANELS, counted, most_of, printed

_GREY = "#666666"
# In characters: what fits below half a panel, and above a whole one.
_LABEL_WIDTH, _TITLE_WIDTH = 20, 56


def sample_digits(examples: Examples, each: int = 20) -> Figure:
    """Shows the first examples of every class, one row per class."""
    classes = np.unique(examples.labels)
    border = examples.inputs.shape[1] // 8
    rows = [examples.inputs[examples.labels == digit][:each] for digit in classes]
    images = np.concatenate([_padded(row, each) for row in rows])
    images = np.pad(images, ((0, 0), (border, border), (border, border)))
    figure = Figure(figsize=(8, 8 * len(classes) / each + 0.5), layout="constrained")
    axis = figure.subplots()
    _draw_images(axis, images, each)
    axis.set_title("The first training digits of each class", fontsize=11)
    axis.set_yticks((np.arange(len(classes)) + 0.5) * images.shape[1], map(str, classes))
    axis.set_xticks([])
    return figure


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
        axis.set_xlabel("Epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
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


def confusion_matrices(cells: Sequence[Cell], labels: NDArray[np.uint8]) -> Figure:
    """Shows what each variant takes each digit for; `labels` [images] are the true classes."""
    confusions = {cell.label: cell.mean_confusion(labels) for cell in cells}
    shares = {
        label: 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        for label, counts in confusions.items()
    }
    # Only mistakes are coloured: on one scale with the diagonal they would be invisible.
    mistakes = {label: np.where(np.eye(len(s)) > 0, np.nan, s) for label, s in shares.items()}
    worst = max(float(np.nanmax(m)) for m in mistakes.values())
    figure = Figure(figsize=(5.6 * len(shares), 5.4), layout="constrained")
    figure.suptitle(
        "What each digit is taken for: per cent of its test images, mean of all runs", fontsize=11
    )
    for axis, (label, share) in zip(
        figure.subplots(1, len(shares), squeeze=False)[0], shares.items(), strict=True
    ):
        axis.imshow(mistakes[label], cmap="Reds", vmin=0, vmax=worst)
        for (row, column), value in np.ndenumerate(share):
            shown = f"{value:.1f}" if value >= 0.05 else ""
            dark = row != column and value > 0.6 * worst
            axis.text(
                column, row, shown, ha="center", va="center", fontsize=7.5,
                color="white" if dark else "black", fontweight="bold" if row == column else None,
            )  # fmt: skip
        axis.set_title(label, fontsize=11)
        axis.set_xticks(range(len(share)))
        axis.set_yticks(range(len(share)))
        axis.set_xlabel("Predicted")
        axis.set_ylabel("True")
    return figure


def divided_digits(test: Examples, candidate: Cell, baseline: Cell, columns: int = 6) -> Figure:
    """Shows the digits on which two variants differ most, two rows where each does better."""
    labels = (candidate.label, baseline.label)
    shares = [(cell.predicted == test.labels).mean(axis=0) for cell in (candidate, baseline)]
    each = 2 * columns
    height, width = test.inputs.shape[1:]
    figure = Figure(figsize=(1.35 * columns, 7.3), layout="constrained")
    for axis, side in zip(figure.subplots(2, 1), (0, 1), strict=True):
        ahead = shares[side] - shares[1 - side]
        # A stable order puts the earlier of equal images first.
        order = np.argsort(-ahead, kind="stable")[:each]
        chosen = order[ahead[order] > 0]
        caption = height // 3 + 1
        room = np.pad(test.inputs[chosen], ((0, 0), (caption, 0), (0, 0)))
        _draw_images(axis, _padded(room, each), columns)
        for place, i in enumerate(chosen):
            row, column = divmod(place, columns)
            axis.text(
                (column + 0.5) * width - 0.5, row * (height + caption) + 0.6 * caption,
                f"{test.labels[i]}:  {shares[side][i]:.0%} · {shares[1 - side][i]:.0%}",
                fontsize=8.5, ha="center", va="center",
            )  # fmt: skip
        axis.set_title(
            f"{labels[side]} does better.  "
            f"Captions: the digit, share of runs right: {labels[side]} · {labels[1 - side]}",
            fontsize=10,
        )
        axis.set_axis_off()
    return figure


def literal(label: str) -> str:
    """Returns a label that Matplotlib draws as it is: its dollars start no mathematics."""
    return label.replace("$", r"\$")


def _padded(images: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Returns exactly `count` images, padded with blank ones."""
    return np.concatenate([images, np.zeros((count - len(images), *images.shape[1:]), np.uint8)])


def _draw_images(axis: Axes, images: NDArray[np.uint8], columns: int) -> None:
    """Draws images [rows * columns, height, width] as one picture, which is far faster."""
    _, height, width = images.shape
    grid = images.reshape(-1, columns, height, width).swapaxes(1, 2).reshape(-1, columns * width)
    axis.imshow(grid, cmap="gray_r", vmin=0, vmax=255)
    axis.spines[:].set_visible(False)


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
    last.set_xlabel("Epoch")
    last.xaxis.set_major_locator(MaxNLocator(integer=True))
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
    axis.set_title(
        _difference_title(candidate.label, baseline.label, contrast.confidence), fontsize=11
    )
    _tidy(axis)


def _difference_title(candidate: str, baseline: str, confidence: float) -> str:
    what, shown = f"{candidate} minus {baseline}:", f"mean and {100 * confidence:g} % interval"
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
    axis.plot(by_seed.index, by_seed, color=cell.color, linewidth=0.6, alpha=0.35)
    curve = counted.curve(split, score, confidence)
    lost = f", {len(cell.diverged)} diverged" if cell.diverged else ""
    label = f"{cell.label} (mean of {cell.history['seed'].nunique()}{lost})"
    axis.plot(curve.index, curve["mean"], color=cell.color, linewidth=2.2, label=label)
    low, high = curve["ci_low"], curve["ci_high"]
    axis.fill_between(curve.index, low, high, color=cell.color, alpha=0.2, linewidth=0)
    notebook = printed(cell, split, score)
    label = f"{cell.label}, as the notebook printed it" if notebook else None
    axis.plot(range(len(notebook)), notebook, ":", color=cell.color, linewidth=1.5, label=label)


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25, linewidth=0.6)
