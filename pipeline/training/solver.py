"""Train step, epoch and evaluation: functions of the weights, compiled once for each network."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.params import Training
from pipeline.runs.epochs import Scores
from pipeline.training import optimizers
from pipeline.training.augmentation import augmented
from pipeline.training.gradient_factors import gradient_factors, multiplied
from pipeline.training.network import first_noise, first_weights
from pipeline.training.portable_layers import portable

_compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
# The hidden units of this many images fit in the processor's cache.
_CACHE_FRIENDLY = 500


class Scorer:
    """Scores a network in inference mode. Weights are as in `model.get_weights()`."""

    def __init__(self, model: keras.Model) -> None:
        """Takes a model that maps inputs [batch, ...] to logits [batch, classes].

        `self.model` is its portable clone.
        """
        self.model = portable(model)

    def evaluate(
        self,
        weights: Sequence[Any],
        inputs: Any,
        labels: Any,
        batch_size: int = _CACHE_FRIENDLY,
        rows: range | None = None,
    ) -> Scores:
        """Returns the scores over examples, each with the same weight.

        Args:
            weights: for the model, whose own weights stay as they are.
            inputs: [examples, ...], as they were prepared.
            labels: [examples].
            batch_size: how many examples pass through the network at once; the last batch is filled
                up with examples that do not count. It affects speed and memory, and the scores
                only by rounding.
            rows: which examples, one after the other; by default all. Sets that are parts of the
                same inputs share what is compiled.
        """
        rows = range(len(inputs)) if rows is None else rows
        loss, correct = self._sums(
            list(weights),
            inputs,
            labels,
            tf.constant([rows.start, rows.stop]),
            batch_size=min(batch_size, len(inputs)),
        )
        return _means(float(loss), int(correct), len(rows))

    def predict_and_score(
        self, weights: Sequence[Any], inputs: Any, labels: Any
    ) -> tuple[NDArray[np.float32], Scores]:
        """Returns what `predict` does, and the scores over all examples.

        All pass through the network at once. The arguments are those of `evaluate`.
        """
        probabilities, losses, correct = self._predicted(list(weights), inputs, labels)
        scores = _means(math.fsum(losses.numpy()), int(correct), len(inputs))
        return probabilities.numpy(), scores

    def predict(self, weights: Sequence[Any], inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Returns the probability of each class: [examples, classes]."""
        return self._probabilities(list(weights), inputs).numpy()

    @_compiled
    def _probabilities(self, weights: list[tf.Tensor], inputs: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(self._logits(weights, inputs))

    @_compiled
    def _sums(
        self,
        weights: list[tf.Tensor],
        inputs: tf.Tensor,
        labels: tf.Tensor,
        within: tf.Tensor,
        *,
        batch_size: int,
    ) -> list[tf.Tensor]:
        """Returns the summed loss and the number of correct answers, within [start, stop)."""
        size: Any = inputs.shape[0]
        shape, (start, stop) = inputs.shape[1:], tf.unstack(within)

        def add_batch(place: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> list[tf.Tensor]:
            # The last batch may reach beyond `stop`, or back to where examples were counted before.
            begin = tf.minimum(place, size - batch_size)
            here = begin + tf.range(batch_size)
            counts = (here >= place) & (here < stop)
            of_batch = tf.slice(labels, [begin], [batch_size])
            logits = self._logits(
                weights, tf.slice(inputs, [begin, *[0] * len(shape)], [batch_size, *shape])
            )
            loss += tf.reduce_sum(tf.where(counts, _losses(logits, of_batch), 0.0))
            correct += tf.reduce_sum(tf.cast(counts & _is_correct(logits, of_batch), tf.int32))
            return [place + batch_size, loss, correct]

        _, loss, correct = tf.while_loop(lambda place, *_: place < stop, add_batch, [start, 0.0, 0])
        return [loss, correct]

    @_compiled
    def _predicted(
        self, weights: list[tf.Tensor], inputs: tf.Tensor, labels: tf.Tensor
    ) -> list[tf.Tensor]:
        """Returns the probabilities, the losses, and the number of correct answers."""
        logits = self._logits(weights, inputs)
        correct = tf.reduce_sum(tf.cast(_is_correct(logits, labels), tf.int32))
        return [tf.nn.softmax(logits), _losses(logits, labels), correct]

    def _logits(self, weights: list[tf.Tensor], inputs: tf.Tensor) -> tf.Tensor:
        with keras.StatelessScope(zip(self.model.weights, weights, strict=True)):
            return self.model(inputs, training=False)


class State(NamedTuple):
    """Everything that training changes. `trainable` and `optimizer` are vectors; see `Solver`.

    The `statistics` include the states that noise is drawn from, if there is any.
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

    def __init__(self, model: keras.Model, training: Training) -> None:
        """Builds the optimizer for the model's trainable weights."""
        super().__init__(model)
        self._learner = augmented(self.model, training.augmentation or ())
        self._smoothing = training.label_smoothing or 0
        self._factors = gradient_factors(self.model, training)
        self._has_penalties = bool(self.model.losses)
        vectors = [
            keras.Variable(_as_vector(variable)) for variable in self.model.trainable_variables
        ]
        self.optimizer = optimizers.build(training.optimizer, training.weight_decay)
        self.optimizer.exclude_from_weight_decay(
            [
                vector
                for vector, variable in zip(vectors, self.model.trainable_variables, strict=True)
                if len(variable.shape) < 2
            ]
        )
        self.optimizer.build(vectors)

    def start(self, seed: int) -> State:
        """Returns the variables of a run before its first step, drawn from `seed`."""
        weights = _by_path(self.model.weights, first_weights(self.model, seed))
        weights |= first_noise(self._learner, seed)
        state = State(
            [_as_vector(weights[variable.path]) for variable in self.model.trainable_variables],
            [weights[variable.path] for variable in self._learner.non_trainable_variables],
            [variable.numpy() for variable in self.optimizer.variables],
        )
        return tf.nest.map_structure(tf.Variable, state)

    def weights(self, state: State) -> list[tf.Tensor]:
        """Returns the model's weights in that state, in the order of `model.get_weights()`.

        They stay as they are when the state goes on.
        """
        state = tf.nest.map_structure(tf.convert_to_tensor, state)
        weights = _by_path(self.model.trainable_variables, self._kernels(state))
        weights |= _by_path(self._learner.non_trainable_variables, state.statistics)
        return [weights[variable.path] for variable in self.model.weights]

    def train_step(
        self, state: State, inputs: tf.Tensor, labels: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        """Returns the state after one optimizer step, and the batch's mean loss before it.

        Args:
            state: before the step; it is left unchanged.
            inputs: [batch, ...], as they were prepared.
            labels: [batch].
        """
        weights = self._kernels(state)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            logits, statistics, *penalties = self._learner.stateless_call(
                weights, state.statistics, inputs, training=True, return_losses=self._has_penalties
            )
            loss = tf.reduce_mean(_losses(logits, labels, self._smoothing))
            loss += sum(tf.nest.flatten(penalties)) if penalties else 0
        gradients = tape.gradient(loss, weights)
        if self._factors is not None:
            gradients = list(map(multiplied, gradients, self._factors))
        gradients = [_as_vector(gradient) for gradient in gradients]
        trainable, optimizer = self.optimizer.stateless_apply(
            state.optimizer, gradients, state.trainable
        )
        return State(trainable, statistics, optimizer), loss

    @_compiled
    def train_epoch(
        self,
        state: State,
        inputs: tf.Tensor,
        labels: tf.Tensor,
        batches: tf.Tensor,
        rates: tf.Tensor,
    ) -> tf.Tensor:
        """Takes one step for each batch; returns the mean of their losses.

        Args:
            state: variables, updated in place. If the state were passed in and returned as a value,
                it would be copied, by threads that all runs share.
            inputs: [examples, ...], as they were prepared.
            labels: [examples].
            batches: [steps, batch], the examples that each step sees.
            rates: [steps], the learning rate of each step. It is no part of the optimizer, so that
                runs that differ in it share what is compiled.
        """
        steps = batches.shape[0]
        # Compiled code gathers from a matrix faster.
        rows = tf.reshape(inputs, [inputs.shape[0], -1])

        def step(i: tf.Tensor, state: State, total: tf.Tensor) -> tuple[Any, State, tf.Tensor]:
            chosen = batches[i]
            state, loss = self.train_step(
                self._at_rate(state, rates[i]),
                tf.reshape(tf.gather(rows, chosen), [-1, *inputs.shape[1:]]),
                tf.gather(labels, chosen),
            )
            return i + 1, state, total + loss

        first = tf.nest.map_structure(tf.convert_to_tensor, state)
        _, last, total = tf.while_loop(lambda i, *_: i < steps, step, (0, first, 0.0))
        tf.nest.map_structure(lambda variable, value: variable.assign(value), state, last)
        return total / steps

    def _at_rate(self, state: State, rate: tf.Tensor) -> State:
        optimizer = [
            rate if variable.name == "learning_rate" else value
            for variable, value in zip(self.optimizer.variables, state.optimizer, strict=True)
        ]
        return state._replace(optimizer=optimizer)

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


def _is_correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.argmax(logits, axis=1, output_type=tf.int32) == tf.cast(labels, tf.int32)


def _means(loss: float, correct: int, examples: int) -> Scores:
    # float32 has seven significant digits: the files should not show more.
    return Scores(float(f"{loss / examples:.7g}"), float(f"{correct / examples:.7g}"))


def _losses(logits: tf.Tensor, labels: tf.Tensor, smoothing: float = 0) -> tf.Tensor:
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
    if smoothing:
        evenly = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=1)
        losses = (1 - smoothing) * losses + smoothing * evenly
    return losses
