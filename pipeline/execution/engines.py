"""Where runs are trained: on threads of this process, or by Ray on several machines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self, TypeVar

from pipeline.errors import PipelineError
from pipeline.examples.dataset import Dataset
from pipeline.execution.interruption import Interruption
from pipeline.training.trainer import Hooks, Task
from pipeline.training.workers import worker_pool

Result = TypeVar("Result")
# Makes of a data set what trains on it; `Trainer` is one. It travels to other machines, so it has
# to be picklable.
Maker = Callable[[Dataset, Hooks], Callable[[Task], Result]]


class Watcher(Hooks):
    """Hooks that are also told on which machine a run was trained."""

    def trained_on(self, seed: int, machine: Mapping[str, str]) -> None:
        """Called before `end` with the tags of the machine, if it is not this process."""


class Engine(AbstractContextManager["Engine"], Protocol):
    """Trains tasks while its `with` block lasts. Which engine does cannot change a result.

    Attributes:
        threads: how many threads train in this process; None if none does.
    """

    threads: int | None

    def results(
        self,
        make: Maker[Result],
        dataset: Dataset,
        tasks: Iterable[Task],
        watcher: Watcher | None = None,
    ) -> Iterator[tuple[Task, Result]]:
        """Yields each task with what `make(dataset, watcher)` returns for it, as they finish.

        An exception of the task's code ends all others and is raised here.
        """


class Threads(Engine):
    """An engine of threads of this process."""

    def __init__(self, workers: int | None, fail: Callable[[], None] = lambda: None) -> None:
        """Starts no thread yet.

        Args:
            workers: how many tasks train at once, by default one per processor.
            fail: called if the block fails; it should end the running tasks, which are waited for.
        """
        self.threads: int | None = workers or os.cpu_count() or 1
        self._fail = fail

    def __enter__(self) -> Self:
        """Starts the threads."""
        self._pool = worker_pool(self.threads)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends them; no other task is begun."""
        if error is not None:
            self._fail()
        self._pool.terminate()
        self._pool.join()

    def results(
        self,
        make: Maker[Result],
        dataset: Dataset,
        tasks: Iterable[Task],
        watcher: Watcher | None = None,
    ) -> Iterator[tuple[Task, Result]]:
        """See `Engine`. The hooks are called from the thread that trains the task."""
        function = make(dataset, watcher or Watcher())
        return self._pool.imap_unordered(lambda task: (task, function(task)), tasks)


def engine(
    name: str | None,
    workers: int | None,
    networks: Iterable[str],
    asked: Interruption | None = None,
) -> Engine:
    """Returns the engine of a name.

    Args:
        name: `threads` or `ray`; by default `ray` where `RAY_ADDRESS` names a cluster.
        workers: how many tasks train at once, by default as many as there are processors.
        networks: the files that the tasks name as `network.code`.
        asked: told when training fails, and asked whether it may go on.

    Raises:
        PipelineError: if Ray is not installed.
    """
    address = os.environ.get("RAY_ADDRESS")
    if name == "threads" or not (name or address):
        return Threads(workers, asked.fail) if asked else Threads(workers)
    try:
        from pipeline.execution.ray_engine import RayEngine
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise PipelineError(
            "Ray is not installed: in a checkout, pip install '.[pipeline,team]', or train with "
            "--engine threads"
        ) from None
    check = asked.check if asked else lambda: None
    return RayEngine(address or "auto", networks, workers, check)
