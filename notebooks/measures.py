"""Measures of trained networks for the tutorial, in addition to the probes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.examples.dataset import Dataset
from pipeline.params import Variant
from pipeline.studies.measures.probes import Trained
from pipeline.training.solver import Scorer
from pipeline.training.trainer import Task, Trainer


class BatchScorer(Scorer):
    """Scores a network by each batch's own statistics, as in training.

    Scores therefore depend on the batch size; `predict` takes all images as one batch.
    """

    def _logits(self, weights: list[tf.Tensor], images: tf.Tensor) -> tf.Tensor:
        # The scope discards the layers' updates of their moving averages.
        with keras.StatelessScope(zip(self.model.weights, weights, strict=True)):
            return self.model(images, training=True)


def followed(trainer: Trainer, task: Task, dataset: Dataset) -> Iterator[Trained]:
    """Yields the network of a run before its first step, then after each epoch."""
    solver, settings = trainer.solver(task.variant), task.variant.training
    state = solver.start(task.seed)

    def trained() -> Trained:
        weights = [weight.numpy() for weight in solver.weights(state)]
        return Trained(solver.model, weights, dataset, settings)

    yield trained()
    for _ in trainer.course(task, state):
        yield trained()


def firing(trained: Trained) -> list[NDArray[np.float64]]:
    """Returns for each hidden layer the share of test images for which each unit is above 0."""
    hidden = trained.outputs("activation_", trained.dataset.test.inputs)
    return [(units > 0).mean(axis=0) for units in hidden]


def learnt(trained: Trained) -> pd.DataFrame:
    """Returns gamma and beta of each unit, and the values that would undo its normalisation.

    One row per unit, in the columns `layer, gamma, deviation, beta, mean`. With gamma = deviation =
    sqrt(moving variance + epsilon) and beta = moving mean, the layer is the identity.
    """
    weights = _by_path(trained)
    layers = [
        layer
        for layer in trained.model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    return pd.concat(
        pd.DataFrame(
            {
                "layer": place,
                "gamma": weights[f"{layer.path}/gamma"],
                "deviation": np.sqrt(weights[f"{layer.path}/moving_variance"] + layer.epsilon),
                "beta": weights[f"{layer.path}/beta"],
                "mean": weights[f"{layer.path}/moving_mean"],
            }
        )
        for place, layer in enumerate(layers)
    )


def never_updated(trained: Trained) -> list[NDArray[np.float32]]:
    """Returns the weights, with moving means of 0 and variances of 1, as before the first step."""
    initial = {"moving_mean": np.zeros_like, "moving_variance": np.ones_like}
    return [
        initial.get(path.rpartition("/")[2], np.asarray)(weight)
        for path, weight in _by_path(trained).items()
    ]


def answers(
    scorer: BatchScorer, trained: Trained, *, size: int, times: int, seed: int
) -> NDArray[np.int64]:
    """Returns the predictions [times, images] for each test image, in ever new batches.

    Each time, all images are shuffled and dealt out to as many whole batches of `size` as they
    fill; the remainder is spread over these batches.
    """
    rng, images = np.random.default_rng(seed), trained.dataset.test.inputs
    # Converted once, instead of for each of thousands of batches.
    weights = [tf.constant(weight) for weight in trained.weights]
    predictions = np.empty((times, len(images)), np.int64)
    for row in predictions:
        for batch in np.array_split(rng.permutation(len(images)), max(len(images) // size, 1)):
            row[batch] = scorer.predict(weights, images[batch]).argmax(axis=1)
    return predictions


def with_momentum(variant: Variant, momentum: float, *, looks: int, apart: int) -> Variant:
    """Returns the variant with another momentum, in `looks` epochs of `apart` steps."""
    normalization = variant.normalization.model_copy(update={"momentum": momentum})
    training = variant.training.model_copy(update={"epochs": looks, "steps_per_epoch": apart})
    return variant.model_copy(update={"normalization": normalization, "training": training})


def both_ways(states: Iterable[Trained]) -> pd.DataFrame:
    """Returns validation accuracy, one row per state, in the columns `batch` and `moving`.

    `batch` uses the statistics of batches of the training size, `moving` the moving averages.
    """
    rows, scorers = [], {}
    for state in states:
        # All states of a run share one model, which is compiled once.
        scorers = scorers or {"batch": BatchScorer(state.model), "moving": Scorer(state.model)}
        validation, size = state.dataset.validation, state.training.batch_size
        rows.append(
            {
                way: scorer.evaluate(
                    state.weights, validation.inputs, validation.labels, size
                ).accuracy
                for way, scorer in scorers.items()
            }
        )
    return pd.DataFrame(rows)


def learnable(trained: Trained) -> list[NDArray[np.float32]]:
    """Returns the trainable weights: all but the moving averages."""
    weights = _by_path(trained)
    return [weights[variable.path] for variable in trained.model.trainable_variables]


def _by_path(trained: Trained) -> dict[str, NDArray[np.float32]]:
    paths = [variable.path for variable in trained.model.weights]
    return dict(zip(paths, trained.weights, strict=True))
