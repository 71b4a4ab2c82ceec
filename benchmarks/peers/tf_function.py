"""A compiled `tf.function` step, called from a loop in Python."""

from collections.abc import Callable
from functools import cache

import keras
import tensorflow as tf

from benchmarks.job import Job, Scores, TrainMany, one_by_one, read_arrays
from benchmarks.peers.keras_fit import Trainer, model_of
from benchmarks.protocol import serve


def make(job: Job) -> TrainMany:
    """Returns a function that trains one network at a time."""
    arrays = read_arrays(job)
    sets = [tuple(tf.constant(part) for part in one) for one in arrays]

    @cache
    def compiled(variant: str) -> tuple[Trainer, Callable, Callable]:
        model = model_of(job, arrays, normalized=variant == "batch_norm")
        trainer = Trainer(model, keras.optimizers.Adam(job.learning_rate, epsilon=job.epsilon))
        return trainer, _step(trainer, *sets[0]), _scores(model)

    def train(variant: str, seed: int) -> list[Scores]:
        trainer, step, scores = compiled(variant)
        trainer.restart(seed)
        curve = []
        for epoch in range(job.epochs):
            for batch in tf.constant(arrays.batches(seed, epoch, job.batch_size)):
                step(batch)
            curve.append(Scores(*(float(score) for one in sets for score in scores(*one))))
        return curve

    return one_by_one(train)


def _step(trainer: Trainer, images: tf.Tensor, labels: tf.Tensor) -> Callable:
    # The function captures the data: passing it at every step takes a third longer.
    @tf.function(jit_compile=True)
    def step(batch: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = trainer.model(tf.gather(images, batch), training=True)
            loss = _loss(logits, tf.gather(labels, batch))
        gradients = tape.gradient(loss, trainer.model.trainable_variables)
        trainer.optimizer.apply(gradients, trainer.model.trainable_variables)

    return step


def _scores(model: keras.Model) -> Callable:
    @tf.function(jit_compile=True)
    def scores(images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        logits = model(images, training=False)
        right = tf.argmax(logits, axis=1, output_type=tf.int32) == labels
        return [_loss(logits, labels), tf.reduce_mean(tf.cast(right, tf.float32))]

    return scores


def _loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


if __name__ == "__main__":
    serve(make)
