import numpy as np
import pandas as pd
import pytest

from pipeline.studies.figures import figure
from pipeline.studies.judgement import judge
from pipeline.studies.study import Rule

RATE, WIDTH = "training.optimizer.learning_rate", "network.activation"
NOTHING = pd.DataFrame()
RULE = Rule(measure="test_accuracy", expected="greater")
RNG = np.random.default_rng(0)


def table(**axes):
    """Makes a row for each variant and seed at every value of the axes."""
    keys = pd.MultiIndex.from_product(
        [*axes.values(), ("a", "b"), range(8)], names=[*axes, "variant", "seed"]
    ).to_frame(index=False)
    return keys.assign(test_accuracy=RNG.uniform(0.8, 0.9, len(keys)))


def drawn(study, rows, course=NOTHING):
    return figure(study, rows, course, judge(study, rows))


def lines(axis):
    """Returns the lines in the legend, by name."""
    return {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}


def test_every_pair_and_published_value_is_drawn_without_a_grid(study):
    rows = table()
    published = {"a": {"test_accuracy": [0.95]}, "b": {"test_accuracy": [0.85]}}

    (axis,) = drawn(study(RULE, axes={}, published_values=published), rows).axes

    for place, name in enumerate("ab"):
        shown = axis.collections[place].get_offsets()
        values = rows[rows["variant"] == name].sort_values("seed")["test_accuracy"]
        np.testing.assert_allclose(shown, np.column_stack([np.full(8, place), values]))
    stars = [line.get_xydata()[0].tolist() for line in axis.lines if line.get_marker() == "*"]
    assert stars == [[0, 0.95], [1, 0.85]]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["A", "B"]
    assert axis.get_title() == "Test accuracy"


def test_the_line_goes_through_the_means_over_a_grid(study):
    rows = table(learning_rate=(0.01, 0.1, 1.0))
    rule = RULE.model_copy(update={"at": {RATE: 0.1}})

    (axis,) = drawn(study(rule), rows).axes

    for name in ("a", "b"):
        means = rows[rows["variant"] == name].groupby("learning_rate")["test_accuracy"].mean()
        np.testing.assert_allclose(
            lines(axis)[name.upper()].get_xydata(), list(means.items()), rtol=1e-12
        )
    assert axis.get_xscale() == "log"
    assert axis.get_xlabel() == "Learning rate"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0.01", "0.1", "1"]


def test_values_that_are_not_numbers_are_evenly_spaced(study):
    rows = table(activation=("relu", "tanh"))
    rule = RULE.model_copy(update={"at": {WIDTH: "tanh"}})

    (axis,) = drawn(study(rule, axes={WIDTH: ("relu", "tanh")}), rows).axes

    assert lines(axis)["A"].get_xdata().tolist() == [0, 1]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["relu", "tanh"]


def test_each_value_of_a_second_axis_has_a_panel(study):
    axes = {RATE: (0.01, 0.1), WIDTH: ("relu", "tanh")}
    rows = table(learning_rate=axes[RATE], activation=axes[WIDTH])
    rule = RULE.model_copy(update={"at": {RATE: 0.1, WIDTH: "tanh"}})

    panels = drawn(study(rule, axes=axes), rows).axes

    assert [axis.get_title() for axis in panels] == [
        "Test accuracy, activation relu", "Test accuracy, activation tanh",
    ]  # fmt: skip
    means = rows.query("variant == 'b' and activation == 'tanh'").groupby("learning_rate")
    expected = means["test_accuracy"].mean().tolist()
    np.testing.assert_allclose(lines(panels[1])["B"].get_ydata(), expected)


@pytest.fixture
def course():
    return table(step=(100, 200, 300))


def test_followed_measures_are_drawn_by_step_beside_the_published_curve(study, course):
    rule = RULE.model_copy(update={"measure": "test_accuracy_mean"})
    rows = table().assign(test_accuracy_mean=RNG.random(16))
    published = {"a": {"step": [50, 250], "test_accuracy": [0.5, 0.7]}}
    of = study(rule, axes={}, course=(), published_values=published)

    (axis,) = drawn(of, rows, course).axes

    by_label = lines(axis)
    assert by_label.keys() == {"A", "A, published", "B"}
    means = course[course["variant"] == "a"].groupby("step")["test_accuracy"].mean()
    np.testing.assert_allclose(by_label["A"].get_xydata(), list(means.items()))
    assert by_label["A, published"].get_xydata().tolist() == [[50, 0.5], [250, 0.7]]
    # The rule uses the mean over the curve, but the curve itself is drawn.
    assert axis.get_title() == "Test accuracy"
    assert axis.get_xlabel() == "Step"


def test_measures_that_vary_widely_have_a_logarithmic_axis(study, course):
    rule = RULE.model_copy(update={"measure": "test_loss", "expected": "smaller"})
    rows, course = table().assign(test_loss=0.1), course.assign(test_loss=course["step"] ** 5.0)

    (axis,) = drawn(study(rule, axes={}, course=()), rows, course).axes

    assert axis.get_yscale() == "log"


def test_the_quick_scale_is_marked(study):
    quick = drawn(study(RULE, axes={}, is_quick=True), table())

    assert quick.get_suptitle() == "quick: not reliable"
