import os
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipeline.tracking import database
from pipeline.tracking.store import TRACKING_ERRORS, Store, existing_client, made_client
from tests.half_made import HALF_MADE, OTHERS, leave_journal

SCHEMA = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY type, name"


def expect_whole(path, empty_store):
    """Makes sure that a database is sound and has the schema that MLflow makes by itself."""
    schemas = []
    for database_path in (path, empty_store):
        with closing(sqlite3.connect(database_path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            schemas.append(connection.execute(SCHEMA).fetchall())
    assert schemas[0] == schemas[1]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "a b%20c"])
def test_a_new_database_is_whole_and_leaves_nothing_beside_it(tmp_path, empty_store, name):
    folder = tmp_path / name / "new"

    database.make(folder / "mlflow.db")

    assert names(folder) == ["mlflow.db"]
    assert not list(tmp_path.rglob("*.tmp"))
    expect_whole(folder / "mlflow.db", empty_store)


@pytest.fixture
def while_it_is_made():
    """Does something once, in the midst of the making of a database."""
    acts = []

    def look(connection, *_):
        while acts:
            acts.pop()(Path(connection.engine.url.database))

    event.listen(Engine, "before_cursor_execute", look)
    yield acts.append
    event.remove(Engine, "before_cursor_execute", look)


@pytest.mark.slow
@pytest.mark.parametrize(("empty", "links"), [(False, False), (True, True)])
def test_a_database_that_another_program_makes_meanwhile_is_kept(
    tracked_project, while_it_is_made, monkeypatch, empty, links
):
    path = tracked_project / "mlflow.db"
    other = path.rename(tracked_project / "other.db").read_bytes() + bytes(4096)
    if empty:
        path.touch()
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    while_it_is_made(lambda _: path.write_bytes(other))

    database.make(path)

    assert path.read_bytes() == other


def refuse(*_):
    raise PermissionError("Operation not permitted")  # As on FAT.


@pytest.mark.slow
@pytest.mark.parametrize(("empty", "links"), [(False, False), (False, True), (True, True)])
def test_nothing_is_at_its_place_until_it_is_whole(
    tmp_path, empty_store, while_it_is_made, monkeypatch, empty, links
):
    path, seen = tmp_path / "mlflow.db", []
    if empty:
        path.touch()
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    while_it_is_made(lambda temporary: seen.append((temporary.parent.parent, path.exists())))

    database.make(path)

    assert seen == [(tmp_path, empty)]
    assert path.stat().st_nlink == 1
    expect_whole(path, empty_store)


@pytest.mark.slow
def test_what_a_killed_maker_left_goes_with_the_next(tmp_path, empty_store):
    left = tmp_path / ".mlflow.db.abcd1234.tmp"
    left.mkdir()
    (left / "mlflow.db").write_text("half")
    copy = tmp_path / ".mlflow.db.before-relocation.abcd1234.tmp"
    copy.mkdir()

    database.make(tmp_path / "mlflow.db")

    assert names(tmp_path) == [copy.name, "mlflow.db"]
    expect_whole(tmp_path / "mlflow.db", empty_store)


@pytest.mark.slow
@pytest.mark.parametrize("empty", [False, True])
def test_the_journal_of_a_database_that_is_gone_does_not_harm_the_next(
    tracked_project, empty_store, empty
):
    path = tracked_project / "mlflow.db"
    leave_journal(path)
    path.unlink()
    if empty:
        path.touch()

    Store("digits")

    assert names(tracked_project) == [".mlflow.lock", "mlflow.db"]
    expect_whole(path, empty_store)


@pytest.mark.slow
def test_a_link_to_a_database_that_is_still_to_be_made_stays_a_link(tmp_path, empty_store):
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "mlflow.db"
    path.symlink_to(tmp_path / "there" / "shared.db")

    database.make(path)

    assert path.is_symlink()
    expect_whole(tmp_path / "there" / "shared.db", empty_store)


