"""What every kind of store gives, of one content that MLflow wrote."""

import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import sqlalchemy
from mlflow.tracking import MlflowClient

from pipeline.errors import ArgumentError, DataError, MissingInputError
from pipeline.stores.read import read_store, tracking_uri
from tests.stores.conftest import START, state, write

NAN = float("nan")


@pytest.fixture(
    params=[
        "folder",
        "sqlite",
        pytest.param("server", marks=pytest.mark.slow),
        pytest.param("postgresql", marks=pytest.mark.slow),
    ]
)
def address_and_ids(request, stores):
    folder, written = stores
    if request.param == "folder":
        return str(folder / "mlruns"), written["folder"]
    if request.param == "sqlite":
        return f"sqlite:///{folder}/mlflow.db", written["sqlite"]
    if request.param == "server":
        return request.getfixturevalue("server").uri(), written["sqlite"]
    return request.getfixturevalue("postgres_store")


@pytest.fixture(scope="session")
def postgres_store(postgres):
    return postgres, write(MlflowClient(postgres.replace("postgresql:", "postgresql+psycopg:")))


def named(table, ids):
    """A table with names instead of ids."""
    names = {run: name for name, run in ids.items()}
    return {names[run]: row.dropna().to_dict() for run, row in table.iterrows()}


def test_every_run_is_there_with_what_is_known_of_it(address_and_ids):
    address, ids = address_and_ids
    runs = read_store(address).runs
    assert list(runs.index) == [ids[name] for name in ("first", "second", "third", "fourth")]
    assert list(runs["name"]) == ["first", "second", "third", "fourth"]
    assert list(runs["experiment"]) == ["sweep", "sweep", "sweep", "old"]
    assert runs["experiment_id"].nunique() == 2
    assert all(isinstance(one, str) for one in runs["experiment_id"])
    assert list(runs["status"]) == ["FINISHED", "FAILED", "RUNNING", "RUNNING"]
    assert list(runs["deleted"]) == [False, False, True, True]
    assert list(runs["started"]) == [START, START + 1, START + 2, START + 3]
    np.testing.assert_array_equal(runs["ended"], [START + 100, START + 200, NAN, NAN])
    assert list(runs["parent"]) == ["", ids["first"], "", ""]


def test_parameters_tags_and_last_values(address_and_ids):
    address, ids = address_and_ids
    stored = read_store(address)
    assert named(stored.params, ids) == {
        "first": {"lr": "0.1", "net/depth": "3", "note": ""},
        "second": {"lr": "0.2"},
        "third": {},
        "fourth": {},
    }
    assert stored.tags.loc[ids["first"], "team"] == "équipe"
    assert set(stored.metrics) == {"loss", "peak", "val/Δ"}
    assert named(stored.metrics, ids) == {
        "first": {"loss": 1.0, "peak": math.inf},
        "second": {"loss": 5.0},
        "third": {},
        "fourth": {},
    }


def test_the_history_of_a_metric(address_and_ids):
    address, ids = address_and_ids
    history = read_store(address).history("loss")
    expected = [
        (ids["first"], 0, START, 3.0),
        (ids["first"], 1, START + 9, 2.0),
        (ids["first"], 2, START, 1.0),
        (ids["second"], 5, START, 9.0),
        (ids["second"], 5, START + 1, 4.0),
        (ids["second"], 5, START + 1, 5.0),
    ]
    assert list(history.itertuples(index=False, name=None)) == expected
    assert list(history.columns) == ["run", "step", "timestamp", "value"]


def test_a_metric_that_is_nan_has_a_history(address_and_ids):
    address, ids = address_and_ids
    history = read_store(address).history("val/Δ")
    assert list(history["run"]) == [ids["first"]]
    assert np.isnan(history["value"]).all()


def test_a_metric_that_no_run_has_has_no_history(address_and_ids):
    address, _ = address_and_ids
    assert read_store(address).history("nothing").empty


def test_experiments_are_chosen_by_name_and_by_id(address_and_ids):
    address, _ = address_and_ids
    old = read_store(address, experiments=["old"])
    assert list(old.runs["name"]) == ["fourth"]
    same = read_store(address, experiments=list(old.runs["experiment_id"]))
    pd.testing.assert_frame_equal(same.runs, old.runs)
    assert len(read_store(address, experiments=["old", "sweep"]).runs) == 4


def test_an_unknown_experiment_is_told_with_those_that_are_there(address_and_ids):
    address, _ = address_and_ids
    with pytest.raises(ArgumentError, match=r"no experiment .* 'sweeps'; there are .*'sweep'"):
        read_store(address, experiments=["sweeps"])


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("metrics.loss < 2", ["first"]),
        ("params.lr = '0.2' and attributes.status = 'FAILED'", ["second"]),
        ("tags.team LIKE '%quipe'", ["first"]),
        ("attributes.run_name = 'third'", ["third"]),
        ("tags.mlflow.parentRunId IS NULL", ["first", "third", "fourth"]),
        ("tags.mlflow.parentRunId IS NOT NULL", ["second"]),
        (f"attributes.start_time > {START + 1}", ["third", "fourth"]),
    ],
)
def test_the_filter_is_that_of_mlflow(address_and_ids, where, names):
    address, _ = address_and_ids
    stored = read_store(address, where=where)
    assert list(stored.runs["name"]) == names
    assert list(stored.params.index) == list(stored.metrics.index) == list(stored.runs.index)


