"""Dense layers whose products have the same bits on every processor, whatever its caches.

XLA leaves a matrix product on a CPU to Eigen, which cuts it into blocks by the size of the L1 data
cache: 32 KB in some processors, 48 KB in others. Each way of cutting rounds differently. Products
are therefore cut here, into pieces that Eigen treats alike for both sizes (`computeProductBlocking`
in its GeneralBlockPanelKernel.h, for AVX).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

# More products than this are not summed at once where the cache has 32 KB.
_MOST_SUMMED = 400
# So few rows are never divided; so many are not where the right operand is larger than any cache.
# With more rows than this, oneDNN may choose another algorithm.
_FEW_ROWS, _MANY_ROWS = 24, 256
# The values that fit in 32 KB beside Eigen's own, and those that do not fit in 48 KB.
_SMALL, _LARGE = 8_128, 12_224
# How many columns are computed at once: whole blocks, whose number depends on the L2 cache, and the
# rest. A rest of one column is computed in another way.
_BLOCK = 48
# Pieces that are whole vectors are faster.
_STRIP = 8


def portable(model: keras.Model) -> keras.Model:
    """Returns a clone of a model, with the same names, whose dense layers are portable.

    It works inside compiled functions only.
    """
    return keras.models.clone_model(model, clone_function=_portable_layer)


def _portable_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    kind = _Dense if type(layer) is keras.layers.Dense else type(layer)
    return kind.from_config(layer.get_config())


class _Dense(keras.layers.Dense):
    """A dense layer from [batch, inputs] to [batch, units]."""

    def call(self, inputs: Any, training: Any = None) -> Any:  # noqa: ARG002
        outputs = times(inputs, self.kernel)
        return self.activation(outputs + self.bias if self.use_bias else outputs)


@tf.custom_gradient
def times(
    inputs: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """Returns `inputs` [batch, inputs] times `kernel` [inputs, units]; it has a gradient.

    In all three products both operands lie in memory row by row: Eigen packs transposed ones
    slowly.
    """
    transposed = _turned(kernel)

    def gradients(outer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _product(outer, transposed), tf.transpose(_product(_turned(outer), inputs))

    return tf.transpose(_product(transposed, _turned(inputs))), gradients


def _product(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Returns `left` [rows, summed] times `right` [summed, columns]."""
    sizes: Any = (*left.shape, right.shape[1])
    rows, summed, columns = sizes
    if columns > _BLOCK and columns % _BLOCK == 1:
        ends = right[:, :-_STRIP], right[:, -_STRIP:]
        return tf.concat([_product(left, end) for end in ends], axis=1)
    total: Any = None
    for some in _pieces(summed, _MOST_SUMMED):
        at_once = _rows_at_once(some.stop - some.start, columns)
        part = tf.concat([left[of, some] @ right[some] for of in _pieces(rows, at_once)], axis=0)
        total = part if total is None else total + part
    return _fixed(total)


def _rows_at_once(summed: int, columns: int) -> int:
    """Returns how many rows Eigen never divides, or divides alike."""
    if summed * columns >= _LARGE:
        return _MANY_ROWS
    small = (_SMALL // summed - columns - 4) // _STRIP * _STRIP
    return max(_FEW_ROWS, min(_MANY_ROWS, small))


def _pieces(length: int, most: int) -> list[slice]:
    """Returns slices of `length`, none longer than `most`, of equal size but for the last."""
    count = -(-length // most)
    size = length if count == 1 else -(-length // count // _STRIP) * _STRIP
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def _turned(matrix: tf.Tensor) -> tf.Tensor:
    return _fixed(tf.transpose(matrix))


def _fixed(matrix: tf.Tensor) -> tf.Tensor:
    """Keeps XLA from making one operation of a product and a transposition beside it."""
    return xla.optimization_barrier(matrix)[0]
