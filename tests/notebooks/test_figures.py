import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from notebooks import figures
from notebooks.figures import Panel

RNG = np.random.default_rng(0)
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#666666"


def units(*offsets):
    """Values [images, units] from -1 to 1, each unit moved by an offset."""
    return np.linspace(-1, 1, 101)[:, None] + np.array(offsets)


def texts(axes):
    return [axis.get_title() for axis in axes]


@pytest.fixture
def everything():
    shares = [RNG.random(6), RNG.random(4)]
    table = pd.DataFrame({name: RNG.random(5) for name in ("gamma", "deviation", "beta", "mean")})
    table["layer"] = [0, 0, 0, 1, 1]
    panel = Panel("With", BLUE, [units(0, 3), units(1)])
    digits = RNG.integers(0, 256, (3, 8, 8), np.uint8)
    return [
        figures.unit_inputs([panel, panel]),
        figures.one_unit({"sums": RNG.random(9), "normalised": RNG.random(9)}, BLUE),
        figures.through_training([Panel("With", BLUE, [RNG.random((4, 6))])]),
        figures.undoing(table, BLUE),
        figures.firing([Panel("With", BLUE, shares)]),
        figures.by_batch_size(
            [1, 2], Panel("batch", BLUE, [RNG.random((2, 3))]), Panel("m", BLUE, [RNG.random(3)])
        ),
        figures.divided_answers(digits, np.array([1, 2, 3]), RNG.integers(0, 10, (5, 3)), BLUE),
        figures.lag([1, 2], [Panel("batch", BLUE, [RNG.random(2)])]),
    ]


def test_figures_are_free_of_pyplot_and_as_wide_as_a_page(everything):
    for figure in everything:
        assert isinstance(figure, Figure)
        assert figure.canvas.manager is None
        assert figure.get_figwidth() == 7
        figure.draw_without_rendering()


def test_units_are_drawn_by_median_from_the_5th_to_the_95th_percentile():
    figure = figures.unit_inputs([Panel("With", BLUE, [units(3, 0, 5)])])

    (axis,) = figure.axes
    lines, dots = axis.collections
    np.testing.assert_allclose(dots.get_offsets()[:, 1], [0, 3, 5], atol=1e-12)
    ends = np.array(lines.get_segments())[..., 1]
    np.testing.assert_allclose(ends, [[-0.9, 0.9], [2.1, 3.9], [4.1, 5.9]])


def test_units_whose_inputs_are_never_above_0_are_grey():
    figure = figures.unit_inputs([Panel("With", BLUE, [units(0, -1, -5)])])

    dots = figure.axes[0].collections[1]
    assert [to_hex(color) for color in dots.get_facecolors()] == [GREY, GREY, BLUE]


def test_panels_share_a_scale_in_each_layer_but_for_those_with_their_own():
    arrays = [units(0, 30), units(-8)]
    small = [units(0, 1) / 10, units(0)]
    figure = figures.unit_inputs(
        [
            Panel("Without", ORANGE, arrays),
            Panel("before", BLUE, small),
            Panel("after", BLUE, small, own_scale=True),
        ]
    )
    figure.draw_without_rendering()

    grid = np.array(figure.axes).reshape(2, 3)
    assert texts(grid[0]) == ["Without", "before", "after"]
    assert [axis.get_ylabel() for axis in grid[:, 0]] == ["Hidden layer 1", "Hidden layer 2"]
    for first, shared, own in grid:
        assert first.get_ylim() == shared.get_ylim() != own.get_ylim()
    assert grid[0, 0].get_ylim()[1] > 30


def test_one_units_values_are_shown_with_mean_and_deviation():
    values = np.array([1.0, 2.0, 6.0])

    figure = figures.one_unit({"sums": values, "normalised": values - 3}, BLUE)

    first, second = figure.axes
    assert (first.get_ylabel(), second.get_ylabel()) == ("sums", "normalised")
    mean, dots, _ = first.lines
    assert mean.get_xdata()[0] == 3
    np.testing.assert_array_equal(dots.get_xdata(), values)
    band = first.patches[0].get_extents().transformed(first.transData.inverted())
    # The deviation of 1, 2 and 6 is the root of 14/3.
    np.testing.assert_allclose([band.x0, band.x1], [3 - (14 / 3) ** 0.5, 3 + (14 / 3) ** 0.5])


