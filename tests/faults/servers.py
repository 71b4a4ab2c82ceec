"""Servers as they should be, and as they should not."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

CHECKOUT = Path(__file__).parents[2]


def wait_for(condition, seconds=90):
    """Waits until a condition holds, or fails."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """MLflow's own, which keeps its database and artifacts in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()

    def uri(self, login=""):
        return f"http://{login}127.0.0.1:{self.port}"

    def start(self, **variables):
        outside = ("MLFLOW_TRACKING_URI", "DVC_ROOT")
        environment = {key: value for key, value in os.environ.items() if key not in outside}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "ui", "--port", str(self.port)],
                cwd=self.folder, env=environment | {"PYTHONPATH": str(CHECKOUT)} | variables,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for(self.answers)

    def answers(self):
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        try:
            return requests.get(f"{self.uri()}/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    def kill(self):
        # The process that was started only waits for the one that answers.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def postgresql_programs():
    """The paths of `initdb` and `postgres`, each None where it is missing."""
    # Debian keeps its servers' programs off the path.
    places = [*map(str, Path("/usr/lib/postgresql").glob("*/bin")), os.environ["PATH"]]
    path = os.pathsep.join(places)
    return [shutil.which(name, path=path) for name in ("initdb", "postgres")]


class Postgresql:
    """PostgreSQL in a folder, with an empty database and a password that has to be quoted."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        initdb, self.program = postgresql_programs()
        self.user = {}
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            self.user = {"user": "postgres", "group": "postgres"}
            shutil.chown(folder, "postgres", "postgres")
        password = folder / "password"
        password.write_text("se:cr@et")
        password.chmod(0o644)
        subprocess.run(
            [initdb, "-D", folder / "data", "-U", "me", "--auth=scram-sha-256", "-E", "UTF8",
             "--no-sync", f"--pwfile={password}"],
            check=True, capture_output=True, cwd=folder, **self.user,
        )  # fmt: skip

    def address(self, database="postgres"):
        return f"postgresql://me:se%3Acr%40et@127.0.0.1:{self.port}/{database}"

    def start(self):
        place = ["-p", str(self.port), "-h", "127.0.0.1", "-k", self.folder]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, "-D", self.folder / "data", *place],
                stdout=log, stderr=log, cwd=self.folder, **self.user,
            )  # fmt: skip
        wait_for(self.answers)

    def answers(self):
        import psycopg  # noqa: PLC0415  It may be missing: then nobody starts a server.

        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(self.address(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self):
        # At SIGTERM it would wait until MLflow, in this process, has closed its connections.
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)


@contextmanager
def answering(status, content, kind="text/html"):
    """Runs a server that answers everything so, and yields its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_address[1]}"
        finally:
            http.shutdown()
            thread.join()
