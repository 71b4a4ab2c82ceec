import itertools
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import stats

from pipeline.colors import COLORS, variant_colors
from pipeline.comparison.contrast import contrasts
from pipeline.comparison.measures import MEASURES
from pipeline.comparison.published import NOTEBOOK
from pipeline.params import Data
from pipeline.reporting import figures
from pipeline.reporting.confusion import confusions
from pipeline.reporting.words import DIGITS, words_for

ACCURACY = MEASURES["accuracy"]
IMAGES = words_for(Data(dataset="file", path="a.npz", validation_size=1), has_images=True)
PANELS = ["Train loss", "Validation loss", "Train accuracy", "Validation accuracy"]


def drawn(axis):
    return [line for line in axis.lines if len(line.get_xdata())]


def line(axis, label):
    return next(line for line in axis.lines if line.get_label() == label)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_xticklabels()]


def test_figures_are_free_of_pyplot(make_cell, true_labels):
    with_bn, without = make_cell("With", [0.9] * 3), make_cell("Without", [0.8] * 3)
    (contrast,) = contrasts([(with_bn, without)], ACCURACY, 0.95)
    for figure in (
        figures.learning_curves([with_bn, without], 0.95),
        figures.paired_differences(contrast),
        draw_confusion([with_bn, without], true_labels, "0123"),
    ):
        assert isinstance(figure, Figure)
        assert figure.canvas.manager is None
        figure.draw_without_rendering()


def test_curves_have_a_panel_for_each_split_and_score(make_cell):
    figure = figures.learning_curves([make_cell("With", [0.9] * 4)], 0.95)
    assert [axis.get_title() for axis in figure.axes] == PANELS
    assert {axis.get_xlabel() for axis in figure.axes} == {"Epoch"}
    assert [axis.get_ylabel() for axis in figure.axes[:2]] == ["Cross-entropy"] * 2


def test_a_single_epoch_is_drawn_as_points(make_cell):
    cell = make_cell("With", [0.9, 0.91, 0.93])
    first = replace(cell, history=cell.history[cell.history["epoch"] == 0])
    axis = figures.learning_curves([first], 0.95).axes[0]
    assert [points.get_marker() for points in drawn(axis)] == ["o"] * 4
    assert axis.get_xticks().tolist() == [0]
    top = axis.collections[-1].get_segments()[0][1, 1]
    expected = first.curve("train", "loss", 0.95)["ci_high"].item()
    assert top == pytest.approx(expected)


def test_curves_show_each_seed_and_the_mean_of_each_variant(make_cell):
    results = [make_cell(label, [0.9] * 4) for label in ("A", "BB", "CCC")]
    figure = figures.learning_curves(results, 0.95)
    for axis in figure.axes:
        assert len(drawn(axis)) == 3 * (4 + 1)
        assert len(axis.collections) == 3
    assert legend(figure) == ["A (mean of 4)", "BB (mean of 4)", "CCC (mean of 4)"]


@pytest.mark.parametrize("panel", range(4))
def test_mean_curve_and_its_band_are_mean_and_students_interval(make_cell, panel):
    results = make_cell("With", [0.9] * 4)
    axis = figures.learning_curves([results], 0.9).axes[panel]
    split, score = PANELS[panel].lower().split()
    history = results.history
    values = history.loc[history["split"] == split, score].to_numpy().reshape(4, 3)

    mean = line(axis, "With (mean of 4)")
    np.testing.assert_array_equal(mean.get_xdata(), [0, 1, 2])
    np.testing.assert_allclose(mean.get_ydata(), values.mean(0))
    band = axis.collections[0].get_paths()[0].vertices
    for epoch in range(3):
        at_epoch = values[:, epoch]
        expected = stats.t.interval(0.9, 3, at_epoch.mean(), stats.sem(at_epoch))
        edges = np.unique(band[band[:, 0] == epoch, 1])
        # No more than all can be right.
        possible = np.minimum(expected, 1 if score == "accuracy" else np.inf)
        np.testing.assert_allclose([edges[0], edges[-1]], possible)


