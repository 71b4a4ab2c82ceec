"""Where the checkout and its tracking store are."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import without_passwords
from pipeline.stores.postgresql import UnusableAddressError, with_driver

# By which MLflow is told to take folders all the same.
_TAKES_FOLDERS = "MLFLOW_ALLOW_FILE_STORE"
_RELATIVE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/|file:)(.+)")
_IN_MEMORY = re.compile(r"sqlite(\+\w+)?:/{0,3}(:memory:.*)?")


def project_root() -> Path:
    """Returns the folder of the checkout that owns the tracking store.

    `dvc exp run --temp` and queued experiments run in a folder that is deleted afterwards; there
    DVC sets `DVC_ROOT` to the main checkout.
    """
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def tracking_uri() -> str:
    """Returns `MLFLOW_TRACKING_URI`, or the database in the checkout that owns the store.

    A relative path to a database counts from that checkout.

    Raises:
        UnusableAddressError: if it is one of PostgreSQL that cannot be used (see `with_driver`), or
            MLflow would take it for a folder, though it is a server's or a database's, or keeps
            nothing of what is written to it.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if scheme := _forgotten_scheme(given):
        shown = without_passwords(f"{scheme}{given}")
        raise UnusableAddressError(
            f"MLFLOW_TRACKING_URI={shown.removeprefix(scheme)} has no scheme: write {shown}"
        )
    if _is_folder(given) and os.environ.get(_TAKES_FOLDERS, "").lower() != "true":
        raise UnusableAddressError(
            f"MLFLOW_TRACKING_URI={given} is a folder, which MLflow no longer writes to: name a "
            "database instead, as in sqlite:///mlflow.db"
        )
    if _IN_MEMORY.fullmatch(given):
        raise UnusableAddressError(
            f"MLFLOW_TRACKING_URI={given} is a database in memory, of which nothing would be left: "
            "name a file, as in sqlite:///mlflow.db"
        )
    if relative := _RELATIVE.fullmatch(given):
        # Quoted, because MLflow reads `%20` in a path as a space.
        return f"{relative[1]}{quote(str(project_root()))}/{relative[2]}"
    return with_driver(given)


def _is_folder(address: str) -> bool:
    """Returns whether MLflow would take an address for a folder."""
    scheme, has_scheme, _ = address.partition(":")
    return scheme == "file" if has_scheme else not address.startswith("databricks")


def _forgotten_scheme(address: str) -> str:
    """Returns what should be before an address like `localhost:5000` or `mlflow.db`, or ''."""
    if re.fullmatch(r"([^/\s]*@)?[\w.-]+:\d+(/.*)?", address):
        return "http://"
    return "sqlite:///" if re.fullmatch(r"[^:]+\.db", address) else ""


def database() -> Path | None:
    """Returns the SQLite file of the tracking store, whether or not it exists yet.

    None if the store is a server, another kind of database, or a file with options of its own.
    """
    uri = tracking_uri()
    if not uri.startswith("sqlite:"):
        return None
    from sqlalchemy.engine import make_url

    name = make_url(uri).database or ""
    return None if name.startswith("file:") else Path(name)
