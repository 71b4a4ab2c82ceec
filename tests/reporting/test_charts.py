import json
import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.comparison.contrast import contrasts
from pipeline.comparison.measures import MEASURES
from pipeline.comparison.published import NOTEBOOK
from pipeline.reporting import charts
from pipeline.reporting.curves import PANELS

BETTER = (0.98, 0.97, 0.96, 0.98, 0.97, 0.99, 0.95, 0.96)
WORSE = (0.95, 0.94, 0.95, 0.96, 0.94, 0.95, 0.94, 0.97)
ACCURACY, LOSS = MEASURES["accuracy"], MEASURES["loss"]


@pytest.fixture
def sides(make_cell):
    return (
        make_cell("With BN", BETTER, color="#0072B2"),
        make_cell("Without BN", WORSE, color="#D55E00"),
    )


def values(spec, mark, **of):
    """The rows of the first layer of a mark; the chart's own where the layer has none."""
    layer = next(
        one for one in spec["layer"] if one["mark"]["type"] == mark and of.items() <= one.items()
    )
    return layer.get("data", spec["data"])["values"]


def test_every_run_is_a_row_with_the_values_of_the_history(sides):
    for split, measure in PANELS:
        rows = charts.learning_curve(sides, (split, measure), 0.95)["data"]["values"]
        assert len(rows) == 2 * 8 * 3
        for row in rows:
            one = sides[row["variant"]]
            at = one.history.query(
                f"seed == {row['seed']} and epoch == {row['epoch']} and split == {split!r}"
            )
            assert row["value"] == at[measure].item()
            assert row["label"] == one.label


def test_means_are_those_of_the_runs_with_students_interval(sides):
    rows = values(charts.learning_curve(sides, ("validation", "loss"), 0.95), "area")
    row = next(one for one in rows if (one["variant"], one["epoch"]) == (1, 2))
    history = sides[1].history.query("epoch == 2 and split == 'validation'")["loss"]
    # Student's t of 7 degrees of freedom.
    half = 2.3646 * np.std(history, ddof=1) / np.sqrt(8)
    assert row["value"] == pytest.approx(history.mean())
    assert row["low"] == pytest.approx(history.mean() - half, abs=1e-4)
    assert row["high"] == pytest.approx(history.mean() + half, abs=1e-4)
    assert row["runs"] == 8


def test_a_single_epoch_is_drawn_as_points(sides):
    first = [replace(one, history=one.history[one.history["epoch"] == 0]) for one in sides]
    spec = charts.learning_curve(first, ("validation", "loss"), 0.95)
    assert len(values(spec, "rule")) == 2
    runs = next(one for one in spec["layer"] if "opacity" in one["encoding"])
    assert runs["encoding"]["opacity"]["value"] > 0
    low, high = runs["encoding"]["x"]["scale"]["domain"]
    assert -1 < low < 0 < high < 1


def test_a_tied_pair_has_the_colour_of_neither(make_cell):
    sides = [
        make_cell(label, accuracy, color=color)
        for label, accuracy, color in (
            ("With", (0.9, 0.8, 0.7), "#0072B2"), ("Without", (0.8, 0.8, 0.8), "#D55E00"))
    ]  # fmt: skip
    spec = charts.differences(*sides, ACCURACY, contrasts([sides], ACCURACY, 0.95)[0].paired)
    (scale,) = [
        one["encoding"]["color"]["scale"]
        for one in spec["layer"]
        if one["mark"]["type"] == "circle"
    ]
    colors = dict(zip(scale["domain"], scale["range"], strict=True))
    found = [colors[row["ahead"]] for row in values(spec, "circle")]
    assert found == ["var(--paint-0072B2, #0072B2)", "var(--quiet)", "var(--paint-D55E00, #D55E00)"]


def test_the_notebooks_points_are_as_it_printed_them(sides, make_cell):
    told = make_cell("With BN", BETTER, published=NOTEBOOK[0])
    spec = charts.learning_curve((told, sides[1]), ("train", "loss"), 0.95)
    rows = values(spec, "point")
    assert [row["value"] for row in rows] == list(NOTEBOOK[0].train_loss)
    assert {row["label"] for row in rows} == {"With BN, the notebook"}
    spec = charts.learning_curve((told, sides[1]), ("train", "accuracy"), 0.95)
    assert values(spec, "point") == []


