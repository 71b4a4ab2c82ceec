import functools
import sys

import numpy as np
import pytest
import tensorflow as tf

from pipeline.training import dense
from pipeline.training.network import build, first_weights
from pipeline.training.normalization import NoNorm
from pipeline.training.solver import Scorer
from tests.networks import dense
from tests.portability.caches import PROCESSORS, Caches

compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
# Batch, inputs, units: the notebook's, and those in which Eigen divides what is summed, rows or
# columns on one of the processors but not on another.
SHAPES = [
    (32, 784, 32), (32, 32, 10), (1, 1, 1), (3, 500, 7), (8, 10, 512), (128, 100, 100),
    (500, 512, 512), (600, 12, 329), (41, 201, 34), (1_009, 38, 286), (60, 1_024, 33),
]  # fmt: skip


@compiled
def products(inputs, kernel, outer):
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        outputs = dense.times(inputs, kernel)
    return [outputs, *tape.gradient(outputs, [inputs, kernel], output_gradients=outer)]


@compiled
def plain_products(inputs, kernel, outer):
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        outputs = inputs @ kernel
    return [outputs, *tape.gradient(outputs, [inputs, kernel], output_gradients=outer)]


def operands(batch, inputs, units):
    rng = np.random.default_rng(0)
    shapes = ((batch, inputs), (inputs, units), (batch, units))
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


def bits(tensors):
    return [tensor.numpy().tobytes() for tensor in tensors]


@pytest.fixture(scope="module")
def caches():
    if sys.platform != "linux":
        pytest.skip("finds the caches' sizes in the memory of Linux processes only")
    products(*operands(64, 512, 64))
    return Caches()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_those_of_the_product(shape):
    inputs, kernel, outer = operands(*shape)
    x, w, d = (array.astype(np.float64) for array in (inputs, kernel, outer))
    for found, expected in zip(
        products(inputs, kernel, outer), (x @ w, d @ w.T, x.T @ d), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_bit_depends_on_the_processors_caches(shape, caches):
    given, found = operands(*shape), []
    for sizes in PROCESSORS:
        with caches.of(sizes):
            found.append(bits(products(*given)))
    assert found == [found[0]] * len(PROCESSORS)


def test_without_cutting_some_do_depend_on_them(caches):
    given, found = operands(3, 500, 7), []
    for sizes in PROCESSORS:
        with caches.of(sizes):
            found.append(bits(plain_products(*given)))
    assert found != [found[0]] * len(PROCESSORS)


def test_a_portable_model_has_the_names_and_outputs_of_its_original():
    network = dense(hidden_dims=(5,), activation="relu")
    model = build(network, NoNorm(), shape=(2, 3), classes=4)
    clone = dense.portable(model)
    assert [one.path for one in clone.weights] == [one.path for one in model.weights]
    weights = first_weights(model, seed=1)
    model.set_weights(weights)
    images = np.arange(42, dtype=np.uint8).reshape(7, 2, 3)
    np.testing.assert_allclose(
        Scorer(model).predict(weights, images),
        tf.nn.softmax(model(images, training=False)),
        rtol=1e-5,
    )
