import multiprocessing
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ArgumentError, DataError, PendingError, UnavailableError
from pipeline.stores import database, postgresql, sqlite_copy
from pipeline.stores.read import read_store
from tests.stores.conftest import state

# What MLflow's own migrations make of an empty database up to a revision.
SCHEMAS = sorted(Path(__file__).parent.glob("schemas/*.sql"))
A, B = "a" * 32, "b" * 32


def make(path, schema):
    """Writes a database of an earlier MLflow, with two runs."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(schema.read_text())
        columns = {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            for name in ("metrics", "latest_metrics")
        }

        def insert(table, **values):
            known = {key: value for key, value in values.items() if key in columns.get(table, key)}
            marks = ", ".join("?" * len(known))
            connection.execute(
                f"INSERT INTO {table} ({', '.join(known)}) VALUES ({marks})",  # noqa: S608
                list(known.values()),
            )

        for number, name in enumerate(["one", "two"]):
            insert("experiments", experiment_id=number, name=name, artifact_location="",
                   lifecycle_stage="active")  # fmt: skip
        for run, status in ((A, "FINISHED"), (B, "FAILED")):
            insert("runs", run_uuid=run, name="", source_type="LOCAL", status=status, start_time=1,
                   end_time=None, lifecycle_stage="active", experiment_id=0)  # fmt: skip
            insert("params", key="lr", value="0.1", run_uuid=run)
            insert("tags", key="mlflow.runName", value=f"run {run[0]}", run_uuid=run)
        points = [(A, 0, 5, 1.0, 0), (A, 1, 6, 2.0, 0)]
        if "is_nan" in columns["metrics"]:
            points.append((B, 0, 5, 0.0, 1))
        for run, step, timestamp, value, is_nan in points:
            insert("metrics", key="loss", run_uuid=run, value=value, timestamp=timestamp,
                   step=step, is_nan=is_nan)  # fmt: skip
        if columns["latest_metrics"]:
            for run, step, timestamp, value, is_nan in points[1:]:
                insert("latest_metrics", key="loss", run_uuid=run, value=value,
                       timestamp=timestamp, step=step, is_nan=is_nan)  # fmt: skip
    return path


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.stem)
def test_a_database_of_an_earlier_mlflow_is_read_and_stays_what_it_is(schema, tmp_path):
    path = make(tmp_path / "mlflow.db", schema)
    before = state(tmp_path)
    stored = read_store(str(path))
    assert state(tmp_path) == before
    assert list(stored.runs["name"]) == ["run a", "run b"]
    assert list(stored.runs["experiment"]) == ["one", "one"]
    assert list(stored.runs["status"]) == ["FINISHED", "FAILED"]
    assert list(stored.params["lr"]) == ["0.1", "0.1"]
    np.testing.assert_array_equal(stored.metrics["loss"], [2.0, float("nan")])
    history = stored.history("loss")
    assert history.loc[history["run"] == A, "value"].tolist() == [1.0, 2.0]


@pytest.fixture
def path(stores, tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes((stores[0] / "mlflow.db").read_bytes())
    return folder / "mlflow.db"


def test_what_is_not_yet_in_the_database_itself_is_read_too(path):
    """Of a server at work, which has it open with a write-ahead log."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        with connection:
            connection.execute("UPDATE runs SET name = 'just now' WHERE name = 'first'")
        assert path.with_name("mlflow.db-wal").stat().st_size
        before = state(path.parent)
        assert "just now" in set(read_store(str(path)).runs["name"])
        assert state(path.parent) == before


def die_within_a_transaction(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("UPDATE runs SET name = 'never'")
    connection.execute("CREATE TABLE filling AS SELECT zeroblob(4000000) AS content")
    sys.stdout.flush()
    # Without commit or rollback, as if it had been killed.
    import os  # noqa: PLC0415

    os._exit(0)


@pytest.mark.slow
def test_a_transaction_that_was_broken_off_is_taken_back_in_the_copy_only(path):
    process = multiprocessing.get_context("spawn").Process(
        target=die_within_a_transaction, args=(path,)
    )
    process.start()
    process.join()
    assert path.with_name("mlflow.db-journal").stat().st_size
    before = state(path.parent)
    stored = read_store(str(path))
    assert list(stored.runs["name"]) == ["first", "second", "third", "fourth"]
    assert state(path.parent) == before


def test_a_database_that_changes_while_it_is_copied_is_copied_again(path, monkeypatch):
    """And given up if it never rests."""
    monkeypatch.setattr(sqlite_copy, "_RETRY_SECONDS", 0)
    copy_once, changes = sqlite_copy._copy_once, iter([True, True, False])

    def disturbed(source, target, changing=changes):
        copy_once(source, target)
        if next(changing, False):
            with source.open("ab") as file:
                file.write(bytes(4096))

    monkeypatch.setattr(sqlite_copy, "_copy_once", disturbed)
    assert len(read_store(str(path)).runs) == 4
    assert next(changes, "all used") == "all used"

    def always(source, target):
        disturbed(source, target, iter([True]))

    monkeypatch.setattr(sqlite_copy, "_copy_once", always)
    with pytest.raises(PendingError, match="being written to all the time"):
        read_store(str(path))


def test_a_link_to_a_database_is_followed(path, tmp_path):
    (tmp_path / "link.db").symlink_to(path)
    assert len(read_store(str(tmp_path / "link.db")).runs) == 4


def test_the_copy_goes_when_nobody_needs_it(path, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    stored = read_store(str(path))
    assert len(stored.history("loss")) == 6
    del stored
    assert list((tmp_path / "tmp").iterdir()) == []


def other_tables(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id, name)")
        connection.commit()


def cut_off(path):
    path.write_bytes(path.read_bytes()[:40_000])


@pytest.mark.parametrize(
    ("harm", "error", "told"),
    [
        (lambda path: (path.unlink(), other_tables(path)), DataError, "but not one of MLflow"),
        (lambda path: path.write_bytes(b""), DataError, "neither a folder nor an SQLite database"),
        (cut_off, (DataError, UnavailableError), "cannot be read: "),
    ],
)
def test_what_is_no_database_of_mlflow_is_told_in_a_line(path, harm, error, told):
    harm(path)
    before = state(path.parent)
    with pytest.raises(error, match=told) as refused:
        read_store(str(path))
    assert "\n" not in str(refused.value)
    assert state(path.parent) == before


def test_an_interrupted_reading_leaves_the_store_as_it_was(path, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(database, "_read", interrupted)
    before = state(path.parent)
    with pytest.raises(KeyboardInterrupt):
        read_store(str(path))
    assert state(path.parent) == before


def test_postgresql_without_its_package_says_which_to_install(monkeypatch):
    monkeypatch.setattr(postgresql, "find_spec", lambda _: None)
    with pytest.raises(ArgumentError, match=r"pip install '.\[postgresql\]'"):
        read_store("postgresql://me:secret@127.0.0.1/mlflow")
