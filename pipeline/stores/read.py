"""Reads the runs of a store, whatever kind it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from pipeline.errors import ArgumentError, DataError, MissingInputError, without_passwords
from pipeline.stores.experiments import chosen
from pipeline.stores.postgresql import with_driver
from pipeline.stores.rows import Store, stored_runs
from pipeline.stores.stored_runs import StoredRuns

_ALLOWED = (
    "a folder (mlruns), an SQLite database (mlflow.db, sqlite:///mlflow.db), "
    "postgresql://… or http(s)://…"
)
# Two letters at least: a drive of Windows has one.
_SCHEME = re.compile(r"([A-Za-z][\w+.-]+):")


def read_store(
    address: str, *, experiments: Sequence[str] = (), where: str | None = None
) -> StoredRuns:
    """Returns the runs of an MLflow store, deleted ones too; changes nothing there.

    Args:
        address: a folder or SQLite database, as a path, `file:` or `sqlite:///`; `postgresql://…`;
            or a server's `http(s)://…`.
        experiments: names or ids of the experiments to read; all, if there are none.
        where: a filter in MLflow's language; see its `search_runs`.

    Raises:
        ArgumentError: if the address is of no such kind, no or several experiments have a name,
            or MLflow does not understand the filter.
        MissingInputError: if there is nothing at a path.
        DataError: if it is no store of MLflow, is damaged as a whole, or has no such run.
        UnavailableError: if a server or database does not answer, or wants a password.
        PendingError: if others write to an SQLite database all the time.
    """
    store = _store(address)
    shown = without_passwords(address)
    there = store.experiments()
    if not there:
        raise DataError(f"{shown} has no experiments")
    asked = chosen(there, experiments)
    rows = store.rows(asked, where)
    if rows.runs.empty:
        if rows.damaged and where is None:
            raise DataError(f"{rows.damaged[0]} cannot be read, nor is there any other run")
        which = "no runs" if where is None else f"no runs that match {where!r}"
        raise DataError(f"{shown} has {which}" + (" in these experiments" if experiments else ""))
    return stored_runs(rows, asked, store.history)


def tracking_uri(address: str) -> str:
    """Returns the address of a store that could be read, as MLflow takes it."""
    scheme = _scheme(address)
    if scheme in {"http", "https"}:
        # Of a page of MLflow's, the server alone.
        return address.partition("#")[0].rstrip("/")
    if scheme.startswith("postgres"):
        return with_driver(address)
    path = _path(address, scheme).resolve()
    # MLflow reads `%20` in a path as a space.
    return path.as_uri() if path.is_dir() else f"sqlite:///{quote(str(path))}"


def _store(address: str) -> Store:
    """Returns the store at an address; each kind imports only what it needs."""
    scheme = _scheme(address)
    if (kind := scheme.partition("+")[0]) in {"http", "https"}:
        from pipeline.stores.server import Server

        return Server(tracking_uri(address))
    if kind in {"postgresql", "postgres"}:
        return _postgresql(address)
    if "://" in address and kind not in {"sqlite", "file"}:
        raise ArgumentError(f"{without_passwords(address)} is no store; a store is {_ALLOWED}")
    return _file(_path(address, scheme))


def _scheme(address: str) -> str:
    return match[1].lower() if (match := _SCHEME.match(address)) else ""


def _path(address: str, scheme: str) -> Path:
    if scheme.startswith("sqlite"):
        return _sqlite_path(address)
    return Path(url2pathname(urlsplit(address).path)) if scheme == "file" else Path(address)


def _postgresql(address: str) -> Store:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError as AddressError

    from pipeline.stores.database import postgresql

    try:
        url = make_url(with_driver(address))
    except (AddressError, ValueError):
        raise ArgumentError(
            "the address is none of PostgreSQL: postgresql://user:password@host:5432/database"
        ) from None
    return postgresql(url)


def _sqlite_path(address: str) -> Path:
    path = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", address)
    if path is None:
        raise ArgumentError(
            f"{address} names no file: sqlite:///mlflow.db, or sqlite:////home/me/mlflow.db "
            "from the root"
        )
    return Path(unquote(path[1]))


def _file(path: Path) -> Store:
    if path.is_dir():
        from pipeline.stores.folder import Folder

        return Folder(path)
    if not path.exists():
        raise MissingInputError(f"there is no {path}; a store is {_ALLOWED}")
    from pipeline.stores.database import sqlite

    return sqlite(path)
