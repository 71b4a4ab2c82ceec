"""Training a variant on many seeds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.core import network
from pipeline.core.batches import epoch_batches
from pipeline.core.examples import Dataset, Examples
from pipeline.core.solver import Scores, Solver
from pipeline.params import Variant

Given = TypeVar("Given")
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Cell:
    """One run to be made: a variant on a seed."""

    variant: Variant
    seed: int


@dataclass(frozen=True)
class EpochScores:
    """Scores in inference mode at the end of an epoch, which counts from 0."""

    seed: int
    epoch: int
    train: Scores
    validation: Scores


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What came of a cell: scores by epoch, and the model as architecture (JSON) and weights."""

    seed: int
    history: tuple[EpochScores, ...]
    architecture: str
    weights: tuple[NDArray[np.float32], ...]


class Pool(Protocol):
    """Where cells are handed out."""

    def imap_unordered(
        self, function: Callable[[Given], Returned], values: Iterable[Given], /
    ) -> Iterator[Returned]:
        """Yields `function(value)` for each value, as they come."""


class Training:
    """Trains a cell at a time on each thread; all threads share what a variant has compiled."""

    def __init__(self, dataset: Dataset, on_epoch: Callable[[EpochScores], None]) -> None:
        """Takes the data to train on, and whom to tell of each epoch, from whichever thread."""
        self._train = _tensors(dataset.train)
        self._validation = _tensors(dataset.validation)
        self._image_shape = dataset.train.images.shape[1:]
        self._classes = int(dataset.train.labels.max()) + 1
        self._on_epoch = on_epoch
        self._solvers: dict[Variant, Solver] = {}
        self._lock = threading.Lock()

    def __call__(self, cell: Cell) -> TrainedRun:
        """Trains from the seed's first weights to the last epoch."""
        solver, training = self._solver(cell.variant), cell.variant.training
        state = solver.start(cell.seed)
        history = []
        for epoch in range(training.epochs):
            batches = epoch_batches(
                cell.seed, epoch, examples=len(self._train[1]), batch_size=training.batch_size
            )
            solver.train_epoch(state, *self._train, tf.constant(batches))
            weights = solver.weights(state)
            train, validation = (
                solver.evaluate(weights, *split) for split in (self._train, self._validation)
            )
            history.append(EpochScores(cell.seed, epoch, train, validation))
            self._on_epoch(history[-1])
        trained = tuple(weight.numpy() for weight in solver.weights(state))
        return TrainedRun(cell.seed, tuple(history), solver.model.to_json(), trained)

    def _solver(self, variant: Variant) -> Solver:
        with self._lock:
            if variant not in self._solvers:
                model = network.build(
                    variant.network,
                    variant.normalization,
                    image_shape=self._image_shape,
                    classes=self._classes,
                )
                self._solvers[variant] = Solver(model, variant.training.optimizer)
            return self._solvers[variant]


def train_variant(
    variant: Variant,
    seeds: Iterable[int],
    dataset: Dataset,
    pool: Pool,
    on_epoch: Callable[[EpochScores], None],
) -> list[TrainedRun]:
    """Trains a variant on each of the seeds; returns the runs by seed.

    Weights and scores depend on the variant, the data and the seed: not on the pool, its size, the
    other seeds or the order in which they are finished.
    """
    cells = [Cell(variant, seed) for seed in seeds]
    runs = pool.imap_unordered(Training(dataset, on_epoch), cells)
    return sorted(runs, key=lambda run: run.seed)


def _tensors(examples: Examples) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(examples.images), tf.constant(examples.labels)
