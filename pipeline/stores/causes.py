"""Why a store failed: MLflow wraps what its libraries raise, and says more than fits in a line."""

from __future__ import annotations

from collections.abc import Iterator

import requests

from pipeline.errors import one_line


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def advice(error: BaseException) -> str:
    """Returns why a server could not be asked and what to do, where that is known; else ''."""
    for cause in causes(error):
        if isinstance(cause, requests.exceptions.ProxyError):
            return "the proxy that is set in the environment fails: name the server in NO_PROXY"
        if isinstance(cause, requests.exceptions.SSLError) and "WRONG_VERSION" in str(cause):
            return "the server speaks no https: write http:// in its address"
    return ""


def in_a_line(error: BaseException) -> str:
    """Returns what failed, and what to do where that is known; else what MLflow says."""
    if "got unsupported URI" in str(error):
        return (
            "it has no store at such an address: name a server or a database in "
            "MLFLOW_TRACKING_URI, as in http://localhost:5000 or sqlite:///mlflow.db"
        )
    told, has_body, _ = str(error).partition(". Response body: ")
    if has_body and "error code 404" in told:
        return "there is no MLflow server at the path in MLFLOW_TRACKING_URI: correct it"
    if "error code 401" in told or "error code 403" in told:
        return (
            "the server refuses the login: set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    if known := advice(error):
        return known
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes(error)):
        return "no server listens there (Connection refused): start it, or correct its address"
    # What SQLAlchemy adds are the statement and a link.
    return one_line(told.partition("\n[SQL: ")[0])
