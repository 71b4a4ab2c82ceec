"""Results as figures, built and returned, never shown or saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from pipeline.core.examples import Examples
from pipeline.core.published import PublishedCurve
from pipeline.core.statistics import PairedComparison, summary

# Okabe & Ito's palette, told apart by every kind of colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GREY = "#666666"
_PANELS = (("train", "loss"), ("validation", "loss"), ("train", "accuracy"), ("validation", "accuracy"))


@dataclass(frozen=True, eq=False)
class VariantHistory:
    """A variant's scores by epoch.

    Attributes:
        label: for legends.
        color: one for each variant, the same in every figure.
        scores: columns `seed, epoch, split, loss, accuracy`.
        published: the curve to lay beside it, if there is one.
    """

    label: str
    color: str
    scores: pd.DataFrame
    published: PublishedCurve | None = None


def sample_digits(examples: Examples, each: int = 12) -> Figure:
    """Shows the first examples of every class, a class a row."""
    classes = np.unique(examples.labels)
    figure = Figure(figsize=(0.55 * each + 0.6, 0.55 * len(classes) + 0.5), layout="constrained")
    figure.suptitle("The first training digits of each class", fontsize=11)
    axes = figure.subplots(len(classes), each, squeeze=False)
    for row, digit in zip(axes, classes, strict=True):
        images = examples.images[examples.labels == digit][:each]
        for axis in row:
            axis.axis("off")
        for axis, image in zip(row, images, strict=False):
            axis.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        row[0].text(-0.35, 0.5, str(digit), transform=row[0].transAxes, ha="right", va="center")
    return figure


def learning_curves(histories: Sequence[VariantHistory], confidence: float) -> Figure:
    """Shows loss and accuracy by epoch: each seed thin, the mean thick, its interval shaded."""
    figure = Figure(figsize=(10, 7.2), layout="constrained")
    for axis, (split, score) in zip(figure.subplots(2, 2).flat, _PANELS, strict=True):
        for history in histories:
            _draw_curve(axis, history, split, score, confidence)
        axis.set_title(f"{split.capitalize()} {score}", fontsize=11)
        axis.set_xlabel("Epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if score == "accuracy":
            axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        else:
            axis.set_ylabel("Cross-entropy")
        axis.set_ylim(*_most_of([h.scores for h in histories], split, score))
        _tidy(axis)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def paired_differences(
    candidate: pd.DataFrame,
    baseline: pd.DataFrame,
    labels: tuple[str, str],
    colors: tuple[str, str],
    result: PairedComparison,
    confidence: float,
) -> Figure:
    """Shows what each pair of runs differs by in test accuracy, and the mean with its interval.

    Args:
        candidate: columns `seed, accuracy`, a row a pair.
        baseline: the same seeds.
        labels: of candidate and baseline.
        colors: of candidate and baseline.
        result: their comparison.
        confidence: of its interval.
    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    pairs = np.array([baseline["accuracy"], candidate["accuracy"]])
    left.plot([0, 1], pairs, color=_GREY, linewidth=0.8, zorder=1)
    for place, side in enumerate((1, 0)):
        left.scatter(np.full(result.n, place), pairs[place], color=colors[side], s=28, zorder=2)
    left.set_xticks([0, 1], [labels[1], labels[0]])
    left.set_xlim(-0.35, 1.35)
    left.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    left.set_title("Test accuracy of each pair", fontsize=11)

    points = 100 * (pairs[1] - pairs[0])
    ahead = [colors[0] if value > 0 else colors[1] for value in points]
    right.scatter(points, candidate["seed"], color=ahead, s=28)
    right.axvline(0, color="black", linewidth=0.8)
    right.axvline(100 * result.mean, color=colors[0], linewidth=1.6)
    if result.ci_low is not None and result.ci_high is not None:
        right.axvspan(100 * result.ci_low, 100 * result.ci_high, color=colors[0], alpha=0.18, lw=0)
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_ylabel("Seed")
    right.set_xlabel("Difference in test accuracy (percentage points)")
    right.set_title(
        f"{labels[0]} minus {labels[1]}: mean and {confidence:.0%} interval", fontsize=11
    )
    for axis in (left, right):
        _tidy(axis)
    return figure