def test_medians_are_lines_through_training_on_one_scale():
    medians = RNG.random((4, 6))

    figure = figures.through_training(
        [Panel("Without", ORANGE, [medians]), Panel("With", BLUE, [10 * medians])]
    )

    assert texts(figure.axes) == ["Without", "With"]
    for axis, expected in zip(figure.axes, (medians, 10 * medians), strict=True):
        *lines, zero = axis.lines
        np.testing.assert_array_equal([line.get_ydata() for line in lines], expected.T)
        assert zero.get_ydata() == [0, 0]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_medians_may_have_a_scale_of_their_own():
    medians = RNG.random((4, 6))

    figure = figures.through_training(
        [
            Panel("before", BLUE, [40 * medians]),
            Panel("too", BLUE, [medians]),
            Panel("after", BLUE, [medians], own_scale=True),
        ]
    )

    first, shared, own = (axis.get_ylim() for axis in figure.axes)
    assert first == shared
    assert own[1] < 2


def test_gamma_and_beta_are_drawn_against_the_values_that_would_undo_normalisation():
    table = pd.DataFrame(
        {"gamma": [1.0, 2.0], "deviation": [9.0, 8.0], "beta": [0.5, 0.0], "mean": [-4.0, 3.0]}
    )

    figure = figures.undoing(table.assign(layer=0), BLUE)

    assert texts(figure.axes) == ["Gamma, as learnt", "Beta, as learnt"]
    for axis, (x, y) in zip(figure.axes, (("deviation", "gamma"), ("mean", "beta")), strict=True):
        diagonal, dots = axis.lines
        np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
        np.testing.assert_array_equal(dots.get_xydata(), table[[x, y]])
        assert axis.get_xlim() == axis.get_ylim()


def test_the_dots_of_a_later_layer_are_paler_and_named():
    table = pd.DataFrame({name: [1.0, 2.0, 3.0] for name in ("gamma", "deviation", "beta", "mean")})

    figure = figures.undoing(table.assign(layer=[0, 1, 1]), BLUE)

    _, first, second = figure.axes[0].lines
    assert (len(first.get_xdata()), len(second.get_xdata())) == (1, 2)
    assert to_hex(first.get_color()) == BLUE
    assert (np.array(second.get_color()) > first.get_color()).all()
    told = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert told == ["Hidden layer 1", "Hidden layer 2"]


def test_dead_units_have_a_bar_of_their_own():
    without = np.array([0, 0, 0.01, 0.52])
    figure = figures.firing(
        [Panel("With", BLUE, [np.ones(5)]), Panel("Without", ORANGE, [without])]
    )

    (axis,) = figure.axes
    with_bn, others = ([bar.get_height() for bar in bars] for bars in axis.containers)
    assert with_bn == [0] * 20 + [1]
    # Dead; up to 5 %; 50 to 55 %.
    assert {place: height for place, height in enumerate(others) if height} == {
        0: 0.5, 1: 0.25, 11: 0.25,
    }  # fmt: skip
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["With", "Without"]
    # The bar of dead units is outside the scale, which begins at 0.
    dead, least, *_ = axis.get_xticks()
    assert dead < least
    assert least == 0
    assert axis.containers[0][0].get_x() + axis.containers[0][0].get_width() < least


def test_accuracy_by_batch_size_has_mean_and_range():
    accuracy = np.array([[0.1, 0.3], [0.6, 0.9]])

    figure = figures.by_batch_size(
        [1, 32], Panel("batch", ORANGE, [accuracy]), Panel("moving", BLUE, [np.array([0.9, 1.0])])
    )

    (axis,) = figure.axes
    moving, batch = axis.lines
    assert moving.get_ydata() == [0.95, 0.95]
    np.testing.assert_allclose(batch.get_ydata(), [0.2, 0.75])
    (band,) = axis.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert corners == {(1, 0.1), (1, 0.3), (32, 0.6), (32, 0.9)}


def test_bars_show_how_often_an_image_was_taken_for_each_digit():
    answers = np.array([[1, 7], [1, 9], [1, 7], [1, 7]])

    figure = figures.divided_answers(
        np.zeros((2, 8, 8), np.uint8), np.array([1, 7], np.uint8), answers, BLUE
    )

    assert texts(figure.axes[:2]) == ["a 1", "a 7"]
    first, second = ([bar.get_width() for bar in axis.patches] for axis in figure.axes[2:])
    assert first == [0, 1] + [0] * 8
    assert second == [0] * 7 + [0.75, 0, 0.25]
    colors = [to_hex(bar.get_facecolor()) for bar in figure.axes[3].patches]
    assert (colors[7], colors[9]) == (BLUE, GREY)


def test_lines_by_step_are_solid_but_for_the_first():
    figure = figures.lag(
        [50, 100], [Panel("batch", "#000000", [[0.8, 0.9]]), Panel("moving", BLUE, [[0.1, 0.7]])]
    )

    first, second = figure.axes[0].lines
    assert (first.get_linestyle(), second.get_linestyle()) == ("--", "-")
    assert list(second.get_ydata()) == [0.1, 0.7]
