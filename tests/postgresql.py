"""PostgreSQL on this machine, and the kinds of stores that several clones may write to."""

import itertools
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults.servers import Postgresql, Server, postgresql_programs
from tests.forks import python


@pytest.fixture(scope="session")
def postgresql_server():
    """PostgreSQL itself, which a test may restart.

    Not where tests keep their files: each pytest that starts takes from all but its own user the
    right to look there, and PostgreSQL does not run as root.
    """
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if not all(postgresql_programs()):
        pytest.skip("PostgreSQL is not on this machine")
    with tempfile.TemporaryDirectory(prefix="bnlab-") as folder:
        server = Postgresql(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def postgres(postgresql_server):
    """The address of an empty database in PostgreSQL, which has a password."""
    return postgresql_server.address()


@pytest.fixture(scope="session")
def new_postgres_store(postgresql_server):
    """Makes databases with MLflow's schema and nothing in it; gives the address of each."""
    import psycopg  # noqa: PLC0415  It may be missing: then the test is skipped.

    numbers = itertools.count()

    def make(name, template):
        with psycopg.connect(postgresql_server.address(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return postgresql_server.address(name)

    # In a process that ends, for PostgreSQL copies no database that is in use.
    program = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1])"
    address = make("empty", "template0")
    subprocess.run([python.at_once(), "-c", program, address], check=True, capture_output=True)
    return lambda: make(f"store{next(numbers)}", "empty")


@pytest.fixture(params=["sqlite", "server on sqlite", "postgresql", "server on postgresql"])
def team_store(request, project, empty_store):
    """A store of each kind with nothing in it: its address, and what kills it and starts it."""
    folder = project / "store"
    folder.mkdir()
    if request.param.endswith("postgresql"):
        uri = request.getfixturevalue("new_postgres_store")()
        database = request.getfixturevalue("postgresql_server")
    else:
        shutil.copy(empty_store, folder / "mlflow.db")
        uri, database = f"sqlite:///{folder}/mlflow.db", None
    if not request.param.startswith("server"):
        kill, start = (database.stop, database.start) if database else (None, None)
        yield SimpleNamespace(address=uri, kill=kill, start=start)
        return
    server = Server(folder)
    server.start(MLFLOW_TRACKING_URI=uri)

    def start():
        server.start(MLFLOW_TRACKING_URI=uri)

    yield SimpleNamespace(address=server.uri(), kill=server.kill, start=start)
    server.kill()