@pytest.mark.parametrize("where", ["loss <", "metrics.loss ~ 2", "metrics.loss < 'x'", "a; b"])
def test_a_mistake_in_the_filter_is_told_in_a_line(address_and_ids, where):
    address, _ = address_and_ids
    with pytest.raises(ArgumentError, match="does not understand the filter") as refused:
        read_store(address, where=where)
    assert "\n" not in str(refused.value)


def test_a_filter_that_no_run_matches_is_told(address_and_ids):
    address, _ = address_and_ids
    with pytest.raises(DataError, match=r"no runs that match 'metrics.loss < 0'"):
        read_store(address, where="metrics.loss < 0")


def test_a_filter_on_datasets_needs_a_server(stores):
    with pytest.raises(ArgumentError, match="by an MLflow server only"):
        read_store(str(stores[0] / "mlruns"), where="dataset.name = 'mnist'")


@pytest.mark.parametrize(
    "typed",
    ["mlruns", "./mlruns/", "file:mlruns", "file:./mlruns", "file://{top}/mlruns", "mlflow.db",
     "sqlite:///mlflow.db", "sqlite:///{top}/mlflow.db", "sqlite+pysqlite:///mlflow.db?timeout=9",
     "file:mlflow.db"],
)  # fmt: skip
def test_an_address_as_people_type_it_and_nothing_is_changed(copied, monkeypatch, typed):
    top, _ = copied
    monkeypatch.chdir(top)
    before = state(top)
    stored = read_store(typed.format(top=top))
    stored.history("loss")
    assert list(stored.runs["name"]) == ["first", "second", "third", "fourth"]
    assert state(top) == before


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        ("mlruns", "file://{top}/mlruns"),
        ("file:mlruns", "file://{top}/mlruns"),
        ("mlflow.db", "sqlite:///{top}/mlflow.db"),
        ("file:mlflow.db", "sqlite:///{top}/mlflow.db"),
        ("sqlite:///mlflow.db", "sqlite:///{top}/mlflow.db"),
        ("a b.db", "sqlite:///{top}/a%20b.db"),
        ("sqlite:///a%20b.db", "sqlite:///{top}/a%20b.db"),
        ("http://host:5000/#/experiments/1", "http://host:5000"),
    ],
)
def test_what_could_be_read_is_named_as_mlflow_takes_it(copied, monkeypatch, typed, taken):
    top, _ = copied
    monkeypatch.chdir(top)
    assert tracking_uri(typed) == taken.format(top=top)


def test_a_name_with_a_space_can_be_given_as_mlflow_prints_it(copied, monkeypatch):
    top, _ = copied
    monkeypatch.chdir(top)
    (top / "mlflow.db").rename(top / "a b.db")
    for typed in ("a b.db", "sqlite:///a%20b.db", tracking_uri("a b.db")):
        assert len(read_store(typed).runs) == 4


@pytest.mark.parametrize(
    ("typed", "error", "told"),
    [
        ("mlrun", MissingInputError, "there is no mlrun; a store is a folder"),
        ("sqlite:///mlfow.db", MissingInputError, "there is no mlfow.db"),
        ("file:///nowhere/mlruns", MissingInputError, "there is no /nowhere/mlruns"),
        ("sqlite:mlflow.db", ArgumentError, "sqlite:///mlflow.db"),
        ("sqlite://", ArgumentError, "names no file"),
        ("mysql://me:secret@host/mlflow", ArgumentError, r"mysql://host/mlflow is no store"),
        ("postgresql://me:secret@host:port/db", ArgumentError, "postgresql://user"),
        ("mlruns/{sweep}", DataError, "the folder of one experiment; .* --experiment {sweep}"),
        (".", DataError, "has a store in it: name mlruns"),
        ("empty", DataError, "empty is no store of MLflow"),
        ("notes.txt", DataError, "neither a folder nor an SQLite database"),
    ],
)  # fmt: skip
def test_an_address_of_nothing_is_an_error_and_creates_nothing(
    copied, monkeypatch, typed, error, told
):
    top, written = copied
    monkeypatch.chdir(top)
    (top / "empty").mkdir()
    (top / "notes.txt").write_text("SQLite is not this")
    sweep = re.search(r"/(\d+)/\w+$", str(next(top.glob(f"mlruns/*/{written['folder']['first']}"))))
    before = state(top)
    with pytest.raises(error, match=told.format(sweep=sweep[1])) as refused:
        read_store(typed.format(sweep=sweep[1]))
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert state(top) == before


def test_a_store_without_runs_is_told(empty_store, tmp_path):
    with pytest.raises(DataError, match=r"mlflow\.db has no runs"):
        read_store(str(shutil.copy(empty_store, tmp_path / "mlflow.db")))


def test_an_experiment_without_runs_is_told(stores):
    with pytest.raises(DataError, match="no runs in these experiments"):
        read_store(str(stores[0] / "mlflow.db"), experiments=["Default"])


@pytest.mark.slow
def test_postgresql_is_not_changed_and_its_password_not_told(postgres_store):
    address, _ = postgres_store
    engine = sqlalchemy.create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    rows = sqlalchemy.text("SELECT count(*), max(xmin::text) FROM runs")
    with engine.connect() as connection:
        before = connection.execute(rows).one()
    read_store(address.replace("postgresql:", "postgres:"))
    with engine.connect() as connection:
        assert connection.execute(rows).one() == before
    engine.dispose()
    wrong = address.replace("se%3Acr", "mine")
    with pytest.raises(Exception, match=r"127\.0\.0\.1.*cannot be read: .*password") as refused:
        read_store(wrong)
    assert "mine" not in str(refused.value)
