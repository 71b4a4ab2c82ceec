import numpy as np
import pytest

from pipeline.errors import ArgumentError
from tests.designs.invented import designed, run, seeded, store


def left_out(rows, **asked):
    return {left.reason: left.count for left in designed(rows, **asked).left_out}


def told(rows, flag, **asked):
    return [of.text for of in designed(rows, **asked).inferences if of.flag == flag]


def extra(accuracy=0.1, **others):
    return run({} if accuracy is None else {"accuracy": accuracy}, model="a", seed=77, **others)


def test_whatever_did_not_finish_is_left_out_and_counted():
    rows = [
        *seeded("ab"),
        extra(_status="FAILED"),
        extra(_status="FAILED"),
        extra(_status="KILLED"),
        extra(_status="RUNNING"),
        extra(_status="SCHEDULED"),
        extra(_deleted=True),
        extra(_deleted=True, _status="FAILED"),
    ]
    assert left_out(rows) == {
        "failed": 2,
        "killed": 1,
        "still running or scheduled": 2,
        "deleted": 2,
    }
    assert designed(rows).runs == 20


def test_runs_without_a_finite_value_are_left_out_and_counted():
    rows = [*seeded("ab"), extra(None), extra(np.nan), extra(np.inf), extra(-np.inf), extra(-1e101)]
    assert left_out(rows, metric="accuracy") == {
        "without accuracy": 1,
        "whose accuracy is no number": 1,
        "whose accuracy is infinite": 2,
        "whose accuracy is beyond 1e+100": 1,
    }


def test_a_run_whose_last_value_is_no_number_has_a_best_one():
    rows = [*seeded("ab"), extra([0.5, np.nan])]
    assert left_out(rows, at="best") == {}


def test_parents_are_left_out_and_it_is_said_if_they_have_the_metric():
    nested = [row | {"parent": "p"} for row in seeded("ab")]
    assert left_out([*nested, extra(None, _id="p")]) == {"with runs nested in them": 1}
    assert left_out([*nested, extra(0.9, _id="p")]) == {
        "with runs nested in them, 1 of them with accuracy of its own": 1
    }


def test_a_parent_of_failed_children_only_is_a_parent():
    rows = [*seeded("ab"), extra(_id="p"), extra(_parent="p", _status="FAILED")]
    assert left_out(rows)["with runs nested in them, 1 of them with accuracy of its own"] == 1


def test_nested_runs_and_others_are_not_mixed():
    nested = [row | {"parent": "gone"} for row in seeded("ab")]
    assert left_out([*nested, extra()]) == {"not nested in another run, while most are": 1}
    (kept,) = told([*nested, extra()], "--where")
    assert kept == (
        "Only the 20 runs nested in others, as those of a sweep are, are compared; the others are "
        '"tags.mlflow.parentRunId IS NULL".'
    )
    few = [row | {"parent": "gone"} for row in seeded("ab", 3)]
    assert left_out([*seeded("ab"), *few]) == {"nested in another run, while most are not": 6}


def test_other_metrics_of_some_runs_are_told():
    rows = [*seeded("ab"), run({"accuracy": 0.5, "f1": 0.2, "auc": 0.3}, model="a", seed=88)]
    assert told(rows, "--where", metric="accuracy") == [
        "These may be different kinds of runs: 1 of 21 also have auc and f1."
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there are no runs here"),
        ([extra(_status="FAILED"), extra(_deleted=True)], "no finished run is left: 1 deleted, 1"),
        ([extra(np.nan), extra(np.nan)], "no run with a finite accuracy is left: 2 whose"),
        ([extra(), extra(_status="FAILED")], "a single run .* counts, beside 1 failed: there is"),
        ([extra()], "a single run with a finite accuracy counts: there is nothing to compare"),
    ],
)
def test_nothing_left(rows, message):
    asked = {"metric": "accuracy"} if "nan" in str(rows) else {}
    with pytest.raises(ArgumentError, match=message):
        designed(rows, **asked)


def test_nothing_in_the_store_is_changed():
    stored = store(seeded("ab"))
    before = [table.copy() for table in (stored.runs, stored.params, stored.metrics)]
    designed(seeded("ab"))
    for table, copy in zip((stored.runs, stored.params, stored.metrics), before, strict=True):
        assert table.equals(copy)
