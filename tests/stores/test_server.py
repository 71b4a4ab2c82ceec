"""Servers of MLflow that are old, large, or misbehave, and others."""

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline.errors import DataError, UnavailableError
from pipeline.stores import server
from pipeline.stores.read import read_store
from tests.faults.servers import answering

API = "/api/2.0/mlflow/"
BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)


@contextmanager
def stub(**answers):
    """Runs a server that answers what a function of its endpoint's name does, else with 404.

    Yields its address and what it was asked: the last part of a path, and the arguments.
    """
    asked = []

    class Stub(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(parse_qs(urlsplit(self.path).query))

        def do_POST(self):
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def answer(self, arguments):
            name = "_".join(urlsplit(self.path).path.split("/")[-2:]).replace("-", "_")
            asked.append((name, arguments))
            known = name in answers
            content = json.dumps(answers[name](arguments) if known else {}).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()
        thread.join()


def experiments(_):
    return {"experiments": [{"experiment_id": "1", "name": "one", "lifecycle_stage": "active"}]}


def runs_in_pages(number, size):
    """Answers with so many runs, a page after the other; their loss is their number."""

    def search(arguments):
        first = int(arguments.get("page_token", 0))
        found = [
            {
                "info": {"run_uuid": f"{n:032}", "experiment_id": "1", "status": "FINISHED",
                         "start_time": str(n), "lifecycle_stage": "active"},
                "data": {"metrics": [{"key": "loss", "value": n, "timestamp": 0, "step": 3}]},
            }
            for n in range(first, min(first + size, number))
        ]  # fmt: skip
        last = first + size >= number
        return {"runs": found} | ({} if last else {"next_page_token": str(first + size)})

    return search


def history(arguments):
    return {
        "metrics": [
            {"key": "loss", "run_id": run, "value": "NaN", "timestamp": "5", "step": step}
            for run in arguments["run_id"]
            for step in range(2)
        ]
    }


def test_pages_of_runs_and_no_request_a_run():
    number = 2345
    answers = {
        "experiments_search": experiments,
        "runs_search": runs_in_pages(number, 1000),
        "metrics_get_history_bulk": history,
    }
    with stub(**answers) as (address, asked):
        stored = read_store(address)
        assert stored.metrics["loss"].tolist() == list(range(number))
        assert [name for name, _ in asked] == ["experiments_search", *["runs_search"] * 3]
        points = stored.history("loss")
        assert len(points) == 2 * number
        assert points["value"].isna().all()
        # A hundred runs in a request.
        assert len(asked) == 4 + 24


def test_a_server_of_mlflow_1_without_search_and_bulk():
    answers = {
        "experiments_list": experiments,
        "runs_search": runs_in_pages(3, 10),
        "metrics_get_history": history,
    }
    with stub(**answers) as (address, _):
        stored = read_store(address)
        assert list(stored.runs["started"]) == [0, 1, 2]
        assert stored.history("loss")["step"].tolist() == [0, 1] * 3


def test_a_history_longer_than_the_server_gives_at_once_is_asked_run_by_run(monkeypatch):
    monkeypatch.setattr(server, "_BULK_POINTS", 6)
    answers = {
        "experiments_search": experiments,
        "runs_search": runs_in_pages(4, 10),
        "metrics_get_history_bulk": lambda asked: {"metrics": history(asked)["metrics"][:6]},
        "metrics_get_history": history,
    }
    with stub(**answers) as (address, _):
        assert len(read_store(address).history("loss")) == 8


def test_the_address_of_a_page_is_that_of_its_server():
    answers = {"experiments_search": experiments, "runs_search": runs_in_pages(1, 1)}
    with stub(**answers) as (address, _):
        assert len(read_store(f"{address}/#/experiments/1").runs) == 1


@pytest.mark.parametrize(
    ("status", "content", "error", "told"),
    [
        (200, b"<!DOCTYPE html><title>Hello</title>", DataError, "is no server of MLflow"),
        (404, b"not here", DataError, "is no server of MLflow"),
        (200, b'["else"]', DataError, "is no server of MLflow"),
        (200, b"{}", DataError, "has no experiments"),
        (401, b"You are not authenticated", UnavailableError, "MLFLOW_TRACKING_USERNAME"),
        (403, b"", UnavailableError, "MLFLOW_TRACKING_USERNAME"),
        (500, b'{"message": "disk full\\nline two"}', UnavailableError, "status 500: disk full"),
    ],
)
def test_what_is_no_good_server_is_told_in_a_line(status, content, error, told):
    with answering(status, content) as address:
        where = address.replace("http://", "http://me:secret@")
        with pytest.raises(error, match=told) as refused:
            read_store(where)
    assert str(refused.value).startswith("http://127.0.0.1")
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnavailableError, match=f"127.0.0.1:{port} does not answer") as refused:
        read_store(f"http://me:secret@127.0.0.1:{port}")
    assert "secret" not in str(refused.value)


def test_a_server_that_does_not_answer_is_left_after_its_time(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(UnavailableError, match="does not answer"):
            read_store(f"http://127.0.0.1:{mute.getsockname()[1]}")
