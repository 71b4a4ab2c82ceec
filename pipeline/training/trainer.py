"""Training a variant on many seeds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.examples.dataset import Dataset, Examples
from pipeline.params import Variant
from pipeline.runs.epochs import EpochScores
from pipeline.training import network
from pipeline.training.batches import epoch_batches
from pipeline.training.solver import Solver, State

Given = TypeVar("Given")
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Task:
    """One run to be made: a variant on a seed."""

    variant: Variant
    seed: int


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
    """What came of a task: scores by epoch, and the model as architecture (JSON) and weights."""

    seed: int
    history: tuple[EpochScores, ...]
    architecture: str
    weights: tuple[NDArray[np.float32], ...]


class Pool(Protocol):
    """Where tasks are handed out."""

    def imap_unordered(
        self, function: Callable[[Given], Returned], values: Iterable[Given], /
    ) -> Iterator[Returned]:
        """Yields `function(value)` for each value, as they come."""


class Hooks:
    """What others do around a run; by themselves, nothing. Called from whichever thread.

    What a hook raises ends the training.
    """

    def finished(self, seed: int) -> TrainedRun | None:
        """Returns a run that need not be trained, if there is one; then no other hook is called."""

    def begin(self, seed: int) -> Snapshot | None:
        """Is called before a run; gives what it is to go on from, or None for its first weights."""

    def keep(self, seed: int, snapshot: Snapshot) -> None:
        """Takes what a run has come to at the end of an epoch."""

    def tell(self, scores: EpochScores) -> None:
        """Is told of each epoch, those of restored runs too."""

    def end(self, seed: int) -> None:
        """Is called after the last epoch of a run."""


class Trainer:
    """Trains a task at a time on each thread; all threads share what a variant has compiled."""

    def __init__(
        self,
        dataset: Dataset,
        hooks: Hooks | None = None,
    ) -> None:
        """Begins with nothing compiled.

        Args:
            dataset: to train on and to validate with.
            hooks: what else happens around each run.
        """
        self._train = _tensors(dataset.train)
        self._validation = _tensors(dataset.validation)
        self._image_shape = dataset.train.images.shape[1:]
        self._classes = int(dataset.train.labels.max()) + 1
        self._hooks = hooks or Hooks()
        self._solvers: dict[tuple[str, ...], Solver] = {}
        self._lock = threading.Lock()

    def __call__(self, task: Task) -> TrainedRun:
        """Trains to the last epoch, from the seed's first weights or where it was broken off.

        A run that the hooks say is finished is returned as it is.
        """
        if (finished := self._hooks.finished(task.seed)) is not None:
            return finished
        solver = self.solver(task.variant)
        state, history = self._start(solver, task)
        for scores in self.course(task, state, len(history)):
            history.append(scores)
            values = tuple(variable.numpy() for variable in tf.nest.flatten(state))
            self._hooks.keep(task.seed, Snapshot(tuple(history), values))
            self._hooks.tell(scores)
        self._hooks.end(task.seed)
        trained = tuple(weight.numpy() for weight in solver.weights(state))
        return TrainedRun(task.seed, tuple(history), self._architecture(task.variant), trained)

    def course(self, task: Task, state: State, epoch: int = 0) -> Iterator[EpochScores]:
        """Yields the scores after each epoch, from `epoch` on, by which it has moved `state`."""
        solver, training = self.solver(task.variant), task.variant.training
        for place in range(epoch, training.epochs):
            batches = epoch_batches(
                task.seed,
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
            yield EpochScores(task.seed, place, train, validation)

    def _start(self, solver: Solver, task: Task) -> tuple[State, list[EpochScores]]:
        """Returns the variables of a run, and the scores of the epochs that it has behind it."""
        state = solver.start(task.seed, task.variant.training.optimizer.learning_rate)
        snapshot = self._hooks.begin(task.seed)
        if snapshot is None:
            return state, []
        for variable, value in zip(tf.nest.flatten(state), snapshot.state, strict=True):
            variable.assign(value)
        for scores in snapshot.history:
            self._hooks.tell(scores)
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


def train_seeds(
    variant: Variant, seeds: Iterable[int], trainer: Trainer, pool: Pool
) -> list[TrainedRun]:
    """Trains a variant on each of the seeds; returns the runs by seed.

    Weights and scores depend on the variant, the data and the seed: not on the pool, its size, the
    other seeds, the order in which they are finished or how often they were broken off.

    Args:
        variant: what to train.
        seeds: one for each run.
        trainer: trains a run a time on each thread.
        pool: where the runs are handed out.
    """
    tasks = [Task(variant, seed) for seed in seeds]
    runs = pool.imap_unordered(trainer, tasks)
    return sorted(runs, key=lambda run: run.seed)


def _tensors(examples: Examples) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(examples.images), tf.constant(examples.labels)
