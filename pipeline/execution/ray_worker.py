"""Training in a worker of Ray: one task at a time, of which the driver is told while it trains."""

from __future__ import annotations

import functools
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from queue import SimpleQueue
from typing import Any

from pipeline.examples.dataset import Dataset
from pipeline.provenance.lineage import present_machine
from pipeline.training.network_file import network_class
from pipeline.training.trainer import Hooks, Snapshot, Task
from pipeline.training.workers import worker_pool

# Some networks train an epoch in hundredths of a second, and the driver writes each snapshot.
_SECONDS_BETWEEN_SNAPSHOTS = 1.0
# What was made of a data set, with all that it has compiled, by a key.
_made: dict[str, tuple[Callable[[Task], Any], _Relay]] = {}


@dataclass(frozen=True, eq=False)
class Finished:
    """The last that a worker tells of a task.

    Attributes:
        result: what came of it.
        snapshot: the last of its training; None if there was none.
        machine: tags of the machine that trained it.
    """

    result: Any
    snapshot: Snapshot | None
    machine: Mapping[str, str]


def train(network: str, key: str, dataset: Dataset, packed: bytes) -> Iterator[Snapshot | Finished]:
    """Yields snapshots of a task while it trains, at most one a second, and then what came of it.

    Args:
        network: the file that `network.code` names.
        key: stands for the data set and what is made of it.
        dataset: to train on.
        packed: what to make of the data set, the task, and the snapshot to go on from, pickled.
    """
    # The class in that file belongs to no module that pickle could import.
    network_class(network)
    make, task, snapshot = pickle.loads(packed)  # noqa: S301  The driver packed it.
    if key not in _made:
        relay = _Relay()
        _made[key] = make(dataset, relay), relay
    function, relay = _made[key]
    relay.snapshot = snapshot
    ended = _thread().apply_async(function, (task,), callback=relay.stop, error_callback=relay.stop)
    # Ray sends to its generators, which a mere iterator does not take.
    for told in iter(relay.told.get, None):  # noqa: UP028
        yield told
    yield Finished(ended.get(), relay.snapshot, present_machine(threads=1))


class _Relay(Hooks):
    """Takes snapshots from the thread that trains."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.told: SimpleQueue[Snapshot | None] = SimpleQueue()
        self._next = 0.0

    def begin(self, seed: int) -> Snapshot | None:  # noqa: ARG002
        return self.snapshot

    def keep(self, seed: int, snapshot: Snapshot) -> None:  # noqa: ARG002
        self.snapshot = snapshot
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN_SNAPSHOTS
            self.told.put(snapshot)

    def stop(self, _: object) -> None:
        self.told.put(None)


@functools.cache
def _thread() -> ThreadPool:
    return worker_pool(1)