def test_everything_is_within_the_widest_view(sides):
    spec = charts.learning_curve(sides, ("train", "accuracy"), 0.95)
    low, high = spec["usermeta"]["everything"]
    assert all(low < row["value"] < high for row in spec["data"]["values"])


def test_what_is_not_finite_is_no_value_and_in_no_mean(sides, make_cell):
    diverged = make_cell("Without BN", WORSE, diverged=(7,))
    last = diverged.history.eval("seed == 7 and epoch == 2")
    diverged.history.loc[last, "loss"] = np.inf
    spec = charts.learning_curve((sides[0], diverged), ("train", "loss"), 0.95)
    rows = [row for row in spec["data"]["values"] if row["value"] is None]
    assert [(row["variant"], row["seed"], row["epoch"]) for row in rows] == [(1, 7, 2)]
    assert {row["runs"] for row in values(spec, "area") if row["variant"] == 1} == {7}
    json.dumps(spec, allow_nan=False)


def test_differences_are_in_points_with_mean_and_interval(sides):
    result = contrasts([sides], ACCURACY, 0.95)[0].paired
    spec = charts.differences(*sides, ACCURACY, result)
    rows = values(spec, "circle")
    assert [row["difference"] for row in rows] == pytest.approx([3, 3, 1, 2, 3, 4, 1, -1])
    assert [row["ahead"] for row in rows] == [0] * 7 + [1]
    assert [(row["candidate"], row["baseline"]) for row in rows] == list(
        zip(BETTER, WORSE, strict=True)
    )
    band, mean = spec["layer"][:2]
    assert band["encoding"]["x"]["datum"] == 100 * result.ci_low
    assert band["encoding"]["x2"]["datum"] == 100 * result.ci_high
    assert mean["encoding"]["x"]["datum"] == pytest.approx(2)


def test_one_pair_has_no_interval(make_cell):
    sides = make_cell("A", (0.9,)), make_cell("B", (0.8,))
    spec = charts.differences(*sides, ACCURACY, contrasts([sides], ACCURACY, 0.95)[0].paired)
    assert "rect" not in [layer["mark"]["type"] for layer in spec["layer"]]


def test_pairs_have_the_accuracy_of_either_run(sides):
    rows = charts.pairs(*sides, ACCURACY)["data"]["values"]
    assert [row["score"] for row in rows if row["side"] == 0] == list(WORSE)
    assert [row["score"] for row in rows if row["side"] == 1] == list(BETTER)


def test_each_variant_has_its_own_colour_which_a_page_may_change(sides):
    spec = charts.learning_curve(sides, ("train", "loss"), 0.95)
    scale = spec["layer"][0]["encoding"]["color"]["scale"]
    assert scale["range"] == ["var(--paint-0072B2, #0072B2)", "var(--paint-D55E00, #D55E00)"]


@pytest.mark.parametrize("label", ["it's", 'a "b"', "\\", "</script>", "\N{LINE SEPARATOR}", "é"])
def test_labels_of_an_axis_are_text_in_its_expression(sides, make_cell, label):
    spec = charts.pairs(sides[0], make_cell(label, WORSE), ACCURACY)
    expression = spec["layer"][0]["encoding"]["x"]["axis"]["labelExpr"]
    array = re.fullmatch(r"(.*)\[datum\.value\]", expression).group(1)
    assert array.isascii()
    assert json.loads(array) == [label, "With BN"]


def test_of_two_losses_the_smaller_is_ahead(sides):
    result = contrasts([sides], LOSS, 0.95)[0].paired
    spec = charts.differences(*sides, LOSS, result)
    rows = values(spec, "circle")
    assert [row["difference"] for row in rows[:3]] == pytest.approx([-0.03, -0.03, -0.01])
    assert [row["ahead"] for row in rows] == [0] * 7 + [1]
    mean = spec["layer"][1]
    assert mean["encoding"]["x"]["datum"] == pytest.approx(-0.02)


def test_a_loss_that_is_not_finite_is_no_value(sides):
    sides[0].scores.loc[2, "loss"] = np.nan
    result = contrasts([sides], LOSS, 0.95)[0].paired
    for spec in (charts.differences(*sides, LOSS, result), charts.pairs(*sides, LOSS)):
        json.dumps(spec, allow_nan=False)
    row = values(charts.differences(*sides, LOSS, result), "circle")[2]
    assert (row["difference"], row["candidate"], row["ahead"]) == (None, None, 2)
