import itertools

import keras
import numpy as np
import pytest

from pipeline.core.network import build, draw_kernels
from pipeline.core.normalization import NoNorm
from pipeline.params import Network

NORMALIZED = {
    "none": lambda z, _norm, _w: z,
    "batch": lambda z, norm, w: (
        w["gamma"] * (z - w["moving_mean"]) / np.sqrt(w["moving_variance"] + norm.epsilon)
        + w["beta"]
    ),
    "layer": lambda z, norm, w: (
        w["gamma"]
        * (z - z.mean(1, keepdims=True))
        / np.sqrt(z.var(1, keepdims=True) + norm.epsilon)
        + w["beta"]
    ),
}


def small(normalization=None, hidden_dims=(5, 5, 5), activation="tanh"):
    network = Network(hidden_dims=hidden_dims, activation=activation)
    return build(network, normalization or NoNorm(), image_shape=(2, 3), classes=4)


def kernels(model):
    return [layer.kernel.numpy() for layer in model.layers if isinstance(layer, keras.layers.Dense)]


def weights_by_name(model, layer):
    return {variable.name: variable.numpy() for variable in model.get_layer(layer).variables}


@pytest.mark.parametrize("hidden_dims", [(1,), (5, 3), (2, 2, 2, 2, 2)])
@pytest.mark.parametrize(("image_shape", "pixels"), [((2, 3), 6), ((8, 8), 64)])
def test_sizes_come_from_the_data_and_hidden_dims(hidden_dims, image_shape, pixels):
    network = Network(hidden_dims=hidden_dims, activation="relu")
    model = build(network, NoNorm(), image_shape=image_shape, classes=7)
    sizes = [pixels, *hidden_dims, 7]
    assert model.input_shape == (None, *image_shape)
    assert model.output_shape == (None, 7)
    assert [kernel.shape for kernel in kernels(model)] == list(itertools.pairwise(sizes))


def test_normalization_stands_between_dense_layer_and_activation(normalization):
    rng = np.random.default_rng(0)
    model = small(normalization, hidden_dims=(5, 3))
    # Positive, for a moving variance is among them.
    model.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in model.get_weights()])
    images = rng.integers(0, 256, (7, 2, 3), np.uint8)

    units = images.reshape(7, 6) / 255
    for i in range(2):
        dense, norm = weights_by_name(model, f"dense_{i}"), weights_by_name(model, f"norm_{i}")
        z = units @ dense["kernel"] + dense["bias"]
        units = np.tanh(NORMALIZED[normalization.kind](z, normalization, norm))
    last = weights_by_name(model, "logits")

    logits = units @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(model(images, training=False), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_activation_is_the_one_asked_for(activation):
    layer = small(activation=activation).get_layer("activation_0")
    expected = {"relu": [0, 0, 2], "sigmoid": 1 / (1 + np.exp([1, 0, -2]))}[activation]
    np.testing.assert_allclose(layer(np.array([-1.0, 0, 2])), expected, rtol=1e-6)


def test_variants_start_from_the_same_kernels(normalization):
    plain, normalized = small(), small(normalization)
    for model in (plain, normalized):
        draw_kernels(model, seed=3)
    for kernel, expected in zip(kernels(normalized), kernels(plain), strict=True):
        np.testing.assert_array_equal(kernel, expected)


def test_kernels_differ_between_seeds():
    model = small()
    draw_kernels(model, seed=0)
    first = kernels(model)
    draw_kernels(model, seed=1)
    assert all((kernel != other).all() for kernel, other in zip(kernels(model), first, strict=True))
    draw_kernels(model, seed=0)
    np.testing.assert_array_equal(kernels(model)[0], first[0])


def test_kernels_differ_between_layers_of_equal_shape():
    model = small(hidden_dims=(5, 5, 5))
    draw_kernels(model, seed=0)
    assert (kernels(model)[1] != kernels(model)[2]).all()


def test_drawing_kernels_changes_nothing_else(normalization):
    model = small(normalization)
    before = {v.path: v.numpy() for v in model.variables if v.name != "kernel"}
    draw_kernels(model, seed=0)
    for variable in model.variables:
        if variable.name != "kernel":
            np.testing.assert_array_equal(variable, before[variable.path])


def test_kernels_are_glorot_uniform():
    # Glorot & Bengio 2010, equation 16: U[-a, a] with a² = 6 / (inputs + outputs).
    model = small(hidden_dims=(100, 200))
    draw_kernels(model, seed=0)
    kernel, limit = kernels(model)[1], np.sqrt(6 / 300)
    assert np.abs(kernel).max() <= limit
    assert kernel.mean() == pytest.approx(0, abs=0.01 * limit)
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.01)


def test_equal_parameters_give_an_equal_architecture(normalization):
    first = small(normalization).to_json()
    keras.layers.Dense(3)  # Keras numbers layers without a name by how many there were before.
    assert small(normalization).to_json() == first
    assert small(normalization, hidden_dims=(5, 5)).to_json() != first
