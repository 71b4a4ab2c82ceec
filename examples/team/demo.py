"""A team's servers on this machine alone: PostgreSQL, S3, MLflow's server, two nodes of Ray.

    python examples/team/demo.py

The digits are trained twice: by threads with nothing of this, and on the nodes, of which one is
killed in the middle. The bytes of both are compared. What was started is stopped, also on Ctrl-C.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

HOST = "127.0.0.1"
FOLDER = Path(".team-demo")
NEEDED = {"ray": "ray", "boto3": "boto3", "psycopg": "psycopg[binary]", "moto": "moto[server]"}
# So long that a node can be killed in the middle.
TRAINING = {"epochs": 200, "seeds": 4}
BUCKET, PASSWORD = "bnlab", "demo"
S3 = {
    "AWS_ACCESS_KEY_ID": "demo",
    "AWS_SECRET_ACCESS_KEY": PASSWORD,
    "AWS_DEFAULT_REGION": "us-east-1",
}
# That Ray stays on this address, and tells nobody.
RAY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def main() -> None:
    """Runs the demo; exits with 1 if the bytes differ, or something is missing."""
    _expect_installed()
    # Ray reads it when it is imported, MLflow and DVC when they run.
    os.environ |= S3 | RAY
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with ExitStack() as opened:
        opened.callback(print, "All that was started is stopped.", flush=True)
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="team-")))
        database = opened.enter_context(_postgresql(folder))
        say(f"PostgreSQL    {HOST}:{database.rpartition(':')[2].partition('/')[0]}")
        bucket = opened.enter_context(_s3(folder))
        say(f"S3            {bucket}")
        server = opened.enter_context(_mlflow(folder, database, bucket))
        say(f"MLflow        {server}")
        cluster = opened.enter_context(_ray(folder))
        say(f"Ray           {cluster.address}, two nodes with a processor each")
        same = _compare(cluster, server)
    sys.exit(0 if same else 1)


def say(text: str) -> None:
    """Prints a step."""
    print(text, flush=True)


def _expect_installed() -> None:
    lacking = [name for module, name in NEEDED.items() if not importlib.util.find_spec(module)]
    if lacking:
        sys.exit(f"error: not installed: pip install {' '.join(map(repr, lacking))}")
    if _program("initdb") is None:
        sys.exit("error: PostgreSQL is not installed: apt-get install postgresql")


def _compare(cluster: Cluster, server: str) -> bool:
    """Trains both ways, and returns whether the same bytes came out."""
    from pipeline.commands import demo

    alone, together = FOLDER / "alone", FOLDER / "together"
    for folder in (alone, together):
        demo.make(folder, TRAINING)
    say("Training      by threads, without all this")
    _repro(alone, {})
    say("Training      on the two nodes")
    with _once(lambda: len(_kept(together)) > 1, lambda: _kill_a_node(cluster)):
        _repro(together, {"RAY_ADDRESS": cluster.address, "MLFLOW_TRACKING_URI": server})
    say(f"MLflow has    {_finished(server)} finished runs")
    expected, came_out = (_bytes(folder / "runs") for folder in (alone, together))
    same = expected == came_out and len(expected) > 0
    answer = "the same bytes" if same else "OTHER BYTES"
    say(f"The answer    {len(expected)} files in runs/, with and without: {answer}")
    return same


def _repro(folder: Path, variables: Mapping[str, str]) -> None:
    outside = {"RAY_ADDRESS", "MLFLOW_TRACKING_URI", "DVC_ROOT"}
    clean = {name: value for name, value in os.environ.items() if name not in outside}
    clean["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), clean["PATH"]])
    command = [sys.executable, "-m", "dvc", "repro"]
    with _running(command, folder, clean | variables, "repro.log") as process:
        if process.wait() != 0:
            sys.exit(f"error: `dvc repro` failed: see {folder / 'repro.log'}")


def _kept(folder: Path) -> set[str]:
    """Returns the runs that have made an epoch."""
    return {path.parent.name for path in (folder / ".bnlab/checkpoints").glob("*/[0-9]*.npz")}


def _kill_a_node(cluster: Cluster) -> None:
    cluster.remove_node(max(cluster.worker_nodes, key=id), allow_graceful=False)
    say("Killed        one of the two nodes, in the middle of a run")


@contextmanager
def _once(condition: Callable[[], bool], action: Callable[[], None]) -> Iterator[None]:
    """Does something as soon as a condition holds while the block lasts."""
    ended, done = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            if condition():
                action()
                done.set()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if not done.is_set():
        sys.exit("error: it was over before a node could be killed")


def _finished(server: str) -> int:
    from mlflow import MlflowClient

    client = MlflowClient(server)
    (experiment,) = client.search_experiments(filter_string="name = 'digits-demo'")
    finished = "attributes.status = 'FINISHED' AND tags.kind = 'run'"
    return len(client.search_runs([experiment.experiment_id], finished))


def _bytes(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    """Yields the address of an empty database."""
    data, user = folder / "postgresql", {}
    data.mkdir()
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        user = {"user": "postgres", "group": "postgres"}
        folder.chmod(0o711)
        shutil.chown(data, **user)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    subprocess.run(
        [_program("initdb"), "-D", data, "-U", "demo", "--auth=scram-sha-256", "-E", "UTF8",
         "--no-sync", f"--pwfile={folder / 'password'}"],
        check=True, capture_output=True, cwd=data, **user,
    )  # fmt: skip
    port = _free_port()
    command = [_program("postgres"), "-D", data, "-p", str(port), "-h", HOST, "-k", data]
    # At SIGTERM it would wait for those that are connected.
    with _running(command, data, os.environ, "log", signal.SIGINT, **user) as process:
        _wait_for(port, process)
        yield f"postgresql+psycopg://demo:{PASSWORD}@{HOST}:{port}/postgres"


@contextmanager
def _s3(folder: Path) -> Iterator[str]:
    """Yields the address of an S3 endpoint that has the bucket."""
    import boto3

    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with _running(command, folder, os.environ, "s3.log") as process:
        _wait_for(port, process)
        address = f"http://{HOST}:{port}"
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket=BUCKET)
        yield address


@contextmanager
def _mlflow(folder: Path, database: str, bucket: str) -> Iterator[str]:
    """Yields the address of MLflow's server, whose files are in S3."""
    port = _free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port),
        "--workers", "1", "--serve-artifacts", "--artifacts-destination", f"s3://{BUCKET}",
    ]  # fmt: skip
    # Not as an argument: those of a process can be read by everybody on the machine.
    settings = {
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_S3_ENDPOINT_URL": bucket,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with _running(command, folder, os.environ | settings, "mlflow.log") as process:
        _wait_for(port, process)
        yield f"http://{HOST}:{port}"


@contextmanager
def _ray(folder: Path) -> Iterator[Cluster]:
    """Yields a cluster of a head that trains nothing and two nodes with a processor each."""
    from ray.cluster_utils import Cluster

    logging.getLogger("ray").setLevel(logging.ERROR)
    local, of_head = {"node_ip_address": HOST}, folder / "ray"
    # Ray notes the address of the last cluster there: not where the user's own may be noted, nor
    # where no folder is before Ray's first start.
    os.environ["RAY_TMPDIR"] = str(folder)
    of_head.mkdir()
    head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": str(of_head), **local}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for name in ("one", "two"):
            # A folder of its own, as on a machine of its own.
            cluster.add_node(num_cpus=1, temp_dir=str(folder / name), **local)
        yield cluster
    finally:
        cluster.shutdown()


@contextmanager
def _running(
    command: Sequence[object],
    folder: Path,
    environment: Mapping[str, str],
    log: str,
    end: int = signal.SIGTERM,
    **user: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program while the block lasts, in a group of its own, which Ctrl-C does not reach."""
    with (folder / log).open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=folder, env=dict(environment), stdout=output, stderr=output,
            start_new_session=True, **user,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(end)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        # Also those that it has started, such as the stage of DVC.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with suppress(OSError):
            socket.create_connection((HOST, port), 1).close()
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"error: {process.args[0]} does not answer on port {port}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return free.getsockname()[1]


def _program(name: str) -> str | None:
    # Debian keeps PostgreSQL's servers off the path.
    places = [*map(str, Path("/usr/lib/postgresql").glob("*/bin")), os.environ["PATH"]]
    return shutil.which(name, path=os.pathsep.join(places))


if __name__ == "__main__":
    main()
