"""Training one run."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.examples.dataset import Dataset
from pipeline.params import Network, Normalization, Optimizer, Variant
from pipeline.runs.epochs import EpochScores, best_epoch, is_over
from pipeline.training import network
from pipeline.training.augmentation import augmented
from pipeline.training.batches import epoch_batches
from pipeline.training.gradient_factors import gradient_factors
from pipeline.training.portable_layers import outside_promise
from pipeline.training.schedule import epoch_rates
from pipeline.training.solver import Solver, State

Weights = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Task:
    """A run to be made: a variant on a seed."""

    variant: Variant
    seed: int


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A run between two epochs. Training resumed from it ends with exactly the same weights.

    Attributes:
        history: the scores of the epochs so far.
        state: the values of all that training changes, in the order of the solver's `State`; with
            early stopping, then the weights of the best epoch so far.
    """

    history: tuple[EpochScores, ...]
    state: tuple[NDArray[np.generic], ...]


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A finished run: its scores by epoch, and its model as architecture (JSON) and weights.

    With early stopping these are the weights of the best epoch, else of the last.
    """

    seed: int
    history: tuple[EpochScores, ...]
    architecture: str
    weights: tuple[NDArray[np.float32], ...]


class Hooks:
    """Callbacks around each run. These do nothing; subclasses override what they need.

    They are called from the thread that trains the run. An exception in one ends the training.
    """

    def finished(self, seed: int) -> TrainedRun | None:
        """Returns the run if it need not be trained; no other hook is then called for the seed."""

    def begin(self, seed: int) -> Snapshot | None:
        """Called before a run. Returns the snapshot to resume from, or None to start afresh."""

    def keep(self, seed: int, snapshot: Snapshot) -> None:
        """Called after each epoch with the state of the run."""

    def tell(self, scores: EpochScores) -> None:
        """Called after each epoch with its scores, and for each epoch that a snapshot holds."""

    def end(self, seed: int) -> None:
        """Called after the last epoch of a run."""


class Trainer:
    """Trains one run at a time on each thread; all threads share the compiled functions."""

    def __init__(
        self,
        dataset: Dataset,
        hooks: Hooks | None = None,
    ) -> None:
        """Compiles nothing yet.

        Args:
            dataset: the examples to train on and to validate with.
            hooks: callbacks around each run.
        """
        self._shape = dataset.train.inputs.shape[1:]
        self._classes = len(dataset.classes)
        self._moments = None if dataset.has_images else network.moments_of(dataset.train.inputs)
        # In one place, so that both sets are scored by the same compiled function.
        both = dataset.train, dataset.validation
        self._inputs = tf.constant(np.concatenate([split.inputs for split in both]))
        self._labels = tf.constant(np.concatenate([split.labels for split in both]))
        self._rows = range(len(dataset.train)), range(len(dataset.train), len(self._labels))
        self._hooks = hooks or Hooks()
        self._solvers: dict[tuple[str, ...], Solver] = {}
        self._lock = threading.Lock()

    def check(self, variant: Variant) -> list[str]:
        """Makes sure that a variant can be built and trained for this data.

        Returns:
            The kinds of its layers whose bits may depend on the processor.

        Raises:
            ParamsError: if not; the message names the parameter, or the line of the network's file.
        """
        model = self._network(variant.network, variant.normalization)
        augmented(model, variant.training.augmentation or ())
        gradient_factors(model, variant.training)
        return outside_promise(model)

    def __call__(self, task: Task) -> TrainedRun:
        """Trains to the last epoch, from the seed's initial weights or from a snapshot.

        A run that the hooks report as finished is returned unchanged.
        """
        if (finished := self._hooks.finished(task.seed)) is not None:
            return finished
        solver, stopping = self.solver(task.variant), task.variant.training.early_stopping
        state, history, best = self._start(solver, task)
        course = self.course(task, state, len(history))
        while not is_over(history, stopping) and (scores := next(course, None)):
            history.append(scores)
            if stopping and best_epoch(history, stopping.monitor) == len(history) - 1:
                best = _values(solver.weights(state))
            kept = Snapshot(tuple(history), (*_values(tf.nest.flatten(state)), *best))
            self._hooks.keep(task.seed, kept)
            self._hooks.tell(scores)
        self._hooks.end(task.seed)
        trained = best if stopping else _values(solver.weights(state))
        return TrainedRun(task.seed, tuple(history), self._architecture(task.variant), trained)

    def course(self, task: Task, state: State, epoch: int = 0) -> Iterator[EpochScores]:
        """Trains `state` in place from `epoch` on; yields the scores after each epoch."""
        solver, training = self.solver(task.variant), task.variant.training
        for place in range(epoch, training.epochs):
            batches = epoch_batches(
                task.seed,
                place,
                examples=len(self._rows[0]),
                batch_size=training.batch_size,
                steps=training.steps_per_epoch,
            )
            rates = epoch_rates(training, place, len(batches))
            examples = self._inputs, self._labels
            solver.train_epoch(state, *examples, tf.constant(batches), tf.constant(rates))
            weights = solver.weights(state)
            train, validation = (
                solver.evaluate(weights, *examples, rows=rows) for rows in self._rows
            )
            yield EpochScores(task.seed, place, train, validation)

    def _start(self, solver: Solver, task: Task) -> tuple[State, list[EpochScores], Weights]:
        """Returns the variables of a run, the scores of its epochs so far, and the best weights."""
        state = solver.start(task.seed)
        snapshot = self._hooks.begin(task.seed)
        if snapshot is None:
            return state, [], ()
        variables = tf.nest.flatten(state)
        for variable, value in zip(variables, snapshot.state, strict=False):
            variable.assign(value)
        for scores in snapshot.history:
            self._hooks.tell(scores)
        return state, list(snapshot.history), snapshot.state[len(variables) :]

    def _architecture(self, variant: Variant) -> str:
        """Returns the network as it is stored and served, which needs Keras alone."""
        return self._network(variant.network, variant.normalization.at_inference).to_json()

    def _network(self, chosen: Network, normalization: Normalization) -> keras.Model:
        return network.build(
            chosen,
            normalization,
            shape=self._shape,
            classes=self._classes,
            moments=self._moments,
        )

    def solver(self, variant: Variant) -> Solver:
        """Returns the solver of the variant, which compiles once, on first use."""
        # The learning rate is no part of a solver, so runs that differ in it share one.
        training = variant.training.model_dump_json(
            include={
                "optimizer": set(Optimizer.model_fields) - {"learning_rate"},
                "weight_decay": True,
                "trainable": True,
                "hidden_rate": True,
                "label_smoothing": True,
                "augmentation": True,
            }
        )
        key = (
            variant.network.model_dump_json(),
            variant.normalization.kind,
            variant.normalization.model_dump_json(),
            training,
        )
        with self._lock:
            if key not in self._solvers:
                model = self._network(variant.network, variant.normalization)
                self._solvers[key] = Solver(model, variant.training)
            return self._solvers[key]


def _values(variables: Iterable[Any]) -> Weights:
    return tuple(variable.numpy() for variable in variables)