def test_one_seed_has_no_band(make_cell):
    figure = figures.learning_curves([make_cell("With", [0.9])], 0.95)
    assert legend(figure) == ["With (mean of 1)"]
    for axis in figure.axes:
        assert len(drawn(axis)) == 2
        assert not any(len(path) for band in axis.collections for path in band.get_paths())


def test_published_curve_is_drawn_where_the_notebook_has_one(make_cell):
    results = [
        make_cell("With", [0.9] * 2, published=NOTEBOOK[0]),
        make_cell("Without", [0.9] * 2),
    ]
    for cell in results:
        cell.history[["loss", "accuracy"]] *= 0.01  # far below what the notebook printed
    figure = figures.learning_curves(results, 0.95)
    assert [len(drawn(axis)) for axis in figure.axes] == [7, 6, 6, 7]
    label = "With, as the notebook printed it"
    assert label in legend(figure)
    # The first and last figures that the notebook printed.
    for axis, ends in ((figure.axes[0], (0.18456, 0.04351)), (figure.axes[3], (0.9410, 0.9766))):
        printed = line(axis, label).get_ydata()
        assert (len(printed), printed[0], printed[-1]) == (10, *ends)
        low, high = axis.get_ylim()
        assert low < min(printed) < max(printed) < high


def test_a_far_off_point_does_not_flatten_the_rest(make_cell):
    results = make_cell("With", [0.9] * 100)
    results.history.loc[0, "loss"] = 1e6
    low, high = figures.learning_curves([results], 0.95).axes[0].get_ylim()
    assert low < 0.02
    assert 0.98 < high < 1.2


@pytest.mark.parametrize(
    ("where", "loss"),
    [
        pytest.param("seed == 1", np.nan, id="a seed"),
        pytest.param("seed == 1 and epoch > 0", np.nan, id="a seed's later epochs"),
        pytest.param("epoch > 0", np.nan, id="later epochs"),
        pytest.param("seed >= 0", np.nan, id="every seed"),
        pytest.param(
            "seed == 1 and epoch > 0",
            np.inf,
            id="infinite",
        ),
    ],
)
def test_diverged_losses_are_left_out(make_cell, where, loss):
    diverged, steady = make_cell("Diverged", [0.9] * 3), make_cell("With", [0.9] * 3)
    diverged.history.loc[diverged.history.eval(where), "loss"] = loss
    figure = figures.learning_curves([diverged, steady], 0.95)
    figure.draw_without_rendering()
    for axis in figure.axes:
        assert np.isfinite([axis.get_xlim(), axis.get_ylim()]).all()
    assert len(drawn(figure.axes[2])) == 2 * (3 + 1)
    np.testing.assert_allclose(
        line(figure.axes[0], "With (mean of 3)").get_ydata(),
        steady.history[steady.history["split"] == "train"].groupby("epoch")["loss"].mean(),
    )


def test_a_run_that_diverged_does_not_flatten_the_losses_of_the_rest(make_cell):
    diverged = make_cell("Without", [0.8] * 3, (1,))
    results = [make_cell("With", [0.9] * 3), diverged]
    figure = figures.learning_curves(results, 0.95)
    figure.draw_without_rendering()
    # All other losses lie between 0 and 1.
    assert all(-0.1 < low < high < 1.1 for low, high in (a.get_ylim() for a in figure.axes[:2]))
    label = "Without (mean of 3, 1 diverged)"
    assert legend(figure) == ["With (mean of 3)", label]
    of_steady = diverged.history.query("split == 'train' and seed != 1")
    drawn_mean = line(figure.axes[0], label).get_ydata()
    np.testing.assert_allclose(drawn_mean, of_steady.groupby("epoch")["loss"].mean())
    # All accuracies count.
    every = diverged.history.query("split == 'train'").groupby("epoch")["accuracy"].mean()
    np.testing.assert_allclose(line(figure.axes[2], label).get_ydata(), every)


def test_a_variant_that_diverged_in_every_run_leaves_the_other_readable(make_cell):
    lost = make_cell("Without", [0.1] * 3, (0, 1, 2))
    figure = figures.learning_curves([make_cell("With", [0.9] * 3), lost], 0.95)
    figure.draw_without_rendering()
    assert all(-0.1 < low < high < 1.1 for low, high in (a.get_ylim() for a in figure.axes[:2]))
    assert legend(figure) == ["With (mean of 3)", "Without (mean of 3, 3 diverged)"]


