"""Checks whether MLflow can open its store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import requests

from pipeline.errors import DataError, PendingError, without_passwords
from pipeline.health.backups import opened, unused
from pipeline.health.findings import Finding
from pipeline.provenance.places import database, tracking_uri
from pipeline.stores.causes import advice

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
    remedy = "start it or correct MLFLOW_TRACKING_URI"
    try:
        with requests.get(f"{uri.rstrip('/')}/health", timeout=_PATIENCE_SECONDS) as response:
            fault = f"answers HTTP {response.status_code}" if response.status_code >= 500 else ""
    except (requests.RequestException, ValueError) as error:
        fault = "does not answer"
        if known := advice(error):
            fault, remedy = f"cannot be asked: {known}", "do so"
    if fault:
        what = f"the MLflow server {without_passwords(uri)} {fault}"
        yield Finding(what, f"{remedy}, then `python -m pipeline track` adds the runs")


def _tables(path: Path) -> set[str]:
    with opened(path) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def _database(path: Path) -> Iterator[Finding]:
    """Yields why MLflow cannot work with a database, without changing the database."""
    with opened(path) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DataError(f"{path} is damaged: {' '.join(verdict.split())}")
    # MLflow takes three seconds to import.
    from pipeline.tracking.database import is_half_made, revisions

    with opened(path) as connection:
        half_made = is_half_made(connection)
    if half_made:
        what = f"{path} is half made and holds no run: MLflow was stopped while making it"
        remedy = "--fix sets it aside, and `python -m pipeline track` makes a new one"
        yield Finding(what, remedy, lambda: _set_aside(path))
        return
    if "alembic_version" not in _tables(path):
        remedy = "move it away, or set MLFLOW_TRACKING_URI to MLflow's database"
        yield Finding(f"{path} is a database, but not one of MLflow's", remedy)
        return
    with opened(path) as connection:
        rows = connection.execute("SELECT * FROM alembic_version")
        current = {revision for (revision,) in rows}
    newest, known = revisions()
    if current == newest:
        return
    told = ", ".join(sorted(current)) or "without a revision"
    if current <= known:
        what = f"{path} has the schema of an older MLflow, {told}"
        yield Finding(what, f"back it up, then upgrade it: `mlflow db upgrade {tracking_uri()}`")
    else:
        what = f"{path} has the schema of a newer MLflow than is installed, {told}"
        yield Finding(what, "`make setup` installs the locked one")


def _set_aside(path: Path) -> Path:
    """Renames a database that is half made; returns its new path."""
    from pipeline.tracking.database import is_half_made
    from pipeline.tracking.store import store_lock

    with store_lock():
        with opened(path) as connection:
            half_made = is_half_made(connection)
        # MLflow itself may have been making it when it was looked at.
        if not half_made:
            raise PendingError(f"{path} has changed in the meantime")
        return path.rename(unused(path.with_name(f"{path.name}.half-made")))
