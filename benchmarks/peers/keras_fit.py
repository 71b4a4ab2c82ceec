"""Keras `fit` and `evaluate`."""

import math
from functools import cache
from typing import Any

import keras

from benchmarks.job import Arrays, Job, Scores, TrainMany, one_by_one, read_arrays
from benchmarks.protocol import serve

# `evaluate` takes 32 by default, and twice as long.
_SCORED_AT_ONCE = 5000


def make(job: Job, **options: Any) -> TrainMany:
    """Returns a function that trains one network at a time; `options` are for `compile`."""
    arrays = read_arrays(job)

    @cache
    def trainer(variant: str) -> Trainer:
        model = model_of(job, arrays, normalized=variant == "batch_norm")
        optimizer = keras.optimizers.Adam(job.learning_rate, epsilon=job.epsilon)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"], **options)
        return Trainer(model, optimizer)

    def train(variant: str, seed: int) -> list[Scores]:
        model = trainer(variant).restart(seed)
        return [_epoch(job, arrays, model, seed, epoch) for epoch in range(job.epochs)]

    return one_by_one(train)


class Trainer:
    """A model and its optimizer, which can start again without being compiled again."""

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Builds the optimizer's variables, and keeps their initial values."""
        self.model, self.optimizer = model, optimizer
        optimizer.build(model.trainable_variables)
        self._first = [variable.numpy() for variable in optimizer.variables]

    def restart(self, seed: int) -> keras.Model:
        """Returns the model with new weights."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(keras.models.clone_model(self.model).get_weights())
        for variable, value in zip(self.optimizer.variables, self._first, strict=True):
            variable.assign(value)
        return self.model


def model_of(job: Job, arrays: Arrays, *, normalized: bool) -> keras.Model:
    """Returns the network from images [batch, pixels] to logits [batch, classes]."""
    (pixels,) = arrays.train.inputs.shape[1:]
    model = keras.Sequential([keras.Input((pixels,))])

    def add(layer: keras.layers.Layer) -> None:
        model.add(layer)
        if normalized:
            model.add(
                keras.layers.BatchNormalization(momentum=job.momentum, epsilon=job.norm_epsilon)
            )
        model.add(keras.layers.ReLU())

    if job.filters:
        model.add(keras.layers.Reshape((math.isqrt(pixels), -1, 1)))
    for filters in job.filters:
        add(keras.layers.Conv2D(filters, job.kernel_size, padding="same"))
        model.add(keras.layers.MaxPooling2D(2, padding="same"))
    model.add(keras.layers.Flatten())
    for width in job.hidden_dims:
        add(keras.layers.Dense(width))
    model.add(keras.layers.Dense(int(arrays.train.labels.max()) + 1))
    return model


def _epoch(job: Job, arrays: Arrays, model: keras.Model, seed: int, epoch: int) -> Scores:
    # The order that all contestants have. With Keras' own shuffling, it learns a little worse.
    order = arrays.batches(seed, epoch, job.batch_size).ravel()
    images, labels = arrays.train.inputs[order], arrays.train.labels[order]
    model.fit(images, labels, batch_size=job.batch_size, shuffle=False, verbose=0)
    train, validation = (
        model.evaluate(*examples, batch_size=_SCORED_AT_ONCE, verbose=0) for examples in arrays
    )
    return Scores(*train, *validation)


if __name__ == "__main__":
    serve(make)