def test_losses_are_shown_where_all_runs_diverged(make_cell):
    every = make_cell("Diverged", [0.1] * 3, diverged=(0, 1, 2))
    figure = figures.learning_curves([every], 0.95)
    figure.draw_without_rendering()
    assert figure.axes[0].get_ylim()[1] > 0.9e30


def test_paired_differences_show_every_pair(make_cell):
    accuracy = [0.98, 0.94, 0.92, 0.90, 0.99, 0.97]
    candidate, baseline = (
        make_cell("With", accuracy, color="red"),
        make_cell("Without", [0.92] * 6, color="blue"),
    )
    (contrast,) = contrasts([(candidate, baseline)], ACCURACY, 0.9)
    figure = figures.paired_differences(contrast)
    left, right = figure.axes

    assert [pair.get_ydata().tolist() for pair in left.lines] == [
        [0.92, value] for value in accuracy
    ]
    assert tick_labels(left) == ["Without", "With"]
    assert right.get_title() == "With minus Without: mean and 90 % interval"
    points = right.collections[0]
    np.testing.assert_allclose(
        points.get_offsets(), [(6, 0), (2, 1), (0, 2), (-2, 3), (7, 4), (5, 5)]
    )
    blue = points.get_facecolors()[:, 2]
    # A pair has the colour of the variant that is ahead, and is grey in a tie.
    assert blue.tolist() == [0, 0, 0.4, 1, 0, 0]
    zero, mean = (drawn_line.get_xdata()[0] for drawn_line in right.lines)
    assert (zero, mean) == pytest.approx((0, 18 / 6))
    (span,) = right.patches
    assert span.get_x() == pytest.approx(100 * contrast.paired.ci_low)
    assert span.get_x() + span.get_width() == pytest.approx(100 * contrast.paired.ci_high)


def test_of_two_losses_the_smaller_is_ahead(make_cell):
    pair = make_cell("With", [0.9, 0.7]), make_cell("Without", [0.8, 0.8], color="#D55E00")
    (contrast,) = contrasts([pair], MEASURES["loss"], 0.95)

    left, right = figures.paired_differences(contrast).axes

    assert left.get_title() == "Test loss of each pair"
    assert right.get_xlabel() == "Difference in test loss (nats)"
    (points,) = right.collections
    np.testing.assert_allclose(points.get_offsets(), [[-0.1, 0], [0.1, 1]])
    colors = [to_hex(color).upper() for color in points.get_facecolors()]
    assert colors == ["#0072B2", "#D55E00"]


def test_paired_differences_of_one_pair_have_no_interval(make_cell):
    candidate, baseline = make_cell("With", [0.9]), make_cell("Without", [0.8])
    (contrast,) = contrasts([(candidate, baseline)], ACCURACY, 0.95)
    left, right = figures.paired_differences(contrast).axes
    assert len(left.lines) == 1
    assert not right.patches
    assert np.isfinite([left.get_ylim(), right.get_xlim(), right.get_ylim()]).all()


@pytest.fixture
def contrasted(make_cell):
    """Makes a contrast of two sides from the test accuracy of each run."""

    def make(label, other, **fields):
        (a, own), (b, others) = label, other
        pair = make_cell(a, own, origin="HEAD~1", **fields), make_cell(b, others, **fields)
        (contrast,) = contrasts([pair], ACCURACY, 0.95)
        return contrast

    return make


def test_contrasts_have_a_row_each_and_leave_out_the_same_runs(contrasted):
    same = contrasted(("A", [0.9] * 4), ("A", [0.9] * 4))
    result = contrasted(("With", [0.98, 0.97, 0.99]), ("Without", [0.9, 0.95, 0.96]))
    figure = figures.contrasts([result, same, result])
    figure.draw_without_rendering()
    titles = ["Test accuracy of each pair", "With minus Without: mean and 95 % interval"]
    titles += ["Validation accuracy"]
    assert [axis.get_title() for axis in figure.axes] == 2 * titles
    np.testing.assert_allclose(
        figure.axes[1].collections[0].get_offsets(), [(8, 0), (2, 1), (3, 2)]
    )


