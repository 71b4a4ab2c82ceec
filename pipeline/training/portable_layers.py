"""Layers whose products have the same bits on every processor, whatever its caches.

XLA leaves a matrix product on a CPU to Eigen, which cuts it into blocks by the size of the L1 data
cache: 32 KB in some processors, 48 KB in others. Each way of cutting rounds differently. Products
are therefore cut here, into pieces that Eigen treats alike for both sizes (`computeProductBlocking`
in its GeneralBlockPanelKernel.h, for AVX).

A convolution is a product too, of its kernel and the patches of its inputs (Chellapilla et al.
2006). That is faster than XLA's own.
"""

from __future__ import annotations

import itertools
import re
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


# More pieces than this are multiplied by one operation: each takes time to compile.
_MANY_PIECES = 4
# With more rows of inputs than this, products are arranged so that their rows are few.
_TALL = 4096

# Layers that are portable here, or of which XLA makes loops that know nothing of caches. Subclasses
# of them are not meant.
_PORTABLE = frozenset(
    getattr(keras.layers, name)
    for name in (
        "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate",
        "Cropping2D", "Dense", "Dropout", "ELU", "Flatten", "GaussianDropout", "GaussianNoise",
        "GlobalAveragePooling2D", "GlobalMaxPooling2D", "GroupNormalization", "Identity",
        "InputLayer", "LayerNormalization", "LeakyReLU", "Maximum", "MaxPooling2D", "Minimum",
        "Multiply", "Normalization", "Permute", "PReLU", "ReLU", "Rescaling", "Reshape",
        "RMSNormalization", "Softmax", "SpatialDropout2D", "Subtract", "UnitNormalization",
        "UpSampling2D", "ZeroPadding2D",
    )
)  # fmt: skip


def portable(model: keras.Model) -> keras.Model:
    """Returns a clone of a model, with the same names, whose layers are portable where they can be.

    It works inside compiled functions only.
    """
    return keras.models.clone_model(model, clone_function=_portable_layer)


def outside_promise(model: keras.Model) -> list[str]:
    """Returns the kinds of a model's layers whose bits may depend on the processor."""
    return sorted(
        {
            type(layer).__name__
            for layer in model.layers
            if type(layer) not in _PORTABLE
            and not type(layer).__module__.startswith("pipeline.")
            and not _is_product(layer)
            and not _is_gain(layer)
        }
    )


def _portable_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    kind = type(layer)
    if kind is keras.layers.Dense:
        kind = _Dense
    elif _is_product(layer):
        kind = _Conv2D
    elif _is_gain(layer):
        kind = _Gain
    return kind.from_config(layer.get_config())


def _is_product(layer: keras.layers.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.groups == 1
        and layer.data_format == "channels_last"
    )


