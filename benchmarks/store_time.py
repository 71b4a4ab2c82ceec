"""Measures how much longer commands take when MLflow's store has very many runs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mlflow import MlflowClient

from benchmarks.grown_store import grow
from benchmarks.pipeline_time import Clone, fresh_clone
from benchmarks.results import spread
from pipeline.stores.postgresql import with_driver
from tests.faults.servers import Postgresql, postgresql_programs

SMALL, LARGE = 100, 10_000
_EXPERIMENT = "digits-demo"
COMMANDS = {
    "track": ["track"],
    "track, all being there": ["track"],
    "compare": ["compare", "batch_norm-seed-00", "no_norm-seed-00"],
    "reproduce": ["reproduce", "batch_norm-seed-00"],
    "doctor": ["doctor"],
}


def run(*, quick: bool) -> dict[str, Any]:
    """Returns the seconds of each command with a small and a large store of each kind.

    The runs are those of `demo`. The two stores take turns.
    """
    with fresh_clone() as clone:
        clone.run(sys.executable, "-m", "pipeline", "demo")
        project = Clone(clone.folder / ".demo")
        return {
            kind: _measured(project, addresses, rounds=1 if quick else 3)
            for kind, addresses in _stores(project, LARGE // 10 if quick else LARGE)
        }


def _stores(project: Clone, large: int) -> Iterator[tuple[str, list[str]]]:
    """Yields each kind of store, and the addresses of the small and of the large one."""
    track = [sys.executable, "-m", "pipeline", "track"]
    files = []
    for runs in (SMALL, large):
        path = project.folder / f"{runs}.db"
        shutil.copy(project.folder / "mlflow.db", path)
        files.append(f"sqlite:///{path}")
        grow(files[-1], runs)
    yield "SQLite", files
    if not all(postgresql_programs()):
        return
    with _postgresql() as server:
        # Two in one database would share its cache, but not its tables.
        addresses = [server.address("template1"), server.address()]
        for address, runs in zip(addresses, (SMALL, large), strict=True):
            project.run(*track, MLFLOW_TRACKING_URI=address)
            grow(address, runs)
        yield "PostgreSQL", addresses


@contextmanager
def _postgresql() -> Iterator[Postgresql]:
    with TemporaryDirectory() as folder:
        server = Postgresql(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _measured(project: Clone, addresses: list[str], rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[list[float]]] = {name: [] for name in COMMANDS}
    for number in range(rounds):
        for address in addresses:
            _forget(address)
        for name, command in COMMANDS.items():
            print(f"{name}, {number + 1} of {rounds} …", file=sys.stderr)
            seconds[name].append(
                [
                    project.run(
                        sys.executable, "-m", "pipeline", *command, MLFLOW_TRACKING_URI=address
                    ).seconds
                    for address in addresses
                ]
            )
    return {
        name: {
            "small": spread([small for small, _ in pairs]),
            "large": spread([large for _, large in pairs]),
            "times": spread(np.divide(*np.transpose(pairs)[::-1])),
        }
        for name, pairs in seconds.items()
    }


def _forget(address: str) -> None:
    """Deletes the project's own runs, which `track` then adds: those that began last."""
    client = MlflowClient(with_driver(address))
    experiment = client.get_experiment_by_name(_EXPERIMENT)
    if experiment is None:
        raise LookupError(_EXPERIMENT)
    # Twenty and their comparison.
    for run in client.search_runs([experiment.experiment_id], max_results=21):
        client.delete_run(run.info.run_id)
