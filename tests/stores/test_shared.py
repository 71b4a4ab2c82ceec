"""Stores that strangers published, counted apart from this project."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from pipeline.stores.read import read_store
from tests.stores.conftest import state

NAMES = ["fairprune", "minlp-factorial", "nilm-windows"]


@pytest.fixture(params=NAMES)
def folder(request, shared):
    return shared(request.param)[0]


def counts(of):
    return dict(Counter(of))


def life(runs):
    return counts(runs["deleted"].map({True: "deleted", False: "active"}))


def test_fairprune(shared):
    folder, expected = shared("fairprune")
    expected = json.loads(expected.read_text("utf-8"))
    stored = read_store(str(folder))
    assert len(stored.runs) == expected["runs"]
    assert counts(stored.runs["status"]) == expected["status"]
    assert life(stored.runs) == expected["life"]
    assert [name for name in stored.metrics if not name.isascii()] == expected[
        "metric_names_with_non_ascii"
    ]
    histories = [stored.history(metric)["value"] for metric in stored.metrics]
    assert sum(values.isna().sum() for values in histories) == expected["nan_values"]
    table = pd.concat([stored.params, stored.metrics], axis=1)
    for run in expected["fairness_runs"]:
        (found,) = table.index[(table[list(run)] == pd.Series(run)).all(axis=1)]
        assert found in stored.runs.index


def test_minlp_factorial(shared):
    folder, expected = shared("minlp-factorial")
    expected = json.loads(expected.read_text("utf-8"))
    one = read_store(str(folder), experiments=[expected["experiment"]])
    assert len(one.runs) == expected["runs"]
    assert [name for name in one.params if len(set(one.params[name])) == 1] == expected["constant"]
    assert sorted(one.metrics["average f_hat"].unique()) == pytest.approx(
        expected["average_f_hat"]["distinct"]
    )
    for comparison in expected["comparisons"]:
        means = one.metrics["time"].groupby(one.params[comparison["factor"]]).mean()
        assert means[comparison["a"]] == pytest.approx(comparison["mean_a"])
        assert means[comparison["b"]] == pytest.approx(comparison["mean_b"])
    other = read_store(str(folder))
    runs = other.runs[other.runs["experiment_id"] != expected["experiment"]]
    told = expected["other_experiment"]
    assert len(runs) == told["runs"]
    assert counts(runs["status"]) == told["status"]
    assert life(runs) == told["life"]
    assert other.metrics.loc[runs.index, "time"].isna().sum() == told["without_time"]


def test_nilm_windows(shared):
    folder, expected = shared("nilm-windows")
    expected = json.loads(expected.read_text("utf-8"))
    stored = read_store(str(folder))
    assert len(stored.runs) == expected["runs"]
    assert counts(stored.runs["experiment_id"]) == expected["per_experiment"]
    assert counts(stored.runs["status"]) == expected["status"]
    assert life(stored.runs) == expected["life"]
    assert counts(stored.params["seed"]) == expected["seed"]
    for metric, told in {"mae": "test_mae", "f1score": "test_f1"}.items():
        assert stored.metrics[metric].count() == expected["final_test_runs"]
        values = stored.metrics[metric].dropna()
        table = pd.DataFrame(
            {
                "model": stored.params.loc[values.index, "model_name"],
                "experiment": stored.runs.loc[values.index, "experiment_id"],
                "value": values,
            }
        ).pivot_table(index="model", columns="experiment", values="value")
        for model, of_model in expected[told].items():
            assert table.loc[model].dropna().to_dict() == pytest.approx(of_model)


@pytest.mark.slow
def test_the_values_are_those_that_mlflow_reads(folder, monkeypatch):
    stored = read_store(str(folder))
    before = state(folder)
    read_store(str(folder))
    assert state(folder) == before
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(f"file:{folder}")
    ids = [one.experiment_id for one in client.search_experiments(view_type=ViewType.ALL)]
    runs = client.search_runs(ids, run_view_type=ViewType.ALL, max_results=50_000)
    assert {run.info.run_id for run in runs} == set(stored.runs.index)
    for run in runs:
        row = stored.runs.loc[run.info.run_id]
        assert row["name"] == (run.info.run_name or "")
        assert row["status"] == run.info.status
        assert row["started"] == run.info.start_time
        for table, values in (
            (stored.params, run.data.params),
            (stored.tags, run.data.tags),
        ):
            assert table.loc[run.info.run_id].dropna().to_dict() == values
        for name, value in run.data.metrics.items():
            np.testing.assert_equal(stored.metrics.loc[run.info.run_id, name], value)