def confusion_matrices(confusions: Mapping[str, NDArray[np.integer]]) -> Figure:
    """Shows, for each variant, how often a digit is taken for another, in runs' mean per cent.

    Args:
        confusions: label to counts [classes, classes], row the true class.
    """
    shares = {
        label: 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        for label, counts in confusions.items()
    }
    # Colour speaks of mistakes: on one scale with the diagonal they would not be seen.
    mistakes = {label: np.where(np.eye(len(s)) > 0, np.nan, s) for label, s in shares.items()}
    worst = max(float(np.nanmax(m)) for m in mistakes.values())
    figure = Figure(figsize=(5.6 * len(shares), 5.4), layout="constrained")
    figure.suptitle("Of each digit, the per cent taken for each (mean of all runs)", fontsize=11)
    for axis, (label, share) in zip(figure.subplots(1, len(shares), squeeze=False)[0], shares.items(), strict=True):
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


def divided_digits(
    test: Examples,
    right: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    labels: tuple[str, str],
    each: int = 12,
) -> Figure:
    """Shows the test digits on which two variants differ most, those of either in two rows.

    Args:
        test: the test set.
        right: of both variants, whether each run got each image right: [runs, images].
        labels: of both variants.
        each: digits shown for either.
    """
    shares = right[0].mean(axis=0), right[1].mean(axis=0)
    columns = each // 2
    figure = Figure(figsize=(1.35 * columns, 7.6), layout="constrained")
    for part, side in zip(figure.subfigures(2, 1), (0, 1), strict=True):
        ahead = shares[side] - shares[1 - side]
        # A stable order: of equals, the earlier image.
        chosen = [i for i in np.argsort(-ahead, kind="stable")[:each] if ahead[i] > 0]
        part.suptitle(
            f"Right {labels[side].lower()}, wrong {labels[1 - side].lower()}"
            f" (share of runs: {labels[side].lower()} · {labels[1 - side].lower()})",
            fontsize=10,
        )
        axes = part.subplots(2, columns, squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for axis, i in zip(axes.flat, chosen, strict=False):
            axis.imshow(test.images[i], cmap="gray_r", vmin=0, vmax=255)
            shown = f"{test.labels[i]}:  {shares[side][i]:.0%} · {shares[1 - side][i]:.0%}"
            axis.set_title(shown, fontsize=8.5)
    return figure


def _draw_curve(
    axis: Axes, history: VariantHistory, split: str, score: str, confidence: float
) -> None:
    scores = history.scores[history.scores["split"] == split]
    by_epoch = scores.pivot_table(index="epoch", columns="seed", values=score)
    axis.plot(by_epoch.index, by_epoch, color=history.color, linewidth=0.6, alpha=0.35)
    means = [summary(row.to_numpy(), confidence) for _, row in by_epoch.iterrows()]
    axis.plot(
        by_epoch.index, [m.mean for m in means], color=history.color, linewidth=2.2,
        label=f"{history.label} (mean of {by_epoch.shape[1]})",
    )  # fmt: skip
    if means[0].sd is not None:
        low, high = [m.ci_low for m in means], [m.ci_high for m in means]
        axis.fill_between(by_epoch.index, low, high, color=history.color, alpha=0.2, linewidth=0)
    printed = getattr(history.published, f"{split}_{score}", ()) if history.published else ()
    # The notebook's legend entry stands once, on the panel from which the legend is taken.
    label = f"{history.label}, as the notebook printed it" if printed else None
    axis.plot(range(len(printed)), printed, ":", color=history.color, linewidth=1.5, label=label)


def _most_of(tables: Sequence[pd.DataFrame], split: str, score: str) -> tuple[float, float]:
    """Returns limits that show all but the rare far-off point, which would flatten the rest."""
    values = np.concatenate([t.loc[t["split"] == split, score].to_numpy() for t in tables])
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.01, 0.99]) if len(values) else (0.0, 1.0)
    room = 0.08 * (high - low) or 0.01
    return float(low - room), float(high + room)


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25, linewidth=0.6)
