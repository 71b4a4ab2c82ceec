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
from pipeline.core.solver import Scores, Solver, State
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
class Snapshot:
    """A run between two epochs: whoever goes on from it comes to the very same end.

    Attributes:
        history: of the epochs so far.
        state: the values of all that training changes, in the order of the solver's `State`.
    """

    history: tuple[EpochScores, ...]
    state: tuple[NDArray[np.generic], ...]


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


class Keeper(Protocol):
    """Keeps runs that are under way; is called from whichever thread."""

    def restore(self, seed: int) -> Snapshot | None:
        """Returns the latest of what was kept of a run, or None."""

    def keep(self, seed: int, snapshot: Snapshot) -> None:
        """Takes what a run has come to at the end of an epoch."""


class Training:
    """Trains a cell at a time on each thread; all threads share what a variant has compiled."""

    def __init__(
        self,
        dataset: Dataset,
        on_epoch: Callable[[EpochScores], None],
        keeper: Keeper | None = None,
    ) -> None:
        """Begins with nothing compiled.

        Args:
            dataset: to train on and to validate with.
            on_epoch: is told of each epoch, those of restored runs too, from whichever thread;
                what it raises ends the training.
            keeper: of what runs have come to, so that they can be restored.
        """
        self._train = _tensors(dataset.train)
        self._validation = _tensors(dataset.validation)
        self._image_shape = dataset.train.images.shape[1:]
        self._classes = int(dataset.train.labels.max()) + 1
        self._on_epoch, self._keeper = on_epoch, keeper
        self._solvers: dict[tuple[str, ...], Solver] = {}
        self._lock = threading.Lock()

    def __call__(self, cell: Cell) -> TrainedRun:
        """Trains to the last epoch, from the seed's first weights or where it was broken off."""
        solver = self.solver(cell.variant)
        state, history = self._start(solver, cell)
        for scores in self.course(cell, state, len(history)):
            history.append(scores)
            if self._keeper:
                values = tuple(variable.numpy() for variable in tf.nest.flatten(state))
                self._keeper.keep(cell.seed, Snapshot(tuple(history), values))
            self._on_epoch(scores)
        trained = tuple(weight.numpy() for weight in solver.weights(state))
        return TrainedRun(cell.seed, tuple(history), self._architecture(cell.variant), trained)

    def course(self, cell: Cell, state: State, epoch: int = 0) -> Iterator[EpochScores]:
        """Yields the scores after each epoch, from `epoch` on, by which it has moved `state`."""
        solver, training = self.solver(cell.variant), cell.variant.training
        for place in range(epoch, training.epochs):
            batches = epoch_batches(
                cell.seed,
                place,
                examples=len(self._train[1]),
                batch_size=training.batch_size,
                steps=training.steps_per_epoch,
            )
            solver.train_epoch(state, *self._train, tf.constant(batches))
            weights = solver.weights(state)
            train, validation = (
                solver.evaluate(weights, *split) for split in (self._train, self._validation)
            )
            yield EpochScores(cell.seed, place, train, validation)

    def _start(self, solver: Solver, cell: Cell) -> tuple[State, list[EpochScores]]:
        """Returns the variables of a run, and the scores of the epochs that it has behind it."""
        state = solver.start(cell.seed, cell.variant.training.optimizer.learning_rate)
        snapshot = self._keeper.restore(cell.seed) if self._keeper else None
        if snapshot is None:
            return state, []
        for variable, value in zip(tf.nest.flatten(state), snapshot.state, strict=True):
            variable.assign(value)
        for scores in snapshot.history:
            self._on_epoch(scores)
        return state, list(snapshot.history)

    def _architecture(self, variant: Variant) -> str:
        """Returns the network as it is kept and served: by Keras alone, without this project."""
        normalization = variant.normalization.at_inference
        return self.solver(
            variant.model_copy(update={"normalization": normalization})
        ).model.to_json()

    def solver(self, variant: Variant) -> Solver:
        """Returns what trains and scores the variant; compiled at most once, on first use."""
        optimizer = variant.training.optimizer
        # A learning rate is given at the start of a run, and compiles nothing anew.
        key = (
            variant.network.model_dump_json(),
            variant.normalization.kind,
            variant.normalization.model_dump_json(),
            optimizer.model_dump_json(exclude={"learning_rate"}),
        )
        with self._lock:
            if key not in self._solvers:
                model = network.build(
                    variant.network,
                    variant.normalization,
                    image_shape=self._image_shape,
                    classes=self._classes,
                )
                self._solvers[key] = Solver(model, optimizer)
            return self._solvers[key]


def train_variant(
    variant: Variant, seeds: Iterable[int], train: Callable[[Cell], TrainedRun], pool: Pool
) -> list[TrainedRun]:
    """Trains a variant on each of the seeds; returns the runs by seed.

    Weights and scores depend on the variant, the data and the seed: not on the pool, its size, the
    other seeds, the order in which they are finished or how often they were broken off.

    Args:
        variant: what to train.
        seeds: one for each run.
        train: makes a run of a cell, as `Training` does.
        pool: where the cells are handed out.
    """
    cells = [Cell(variant, seed) for seed in seeds]
    runs = pool.imap_unordered(train, cells)
    return sorted(runs, key=lambda run: run.seed)


def _tensors(examples: Examples) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(examples.images), tf.constant(examples.labels)
