"""The SQLite file of MLflow's store: made whole or not at all, and judged before it is opened."""

from __future__ import annotations

import glob
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import mlflow
from alembic.script import ScriptDirectory
from mlflow.tracking import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipeline.errors import PendingError

# What MLflow makes before the first migration.
_FIRST_TABLES = {"experiments", "runs", "tags", "metrics", "params"}
# These two get rows from the migrations.
_FILLED_BY_MIGRATIONS = {"alembic_version", "workspaces"}
# How many rows of an index are looked at, as SQLite's manual advises: milliseconds for any store.
_ANALYSIS_LIMIT = 400


class HalfMadeError(PendingError):
    """MLflow was stopped while it made the database, and may be unable to go on with it."""

    def __init__(self, path: Path) -> None:
        """Says which file it is, and what to do."""
        super().__init__(
            f"{path} is half made, because MLflow was stopped while making it: "
            "`python -m pipeline doctor --fix` sets it aside"
        )


def is_there(path: Path) -> bool:
    """Returns whether there is a database. An empty file is none: MLflow would fill it in place."""
    return path.exists() and (path.stat().st_size > 0 or not path.is_file())


def make(path: Path) -> None:
    """Makes MLflow's database, which appears whole or not at all.

    MLflow takes hundreds of statements, each with a commit of its own, and cannot go on where it
    was stopped between them. The caller holds the store's lock. A database that another program
    makes meanwhile is not replaced.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # `tempfile` adds eight characters.
    for abandoned in path.parent.glob(f".{glob.escape(path.name)}.????????.tmp"):
        shutil.rmtree(abandoned)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp") as folder:
        temporary = Path(folder) / path.name
        _make_in_place(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if not is_there(path):
            # Left by a database that is gone. SQLite would apply them to the new one.
            for ending in ("-journal", "-wal"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
        try:
            os.link(temporary, path)
        except OSError:
            # There is a file already, which may be empty, or the file system has no links.
            if not is_there(path):
                temporary.replace(path)


def check(path: Path) -> None:
    """Does nothing, unless MLflow was stopped while it made the database.

    To be called before MLflow opens it, because MLflow keeps connections even to a file that has
    been moved away.

    Raises:
        HalfMadeError: if it was.
    """
    uri = f"{path.resolve().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
            half_made = is_half_made(connection)
    except sqlite3.Error:
        # In use, or no database. MLflow waits for the one, and tells the other.
        return
    if half_made:
        raise HalfMadeError(path)


def analyze(path: Path) -> None:
    """Lets SQLite note how its indexes are filled, unless somebody else is writing.

    MLflow never does. Without it, SQLite looks for a metric of one run in those of all runs.
    """
    uri = f"{path.resolve().as_uri()}?mode=rw"
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection,
        connection,
    ):
        connection.execute(f"PRAGMA analysis_limit = {_ANALYSIS_LIMIT}")
        connection.execute("ANALYZE")


def is_half_made(connection: sqlite3.Connection) -> bool:
    """Returns whether MLflow was stopped while it made the database, which then holds nothing.

    MLflow adds its first experiment last. So a database of an older MLflow has one, and one that
    has none was never complete.
    """
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = {name for (name,) in names if not name.startswith("sqlite_")}
    # The experiments come first, because nearly every database has one.
    for table in sorted(tables - _FILLED_BY_MIGRATIONS, key=lambda name: name != "experiments"):
        if connection.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone():
            return False
    current = set()
    if "alembic_version" in tables:
        current = {name for (name,) in connection.execute("SELECT * FROM alembic_version")}
    if not current:
        made = {table.removeprefix("_alembic_tmp_") for table in tables}
        return bool(tables) and made <= _FIRST_TABLES | {"alembic_version"}
    newest, known = revisions()
    return current != newest and current <= known


def revisions() -> tuple[set[str], set[str]]:
    """Returns the newest revision of MLflow's schema, and all that there were."""
    migrations = Path(str(mlflow.__file__)).parent / "store" / "db_migrations"
    script = ScriptDirectory(str(migrations))
    return set(script.get_heads()), {revision.revision for revision in script.walk_revisions()}


def _make_in_place(path: Path) -> None:
    """Makes MLflow's database, and closes it.

    Waiting for the disk after each statement would take a second and protect nothing.
    """
    opened: list[sqlite3.Connection] = []

    def do_not_sync(connection: sqlite3.Connection, _: object) -> None:
        # Another thread may open another database at the same time.
        if connection.execute("PRAGMA database_list").fetchone()[2] == str(path):
            connection.execute("PRAGMA synchronous = OFF")
            opened.append(connection)

    event.listen(Engine, "connect", do_not_sync)
    try:
        MlflowClient(f"sqlite:///{quote(str(path))}")
    finally:
        event.remove(Engine, "connect", do_not_sync)
        # MLflow keeps them, but the file is about to be moved.
        for connection in opened:
            connection.close()
        # It makes the folder once more, under its quoted name.
        if (quoted := Path(quote(str(path.parent)))) != path.parent and quoted.is_dir():
            quoted.rmdir()
