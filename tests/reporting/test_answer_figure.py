import math
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from pipeline.comparison.beyond_pairs import Correlation, Ratio, Trend, UnpairedComparison
from pipeline.comparison.statistics import PairedComparison
from pipeline.designs.answers import (
    Basis,
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
from pipeline.designs.metric import Metric
from pipeline.reporting.answer_figure import figure

ACCURACY = Metric("accuracy", "last", smaller_is_better=False, as_ratio=False)
TIME = Metric("time", "last", smaller_is_better=True, as_ratio=True)


def basis(metric=ACCURACY):
    return Basis(metric, 12, 0.95, (), (), 0, 0, ())


def comparison(candidate, mean, verdict="not_settled", ratio=None):
    paired = PairedComparison(
        8, mean, 0.1, mean - 0.02, mean + 0.03, 6, 0, 0.75, 0.3, 0.9, 0.1, 0.1, 0.2
    )
    return Comparison(
        factor="optimizer", aliases=(), candidate=candidate, baseline="sgd", candidate_mean=0.9,
        baseline_mean=0.8, paired=paired, ratio=ratio, corrected=None, without_partner=0, p=0.1,
        family=2, fewest=6, verdict=verdict, needed=None,
    )  # fmt: skip


def paired(*comparisons, metric=ACCURACY):
    return Paired(basis(metric), "seed", ("seed",), comparisons, (), None)


def rows(drawn: Figure):
    """Of each row its label, and what is drawn in it: the ends of an interval, and a point."""
    (axis,) = drawn.axes
    found = {}
    for place, label in enumerate(text.get_text() for text in axis.get_yticklabels()):
        lines = [
            line for line in axis.lines
            if len(line.get_ydata()) and set(line.get_ydata()) == {place}
        ]  # fmt: skip
        found[label] = [list(line.get_xdata()) for line in lines]
    return found


def test_each_comparison_has_a_row_with_its_effect_and_interval():
    drawn = figure(paired(comparison("adam", 0.1), comparison("rmsprop", -0.2)))
    assert rows(drawn) == {
        "adam against sgd": [pytest.approx([0.08, 0.13]), [0.1]],
        "rmsprop against sgd": [pytest.approx([-0.22, -0.17]), [-0.2]],
    }
    assert drawn.axes[0].get_ylabel() == "optimizer"


def test_with_several_factors_each_row_names_its_own():
    two = comparison("adam", 0.1), replace(comparison("0.1", 0.2), factor="momentum")
    assert list(rows(drawn := figure(paired(*two)))) == [
        "optimizer: adam against sgd", "momentum: 0.1 against sgd"
    ]  # fmt: skip
    assert not drawn.axes[0].get_ylabel()


def test_levels_that_cannot_be_drawn_are_told_apart():
    names = rows(figure(paired(*(comparison(name, 0.1) for name in ("a\x1bb", "甲", "乙")))))
    assert list(names) == ["a?b against sgd", "row 1", "row 2"]


def test_of_long_levels_both_ends_are_seen_on_both_sides():
    (label,) = rows(figure(paired(comparison("x" * 99 + "1", 0.1))))
    assert label == f"{'x' * 18}…{'x' * 15}1\nagainst sgd"


def test_over_too_few_pairs_there_is_no_interval_that_would_look_certain():
    drawn = figure(paired(comparison("adam", 0.1, "too_few_pairs")))
    assert rows(drawn) == {"adam against sgd": [[0.1]]}
    assert drawn.axes[0].get_title() == "Difference in accuracy; larger is better"


def test_what_is_settled_has_another_colour_and_a_name_in_the_legend():
    drawn = figure(paired(comparison("adam", 0.1, "candidate_better"), comparison("lion", 0.0)))
    points = [line for line in drawn.axes[0].lines if list(line.get_ydata()) in ([0], [1])]
    settled, not_settled = (line.get_color() for line in points)
    assert settled != not_settled
    labels = {line.get_label(): line.get_color() for line in drawn.axes[0].lines}
    assert labels["settled"] == settled
    assert labels["not settled"] == not_settled


def test_ratios_are_drawn_around_one_on_a_logarithmic_axis():
    faster = comparison("adam", -1.0, "candidate_better", Ratio(0.5, 0.4, 0.625, 0.01))
    drawn = figure(paired(faster, metric=TIME))
    assert rows(drawn) == {"adam against sgd": [[0.4, 0.625], [0.5]]}
    (axis,) = drawn.axes
    assert axis.get_xscale() == "log"
    assert list(axis.lines[0].get_xdata()) == [1, 1]
    assert "smaller is better" in axis.get_title()


def test_unpaired_ratios_are_taken_back_from_their_logarithms():
    compared = UnpairedComparison(
        5, 6, math.log(2), math.log(1.5), math.log(3), welch_p=0.01, mann_whitney_p=0.01,
        probability_of_outperforming=0.9,
    )  # fmt: skip
    pair = UnpairedPair(
        "host", (), "a", "b", 2.0, 1.0, compared, as_ratio=True, p=0.01, family=1,
        verdict="baseline_better",
    )  # fmt: skip
    drawn = figure(Unpaired(basis(TIME), (pair,)))
    assert rows(drawn) == {"a against b": [pytest.approx([1.5, 3.0]), [pytest.approx(2.0)]]}


def test_a_trend_shows_its_points_how_many_they_are_and_their_correlation():
    points = ((1.0, 0.1), (2.0, 0.3), (3.0, 0.2))
    of = Correlation(0.5, -0.9, 0.99, 0.6)
    first = StratumTrend("data kettle", Trend(3, of, of), points)
    second = StratumTrend("data tv", None, ((1.0, 0.1), (2.0, 0.1)))
    drawn = figure(Trends(basis(), "width", (first, second), 0))
    one, two = drawn.axes
    assert list(zip(*one.lines[0].get_data(), strict=True)) == list(points)
    assert one.get_title() == "data kettle\nr = 0.50, n = 3"
    assert two.get_title() == "data tv\nn = 2"
    assert (one.get_xlabel(), one.get_ylabel()) == ("width", "accuracy")


@pytest.mark.parametrize("kind", ["values", "search"])
def test_settings_show_their_mean_and_range(kind):
    cells = (Cell("0.1", 2, 0.8, 0.7, 0.9, ()), Cell("", 1, 0.5, 0.5, 0.5, ()))
    if kind == "values":
        answer = Values(basis(), "dropout", cells, 6)
    else:
        answer = Search(basis(), "dropout", 30, cells, 2.0, 2.0)
    drawn = figure(answer)
    assert rows(drawn) == {"0.1": [[0.7, 0.9], [0.8]], "none": [[0.5, 0.5], [0.5]]}
    assert drawn.axes[0].get_ylabel() == "dropout"


def test_a_long_name_and_its_dollars_are_drawn_as_they_are():
    drawn = figure(Values(basis(), "a", (Cell("$x_1$ " + "long " * 40, 1, 0.5, 0.5, 0.5, ()),), 6))
    (label,) = (text.get_text() for text in drawn.axes[0].get_yticklabels())
    assert label.startswith(r"\$x_1\$")
    assert max(map(len, label.splitlines())) <= 42
    drawn.draw_without_rendering()
