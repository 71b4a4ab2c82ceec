"""A TensorFlow 1 graph and session with `feed_dict`, as in the notebook."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import tensorflow as tf

from benchmarks.job import Arrays, Job, Scores, TrainMany, one_by_one, read_arrays
from benchmarks.protocol import serve

tf1 = tf.compat.v1


@dataclass(frozen=True)
class _Graph:
    """The placeholders that the session is fed, and the tensors that it computes."""

    images: Any
    labels: Any
    training: Any
    first: Any
    step: Any
    scores: Any
    session: Any

    def restart(self) -> None:
        """Draws new weights."""
        self.session.run(self.first)

    def run(self, asked: Any, images: Any, labels: Any, *, training: bool) -> Any:
        """Returns the tensors asked for, computed on these examples."""
        feed = {self.images: images, self.labels: labels, self.training: training}
        return self.session.run(asked, feed)


def make(job: Job) -> TrainMany:
    """Returns a function that trains one network at a time; each variant has its own session."""
    arrays = read_arrays(job)

    @cache
    def graph(variant: str) -> _Graph:
        with tf1.Graph().as_default():
            return _graph(job, arrays, normalized=variant == "batch_norm")

    def train(variant: str, seed: int) -> list[Scores]:
        graph(variant).restart()
        return [_epoch(job, arrays, graph(variant), seed, epoch) for epoch in range(job.epochs)]

    return one_by_one(train)


def _epoch(job: Job, arrays: Arrays, graph: _Graph, seed: int, epoch: int) -> Scores:
    images, labels = arrays.train
    for batch in arrays.batches(seed, epoch, job.batch_size):
        graph.run(graph.step, images[batch], labels[batch], training=True)
    scores = [graph.run(graph.scores, *one, training=False) for one in arrays]
    return Scores(*(float(score) for one in scores for score in one))


def _graph(job: Job, arrays: Arrays, *, normalized: bool) -> _Graph:
    pixels = arrays.train.inputs.shape[1]
    classes = int(arrays.train.labels.max()) + 1
    images = tf1.placeholder(tf.float32, [None, pixels])
    labels = tf1.placeholder(tf.int32, [None])
    training = tf1.placeholder(tf.bool, [])
    units, moves = images, []
    for i, width in enumerate(job.hidden_dims):
        with tf1.variable_scope(f"hidden_{i}"):
            units = _dense(units, width)
            if normalized:
                units, more = _normalized(units, training, job)
                moves += more
            units = tf.nn.relu(units)
    with tf1.variable_scope("logits"):
        logits = _dense(units, classes)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    right = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
    with tf1.control_dependencies(moves):
        step = tf1.train.AdamOptimizer(job.learning_rate, epsilon=job.epsilon).minimize(loss)
    scores = [loss, tf.reduce_mean(tf.cast(right, tf.float32))]
    first = tf1.global_variables_initializer()
    return _Graph(images, labels, training, first, step, scores, tf1.Session())


def _dense(units: tf.Tensor, width: int) -> tf.Tensor:
    kernel = tf1.get_variable(
        "kernel", [units.shape[1], width], initializer=tf1.glorot_uniform_initializer()
    )
    return units @ kernel + tf1.get_variable("bias", [width], initializer=tf1.zeros_initializer())


def _normalized(
    units: tf.Tensor, training: tf.Tensor, job: Job
) -> tuple[tf.Tensor, Sequence[tf.Operation]]:
    """Returns the normalised units, and the operations that update the moving averages."""

    def variable(name: str, value: float, *, trainable: bool = True) -> Any:
        initializer = tf1.constant_initializer(value)
        return tf1.get_variable(name, units.shape[1:], initializer=initializer, trainable=trainable)

    averages = [variable("mean", 0, trainable=False), variable("variance", 1, trainable=False)]
    moments = tf.cond(training, lambda: tf.nn.moments(units, [0]), lambda: tuple(averages))
    normal = tf.nn.batch_normalization(
        units, *moments, variable("beta", 0), variable("gamma", 1), job.norm_epsilon
    )
    moves = [
        tf1.assign_sub(average, (1 - job.momentum) * (average - moment))
        for average, moment in zip(averages, moments, strict=True)
    ]
    return normal, moves


if __name__ == "__main__":
    serve(make)
