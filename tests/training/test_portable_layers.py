import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.training import portable_layers
from pipeline.training.network import build, first_weights
from pipeline.training.normalization import NoNorm
from pipeline.training.solver import Scorer
from tests.networks import dense
from tests.portability.caches import PROCESSORS, Caches
from tests.portability.products import bits, compiled, operands, products

# Batch, inputs, units: the notebook's, and those in which Eigen divides what is summed, rows or
# columns on one of the processors but not on another.
SHAPES = [
    (32, 784, 32), (32, 32, 10), (1, 1, 1), (3, 500, 7), (8, 10, 512), (128, 100, 100),
    (500, 512, 512), (600, 12, 329), (41, 201, 34), (1_009, 38, 286), (60, 1_024, 33),
    # Those of convolutions, whose batch is all places of all images.
    (4_704, 9, 16), (6_272, 144, 32), (5_000, 49, 1), (4_999, 288, 40),
    # More pieces than are multiplied one by one, and more rows in each than are at once.
    (7, 2_000, 40),
]  # fmt: skip


@compiled
def plain_products(inputs, kernel, outer):
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        outputs = inputs @ kernel
    return [outputs, *tape.gradient(outputs, [inputs, kernel], output_gradients=outer)]


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


@pytest.mark.parametrize("most", [1, 24, 256, 400])
def test_pieces_are_whole_strips_of_one_size_that_cover_all(most):
    for length in range(1, 1_200):
        pieces = portable_layers._pieces(length, most)

        assert [place for one in pieces for place in range(length)[one]] == list(range(length))
        sizes = [one.stop - one.start for one in pieces]
        assert len(set(sizes[:-1])) <= 1
        if most >= 8:
            assert max(sizes) <= most
        # As few as possible.
        assert len(pieces) <= -(-length // most)
        assert len(pieces) == 1 or sizes[0] % 8 == 0


def test_rows_are_as_many_as_eigen_does_not_divide():
    """Its GeneralBlockPanelKernel.h takes 64 floats of L1 itself, and makes 4 columns at once."""
    fit_in_32, fit_in_48 = (kilobytes * 1_024 // 4 - 64 for kilobytes in (32, 48))
    for summed in range(1, 401):
        for columns in range(1, 700):
            rows = portable_layers._rows_at_once(summed, columns)
            if summed * columns >= fit_in_48:
                assert rows == 256
                continue
            assert rows in range(24, 257, 8)
            if rows > 24:
                assert summed * (rows + columns + 4) <= fit_in_32
            if rows < 256:
                assert summed * (rows + 8 + columns + 4) > fit_in_32


def test_a_portable_model_has_the_names_and_outputs_of_its_original():
    network = dense(hidden_dims=(5,), activation="relu")
    model = build(network, NoNorm(), shape=(2, 3), classes=4)
    clone = portable_layers.portable(model)
    assert [one.path for one in clone.weights] == [one.path for one in model.weights]
    weights = first_weights(model, seed=1)
    model.set_weights(weights)
    images = np.arange(42, dtype=np.uint8).reshape(7, 2, 3)
    np.testing.assert_allclose(
        Scorer(model).predict(weights, images),
        tf.nn.softmax(model(images, training=False)),
        rtol=1e-5,
    )


def test_a_dense_layer_maps_the_last_of_many_axes():
    rng = np.random.default_rng(1)
    model = keras.Sequential([keras.Input((3, 4, 6)), keras.layers.Dense(5)])
    kernel, bias = (rng.standard_normal(shape, np.float32) for shape in ((6, 5), (5,)))
    inputs = rng.standard_normal((2, 3, 4, 6), np.float32)
    found = outputs_and_gradients(portable_layers.portable(model), [kernel, bias], inputs)[0]
    np.testing.assert_allclose(found, inputs @ kernel + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [None, "u"])
def test_a_gain_multiplies_each_unit_with_its_gradients(bias):
    rng = np.random.default_rng(1)
    gain = keras.layers.EinsumDense("...u,u->...u", 4, bias_axes=bias, activation="tanh")
    model = keras.Sequential([keras.Input((3, 4)), gain])
    weights = [rng.standard_normal(weight.shape, np.float32) for weight in model.get_weights()]
    inputs = rng.standard_normal((7, 3, 4), np.float32)
    clone = portable_layers.portable(model)
    found, expected = (outputs_and_gradients(each, weights, inputs) for each in (clone, model))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[0], np.tanh(inputs * weights[0] + sum(weights[1:])), rtol=1e-5)
    assert portable_layers.outside_promise(model) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": (2, 3), "padding": "valid"},
        {"kernel_size": 3, "padding": "same", "strides": 2},
        {"kernel_size": (4, 1), "padding": "valid", "strides": (2, 1), "use_bias": False},
        {"kernel_size": 2, "padding": "same", "dilation_rate": 2, "activation": "relu"},
        # Steps over pixels, so that nothing is missing at the borders, and less than nothing.
        {"kernel_size": 1, "padding": "same", "strides": 2},
    ],
    ids=str,
)
def test_a_convolution_is_that_of_tensorflow_with_its_gradients(settings):
    rng = np.random.default_rng(1)
    layer = keras.layers.Conv2D(5, **settings, bias_initializer="random_normal")
    model = keras.Sequential([keras.Input((7, 8, 3)), layer])
    weights = [rng.standard_normal(weight.shape, np.float32) for weight in model.get_weights()]
    images = rng.standard_normal((5, 7, 8, 3), np.float32)
    found, expected = (
        outputs_and_gradients(each, weights, images)
        for each in (portable_layers.portable(model), model)
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def outputs_and_gradients(model, weights, images):
    @compiled
    def of(weights, images):
        with tf.GradientTape() as tape:
            tape.watch([weights, images])
            with keras.StatelessScope(zip(model.weights, weights, strict=True)):
                outputs = model(images)
            loss = tf.reduce_sum(outputs**2)
        return [outputs, *tf.nest.flatten(tape.gradient(loss, [weights, images]))]

    return [tensor.numpy() for tensor in of([tf.constant(each) for each in weights], images)]


def test_layers_outside_the_promise_are_named():
    inputs = keras.Input((8, 8, 3))
    units = keras.layers.Conv2D(6, 3)(inputs)
    units = keras.layers.DepthwiseConv2D(3)(units)
    units = keras.layers.Conv2D(6, 3, groups=2)(units)
    units = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(units))
    units = keras.layers.EinsumDense("ab,bc->ac", 5)(units)
    named = portable_layers.outside_promise(keras.Model(inputs, keras.layers.Dense(2)(units)))
    assert named == ["Conv2D", "DepthwiseConv2D", "EinsumDense"]
