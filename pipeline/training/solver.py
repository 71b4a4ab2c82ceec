"""A train step, an epoch, an evaluation: functions of the weights, compiled once for a network."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.params import Optimizer
from pipeline.runs.epochs import Scores
from pipeline.training import optimizers
from pipeline.training.network import first_noise, first_weights

_compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
# The hidden units of so many images stay in the processor's cache.
_CACHE_FRIENDLY = 500


class Scorer:
    """Scores a network in inference mode. Weights are as in `model.get_weights()`."""

    def __init__(self, model: keras.Model) -> None:
        """Keeps the model, which maps images [batch, height, width] to logits [batch, classes]."""
        self.model = model

    def evaluate(
        self, weights: Sequence[Any], images: Any, labels: Any, batch_size: int | None = None
    ) -> Scores:
        """Returns the scores over all examples, every one weighing the same.

        Args:
            weights: of the model, which itself is left as it is.
            images: [examples, height, width], uint8.
            labels: [examples].
            batch_size: how many pass the network at once, by default what is fastest. The last
                batch may be smaller. It changes speed and memory, and scores by rounding alone.
        """
        examples = len(images)
        batch_size = min(batch_size or _CACHE_FRIENDLY, examples)
        loss, correct = self._sums(
            list(weights), images, labels, examples=examples, batch_size=batch_size
        )
        # float32 carries seven digits: the files should not show more.
        mean_loss = float(f"{float(loss) / examples:.7g}")
        return Scores(mean_loss, float(f"{int(correct) / examples:.7g}"))

    def predict(self, weights: Sequence[Any], images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the probabilities [examples, classes] of each class."""
        return self._probabilities(list(weights), images).numpy()

    @_compiled
    def _probabilities(self, weights: list[tf.Tensor], images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(self._logits(weights, images))

    @_compiled
    def _sums(
        self,
        weights: list[tf.Tensor],
        images: tf.Tensor,
        labels: tf.Tensor,
        *,
        examples: int,
        batch_size: int,
    ) -> list[tf.Tensor]:
        """Returns the summed loss and the number of right answers."""
        whole = examples // batch_size

        def add_batch(i: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> list[tf.Tensor]:
            start = i * batch_size
            more = self._batch_sums(
                weights,
                tf.slice(images, [start, 0, 0], [batch_size, *images.shape[1:]]),
                tf.slice(labels, [start], [batch_size]),
            )
            return [i + 1, loss + more[0], correct + more[1]]

        _, loss, correct = tf.while_loop(lambda i, *_: i < whole, add_batch, [0, 0.0, 0])
        rest = whole * batch_size
        if rest < examples:
            more = self._batch_sums(weights, images[rest:], labels[rest:])
            loss, correct = loss + more[0], correct + more[1]
        return [loss, correct]

    def _batch_sums(
        self, weights: list[tf.Tensor], images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        logits = self._logits(weights, images)
        correct = tf.argmax(logits, axis=1, output_type=tf.int32) == tf.cast(labels, tf.int32)
        return tf.reduce_sum(_losses(logits, labels)), tf.reduce_sum(tf.cast(correct, tf.int32))

    def _logits(self, weights: list[tf.Tensor], images: tf.Tensor) -> tf.Tensor:
        with keras.StatelessScope(zip(self.model.weights, weights, strict=True)):
            return self.model(images, training=False)


class State(NamedTuple):
    """All that training changes. `trainable` and `optimizer` are vectors; see `Solver`.

    Among the `statistics` is what noise is drawn from, where a normalisation has any.
    """

    trainable: list[Any]
    statistics: list[Any]
    optimizer: list[Any]


class Solver(Scorer):
    """Trains a network. It holds nothing that changes, so that threads share what it compiled.

    To the optimizer a kernel [inputs, units] is a vector, that of its transpose: the compiler
    updates vectors several times as fast as narrow matrices, and a gradient of that shape takes it
    a third less time to multiply out. Together that is a fifth of a step.
    """

    def __init__(self, model: keras.Model, optimizer: Optimizer) -> None:
        """Builds the optimizer for the model's trainable weights, whatever its learning rate."""
        super().__init__(model)
        self.optimizer = optimizers.build(optimizer)
        vectors = [_as_vector(variable) for variable in model.trainable_variables]
        self.optimizer.build([keras.Variable(vector) for vector in vectors])

    def start(self, seed: int, learning_rate: float | None = None) -> State:
        """Returns the variables of a run before its first step, drawn from `seed`.

        The learning rate is one of them, so that runs that differ in it share what is compiled; by
        default it is the optimizer's.
        """
        weights = _by_path(self.model.weights, first_weights(self.model, seed))
        weights |= first_noise(self.model, seed)
        state = State(
            [_as_vector(weights[one.path]) for one in self.model.trainable_variables],
            [weights[one.path] for one in self.model.non_trainable_variables],
            [
                np.float32(learning_rate)
                if learning_rate is not None and one.name == "learning_rate"
                else one.numpy()
                for one in self.optimizer.variables
            ],
        )
        return tf.nest.map_structure(tf.Variable, state)

    @_compiled
    def weights(self, state: State) -> list[tf.Tensor]:
        """Returns the model's weights in that state, in the order of `model.get_weights()`."""
        weights = _by_path(self.model.trainable_variables, self._kernels(state))
        weights |= _by_path(self.model.non_trainable_variables, state.statistics)
        return [weights[one.path] for one in self.model.weights]

    def train_step(
        self, state: State, images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        """Returns the state one step down the gradient, and the batch's mean loss before it.

        Args:
            state: before the step, which stays as it is.
            images: [batch, height, width], uint8.
            labels: [batch].
        """
        weights = self._kernels(state)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            logits, statistics = self.model.stateless_call(
                weights, state.statistics, images, training=True
            )
            loss = tf.reduce_mean(_losses(logits, labels))
        gradients = [_as_vector(gradient) for gradient in tape.gradient(loss, weights)]
        trainable, optimizer = self.optimizer.stateless_apply(
            state.optimizer, gradients, state.trainable
        )
        return State(trainable, statistics, optimizer), loss

    @_compiled
    def train_epoch(
        self, state: State, images: tf.Tensor, labels: tf.Tensor, batches: tf.Tensor
    ) -> tf.Tensor:
        """Takes a step for each batch; returns the mean of their losses.

        Args:
            state: variables, which are moved on. As a value that is handed in and out, the state
                would be copied, by a thread that all runs share.
            images: [examples, height, width], uint8.
            labels: [examples].
            batches: [steps, batch], which examples each step sees.
        """
        steps = batches.shape[0]

        def step(i: tf.Tensor, state: State, total: tf.Tensor) -> tuple[Any, State, tf.Tensor]:
            chosen = batches[i]
            state, loss = self.train_step(
                state, tf.gather(images, chosen), tf.gather(labels, chosen)
            )
            return i + 1, state, total + loss

        first = tf.nest.map_structure(tf.convert_to_tensor, state)
        _, last, total = tf.while_loop(lambda i, *_: i < steps, step, (0, first, 0.0))
        tf.nest.map_structure(lambda variable, value: variable.assign(value), state, last)
        return total / steps

    def _kernels(self, state: State) -> list[tf.Tensor]:
        """Returns the trainable weights in the shapes that the model gives them."""
        shapes = [variable.shape for variable in self.model.trainable_variables]
        return [
            tf.transpose(tf.reshape(vector, shape[::-1]))
            for vector, shape in zip(state.trainable, shapes, strict=True)
        ]


def _by_path(variables: Iterable[keras.Variable], values: Iterable[Any]) -> dict[str, Any]:
    return {one.path: value for one, value in zip(variables, values, strict=True)}


def _as_vector(kernel: Any) -> tf.Tensor:
    return tf.reshape(tf.transpose(kernel), [-1])


def _losses(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
