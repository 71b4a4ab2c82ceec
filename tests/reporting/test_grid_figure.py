import itertools

import numpy as np
import pytest

from pipeline.colors import COLORS
from pipeline.comparison.grid import Experiment, grid
from pipeline.comparison.measures import MEASURES
from pipeline.reporting import grid_figure

PAIRS = 10
ACCURACY = MEASURES["accuracy"]


@pytest.fixture
def side(make_cell):
    """Makes a cell from a variant and its mean accuracy."""

    def make(variant, mean, diverged=(), **parameters):
        accuracy = mean + np.linspace(-0.01, 0.01, PAIRS) * (1 + 0.5 * (variant == "bn"))
        whole = {"normalization": variant} | parameters
        return make_cell(
            f"${variant}$", list(accuracy), diverged, parameters=whole, variant=variant
        )

    return make


@pytest.fixture
def drawn(side):
    """Draws a grid of these learning rates, each with both variants."""

    def make(rates, **parameters):
        experiments = [
            Experiment(
                str(rate),
                {
                    name: side(name, mean, learning_rate=rate, **parameters)
                    for name, mean in (("bn", 0.95), ("no", 0.9))
                },
            )
            for rate in rates
        ]
        figure = grid_figure.figure(grid(experiments, "no", ACCURACY, 0.95))
        figure.draw_without_rendering()
        return figure

    return make


def points(axis):
    """Returns (x, y, colour) of each mean."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]), line.get_color())
        for line in axis.lines
        if line.get_marker() == "o" and len(line.get_xdata())
    ]


def test_each_cell_is_a_point_in_the_colour_of_its_variant(drawn):
    accuracy, difference = drawn([0.1, 0.2]).axes

    means, heights, colors = zip(*points(accuracy), strict=True)
    assert means == pytest.approx([0.9, 0.95, 0.9, 0.95])
    assert list(heights) == sorted(heights)
    assert colors == (COLORS[1], COLORS[0], COLORS[1], COLORS[0])
    gains, at, _ = zip(*points(difference), strict=True)
    assert gains == pytest.approx([0.05, 0.05])
    assert at == (heights[1], heights[3])


def test_places_are_labelled_once_and_variants_in_the_legend(drawn):
    figure = drawn([0.1, 0.2])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["learning_rate 0.1", "learning_rate 0.2"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [r"\$bn\$", r"\$no\$"]


@pytest.mark.parametrize("count", [1, 4, 12])
def test_nothing_overlaps_however_many_cells_there_are(drawn, count):
    rates = [10.0**-place for place in range(count)]
    figure = drawn(rates, activation="leaky_relu")
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    boxes.sort(key=lambda box: box.y0)
    assert len(boxes) == count
    assert all(low.y1 <= high.y0 for low, high in itertools.pairwise(boxes))
    # Twelve dots to the inch are six points apart.
    places = sorted(y for _, y, _ in points(figure.axes[0]))
    assert all(b - a > 1 / 12 for a, b in itertools.pairwise(places))
    assert min(box.x0 for box in boxes) >= 0


def test_labels_break_between_parameters(side):
    experiments = [
        Experiment(
            str(dims),
            {"no": side("no", 0.9, network={"hidden_dims": dims}, activation=name, momentum=dims)},
        )
        for dims, name in (([256, 256, 128], "leaky_relu"), ([32], "relu"))
    ]
    figure = grid_figure.figure(grid(experiments, "no", ACCURACY, 0.95))
    (axis,) = figure.axes
    label = axis.get_yticklabels()[1].get_text()
    assert label.splitlines() == [
        "hidden_dims [256, 256, 128],",
        "activation leaky_relu,",
        "momentum [256, 256, 128]",
    ]


def test_cells_without_axes_are_labelled_with_their_variants(side):
    experiment = Experiment("x", {"bn": side("bn", 0.95), "no": side("no", 0.9)})
    figure = grid_figure.figure(grid([experiment], "no", ACCURACY, 0.95))
    (label,) = figure.axes[0].get_yticklabels()
    assert label.get_text() == r"\$no\$, \$bn\$"


def test_diverged_runs_are_counted_beside_their_cell(side):
    experiment = Experiment("x", {"bn": side("bn", 0.95, [1, 4]), "no": side("no", 0.9)})
    figure = grid_figure.figure(grid([experiment], "no", ACCURACY, 0.95))
    assert [text.get_text() for text in figure.axes[0].texts] == ["2 diverged"]


def test_losses_are_drawn_in_nats_and_counted_even_where_none_is_finite(side):
    diverged = side("bn", 0.95, range(PAIRS))
    diverged.scores["loss"] = np.nan
    experiment = Experiment("x", {"bn": diverged, "no": side("no", 0.9)})
    figure = grid_figure.figure(grid([experiment], "no", MEASURES["loss"], 0.95))
    figure.draw_without_rendering()
    loss, difference = figure.axes
    assert loss.get_title() == "Test loss: mean and 95 % interval"
    assert difference.get_title().endswith("nats")
    assert [mean for mean, _, _ in points(loss)] == pytest.approx([0.1])
    assert [text.get_text() for text in loss.texts] == [f"{PAIRS} diverged"]
    assert "%" not in "".join(label.get_text() for label in loss.get_xticklabels())
