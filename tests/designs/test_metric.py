import numpy as np
import pytest

from pipeline.errors import ArgumentError
from tests.designs.invented import designed, run, seeded


def told(design):
    return {inference.flag: inference.text for inference in design.inferences}


def two(*metrics):
    return [run(metric, model=model) for model, metric in zip("abc", metrics, strict=False)]


def test_the_only_metric_is_taken_and_told():
    design = designed(two({"accuracy": 0.1}, {"accuracy": 0.2}))
    assert design.metric.name == "accuracy"
    assert told(design)["--metric"] == "Metric: accuracy, the only metric."


def test_counters_and_what_the_machine_did_are_not_compared():
    metric = {"accuracy": 0.1, "epoch": 3, "system/cpu": 4}
    assert designed(two(metric, metric)).metric.name == "accuracy"


def test_the_only_metric_that_all_have():
    design = designed(two({"mae": 0.1, "f1": 0.2}, {"mae": 0.2}))
    assert design.metric.name == "mae"
    assert "all runs have" in told(design)["--metric"]


def test_the_only_test_metric():
    metric = {"train_loss": 0.1, "val_loss": 0.2, "test_loss": 0.3}
    assert designed(two(metric, metric)).metric.name == "test_loss"


def test_where_several_may_be_meant_they_are_listed_with_their_runs():
    rows = two({"mae": 0.1, "f1": 0.2}, {"mae": 0.2, "f1": 0.2}, {"rmse": 0.3})
    with pytest.raises(ArgumentError) as error:
        designed(rows)
    assert str(error.value) == (
        "which metric? name one with --metric: f1 (2 runs), mae (2 runs), rmse (1 run)"
    )


def test_a_long_list_is_cut():
    metric = {f"m{place:02}": 0.5 for place in range(63)}
    with pytest.raises(ArgumentError, match=r"m59 \(2 runs\), and 3 more$"):
        designed(two(metric, metric))


def test_an_unknown_metric_is_an_error_that_names_the_others():
    with pytest.raises(ArgumentError, match=r"no finished run has a metric 'f1'.*mae \(2 runs\)"):
        designed(two({"mae": 1}, {"mae": 2}), metric="f1")


def test_runs_without_any_metric():
    with pytest.raises(ArgumentError, match="none of the 2 finished runs has a metric"):
        designed([*two({}, {}), run({"mae": 1}, _status="FAILED", model="c")])


@pytest.mark.parametrize(
    ("at", "values"),
    [(None, [2, 6]), ("last", [2, 6]), ("best", [1, 4]), ("mean", [2, 5]), ("0", [3, 4])],
)
def test_the_value_that_counts(at, values):
    rows = two({"loss": [3, 1, 2]}, {"loss": [4, 5, 6]})
    design = designed(rows, at=at)
    assert design.questions[0].runs["value"].tolist() == values


def test_the_best_is_the_largest_where_that_is_better():
    rows = two({"accuracy": [3, 1, 2]}, {"accuracy": [4, 6, 5]})
    assert designed(rows, at="best").questions[0].runs["value"].tolist() == [3, 6]


def test_a_run_without_a_value_at_the_step_is_left_out():
    design = designed(two({"loss": [3, 1]}, {"loss": [4, 5, 6]}, {"loss": [1, 2, 3]}), at="2")
    assert design.questions[0].runs["value"].tolist() == [3, 6]
    assert [(left.reason, left.count) for left in design.left_out] == [
        ("without loss at step 2", 1)
    ]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("first", "--at must be last, best, mean or a step, got 'first'"),
        ("7", r"no run has loss at step 7; the last step is 1 \(--at\)"),
    ],
)
def test_a_wrong_step(at, message):
    with pytest.raises(ArgumentError, match=message):
        designed(two({"loss": [3, 1]}, {"loss": [4, 5]}), at=at)


def test_it_is_told_where_the_last_value_is_not_the_best():
    design = designed(two({"loss": [3, 1, 2]}, {"loss": [4, 3, 2]}))
    assert told(design)["--at"] == (
        "Of each run the last loss counts; it is not the best in 1 of 2 runs."
    )


def test_nothing_is_told_of_the_last_of_one():
    assert "--at" not in told(designed(two({"loss": 1}, {"loss": 2})))


@pytest.mark.parametrize(
    ("metric", "flag", "text"),
    [
        ("loss", "--larger-is-better", "Smaller is better, as the name loss says."),
        ("auc", "--smaller-is-better", "Larger is better, as the name auc says."),
        ("gain", "--smaller-is-better", "Larger is better, since the name gain does not say."),
    ],
)
def test_the_direction_is_told_with_the_flag_that_turns_it_round(metric, flag, text):
    assert told(designed(two({metric: 1}, {metric: 2})))[flag] == text


def test_a_direction_that_was_asked_for_is_not_told():
    design = designed(two({"loss": 1}, {"loss": 2}), smaller_is_better=False)
    assert design.metric.smaller_is_better is False
    assert not {"--larger-is-better", "--smaller-is-better"} & set(told(design))


@pytest.mark.parametrize(
    ("metric", "smallest", "as_ratio"),
    [("time", 1, True), ("time", 0, False), ("loss", 1, False)],
)
def test_times_above_nought_are_ratios(metric, smallest, as_ratio):
    assert designed(two({metric: smallest}, {metric: 2})).metric.as_ratio is as_ratio


def test_a_diverged_step_makes_the_mean_no_number():
    rows = [*seeded("ab", metric="loss"), run({"loss": [1, np.nan, 2]}, model="a", seed=99)]
    design = designed(rows, at="mean")
    assert [(left.reason, left.count) for left in design.left_out] == [
        ("whose loss is no number", 1)
    ]
