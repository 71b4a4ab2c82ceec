"""Whether MLflow can open its store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from pipeline.errors import DataError, PipelineError, one_line, without_passwords
from pipeline.health.backups import copy, keep_copy, opened
from pipeline.health.findings import Finding
from pipeline.provenance.places import database, tracking_uri

_PATIENCE_SECONDS = 5


def is_made() -> bool:
    """Returns whether the store is there; a database that is not, MLflow would make when asked.

    Raises:
        DataError: if its file is no database.
    """
    path = database()
    return path is None or (path.is_file() and bool(_tables(path)))


def findings() -> Iterator[Finding]:
    """Yields why MLflow cannot open the store, which has to be mended before all that is in it.

    Raises:
        PendingError: if its database is in use.
    """
    path = database()
    if tracking_uri().startswith("http"):
        yield from _server(tracking_uri())
    try:
        if path is not None and is_made():
            _check_whole(path)
            yield from _schema(path)
    except DataError as error:
        remedy = "move it away, and --fix makes a new one of what is in runs/"
        yield Finding(str(error), remedy)


def _server(uri: str) -> Iterator[Finding]:
    try:
        with requests.get(f"{uri.rstrip('/')}/health", timeout=_PATIENCE_SECONDS) as response:
            fault = f"answers HTTP {response.status_code}" if response.status_code >= 500 else ""
    except (requests.RequestException, ValueError):
        fault = "does not answer"
    if fault:
        what = f"the MLflow server {without_passwords(uri)} {fault}"
        yield Finding(what, "start it, or correct MLFLOW_TRACKING_URI; then `track` adds the runs")


def _tables(path: Path) -> set[str]:
    with opened(path) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def _check_whole(path: Path) -> None:
    with opened(path) as connection:
        (told,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if told != "ok":
        raise DataError(f"{path} is damaged: {' '.join(told.split())}")


def _schema(path: Path) -> list[Finding]:
    if "alembic_version" not in _tables(path):
        remedy = "move it away, or let MLFLOW_TRACKING_URI name MLflow's"
        return [Finding(f"{path} is a database, but none of MLflow's", remedy)]
    with opened(path) as connection:
        found = {revision for (revision,) in connection.execute("SELECT * FROM alembic_version")}
    script = _migrations()
    if found == set(script.get_heads()):
        return []
    if found <= {revision.revision for revision in script.walk_revisions()}:
        what = f"{path} has the schema of an older MLflow, {_listed(found)}"
        remedy = "--fix upgrades it and keeps a copy"
        return [Finding(what, remedy, lambda: _upgrade(path))]
    what = f"{path} has the schema of a newer MLflow than is installed, {_listed(found)}"
    return [Finding(what, "`make setup` installs the locked one")]


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "of no revision"


def _migrations() -> Any:
    """Returns the installed MLflow's revisions; alembic and MLflow take three seconds to import."""
    from alembic.script import ScriptDirectory

    from pipeline.tracking import store

    folder = Path(str(store.mlflow.__file__)).parent / "store" / "db_migrations"
    return ScriptDirectory(str(folder))


def _upgrade(path: Path) -> None:
    """Upgrades in place, so that nobody goes on with a file that is gone; undoes it if it fails."""
    from alembic.util import CommandError
    from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine

    from pipeline.tracking.store import TRACKING_ERRORS

    kept = keep_copy(path, "upgrade")
    engine = create_sqlalchemy_engine(tracking_uri())
    try:
        _upgrade_db(engine)
    except (*TRACKING_ERRORS, CommandError) as error:
        engine.dispose()
        copy(kept, path)
        message = f"MLflow cannot upgrade {path}, which is as it was: {one_line(error)}"
        raise PipelineError(message) from None
    finally:
        engine.dispose()
