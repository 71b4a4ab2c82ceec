"""What depth does to signals and gradients, before or after training."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.studies.measures.gradients import Weights, norm
from pipeline.training.portable_layers import times

# Enough for the Rayleigh quotient, though not for the vector, where singular values are close.
_ITERATIONS = 500


def growth(gradients: Weights) -> float:
    """Returns the factor by which the squared norm of gradients grows from a layer to that below.

    It is the slope of the least-squares line through the logarithms, by depth.

    Args:
        gradients: those of kernels of one shape, from the first layer up; at least two, or the
            result is nan.
    """
    logarithms = np.array([2 * np.log(norm([gradient])) for gradient in gradients])
    if len(logarithms) < 2:
        return float("nan")
    # Sums in order: those of linear algebra depend on the processor.
    depths = np.arange(len(logarithms)) - (len(logarithms) - 1) / 2
    return float(np.exp(-np.sum(depths * logarithms) / np.sum(depths**2)))


def stable_rank(units: NDArray[np.float32] | Sequence[Sequence[float]]) -> float:
    """Returns the squared Frobenius norm of a matrix over its squared spectral norm.

    It lies between 1 and the rank (Rudelson & Vershynin 2007, section 1); 0 of a matrix of zeros.

    Args:
        units: [examples, units], the outputs of a layer.
    """
    matrix = np.asarray(units, np.float32)
    if not matrix.any():
        return 0.0
    squared = np.sum(np.square(matrix, dtype=np.float64))
    scaled = (matrix / np.sqrt(squared)).astype(np.float32)
    return float(1 / _largest_eigenvalue(scaled).numpy())


@functools.partial(tf.function, jit_compile=True, autograph=False)
def _largest_eigenvalue(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the largest eigenvalue of a matrix times its transpose, by power iteration."""
    gram = times(matrix, tf.transpose(matrix))

    def multiplied(vector: tf.Tensor) -> tf.Tensor:
        # Products with a vector, as sums: XLA makes loops of them that know nothing of caches.
        return tf.reduce_sum(gram * vector, axis=1)

    def step(i: tf.Tensor, vector: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        longer = multiplied(vector)
        return i + 1, longer / tf.sqrt(tf.reduce_sum(longer**2))

    # The diagonal is positive wherever the vector that is looked for is not 0.
    first = tf.sqrt(tf.linalg.diag_part(gram)) + 1e-3
    first /= tf.sqrt(tf.reduce_sum(first**2))
    _, vector = tf.while_loop(lambda i, _: i < _ITERATIONS, step, (0, first))
    return tf.reduce_sum(vector * multiplied(vector))
