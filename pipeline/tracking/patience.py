"""What to do when others write to the same store, or its server restarts: wait, and try again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import requests
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from pipeline.stores.causes import causes

# How long to wait for a store that others keep busy: longer than any of them should take.
PATIENCE_SECONDS = 60
_RETRY_SECONDS = 0.2
# SQLite's codes for a database that another connection keeps locked.
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# PostgreSQL's codes: serialization failure, deadlock, lock not available.
_REFUSED = {"40001", "40P01", "55P03"}
# PostgreSQL's classes of codes: connection lost, server shutting down or starting.
_RESTARTS = ("08", "57P")
# A server hands on what its database said, as text: SQLite, and psycopg's names of errors.
_TOLD = (
    "database is locked", "IntegrityError)", "UniqueViolation)", "SerializationFailure)",
    "DeadlockDetected)",
)  # fmt: skip
# A `RetryError` is what remains of a server that answers 500 to 504, a `ChunkedEncodingError` of
# one that ends in the middle of its answer.
_NO_ANSWER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.RetryError,
)
_P = ParamSpec("_P")
_T = TypeVar("_T")


class TakenBackError(Exception):
    """Another writer had the same thing recorded before, and this one was deleted."""


def is_conflict(error: BaseException) -> bool:
    """Returns whether a call failed only because others wrote at the same time."""
    if isinstance(error, MlflowException):
        # Who is told that something exists had looked for it before.
        exists = error.error_code == "RESOURCE_ALREADY_EXISTS"
        if exists or any(told in str(error) for told in _TOLD):
            return True
    return any(_is_refused(cause) for cause in causes(error))


def is_outage(error: BaseException) -> bool:
    """Returns whether the store did not answer, as while its server restarts."""
    return any(_is_gone(cause) for cause in causes(error))


def is_taken_back(error: BaseException) -> bool:
    """Returns whether what was being written has been deleted meanwhile."""
    if isinstance(error, TakenBackError):
        return True
    if not isinstance(error, MlflowException):
        return False
    # MLflow has no code of its own for a run that is deleted.
    of_run = str(error).partition("The run ")[2]
    return (
        error.error_code == "RESOURCE_DOES_NOT_EXIST" or "must be in the 'active' state" in of_run
    )


def patient(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """Repeats a call that failed because others wrote, for up to `PATIENCE_SECONDS`.

    With MLflow, SQLite waits up to 20 s; up to 5 s while a database is being opened; and not at all
    where two writers would wait for each other. The call must be safe to repeat: it may only add
    what is missing.
    """
    return _repeated(call, is_conflict)


def persistent(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """Repeats a call as `patient` does, and also if the store is away or something was taken back.

    For a call that opens its run and finishes it, with a store that has answered before.
    """
    return _repeated(
        call, lambda error: is_conflict(error) or is_outage(error) or is_taken_back(error)
    )


def _repeated(
    call: Callable[_P, _T], is_worth_it: Callable[[BaseException], bool]
) -> Callable[_P, _T]:
    @wraps(call)
    def repeat(*arguments: _P.args, **keywords: _P.kwargs) -> _T:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call(*arguments, **keywords)
            except (MlflowException, SQLAlchemyError, OSError, TakenBackError) as error:
                if not is_worth_it(error) or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_SECONDS)

    return repeat


def _is_refused(error: BaseException) -> bool:
    """Returns whether a database refused a change because of somebody else's."""
    # MLflow fails to make a folder of artifacts that another writer is removing.
    if isinstance(error, IntegrityError | FileExistsError):
        return True
    if not isinstance(error, OperationalError):
        return False
    return _code(error) in _REFUSED or getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _BUSY


def _is_gone(error: BaseException) -> bool:
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code >= 500
    if isinstance(error, DBAPIError):
        lost = error.connection_invalidated or _code(error).startswith(_RESTARTS)
        # Of a connection that cannot be made, psycopg knows no code.
        return lost or (
            isinstance(error, OperationalError) and _is_psycopg(error) and not _code(error)
        )
    return isinstance(error, _NO_ANSWER)


def _is_psycopg(error: DBAPIError) -> bool:
    return type(error.orig).__module__.startswith("psycopg")


def _code(error: DBAPIError) -> str:
    """Returns PostgreSQL's code of an error; psycopg 2 has it under another name."""
    of_psycopg = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return of_psycopg or ""
