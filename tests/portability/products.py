"""Products of a dense layer, compiled as training compiles them."""

import functools

import numpy as np
import tensorflow as tf

from pipeline.training import portable_layers

compiled = functools.partial(tf.function, jit_compile=True, autograph=False)


@compiled
def products(inputs, kernel, outer):
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        outputs = portable_layers.times(inputs, kernel)
    return [outputs, *tape.gradient(outputs, [inputs, kernel], output_gradients=outer)]


def operands(batch, inputs, units):
    rng = np.random.default_rng(0)
    shapes = ((batch, inputs), (inputs, units), (batch, units))
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


def bits(tensors):
    return [tensor.numpy().tobytes() for tensor in tensors]