def test_a_contrast_of_one_pair_shows_neither_mean_nor_interval(contrasted):
    figure = figures.contrasts([contrasted(("With", [0.98]), ("Without", [0.9]))])
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["Test accuracy of each pair", "Validation accuracy"]


def test_equal_labels_are_drawn_in_two_colours_with_their_origins(contrasted):
    figure = figures.contrasts([contrasted(("$BN$ x", [0.98, 0.9]), ("$BN$ x", [0.9, 0.8]))])
    figure.draw_without_rendering()
    assert tick_labels(figure.axes[0]) == [r"\$BN\$ x (workspace)", r"\$BN\$ x (HEAD~1)"]
    lines = figure.axes[2].get_legend().get_lines()
    assert [line.get_color() for line in lines] == list(COLORS[:2])


@pytest.mark.parametrize(("pairs", "shown"), [(2, "mean"), (3, "mean and 95 % interval")])
def test_long_labels_are_broken_before_mean_and_interval(make_cell, pairs, shown):
    sides = [make_cell(label * 9, [0.9] * pairs) for label in ("With ", "Without ")]
    (contrast,) = contrasts([sides], ACCURACY, 0.95)
    title = figures.paired_differences(contrast).axes[1].get_title()
    assert title.splitlines()[-1] == shown
    assert max(map(len, title.splitlines())) <= 60


def draw_confusion(cells, labels, names, words=DIGITS):
    return figures.confusion_matrices(confusions(cells, labels, len(names)), names, words)


def test_confusion_shows_shares_of_each_true_class(make_cell):
    predicted = np.array([[0, 1, 1, 1], [0, 0, 1, 1]], np.uint8)
    results = [make_cell(label, [1, 1], predicted=predicted) for label in ("A", "B", "C")]
    figure = draw_confusion(results, np.array([0, 0, 1, 1], np.uint8), ("0", "1"))
    assert [axis.get_title() for axis in figure.axes] == ["A", "B", "C"]
    for axis in figure.axes:
        assert (axis.get_xlabel(), axis.get_ylabel()) == ("Predicted", "True")
        assert [text.get_text() for text in axis.texts] == ["75.0", "25.0", "", "100.0"]
        mistakes = np.ma.filled(axis.images[0].get_array(), np.nan)
        np.testing.assert_array_equal(mistakes, [[np.nan, 1], [0, np.nan]])


def test_confusion_without_a_mistake_can_be_drawn(make_cell, true_labels):
    draw_confusion([make_cell("With", [1.0])], true_labels, "0123").draw_without_rendering()


@pytest.mark.parametrize("count", [2, 9, 100, 256])
def test_names_in_a_confusion_overlap_neither_each_other_nor_the_edge(make_cell, count):
    names = [f"the species of the number {place}, as we call it" for place in range(count)]
    labels = np.tile(np.arange(count, dtype=np.uint8), 2)
    predicted = np.random.default_rng(0).permuted(labels)[None]
    cells = [make_cell(label, [1.0], predicted=predicted) for label in "AB"]
    figure = draw_confusion(cells, labels, names, IMAGES)
    figure.draw_without_rendering()
    edge = figure.bbox.get_points()
    for axis in figure.axes:
        for ticks in (axis.get_xticklabels(), axis.get_yticklabels()):
            assert len({tick.get_text() for tick in ticks}) == len(ticks) == min(count, 20)
            boxes = [tick.get_window_extent() for tick in ticks]
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
            assert all((box.get_points() >= edge[0]).all() for box in boxes)
            assert all((box.get_points() <= edge[1]).all() for box in boxes)
    assert ("the 20 most confused" in figure.get_suptitle()) == (count > 20)


def test_variants_have_their_own_colours_as_long_as_there_are_any():
    result = variant_colors([f"variant_{place}" for place in range(9)])

    assert len(set(result.values())) == 7
    assert result["variant_7"] == result["variant_0"] == "#0072B2"
    assert result["variant_8"] == result["variant_1"] == "#D55E00"
