import sqlite3

import psycopg
import pytest
import requests
from mlflow.exceptions import MlflowException, RestException
from psycopg import errors
from requests.exceptions import RetryError
from sqlalchemy.exc import IntegrityError, OperationalError

from pipeline.tracking import patience
from pipeline.tracking.patience import TakenBackError, is_conflict, is_outage, persistent


def by_mlflow(cause):
    """As MLflow raises it on."""
    error = MlflowException(str(cause))
    error.__cause__ = cause
    return error


def of_sqlite(code):
    cause = sqlite3.OperationalError("…")
    cause.sqlite_errorcode = code
    return OperationalError("INSERT …", {}, cause)


def of_server(text, code="BAD_REQUEST"):
    return RestException({"error_code": code, "message": text})


CONFLICTS = [
    of_sqlite(sqlite3.SQLITE_BUSY),
    of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT),
    OperationalError("…", {}, errors.SerializationFailure("…")),
    OperationalError("…", {}, errors.DeadlockDetected("…")),
    IntegrityError("…", {}, errors.UniqueViolation("…")),
    of_server("(sqlite3.OperationalError) database is locked"),
    of_server("(psycopg.errors.UniqueViolation) duplicate key value"),
    of_server("(sqlite3.IntegrityError) UNIQUE constraint failed"),
    of_server("Experiment 'a' already exists.", "RESOURCE_ALREADY_EXISTS"),
    # A folder that others removed while it was being made.
    FileExistsError("artifacts"),
]
OUTAGES = [
    requests.ConnectionError("refused"),
    requests.ReadTimeout("20 s"),
    # An answer that breaks off.
    requests.exceptions.ChunkedEncodingError("Connection broken: IncompleteRead"),
    RetryError("too many 503 error responses"),
    OperationalError("…", {}, psycopg.OperationalError("connection refused")),
    OperationalError("…", {}, errors.AdminShutdown("terminating connection")),
    OperationalError("…", {}, errors.CannotConnectNow("starting up")),
]
NEITHER = [
    of_sqlite(sqlite3.SQLITE_FULL),
    of_sqlite(sqlite3.SQLITE_CORRUPT),
    OperationalError("…", {}, errors.InsufficientPrivilege("…")),
    of_server("Invalid value", "INVALID_PARAMETER_VALUE"),
    FileNotFoundError("gone"),
]


@pytest.mark.parametrize("error", [*CONFLICTS, *map(by_mlflow, CONFLICTS[:5])])
def test_what_others_writing_causes_is_a_conflict(error):
    assert is_conflict(error)
    assert not is_outage(error)


@pytest.mark.parametrize("error", [*OUTAGES, *map(by_mlflow, OUTAGES)])
def test_what_a_restart_causes_is_an_outage(error):
    assert is_outage(error)
    assert not is_conflict(error)


@pytest.mark.parametrize("error", [*NEITHER, *map(by_mlflow, NEITHER)])
def test_what_waiting_does_not_mend_is_neither(error):
    assert not is_conflict(error)
    assert not is_outage(error)


@pytest.mark.parametrize("error", [CONFLICTS[0], OUTAGES[0], TakenBackError("deleted")])
def test_whoever_opens_and_finishes_tries_again(error, monkeypatch):
    monkeypatch.setattr(patience, "_RETRY_SECONDS", 0)
    attempts = [error, by_mlflow(error) if error.__class__ is not TakenBackError else error]

    @persistent
    def work():
        if attempts:
            raise attempts.pop()
        return "done"

    assert work() == "done"


def test_patience_ends(monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", -1)

    @persistent
    def work():
        raise requests.ConnectionError("refused")

    with pytest.raises(requests.ConnectionError):
        work()
