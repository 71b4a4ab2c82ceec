"""Checks whether MLflow can open its store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import requests

from pipeline.errors import DataError, without_passwords
from pipeline.health.backups import opened
from pipeline.health.findings import Finding
from pipeline.provenance.places import database, tracking_uri

_PATIENCE_SECONDS = 5


def is_made() -> bool:
    """Returns whether the store exists. MLflow must not be asked: it would create the database.

    Raises:
        DataError: if its file is not a database.
    """
    path = database()
    return path is None or (path.is_file() and bool(_tables(path)))


def findings() -> Iterator[Finding]:
    """Yields why MLflow cannot open the store. Nothing inside it can be checked before that.

    Raises:
        PendingError: if its database is in use.
    """
    path = database()
    if tracking_uri().startswith("http"):
        yield from _server(tracking_uri())
    try:
        if path is not None and is_made():
            yield from _database(path)
    except DataError as error:
        remedy = "move it away, then --fix makes a new one from runs/"
        yield Finding(str(error), remedy)


def _server(uri: str) -> Iterator[Finding]:
    try:
        with requests.get(f"{uri.rstrip('/')}/health", timeout=_PATIENCE_SECONDS) as response:
            fault = f"answers HTTP {response.status_code}" if response.status_code >= 500 else ""
    except (requests.RequestException, ValueError):
        fault = "does not answer"
    if fault:
        what = f"the MLflow server {without_passwords(uri)} {fault}"
        remedy = "start it or correct MLFLOW_TRACKING_URI, then `track` adds the runs"
        yield Finding(what, remedy)


def _tables(path: Path) -> set[str]:
    with opened(path) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def _database(path: Path) -> Iterator[Finding]:
    """Yields why MLflow cannot work with a database, without changing the database."""
    with opened(path) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DataError(f"{path} is damaged: {' '.join(verdict.split())}")
    if "alembic_version" not in _tables(path):
        remedy = "move it away, or set MLFLOW_TRACKING_URI to MLflow's database"
        yield Finding(f"{path} is a database, but not one of MLflow's", remedy)
        return
    with opened(path) as connection:
        rows = connection.execute("SELECT * FROM alembic_version")
        current = {revision for (revision,) in rows}
    # These two take three seconds to import.
    import mlflow
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(Path(str(mlflow.__file__)).parent / "store" / "db_migrations"))
    if current == set(script.get_heads()):
        return
    revisions = ", ".join(sorted(current)) or "without a revision"
    if current <= {revision.revision for revision in script.walk_revisions()}:
        what = f"{path} has the schema of an older MLflow, {revisions}"
        yield Finding(what, f"back it up, then upgrade it: `mlflow db upgrade {tracking_uri()}`")
    else:
        what = f"{path} has the schema of a newer MLflow than is installed, {revisions}"
        yield Finding(what, "`make setup` installs the locked one")
