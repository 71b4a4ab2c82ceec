"""Train step, epoch and evaluation: functions of the weights, compiled once for each network."""

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
from pipeline.training.dense import portable
from pipeline.training.network import first_noise, first_weights

_compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
# The hidden units of this many images fit in the processor's cache.
_CACHE_FRIENDLY = 500


class Scorer:
    """Scores a network in inference mode. Weights are as in `model.get_weights()`."""

    def __init__(self, model: keras.Model) -> None:
        """Takes a model that maps images [batch, height, width] to logits [batch, classes].

        `self.model` is its portable clone.
        """
        self.model = portable(model)

    def evaluate(
        self, weights: Sequence[Any], images: Any, labels: Any, batch_size: int | None = None
    ) -> Scores:
        """Returns the scores over all examples, each with the same weight.

        Args:
            weights: for the model, whose own weights stay as they are.
            images: [examples, height, width], uint8.
            labels: [examples].
            batch_size: how many examples pass through the network at once, by default the fastest.
                The last batch may be smaller. It affects speed and memory, and the scores only by
                rounding.
        """
        examples = len(images)
        batch_size = min(batch_size or _CACHE_FRIENDLY, examples)
        loss, correct = self._sums(
            list(weights), images, labels, examples=examples, batch_size=batch_size
        )
        # float32 has seven significant digits: the files should not show more.
        mean_loss = float(f"{float(loss) / examples:.7g}")
        return Scores(mean_loss, float(f"{int(correct) / examples:.7g}"))

    def predict(self, weights: Sequence[Any], images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the probability of each class: [examples, classes]."""
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
        """Returns the summed loss and the number of correct answers."""
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
    """Everything that training changes. `trainable` and `optimizer` are vectors; see `Solver`.

    The `statistics` include the state that noise is drawn from, if the normalisation has noise.
    """

    trainable: list[Any]
    statistics: list[Any]
    optimizer: list[Any]


class Solver(Scorer):
    """Trains a network. It holds no state that changes, so threads can share what it compiled.

    The optimizer sees a kernel [inputs, units] as the flattened vector of its transpose. Compiled
    code updates vectors several times faster than narrow matrices, and multiplies out a gradient of
    that shape in a third less time. Together this saves a fifth of a step.
    """

    def __init__(self, model: keras.Model, optimizer: Optimizer) -> None:
        """Builds the optimizer for the model's trainable weights; `start` sets its rate."""
        super().__init__(model)
        self.optimizer = optimizers.build(optimizer)
        vectors = [_as_vector(variable) for variable in self.model.trainable_variables]
        self.optimizer.build([keras.Variable(vector) for vector in vectors])

    def start(self, seed: int, learning_rate: float | None = None) -> State:
        """Returns the variables of a run before its first step, drawn from `seed`.

        The learning rate is one of them, so that runs that differ only in it share compiled code.
        By default it is the optimizer's.
        """
        weights = _by_path(self.model.weights, first_weights(self.model, seed))
        weights |= first_noise(self.model, seed)
        state = State(
            [_as_vector(weights[variable.path]) for variable in self.model.trainable_variables],
            [weights[variable.path] for variable in self.model.non_trainable_variables],
            [
                np.float32(learning_rate)
                if learning_rate is not None and variable.name == "learning_rate"
                else variable.numpy()
                for variable in self.optimizer.variables
            ],
        )
        return tf.nest.map_structure(tf.Variable, state)

    @_compiled
    def weights(self, state: State) -> list[tf.Tensor]:
        """Returns the model's weights in that state, in the order of `model.get_weights()`."""
        weights = _by_path(self.model.trainable_variables, self._kernels(state))
        weights |= _by_path(self.model.non_trainable_variables, state.statistics)
        return [weights[variable.path] for variable in self.model.weights]

    def train_step(
        self, state: State, images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        """Returns the state after one optimizer step, and the batch's mean loss before it.

        Args:
            state: before the step; it is left unchanged.
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
        """Takes one step for each batch; returns the mean of their losses.

        Args:
            state: variables, updated in place. If the state were passed in and returned as a value,
                it would be copied, by a thread that all runs share.
            images: [examples, height, width], uint8.
            labels: [examples].
            batches: [steps, batch], the examples that each step sees.
        """
        steps = batches.shape[0]
        # Compiled code gathers from a matrix faster.
        pixels = tf.reshape(images, [images.shape[0], -1])

        def step(i: tf.Tensor, state: State, total: tf.Tensor) -> tuple[Any, State, tf.Tensor]:
            chosen = batches[i]
            state, loss = self.train_step(
                state,
                tf.reshape(tf.gather(pixels, chosen), [-1, *images.shape[1:]]),
                tf.gather(labels, chosen),
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
    return {variable.path: value for variable, value in zip(variables, values, strict=True)}


def _as_vector(kernel: Any) -> tf.Tensor:
    return tf.reshape(tf.transpose(kernel), [-1])


def _losses(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
