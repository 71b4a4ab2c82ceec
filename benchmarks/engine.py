"""The project's engine as the benchmark knows it: the one place that calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.pool import ThreadPool
from typing import Any

from pipeline.core.examples import Dataset
from pipeline.core.replicates import TrainedRun, train_variant
from pipeline.params import Variant


class Engine:
    """Trains variants on several threads, and compiles each only the first time."""

    def __init__(self, dataset: Dataset, workers: int) -> None:
        """Keeps the data and starts the threads."""
        self._dataset = dataset
        self._pool = ThreadPool(workers)
        self._kept: dict[Variant, _KeepingPool] = {}

    def train(self, variant: Variant, seeds: Sequence[int]) -> list[TrainedRun]:
        """Returns the runs by seed, as the stage `train` makes them."""
        kept = self._kept.setdefault(variant, _KeepingPool(self._pool))
        return train_variant(variant, seeds, self._dataset, kept, lambda _: None)


def of_epochs(variant: Variant, epochs: int) -> Variant:
    """Returns the variant, trained so long."""
    training = variant.training.model_copy(update={"epochs": epochs})
    return variant.model_copy(update={"training": training})


class _KeepingPool:
    """A pool that goes on with the function it was first given.

    `train_variant` makes a function that compiles once a thread. A stage needs it once; to time
    what comes after compilation, it is kept from call to call.
    """

    def __init__(self, pool: ThreadPool) -> None:
        self._pool = pool
        self._function: Callable[[Any], Any] | None = None

    def imap_unordered(
        self, function: Callable[[Any], Any], values: Iterable[Any], /
    ) -> Iterator[Any]:
        self._function = self._function or function
        return self._pool.imap_unordered(self._function, values)
