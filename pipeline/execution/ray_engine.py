"""The engine of Ray: tasks train on the nodes of a cluster, and this process, the driver, watches.

A task that loses its worker or node goes on elsewhere from the last snapshot that the driver has.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import platform
import shutil
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import NodeDiedError, RayError, RayTaskError, RuntimeEnvSetupError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import pipeline
from pipeline.errors import ArgumentError, PendingError, UnavailableError, one_line
from pipeline.examples.dataset import Dataset
from pipeline.execution import ray_node
from pipeline.execution.engines import Engine, Maker, Result, Watcher
from pipeline.execution.ray_worker import Finished
from pipeline.portable import SETTINGS
from pipeline.training.trainer import Snapshot, Task

logger = logging.getLogger(__name__)

# Workers have the settings of `pipeline.portable` before they import anything.
_ENVIRONMENT = {**SETTINGS, "XLA_FLAGS": os.environ["XLA_FLAGS"], "TF_CPP_MIN_LOG_LEVEL": "3"}
_SECONDS_BETWEEN_CHECKS, _SECONDS_TO_ANSWER, _SECONDS_OF_SILENCE = 1.0, 5.0, 60.0
# A worker is also lost if its task kills it, for instance by taking all memory.
_LOSSES_WITHOUT_PROGRESS = 5


class RayEngine(Engine):
    """An engine on a Ray cluster."""

    threads = None

    def __init__(
        self,
        address: str,
        networks: Iterable[str],
        workers: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            address: of the cluster, as Ray has it: `host:port`, or `auto` for one on this machine.
            networks: the files that tasks name as `network.code`.
            workers: how many tasks train at once, by default as many as the cluster has processors.
            check: called about once a second; raises if training must end.
        """
        self._address, self._networks, self._workers = address, sorted(set(networks)), workers
        self._check = check
        self._nodes = _Nodes()
        # As of now: what is edited later is not what was asked for.
        self._needs = {network: ray_node.present_needs(network) for network in self._networks}

    def __enter__(self) -> Self:
        """Connects, and sends the code.

        Raises:
            ArgumentError: if the address is one of Ray Client, which has no streams.
            PendingError: if no cluster answers there.
        """
        _expect_answer(self._address)
        with _handlers_kept(), tempfile.TemporaryDirectory() as folder:
            _copy_code(Path(folder), self._networks)
            try:
                ray.init(
                    self._address,
                    runtime_env={"working_dir": folder, "env_vars": _ENVIRONMENT},
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise _no_cluster(self._address, error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnects, which ends all tasks."""
        ray.shutdown()

    def results(
        self,
        make: Maker[Result],
        dataset: Dataset,
        tasks: Iterable[Task],
        watcher: Watcher | None = None,
    ) -> Iterator[tuple[Task, Result]]:
        """See `Engine`. The hooks are called from the caller's thread.

        Raises:
            UnavailableError: if a task loses worker after worker.
        """
        watcher = watcher or Watcher()
        shared = ray.put(dataset)

        def start(course: _Course) -> Any:
            """Returns the stream of what a worker tells of a task."""
            network = course.task.variant.network.code
            packed = pickle.dumps((make, course.task, course.snapshot))
            return _train.options(label_selector=self._nodes.selector).remote(
                self._needs[network], network, shared.hex(), shared, packed
            )

        waiting = deque(_Course(task) for task in tasks)
        flying: dict[Any, _Course] = {}
        patience = time.monotonic() + _SECONDS_OF_SILENCE
        while waiting or flying:
            self._check()
            while waiting and len(flying) < (self._workers or self._nodes.processors):
                course = waiting.popleft()
                if (finished := watcher.finished(course.task.seed)) is not None:
                    yield course.task, finished  # pyrefly: ignore[invalid-yield]
                else:
                    course.begin(watcher)
                    flying[start(course)] = course
            ready, _ = ray.wait([*flying], timeout=_SECONDS_BETWEEN_CHECKS) if flying else ([], [])
            if ready:
                patience = math.inf
            elif time.monotonic() > patience:
                patience = math.inf
                logger.warning("no worker answers yet: `ray status` tells what the cluster lacks")
            for stream in ready:
                course = flying.pop(stream)
                message = self._hear(stream, course)
                if message is None:
                    flying[start(course)] = course
                    continue
                if not isinstance(message, Finished):
                    course.go_on(message, watcher)
                    flying[stream] = course
                    continue
                course.go_on(message.snapshot, watcher)
                watcher.trained_on(course.task.seed, message.machine)
                watcher.end(course.task.seed)
                yield course.task, message.result

    def _hear(self, stream: Any, course: _Course) -> Snapshot | Finished | None:
        """Returns what a worker tells, or None if it is lost."""
        try:
            return ray.get(next(stream))
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            is_broken = isinstance(error, RuntimeEnvSetupError)
            if not (is_broken and self._nodes.leave_out_broken()):
                course.lose(error)
            return None


class _Nodes:
    """The nodes of the cluster that can train."""

    def __init__(self) -> None:
        self._broken: set[str] = set()

    @property
    def processors(self) -> int:
        """How many there are, and at least one: for a task that waits, some clusters grow."""
        return max(1, int(sum(node["Resources"]["CPU"] for node in self._good())))

    @property
    def selector(self) -> dict[str, str]:
        """What Ray has to be told so that it takes no other."""
        return {"ray.io/node-id": f"!in({', '.join(sorted(self._broken))})"} if self._broken else {}

    def leave_out_broken(self) -> bool:
        """Returns whether there are nodes, left out from now on, that cannot set up a worker.

        As they fail at once, they would be given task after task. Ray does not say which they are.

        Raises:
            UnavailableError: if no node is left.
        """
        tried = [(node, _try(node["NodeID"])) for node in self._good()]
        found = set()
        for node, attempt in tried:
            address = node["NodeManagerAddress"]
            try:
                ray.get(attempt)
            except RayError as error:
                found.add(node["NodeID"])
                reason = one_line(error).rpartition(": ")[2]
                logger.warning(
                    "the Ray node %s sets up no worker (%s): it is left out", address, reason
                )
        self._broken |= found
        if not self._good():
            raise UnavailableError("no node of the Ray cluster sets up a worker: see above")
        return bool(found)

    def _good(self) -> list[dict[str, Any]]:
        return [
            node
            for node in ray.nodes()
            if node["Alive"] and "CPU" in node["Resources"] and node["NodeID"] not in self._broken
        ]


def _try(node: str) -> ray.ObjectRef:
    """Begins a task on a node that needs no more than a worker."""
    here: Any = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(platform.node).remote()


# What was lost starts again from a snapshot, which only the driver can do.
_train: Any = ray.remote(num_cpus=1, max_retries=0, num_returns="streaming")(ray_node.train)


@dataclass(eq=False)
class _Course:
    """How far a task is."""

    task: Task
    snapshot: Snapshot | None = None
    losses: int = 0

    def begin(self, watcher: Watcher) -> None:
        self.snapshot = watcher.begin(self.task.seed)
        for scores in self.snapshot.history if self.snapshot else ():
            watcher.tell(scores)

    def go_on(self, snapshot: Snapshot | None, watcher: Watcher) -> None:
        """Takes the next snapshot; the last may come twice."""
        known = len(self.snapshot.history) if self.snapshot else 0
        if snapshot is None or len(snapshot.history) == known:
            return
        self.snapshot, self.losses = snapshot, 0
        watcher.keep(self.task.seed, snapshot)
        for scores in snapshot.history[known:]:
            watcher.tell(scores)

    def lose(self, error: RayError) -> None:
        """Takes that the worker was lost.

        Raises:
            UnavailableError: after too many in a row that were not lost with their node.
        """
        name = f"{self.task.variant.label}, seed {self.task.seed}"
        self.losses += not isinstance(error, NodeDiedError)
        if self.losses == _LOSSES_WITHOUT_PROGRESS:
            raise UnavailableError(
                f"{name}: {self.losses} workers of Ray were lost without an epoch in between: "
                f"{one_line(error)}"
            ) from None
        epochs = len(self.snapshot.history) if self.snapshot else 0
        what = "node" if isinstance(error, NodeDiedError) else "worker"
        logger.warning("%s: its %s was lost; it goes on after epoch %d", name, what, epochs)


def _expect_answer(address: str) -> None:
    # Ray itself would try for minutes.
    if address.startswith("ray://"):
        raise ArgumentError(
            f"RAY_ADDRESS={address} is an address of Ray Client: start a node here instead, with "
            "`ray start --address=HOST:6379 --num-cpus=0`, and set RAY_ADDRESS=auto"
        )
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
        except OSError as error:
            raise _no_cluster(address, error) from None


def _no_cluster(address: str, error: Exception) -> PendingError:
    reason = one_line(str(error).partition(". ")[0])
    return PendingError(
        f"no Ray cluster answers at {address}: {reason}; start one (docs/team.md), or train with "
        "--engine threads"
    )


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keeps the signal handlers that Ray replaces."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _copy_code(folder: Path, networks: Iterable[str]) -> None:
    """Copies what a worker imports, and nothing else: a checkout may hold gigabytes of data."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(pipeline.__file__).parent, folder / "pipeline", ignore=ignored)
    for network in networks:
        # A file outside of the checkout has to lie at the same place on each node.
        if Path(network).is_absolute() or ".." in Path(network).parts:
            continue
        (folder / network).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(network, folder / network)
