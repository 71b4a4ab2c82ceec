"""The only part of the benchmark that calls the project's training engine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

import tensorflow as tf

from pipeline.examples.dataset import Dataset
from pipeline.params import Variant
from pipeline.training import network
from pipeline.training.batches import epoch_batches
from pipeline.training.schedule import epoch_rates
from pipeline.training.solver import Solver
from pipeline.training.trainer import Task, TrainedRun, Trainer
from pipeline.training.workers import worker_pool


class Engine:
    """Trains variants on several threads; compiles each variant the first time only."""

    def __init__(self, dataset: Dataset, workers: int) -> None:
        """Takes the data and starts the threads."""
        self._trainer = Trainer(dataset)
        self._pool = worker_pool(workers)

    def train(self, variant: Variant, seeds: Sequence[int]) -> list[TrainedRun]:
        """Returns the runs by seed, as the stage `train` makes them."""
        return self._pool.map(self._trainer, [Task(variant, seed) for seed in seeds], chunksize=1)


def train_seconds(variant: Variant, dataset: Dataset) -> Iterator[float]:
    """Yields how long an epoch takes without scoring, on one core, compilation excluded.

    The only place that uses the engine below `Trainer`.
    """
    examples, batch_size = len(dataset.train), variant.training.batch_size
    model = network.build(
        variant.network,
        variant.normalization,
        shape=dataset.train.inputs.shape[1:],
        classes=len(dataset.classes),
    )
    solver = Solver(model, variant.training)
    state = solver.start(seed=0)
    images, labels = tf.constant(dataset.train.inputs), tf.constant(dataset.train.labels)
    for epoch in itertools.count():
        batches = epoch_batches(0, epoch, examples=examples, batch_size=batch_size)
        rates = tf.constant(epoch_rates(variant.training, epoch, len(batches)))
        started = time.perf_counter()
        solver.train_epoch(state, images, labels, tf.constant(batches), rates).numpy()
        if epoch:
            yield time.perf_counter() - started


def of_epochs(variant: Variant, epochs: int) -> Variant:
    """Returns the variant with another number of epochs."""
    training = variant.training.model_copy(update={"epochs": epochs})
    return variant.model_copy(update={"training": training})
