"""Examples as figures: pictures where they are images, their features where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.comparison.cells import Cell
from pipeline.examples.dataset import Dataset
from pipeline.reporting.features import Scale
from pipeline.reporting.labels import literal, room_for, shown_names
from pipeline.reporting.pictures import drawable
from pipeline.reporting.words import DIGITS, Words

# What fits on a page.
_MOST_CLASSES, _MOST_FEATURES, _MOST_ROWS, _UNUSUAL = 20, 14, 8, 3
# Images with more pixels a side are drawn larger, and fewer of them.
_SMALL, _MANY, _FEW = 32, 20, 10
# In characters: what fits above an image, and in a column of text.
_CAPTION, _COLUMN = 16, 28
# In inches.
_HIGHEST = 40
# Where the columns of text begin, as shares of the width.
_COLUMNS = (0, 0.06, 0.27, 0.42, 0.62, 0.81)


def sample_images(dataset: Dataset, words: Words, each: int | None = None) -> Figure:
    """Shows the first training images of every class, one row per class; of many classes, some.

    Args:
        dataset: of images.
        words: what it is called.
        each: how many images of a class; as many as can be told apart if None.
    """
    train = dataset.train
    each = each or (_MANY if max(train.inputs.shape[1:3]) <= _SMALL else _FEW)
    classes = np.unique(train.labels)
    shown = classes[:_MOST_CLASSES]
    rows = [drawable(train.inputs[train.labels == place][:each]) for place in shown]
    images = np.concatenate([_padded(row, each, words) for row in rows])
    border = train.inputs.shape[1] // 8
    images = _with_margins(images, words, (border, border), (border, border))
    height, width = images.shape[1:3]
    labels = shown_names(dataset.classes, shown, "class")
    high = min(8 * len(shown) / each * height / width, _HIGHEST)
    figure = Figure(figsize=(8 + room_for(labels), high + 0.5), layout="constrained")
    axis = figure.subplots()
    _draw_images(axis, images, each, words)
    which = f"of the first {len(shown)} classes" if len(shown) < len(classes) else "of each class"
    axis.set_title(f"The first training {words.example}s {which}", fontsize=11)
    axis.set_yticks((np.arange(len(shown)) + 0.5) * height, labels)
    axis.set_xticks([])
    return figure


def feature_means(dataset: Dataset, scale: Scale) -> Figure:
    """Shows the means of each class, in the features in which the classes differ most."""
    classes, features, means = scale.class_means(dataset.train, _MOST_CLASSES, _MOST_FEATURES)
    rows = shown_names(dataset.classes, classes, "class")
    columns = shown_names(dataset.features, features, "feature")
    size = 2.4 + 0.55 * len(columns) + room_for(rows), 1.6 + 0.4 * len(rows) + room_for(columns)
    figure = Figure(figsize=size, layout="constrained")
    axis = figure.subplots()
    most = float(abs(means).max()) or 1.0
    picture = axis.imshow(means, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    for (row, column), mean in np.ndenumerate(means):
        color = "white" if abs(mean) > 0.6 * most else "black"
        text = f"{mean:+z.1f}"
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    axis.set_xticks(range(len(columns)), columns, rotation=90)
    axis.set_yticks(range(len(rows)), rows)
    figure.colorbar(picture, label="Standard deviations", pad=0.01)
    some = f" of the first {len(rows)} classes" if len(rows) < len(dataset.classes) else " class"
    title = f"Mean of each{some}, from the mean of all training rows"
    axis.set_title(fill(title, 5 * len(columns) + 20), fontsize=11)
    return figure


def divided_images(
    dataset: Dataset, candidate: Cell, baseline: Cell, words: Words, columns: int = 6
) -> Figure:
    """Shows the test images on which two variants differ most, two rows where each does better."""
    test = dataset.test
    height, width = test.inputs.shape[1:3]
    caption = width // 3 + 1
    # Digits have an edge of their own.
    beside = 0 if words is DIGITS else width // 30 + 1
    high = 7.3 * min((height + caption) / (width + caption), 3)
    figure = Figure(figsize=(1.35 * columns, high), layout="constrained")
    # The name of a class needs a line of its own.
    between = ":  " if words is DIGITS else "\n"
    for axis, side in zip(figure.subplots(2, 1), (0, 1), strict=True):
        ahead, behind = _labels(candidate, baseline, side)
        chosen, shares = _divided(dataset, candidate, baseline, side, 2 * columns)
        images = drawable(test.inputs[chosen])
        images = _with_margins(images, words, (caption, 0), (beside, beside))
        _draw_images(axis, _padded(images, 2 * columns, words), columns, words)
        names = shown_names(dataset.classes, test.labels[chosen], "class", _CAPTION)
        for place, (name, share) in enumerate(zip(names, shares, strict=True)):
            row, column = divmod(place, columns)
            axis.text(
                (column + 0.5) * (width + 2 * beside) - 0.5,
                row * (height + caption) + 0.6 * caption,
                f"{name}{between}{share}", fontsize=8.5, ha="center", va="center",
            )  # fmt: skip
        axis.set_title(
            f"{ahead} does better.  "
            f"Captions: the {words.category}, share of runs right: {ahead} · {behind}",
            fontsize=10,
        )
        axis.set_axis_off()
    return figure


def divided_rows(dataset: Dataset, candidate: Cell, baseline: Cell, scale: Scale) -> Figure:
    """Shows the test rows on which two variants differ most, with their most unusual features."""
    test = dataset.test
    figure = Figure(figsize=(11, 9), layout="constrained")
    for axis, side in zip(figure.subplots(2, 1), (0, 1), strict=True):
        ahead, behind = _labels(candidate, baseline, side)
        chosen, shares = _divided(dataset, candidate, baseline, side, _MOST_ROWS)
        names = shown_names(dataset.classes, test.labels[chosen], "class")
        lines = [["Row", "Class", "Runs right", "Features farthest from the mean"]]
        for i, name, share in zip(chosen, names, shares, strict=True):
            unusual = scale.unusual(test.inputs[i], _UNUSUAL)
            features = shown_names(scale.names, [one.place for one in unusual], "feature", _COLUMN)
            told = [f"{name}\n{one}" for name, one in zip(features, unusual, strict=True)]
            lines.append([str(i), name, share, *told])
        _write_lines(axis, lines)
        title = f"{ahead} does better.  Share of runs right: {ahead} · {behind}"
        axis.set_title(title, fontsize=11, loc="left")
    return figure


def _labels(candidate: Cell, baseline: Cell, side: int) -> tuple[str, str]:
    """Returns the label of the candidate and then the baseline, or the other way round."""
    labels = literal(candidate.label), literal(baseline.label)
    return labels[side], labels[1 - side]


def _divided(
    dataset: Dataset, candidate: Cell, baseline: Cell, side: int, most: int
) -> tuple[NDArray[np.intp], list[str]]:
    """Returns the test examples that one side gets right in more runs, most divided first.

    The side is 0 for the candidate and 1 for the baseline. Beside the places of the examples come
    the shares of runs that get each right, of this side and of the other, as text.
    """
    labels = dataset.test.labels
    both = [(cell.predicted == labels).mean(axis=0) for cell in (candidate, baseline)]
    ours, theirs = both[side], both[1 - side]
    # A stable order puts the earlier of equal examples first.
    order = np.argsort(theirs - ours, kind="stable")[:most]
    chosen = order[ours[order] > theirs[order]]
    return chosen, [f"{ours[i]:.0%} · {theirs[i]:.0%}" for i in chosen]


def _padded(images: NDArray[np.uint8], count: int, words: Words) -> NDArray[np.uint8]:
    """Returns exactly `count` images, padded with blank ones."""
    missing = (count - len(images), *images.shape[1:])
    return np.concatenate([images, np.full(missing, _blank(words), np.uint8)])


def _with_margins(
    images: NDArray[np.uint8], words: Words, rows: tuple[int, int], columns: tuple[int, int]
) -> NDArray[np.uint8]:
    """Returns images with so many blank rows and columns before and after each."""
    channels = [(0, 0)] * (images.ndim - 3)
    return np.pad(images, [(0, 0), rows, columns, *channels], constant_values=_blank(words))


def _blank(words: Words) -> int:
    return 0 if words is DIGITS else 255


def _draw_images(axis: Axes, images: NDArray[np.uint8], columns: int, words: Words) -> None:
    """Draws images [rows * columns, height, width, …] as one picture, which is far faster."""
    _, height, width, *channels = images.shape
    grid = images.reshape(-1, columns, height, width, *channels).swapaxes(1, 2)
    picture = grid.reshape(-1, columns * width, *channels)
    # Digits are ink, drawn dark on white.
    axis.imshow(picture, cmap="gray_r" if words is DIGITS else "gray", vmin=0, vmax=255)
    axis.spines[:].set_visible(False)


def _write_lines(axis: Axes, lines: Sequence[Sequence[str]]) -> None:
    """Writes a heading and lines of text in columns."""
    axis.set_axis_off()
    axis.set(xlim=(0, 1), ylim=(_MOST_ROWS, -1))
    for line, texts in enumerate(lines):
        y = line - 0.5
        weight = "normal" if line else "bold"
        axis.axhline(y + 0.5, color="#dddddd", linewidth=0.6)
        for x, text in zip(_COLUMNS, texts, strict=False):
            axis.text(x, y, text, fontsize=8.5, fontweight=weight, va="center")
    if len(lines) == 1:
        axis.text(0, 0.5, "None.", fontsize=8.5, va="center")
