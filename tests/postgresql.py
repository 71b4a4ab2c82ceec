"""PostgreSQL on this machine, for as long as the tests last."""

import itertools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from shutil import which

import pytest

from tests.faults.servers import Server
from tests.forks import python


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """PostgreSQL with an empty database; gives its address, which has a password."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    # Debian keeps its servers' programs off the path.
    path = os.pathsep.join(
        [*map(str, Path("/usr/lib/postgresql").glob("*/bin")), os.environ["PATH"]]
    )
    initdb, server = which("initdb", path=path), which("postgres", path=path)
    if not (initdb and server):
        pytest.skip("PostgreSQL is not on this machine")
    folder = Path(tmp_path_factory.mktemp("postgres"))
    user = {}
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        user = {"user": "postgres", "group": "postgres"}
        for path in (folder, *list(folder.parents)[: len(folder.parents) - 2]):
            path.chmod(path.stat().st_mode | 0o011)
        shutil.chown(folder, "postgres", "postgres")
    (folder / "password").write_text("se:cr@et")
    (folder / "password").chmod(0o644)
    subprocess.run(
        [initdb, "-D", folder / "data", "-U", "me", "--auth=scram-sha-256", "-E", "UTF8",
         "--no-sync", f"--pwfile={folder / 'password'}"],
        check=True, capture_output=True, cwd=folder, **user,
    )  # fmt: skip
    one = Server(folder)
    running = subprocess.Popen(
        [server, "-D", folder / "data", "-p", str(one.port), "-h", "127.0.0.1", "-k", folder],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **user,
    )  # fmt: skip
    for _ in range(300):
        if (folder / f".s.PGSQL.{one.port}").exists():
            break
        time.sleep(0.1)
    yield f"postgresql://me:se%3Acr%40et@127.0.0.1:{one.port}/postgres"
    # At SIGTERM it would wait until MLflow, in this process, has closed its connections.
    running.send_signal(signal.SIGINT)
    running.wait(timeout=30)


@pytest.fixture(scope="session")
def new_postgres_store(postgres):
    """Makes databases with MLflow's schema and nothing in it; gives the address of each."""
    import psycopg  # noqa: PLC0415  It may be missing: then `postgres` skips the test.

    numbers = itertools.count()

    def make(name, template):
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return postgres.replace("/postgres", f"/{name}")

    # In a process that ends, for PostgreSQL copies no database that is in use.
    program = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1])"
    address = make("empty", "template0")
    subprocess.run([python.at_once(), "-c", program, address], check=True, capture_output=True)
    return lambda: make(f"store{next(numbers)}", "empty")
