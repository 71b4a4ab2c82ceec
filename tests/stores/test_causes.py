"""What a line says of a store that failed: raised by requests itself, on this machine."""

import socket

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.stores.causes import in_a_line
from tests.faults.mirror import answer


@pytest.fixture
def once(monkeypatch):
    """MLflow's clients ask once; no proxy is set but by the test."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def failure(address):
    with pytest.raises(MlflowException) as failed:
        MlflowClient(address).search_experiments()
    return in_a_line(failed.value)


@pytest.mark.usefixtures("once")
def test_a_proxy_that_fails_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")

    # An address of nobody (RFC 5737), which is never asked.
    assert "name the server in NO_PROXY" in failure("http://192.0.2.1:5000")


@pytest.mark.usefixtures("once")
def test_a_server_without_encryption_is_told_with_the_scheme(serve):
    mirror = serve(answer(b""))

    told = failure(mirror.url.replace("http://", "https://"))

    assert told == "the server speaks no https: write http:// in its address"


def test_an_address_of_no_store_is_told_with_what_could_be_one():
    with pytest.raises(MlflowException) as failed:
        MlflowClient("foo://tracking:5000")

    told = in_a_line(failed.value)

    assert told.startswith("it has no store at such an address: ")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "API request to endpoint /x failed with error code 404 != 200. Response body: '<p>'",
            "there is no MLflow server at the path in MLFLOW_TRACKING_URI: correct it",
        ),
        (
            "API request to endpoint /x failed with error code 502 != 200. Response body: '<p>'",
            "API request to endpoint /x failed with error code 502 != 200",
        ),
        (
            "API request to endpoint /x failed with error code 401 != 200. Response body: '<p>'",
            (
                "the server refuses the login: set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            ),
        ),
        ("database\nis locked", "database is locked"),
        (
            "(sqlite3.DatabaseError) malformed\n[SQL: SELECT 1]\n(Background on this error at: x)",
            "(sqlite3.DatabaseError) malformed",
        ),
    ],
)
def test_bodies_of_answers_are_left_out(message, told):
    assert in_a_line(MlflowException(message)) == told


@pytest.mark.usefixtures("once")
def test_a_server_that_is_down_is_told_without_what_libraries_add():
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]

    assert failure(f"http://127.0.0.1:{port}") == (
        "no server listens there (Connection refused): start it, or correct its address"
    )


def test_what_a_server_does_not_answer_is_as_requests_has_it():
    told = in_a_line(requests.ConnectionError("Connection refused"))
    assert told == "Connection refused"
