"""The gradients of a network in training mode, at any weights."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.training.names import is_kernel

Weights = list[NDArray[np.float32]]


class Gradients:
    """The loss of a network and its gradients, compiled once per model.

    Attributes:
        weights: the trainable ones, in the order of `model.trainable_variables`.
        kernels: the indices in `weights` of the dense layers' kernels, from the first layer up.
    """

    def __init__(self, model: keras.Model, weights: Sequence[NDArray[np.float32]]) -> None:
        """Takes a model and the weights of one run, in the order of `model.get_weights()`."""
        paths = [variable.path for variable in model.weights]
        values = dict(zip(paths, weights, strict=True))
        self._model = model
        self.weights: Weights = [values[variable.path] for variable in model.trainable_variables]
        self.kernels = [
            index
            for index, variable in enumerate(model.trainable_variables)
            if is_kernel(variable.path)
        ]
        # The state of a random generator is not among the weights.
        self._others = [
            values[variable.path] if variable.path in values else variable.numpy()
            for variable in model.non_trainable_variables
        ]

    def __call__(
        self, weights: Weights, images: NDArray[np.uint8], labels: NDArray[np.uint8]
    ) -> tuple[float, Weights]:
        """Returns a batch's mean loss and its gradients at these trainable weights."""
        loss, gradients = _loss_and_gradients(self._model, weights, self._others, images, labels)
        return float(loss), [gradient.numpy() for gradient in gradients]


def stepped(weights: Weights, gradients: Weights, far: float) -> Weights:
    """Returns the weights minus `far` times their gradients."""
    pairs = zip(weights, gradients, strict=True)
    return [np.subtract(weight, far * down, dtype=np.float32) for weight, down in pairs]


def difference(after: Weights, before: Weights) -> float:
    """Returns the 2-norm of the difference over all values together."""
    return norm([a - b for a, b in zip(after, before, strict=True)])


def norm(values: Weights) -> float:
    """Returns the 2-norm over all values together."""
    return float(np.sqrt(sum(np.sum(np.square(part, dtype=np.float64)) for part in values)))


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Returns the cosine of the angle between two gradients of the same weights; 1 if one is 0."""
    lengths = norm([a]) * norm([b])
    return float(np.sum(a * b, dtype=np.float64)) / lengths if lengths else 1.0


@functools.partial(tf.function, jit_compile=True, autograph=False)
def _loss_and_gradients(
    model: keras.Model,
    trainable: list[tf.Tensor],
    others: list[tf.Tensor],
    images: tf.Tensor,
    labels: tf.Tensor,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    with tf.GradientTape() as tape:
        tape.watch(trainable)
        logits, _ = model.stateless_call(trainable, others, images, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
        loss = tf.reduce_mean(losses)
    return loss, tape.gradient(loss, trainable)
