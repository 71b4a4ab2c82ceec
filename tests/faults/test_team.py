"""A team

`make team-demo`, in which a node is lost while it trains, tracks into PostgreSQL and S3.
"""

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.faults.servers import wait_for

NEEDED = ("boto3", "moto", "psycopg", "ray")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.drill,
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}"),
    pytest.mark.skipif(
        not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        reason="PostgreSQL is not on this machine",
    ),
]


@pytest.fixture
def demo(make_clone):
    clone = make_clone()
    process = subprocess.Popen(
        [sys.executable, "examples/team/demo.py"],
        cwd=clone.folder, env=clone.environment | {"PYTHONPATH": "."},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    # All that it starts, as long as it is its child.
    yield process, psutil.Process(process.pid)
    process.kill()
    process.wait()


@pytest.mark.promise(
    "`make team-demo`: with PostgreSQL, S3, MLflow's server and two nodes, of which one is killed, "
    "the bytes of a training without all this; nothing that it started is left"
)
def test_the_demo_has_the_same_bytes(demo):
    process, watched = demo
    wait_for(lambda: len(watched.children()) >= 3)
    servers = watched.children(recursive=True)

    said, _ = process.communicate(timeout=550)

    assert process.returncode == 0, said
    steps = " ".join(line.split()[0] for line in said.splitlines())
    assert steps == "PostgreSQL S3 MLflow Ray Training Training Killed MLflow The All"
    assert "20 files in runs/, with and without: the same bytes" in said
    assert not [server for server in servers if server.is_running()]


@pytest.mark.promise("`make team-demo` stops all that it started on Ctrl-C, in a line")
def test_the_demo_is_stopped(demo):
    process, watched = demo
    wait_for(lambda: len(watched.children()) >= 3)
    servers = watched.children(recursive=True)
    process.send_signal(signal.SIGINT)

    said, _ = process.communicate(timeout=100)

    assert process.returncode == 130
    assert said.splitlines()[-1] == "All that was started is stopped."
    assert "Traceback" not in said
    assert not [server for server in servers if server.is_running()]