def _is_gain(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer multiplies each unit by a number of its own."""
    return type(layer) is keras.layers.EinsumDense and bool(
        re.fullmatch(r"\.\.\.(\w),\1->\.\.\.\1", layer.equation)
    )


class _Gain(keras.layers.EinsumDense):
    """A gain for each unit of [..., units], with an offset if there is one."""

    def call(self, inputs: Any, training: Any = None) -> Any:  # noqa: ARG002
        outputs = inputs * self.kernel
        return self.activation(outputs if self.bias is None else outputs + self.bias)


class _Dense(keras.layers.Dense):
    """A dense layer from [..., inputs] to [..., units]."""

    def call(self, inputs: Any, training: Any = None) -> Any:  # noqa: ARG002
        rows = tf.reshape(inputs, [-1, inputs.shape[-1]])
        outputs = tf.reshape(times(rows, self.kernel), [*inputs.shape[:-1], self.units])
        return self.activation(outputs + self.bias if self.use_bias else outputs)


class _Conv2D(keras.layers.Conv2D):
    """A convolution from [batch, height, width, channels] to [batch, rows, columns, filters]."""

    def call(self, inputs: Any) -> Any:
        sizes = self.compute_output_shape(inputs.shape)[1:3]
        windows = itertools.product(*(self._windows(axis, size) for axis, size in enumerate(sizes)))
        images = self._padded(inputs)
        patches = tf.concat([images[:, rows, columns] for rows, columns in windows], axis=-1)
        # The kernel is stored as [height, width, channels, filters].
        kernel = tf.reshape(tf.convert_to_tensor(self.kernel), [patches.shape[-1], self.filters])
        outputs = times(tf.reshape(patches, [-1, patches.shape[-1]]), kernel)
        outputs = tf.reshape(outputs, [inputs.shape[0], *sizes, self.filters])
        return self.activation(outputs + self.bias if self.use_bias else outputs)

    def _windows(self, axis: int, size: int) -> list[slice]:
        """Returns which rows (axis 0) or columns each row or column of the kernel meets."""
        step, far = self.strides[axis], self.dilation_rate[axis]
        reach = (size - 1) * step + 1
        return [slice(at * far, at * far + reach, step) for at in range(self.kernel_size[axis])]

    def _padded(self, inputs: Any) -> Any:
        """Returns the inputs with zeros around them, as many as TensorFlow would add."""
        if self.padding == "valid":
            return inputs
        around = []
        for axis in (0, 1):
            size, step = inputs.shape[1 + axis], self.strides[axis]
            reach = (self.kernel_size[axis] - 1) * self.dilation_rate[axis] + 1
            missing = max((-(-size // step) - 1) * step + reach - size, 0)
            around.append([missing // 2, missing - missing // 2])
        return tf.pad(inputs, [[0, 0], *around, [0, 0]])


@tf.custom_gradient
def times(
    inputs: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """Returns `inputs` [batch, inputs] times `kernel` [inputs, units]; it has a gradient.

    In all products both operands lie in memory row by row: Eigen packs transposed ones slowly.
    """
    rows: Any = inputs.shape[0]
    transposed = _turned(kernel)

    def gradients(outer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        turned = _turned(outer)
        of_kernel = tf.transpose(_product(turned, inputs))
        if rows > _TALL:
            return tf.transpose(_product(kernel, turned)), of_kernel
        return _product(outer, transposed), of_kernel

    return tf.transpose(_product(transposed, _turned(inputs))), gradients


def _product(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Returns `left` [rows, summed] times `right` [summed, columns]."""
    sizes: Any = (*left.shape, right.shape[1])
    rows, summed, columns = sizes
    if columns > _BLOCK and columns % _BLOCK == 1:
        ends = right[:, :-_STRIP], right[:, -_STRIP:]
        return tf.concat([_product(left, end) for end in ends], axis=1)
    pieces = _pieces(summed, _MOST_SUMMED)
    if len(pieces) > _MANY_PIECES:
        return _product_at_once(left, right, len(pieces), pieces[0].stop)
    total: Any = None
    for some in pieces:
        at_once = _rows_at_once(some.stop - some.start, columns)
        part = tf.concat([left[of, some] @ right[some] for of in _pieces(rows, at_once)], axis=0)
        total = part if total is None else total + part
    return _fixed(total)


def _product_at_once(left: tf.Tensor, right: tf.Tensor, pieces: int, size: int) -> tf.Tensor:
    """Returns the same for pieces of equal size; the last is filled with zeros, which add none."""
    sizes: Any = (*left.shape, right.shape[1])
    rows, summed, columns = sizes
    filled = [0, pieces * size - summed]
    left, right = tf.pad(left, [[0, 0], filled]), tf.pad(right, [filled, [0, 0]])
    lefts = _fixed(tf.transpose(tf.reshape(left, [rows, pieces, size]), [1, 0, 2]))
    rights = tf.reshape(right, [pieces, size, columns])
    parts = [lefts[:, of] @ rights for of in _pieces(rows, _rows_at_once(size, columns))]
    return _fixed(tf.reduce_sum(_fixed(tf.concat(parts, axis=1)), axis=0))


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
