"""The gradients of a network in training mode, wherever its weights are."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Weights = list[NDArray[np.float32]]


class Gradients:
    """The loss of a network and its gradients; what is compiled is shared by all of one model.

    Attributes:
        weights: the trainable ones, in the order of `model.trainable_variables`.
        kernels: the places of the dense layers' kernels among them, from below.
    """

    def __init__(self, model: keras.Model, weights: Sequence[NDArray[np.float32]]) -> None:
        """Takes a model and the weights of one run, in the order of `model.get_weights()`."""
        named = {one.path: value for one, value in zip(model.weights, weights, strict=True)}
        self._model = model
        self.weights: Weights = [named[one.path] for one in model.trainable_variables]
        self.kernels = [
            place
            for place, one in enumerate(model.trainable_variables)
            if one.path.endswith("/kernel")
        ]
        # The state of a random generator is none of the weights.
        self._others = [
            named[one.path] if one.path in named else one.numpy()
            for one in model.non_trainable_variables
        ]

    def __call__(
        self, weights: Weights, images: NDArray[np.uint8], labels: NDArray[np.uint8]
    ) -> tuple[float, Weights]:
        """Returns a batch's mean loss and its gradients, where the trainable weights are these."""
        loss, gradients = _loss_and_gradients(self._model, weights, self._others, images, labels)
        return float(loss), [gradient.numpy() for gradient in gradients]


def stepped(weights: Weights, gradients: Weights, far: float) -> Weights:
    """Returns the weights `far` times their gradients down."""
    pairs = zip(weights, gradients, strict=True)
    return [np.subtract(one, far * down, dtype=np.float32) for one, down in pairs]


def difference(after: Weights, before: Weights) -> float:
    """Returns the 2-norm of the difference, of all values together."""
    return norm([a - b for a, b in zip(after, before, strict=True)])


def norm(values: Weights) -> float:
    """Returns the 2-norm of all values together."""
    return float(np.sqrt(sum(np.sum(np.square(one, dtype=np.float64)) for one in values)))


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
