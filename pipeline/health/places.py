"""Where MLflow's database says the artifacts are: absolute paths, which break after a move."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.health.backups import keep_copy, opened
from pipeline.health.findings import Finding, Note
from pipeline.provenance.places import project_root

ARTIFACTS = "mlartifacts"
# Every column of MLflow 3.17 that may hold an absolute path. Those in `tags` and such are relative.
_PLACES = (
    ("experiments", "artifact_location", "TRUE"),
    ("runs", "artifact_uri", "TRUE"),
    ("logged_models", "artifact_location", "TRUE"),
    ("model_versions", "source", "TRUE"),
    ("model_versions", "storage_location", "TRUE"),
    ("trace_tags", "value", "key = 'mlflow.artifactLocation'"),
    ("workspaces", "default_artifact_root", "TRUE"),
)


def findings(database: Path) -> Iterator[Finding | Note]:
    """Yields each place where MLflow looks for artifacts that are here now."""
    here = project_root()
    for former in _former_roots(database, here):
        old, new = former / ARTIFACTS, here / ARTIFACTS
        if old.exists():
            yield Note(
                f"MLflow keeps artifacts in {old}: this seems to be a copy of that checkout, and "
                f"its own {new} is not used"
            )
        else:
            yield Finding(
                f"MLflow looks for artifacts in {old}, which is gone; they are in {new}",
                "`python -m pipeline doctor --relocate` corrects its database and keeps a backup",
                lambda former=former: _relocate(database, former, here),
                "--relocate",
            )


def local_path(location: str) -> Path | None:
    """Returns the local path that an absolute path or file URI names; None if it is not local."""
    if location.startswith("/"):
        return Path(location)
    if not location.startswith("file:"):
        return None
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.netloc in {"", "localhost"} else None


def _former_roots(database: Path, here: Path) -> list[Path]:
    with opened(database) as connection:
        paths = [local_path(location) for *_, location in _locations(connection)]
    return sorted({root for path in paths if path and (root := _former_root(path, here))})


def _former_root(path: Path, here: Path) -> Path | None:
    """Returns the checkout that `path` belonged to, if the same file is now below `here`."""
    if ARTIFACTS not in path.parts or path.is_relative_to(here):
        return None
    root = next(parent for parent in path.parents if (parent / ARTIFACTS) in (path, *path.parents))
    below = path.relative_to(root)
    # The folder `mlartifacts` alone proves nothing: every checkout has one.
    return root if len(below.parts) > 1 and (here / below).exists() else None


def _locations(connection: sqlite3.Connection) -> list[tuple[str, str, str, str]]:
    """Returns table, column, condition and location; each location once per column."""
    return [
        (table, column, condition, location)
        for table, column, condition in _PLACES
        for (location,) in connection.execute(
            f"SELECT DISTINCT {column} FROM {table} WHERE {column} NOTNULL AND {condition}"
        )
    ]


def _relocate(database: Path, old: Path, new: Path) -> None:
    """Rewrites all locations below `old` in one transaction, whether the files exist or not."""
    keep_copy(database, "relocation")
    with opened(database) as connection:
        for table, column, condition, location in _locations(connection):
            connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE {column} = ? AND {condition}",
                (_moved(location, old, new), location),
            )


def _moved(location: str, old: Path, new: Path) -> str:
    """Returns the location below `new`, in its original form: a path or a URI."""
    path = local_path(location)
    if path is None or not path.is_relative_to(old):
        return location
    moved = new / path.relative_to(old)
    return str(moved) if location.startswith("/") else moved.as_uri()
