"""A train step, an epoch, an evaluation: each compiled once for a network, whatever the seed."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.core.network import draw_kernels
from pipeline.params import Optimizer

_compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
# The hidden units of so many images stay in the processor's cache.
_CACHE_FRIENDLY = 500


@dataclass(frozen=True)
class Scores:
    """Mean softmax cross-entropy, and the share of examples classified right (0 to 1)."""

    loss: float
    accuracy: float


class Scorer:
    """Scores a network in inference mode."""

    def __init__(self, model: keras.Model) -> None:
        """Keeps the model, which maps images [batch, height, width] to logits [batch, classes]."""
        self.model = model

    def evaluate(self, images: Any, labels: Any, batch_size: int | None = None) -> Scores:
        """Returns the scores over all examples, every one weighing the same.

        Args:
            images: [examples, height, width], uint8.
            labels: [examples].
            batch_size: how many pass the network at once, by default what is fastest. The last
                batch may be smaller. It changes speed and memory, and scores by rounding alone.
        """
        examples = len(images)
        batch_size = min(batch_size or _CACHE_FRIENDLY, examples)
        loss, correct = self._sums(images, labels, examples=examples, batch_size=batch_size)
        # float32 carries seven digits: the files should not show more.
        mean_loss = float(f"{float(loss) / examples:.7g}")
        return Scores(mean_loss, float(f"{int(correct) / examples:.7g}"))

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the probabilities [examples, classes] of each class."""
        return self._probabilities(images).numpy()

    @_compiled
    def _probabilities(self, images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(self.model(images, training=False))

    @_compiled
    def _sums(
        self, images: tf.Tensor, labels: tf.Tensor, *, examples: int, batch_size: int
    ) -> list[tf.Tensor]:
        """Returns the summed loss and the number of right answers."""
        whole = examples // batch_size

        def add_batch(i: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> list[tf.Tensor]:
            start = i * batch_size
            more = self._batch_sums(
                tf.slice(images, [start, 0, 0], [batch_size, *images.shape[1:]]),
                tf.slice(labels, [start], [batch_size]),
            )
            return [i + 1, loss + more[0], correct + more[1]]

        _, loss, correct = tf.while_loop(lambda i, *_: i < whole, add_batch, [0, 0.0, 0])
        rest = whole * batch_size
        if rest < examples:
            more = self._batch_sums(images[rest:], labels[rest:])
            loss, correct = loss + more[0], correct + more[1]
        return [loss, correct]

    def _batch_sums(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = self.model(images, training=False)
        correct = tf.argmax(logits, axis=1, output_type=tf.int32) == tf.cast(labels, tf.int32)
        return tf.reduce_sum(_losses(logits, labels)), tf.reduce_sum(tf.cast(correct, tf.int32))


class Solver(Scorer):
    """Trains a network."""

    def __init__(self, model: keras.Model, optimizer: Optimizer) -> None:
        """Builds the optimizer's variables, so that nothing is created while training."""
        super().__init__(model)
        self.optimizer: keras.optimizers.Optimizer = keras.optimizers.get(
            {"class_name": optimizer.name, "config": optimizer.arguments}
        )
        self.optimizer.build(model.trainable_variables)
        self._fresh_model = model.get_weights()
        self._fresh_optimizer = [variable.numpy() for variable in self.optimizer.variables]

    def reset(self, seed: int) -> None:
        """Goes back to before the first step, with kernels drawn from `seed`."""
        self.model.set_weights(self._fresh_model)
        draw_kernels(self.model, seed)
        for variable, value in zip(self.optimizer.variables, self._fresh_optimizer, strict=True):
            variable.assign(value)

    @_compiled
    def train_step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Takes one step down the gradient; returns the batch's mean loss before it.

        Args:
            images: [batch, height, width], uint8.
            labels: [batch].
        """
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            loss = tf.reduce_mean(_losses(logits, labels))
        gradients = tape.gradient(loss, self.model.trainable_variables)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        return loss

    @_compiled
    def train_epoch(self, images: tf.Tensor, labels: tf.Tensor, batches: tf.Tensor) -> tf.Tensor:
        """Takes a step for each batch; returns the mean of their losses.

        Args:
            images: [examples, height, width], uint8.
            labels: [examples].
            batches: [steps, batch], which examples each step sees.
        """
        steps = batches.shape[0]

        def step(i: tf.Tensor, total: tf.Tensor) -> list[tf.Tensor]:
            chosen = batches[i]
            return [
                i + 1,
                total + self.train_step(tf.gather(images, chosen), tf.gather(labels, chosen)),
            ]

        _, total = tf.while_loop(lambda i, _: i < steps, step, [0, 0.0])
        return total / steps


def _losses(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
