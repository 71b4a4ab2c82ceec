"""The tutorial's figures, as wide as the page shows them, so that their text stays legible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

_WIDTH = 7.0
_GREY = "#666666"
# The percentiles over the test images that a unit's line spans, and that of its dot.
_SPAN, _MIDDLE = (5, 95), 50
_BINS = 20
# Where the bar of dead units is: far enough from the first bin for a label of its own.
_DEAD = -3.5 / _BINS
# The share of white in the colour of the last layer's dots.
_PALEST = 0.55
# A font size in points, for text that would otherwise be too small on a telephone.
_LARGE = 12.5


@dataclass(frozen=True, eq=False)
class Panel:
    """Values that share a column or a line.

    Attributes:
        label: the name of the values.
        color: of all of them.
        arrays: each figure says how many, and of which shapes.
        own_scale: whether its column has its own scale, instead of the first column's.
    """

    label: str
    color: str
    arrays: Sequence[NDArray[np.floating]]
    own_scale: bool = False


def unit_inputs(panels: Sequence[Panel]) -> Figure:
    """Shows the inputs of each unit: one column per panel, one row per layer, one line per unit.

    A panel has one array [images, units] per layer. Units are in the order of their medians; those
    whose inputs are never above 0 are grey.
    """
    layers = len(panels[0].arrays)
    figure = Figure(figsize=(_WIDTH, 0.5 + 2.1 * layers), layout="constrained")
    grid = figure.subplots(layers, len(panels), squeeze=False)
    for column, panel in zip(grid.T, panels, strict=True):
        if not panel.own_scale:
            _share_scale(grid[:, 0], column)
        column[0].set_title(panel.label, fontsize=10)
        column[-1].set_xlabel("Units, by median")
        for axis, values in zip(column, panel.arrays, strict=True):
            _draw_units(axis, values, panel.color)
    for layer, axis in enumerate(grid[:, 0], start=1):
        axis.set_ylabel(f"Hidden layer {layer}")
    figure.supylabel("What the unit is given", fontsize=10)
    return figure


def one_unit(steps: Mapping[str, NDArray[np.floating]], color: str) -> Figure:
    """Shows one unit's values [batch] after each step, one row per step.

    Each row also shows their mean and standard deviation.
    """
    figure = Figure(figsize=(_WIDTH, 0.4 + 0.75 * len(steps)), layout="constrained")
    for axis, (label, values) in zip(
        figure.subplots(len(steps), 1, squeeze=False)[:, 0], steps.items(), strict=True
    ):
        mean, deviation = float(values.mean()), float(values.std())
        axis.axvspan(mean - deviation, mean + deviation, color=color, alpha=0.15, lw=0)
        axis.axvline(mean, color=color, linewidth=1.6)
        axis.plot(values, np.zeros_like(values), "o", color=color, markersize=5, alpha=0.6)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_ylabel(label, rotation=0, ha="right", va="center")
        axis.set_yticks([])
        axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def through_training(panels: Sequence[Panel]) -> Figure:
    """Shows how each unit's median input moves: one column per panel, one line per unit.

    A panel has one array [epochs, units]; its first row is from before the first step.
    """
    figure = Figure(figsize=(_WIDTH, 2.8), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        (medians,) = panel.arrays
        if not panel.own_scale:
            _share_scale(axes[:1], np.array([axis]))
        axis.plot(medians, color=panel.color, linewidth=0.8)
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_title(panel.label, fontsize=10)
        axis.set_xlabel("Epochs of training")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        _tidy(axis)
    axes[0].set_ylabel("Median over the test images")
    return figure


def undoing(units: pd.DataFrame, color: str) -> Figure:
    """Shows each unit's trained gamma and beta against the values that would undo normalisation.

    `units` has the columns of `measures.learnt`. The later a layer, the paler its dots.
    """
    layers = units["layer"].unique()
    whites = np.linspace(0, _PALEST, len(layers))
    figure = Figure(figsize=(_WIDTH, 3.3), layout="constrained")
    pairs = (
        ("gamma", "deviation", "√(variance + ε), which would undo it"),
        ("beta", "mean", "mean, which would undo it"),
    )
    for axis, (learnt, undone, label) in zip(figure.subplots(1, 2), pairs, strict=True):
        both = units[[undone, learnt]].to_numpy()
        margin = 0.05 * np.ptp(both)
        ends = both.min() - margin, both.max() + margin
        axis.plot(ends, ends, "--", color="black", linewidth=0.9)
        for layer, white in zip(layers, whites, strict=True):
            of_layer = units[units["layer"] == layer]
            name, pale = f"Hidden layer {layer + 1}", _paler(color, white)
            axis.plot(
                of_layer[undone], of_layer[learnt], ".", color=pale, markersize=2.5, label=name
            )
        axis.set(xlim=ends, ylim=ends)
        axis.set_xlabel(label)
        axis.set_title(f"{learnt.capitalize()}, as learnt", fontsize=10)
        _tidy(axis)
    figure.axes[0].legend(frameon=False, loc="upper left", markerscale=4, handletextpad=0.2)
    return figure


def firing(panels: Sequence[Panel]) -> Figure:
    """Shows for how many test images units fire: one column per layer, one colour per panel.

    A panel has one array of shares per layer. Units that never fire have a bar of their own, left
    of the rest.
    """
    layers = len(panels[0].arrays)
    figure = Figure(figsize=(_WIDTH, 2.9), layout="constrained")
    edges = np.linspace(0, 1, _BINS + 1)
    width = 0.4 / _BINS
    for layer, axis in enumerate(figure.subplots(1, layers, sharey=True, squeeze=False)[0]):
        for place, panel in enumerate(panels):
            shares = panel.arrays[layer]
            counts, _ = np.histogram(shares[shares > 0], edges)
            counts = np.concatenate([[np.sum(shares == 0)], counts]) / len(shares)
            at = np.concatenate([[_DEAD], (edges[1:] + edges[:-1]) / 2])
            offset = (place - (len(panels) - 1) / 2) * width
            axis.bar(at + offset, counts, width, color=panel.color, label=panel.label)
        axis.set_xticks([_DEAD, 0, 0.25, 0.5, 0.75, 1], ["dead", "0%", "25%", "50%", "75%", "100%"])
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.set_title(f"Hidden layer {layer + 1}", fontsize=10)
        _tidy(axis)
    figure.supxlabel("Share of test images for which a unit fires", fontsize=10)
    figure.axes[0].set_ylabel("Share of units")
    figure.axes[0].legend(frameon=False, loc="upper right")
    return figure


def by_batch_size(sizes: Sequence[int], batch: Panel, moving: Panel) -> Figure:
    """Shows accuracy against the size of the test batch, mean and range over the seeds.

    Args:
        sizes: of test batches.
        batch: one array [sizes, seeds], from the batch's own statistics.
        moving: one array [seeds], from the moving averages.
    """
    (by_batch,), (by_moving,) = batch.arrays, moving.arrays
    figure = Figure(figsize=(_WIDTH, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.axhline(by_moving.mean(), color=moving.color, linewidth=1.6, label=moving.label)
    low, high = by_batch.min(axis=1), by_batch.max(axis=1)
    axis.fill_between(sizes, low, high, color=batch.color, alpha=0.2, lw=0)
    axis.plot(sizes, by_batch.mean(axis=1), "o-", color=batch.color, label=batch.label)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    axis.set_ylim(0, 1)
    axis.set_xlabel("Test images in a batch")
    axis.set_ylabel("Test accuracy")
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.legend(frameon=False, loc="lower right")
    _tidy(axis)
    return figure


def divided_answers(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], answers: NDArray[np.int64], color: str
) -> Figure:
    """Shows images, and below each how often it was taken for which digit.

    Args:
        images: [images, height, width].
        labels: the true digits [images].
        answers: predicted digits [times, images].
        color: of the bars of the true digits.
    """
    figure = Figure(figsize=(_WIDTH, 4.0), layout="constrained")
    pictures, bars = figure.subplots(2, len(images), height_ratios=[1, 2.2], squeeze=False)
    classes = np.arange(10)
    for place, (picture, axis) in enumerate(zip(pictures, bars, strict=True)):
        picture.imshow(images[place], cmap="gray_r", vmin=0, vmax=255)
        picture.set_title(f"a {labels[place]}", fontsize=_LARGE)
        picture.set_axis_off()
        counts = (answers[:, place, None] == classes).mean(axis=0)
        colors = np.where(classes == labels[place], color, _GREY).tolist()
        axis.barh(classes, counts, color=colors)
        axis.set_xlim(0, 1)
        axis.set_ylim(9.6, -0.6)
        axis.set_xticks([0, 1], ["0", "100%"])
        axis.set_yticks(classes, map(str, classes) if place == 0 else [])
        axis.tick_params(labelsize=_LARGE)
        _tidy(axis)
    bars[0].set_ylabel("Taken for", fontsize=_LARGE)
    return figure


def lag(steps: Sequence[int], panels: Sequence[Panel]) -> Figure:
    """Shows accuracy by step: one line per panel, each of one array [steps]; the first dashed."""
    figure = Figure(figsize=(_WIDTH, 4.0), layout="constrained")
    axis = figure.subplots()
    for place, panel in enumerate(panels):
        style = "-" if place else "--"
        axis.plot(steps, panel.arrays[0], style, color=panel.color, lw=1.8, label=panel.label)
    axis.set_xlabel("Steps of training", fontsize=_LARGE)
    axis.set_ylabel("Validation accuracy", fontsize=_LARGE)
    axis.tick_params(labelsize=_LARGE)
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.legend(frameon=False, loc="lower right", fontsize=_LARGE)
    _tidy(axis)
    return figure


def _paler(color: str, white: float) -> NDArray[np.floating]:
    """Returns the colour, mixed with this share of white."""
    return (1 - white) * np.array(to_rgb(color)) + white


def _share_scale(first: NDArray[Any], others: NDArray[Any]) -> None:
    """Gives each axis the scale of the first in its row, and hides its tick labels."""
    for axis, other in zip(first, others, strict=True):
        if other is not axis:
            other.sharey(axis)
            other.tick_params(labelleft=False)


def _draw_units(axis: Axes, values: NDArray[np.floating], color: str) -> None:
    values = values[:, np.argsort(np.median(values, axis=0), kind="stable")]
    low, high = np.percentile(values, _SPAN, axis=0)
    colors = np.where((values <= 0).all(axis=0), _GREY, color).tolist()
    places = np.arange(values.shape[1])
    axis.vlines(places, low, high, colors=colors, linewidth=1.8, alpha=0.6)
    axis.scatter(places, np.percentile(values, _MIDDLE, axis=0), color=colors, s=7, zorder=2)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks([])
    _tidy(axis)


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25, linewidth=0.6)