@pytest.mark.slow
@pytest.mark.parametrize("moment", HALF_MADE)
def test_a_half_made_database_is_refused_before_mlflow_opens_it(leave_half_made, moment):
    path = leave_half_made(moment)

    for client in (lambda: Store("digits"), existing_client, made_client):
        with pytest.raises(TRACKING_ERRORS, match="is half made") as refused:
            client()
        assert "`python -m pipeline doctor --fix`" in str(refused.value)

    # MLflow keeps connections: it would look into the old file for ever.
    path.rename("aside")
    Store("digits")
    assert {experiment.name for experiment in existing_client().search_experiments()} == {
        "Default",
        "digits",
    }


@pytest.mark.slow
@pytest.mark.parametrize("moment", OTHERS)
def test_a_database_that_only_lacks_what_mlflow_adds_is_taken(leave_half_made, empty_store, moment):
    path = leave_half_made(moment)

    Store("digits")

    expect_whole(path, empty_store)


def execute(*statements):
    with closing(sqlite3.connect("mlflow.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.slow
@pytest.mark.parametrize("moment", HALF_MADE)
@pytest.mark.parametrize(
    "row",
    [
        "experiments (experiment_id, name) VALUES (7, 'mine')",
        "runs (run_uuid, name) VALUES ('r', 'mine')",
    ],
)
def test_a_database_that_holds_anything_is_not_half_made(leave_half_made, moment, row):
    path = leave_half_made(moment)
    # What was dropped in a transaction is back once that is rolled back.
    execute(f"INSERT INTO {row}")

    database.check(path)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE other (x)"],
        ["CREATE TABLE experiments (x)", "CREATE TABLE other (x)"],
        ["CREATE TABLE alembic_version (x)", "INSERT INTO alembic_version VALUES ('ffff00001111')"],
    ],
)
def test_an_empty_database_of_another_program_or_a_newer_mlflow_is_not_half_made(statements):
    execute(*statements)

    database.check(Path("mlflow.db"))


@pytest.mark.usefixtures("tracked_project")
def test_a_database_in_use_is_left_to_mlflow_which_waits():
    with closing(sqlite3.connect("mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")

        database.check(Path("mlflow.db"))


def test_mlflow_itself_makes_its_first_experiment_last(empty_store):
    with closing(sqlite3.connect(empty_store)) as connection:
        assert connection.execute("SELECT name FROM experiments").fetchall() == [("Default",)]


def test_checkouts_that_share_a_database_share_its_lock(project, monkeypatch, tmp_path_factory):
    shared = tmp_path_factory.mktemp("shared") / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared}")

    Store("digits")

    assert names(shared.parent) == [".mlflow.lock", "mlflow.db"]
    assert not names(project)
    assert mlflow.MlflowClient(f"sqlite:///{shared}").get_experiment_by_name("digits")


METRICS_OF_ONE = (
    "SELECT * FROM metrics WHERE run_uuid = 'run 7' AND key = 'loss' ORDER BY timestamp"
)


def metrics_are_found_by_run(connection):
    """Whether SQLite would look at those of one run alone."""
    plan = connection.execute(f"EXPLAIN QUERY PLAN {METRICS_OF_ONE}").fetchall()
    return "(run_uuid=? AND key=?)" in str(plan)


@pytest.fixture
def store_of_many(empty_store, tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_bytes(empty_store.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step) VALUES (?, 0, ?, ?, ?)",
            [
                (key, step, f"run {run}", step)
                for key in "ab"
                for run in range(99)
                for step in (1, 2)
            ],
        )
    return path


def test_metrics_are_found_without_looking_at_those_of_all_runs(store_of_many):
    with closing(sqlite3.connect(store_of_many)) as connection:
        assert not metrics_are_found_by_run(connection)

    database.analyze(store_of_many)

    with closing(sqlite3.connect(store_of_many)) as connection:
        assert metrics_are_found_by_run(connection)


def test_where_somebody_is_writing_the_analysis_waits_for_the_next_time(store_of_many):
    with closing(sqlite3.connect(store_of_many)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        database.analyze(store_of_many)
        assert not metrics_are_found_by_run(writer)
        writer.rollback()
