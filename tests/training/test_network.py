import itertools
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.errors import ParamsError
from pipeline.params import Network
from pipeline.training.network import Moments, build, first_noise, first_weights
from pipeline.training.normalization import NoisyBatch, NoNorm
from tests.networks import dense

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
    "rms": lambda z, norm, w: (
        w["scale"] * z / np.sqrt((z**2).mean(1, keepdims=True) + norm.epsilon)
    ),
    "dyt": lambda z, _, w: w["gamma"] * np.tanh(w["alpha"] * z) + w["beta"],
}


def small(normalization=None, hidden_dims=(5, 5, 5), activation="tanh"):
    network = dense(hidden_dims=hidden_dims, activation=activation)
    return build(network, normalization or NoNorm(), shape=(2, 3), classes=4)


class Doubled(keras.layers.Layer):
    """A layer that is not of Keras' own."""

    def call(self, inputs):
        return 2 * inputs


class Given(Network):
    """A network whose hidden layers, and whose last, are those that it is given."""

    layers: list[Any]
    last: Any = None

    def hidden(self, inputs, normalize):  # noqa: ARG002
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    def logits(self, classes):
        return self.last and self.last(classes)


def built(*layers, last=None, shape=(2, 3), moments=None):
    network = Given(code="networks/own.py", layers=[*layers], last=last)
    return build(network, NoNorm(), shape=shape, classes=4, moments=moments)


def drawn(model, seed):
    weights = first_weights(model, seed)
    return {one.path: value for one, value in zip(model.weights, weights, strict=True)}


def kernels(model, seed=0):
    return [value for path, value in drawn(model, seed).items() if path.endswith("kernel")]


def weights_by_name(model, layer):
    return {variable.name: variable.numpy() for variable in model.get_layer(layer).variables}


@pytest.mark.parametrize("hidden_dims", [(1,), (5, 3), (2, 2, 2, 2, 2)])
@pytest.mark.parametrize(("image_shape", "pixels"), [((2, 3), 6), ((8, 8), 64)])
def test_sizes_come_from_the_data_and_hidden_dims(hidden_dims, image_shape, pixels):
    network = dense(hidden_dims=hidden_dims, activation="relu")
    model = build(network, NoNorm(), shape=image_shape, classes=7)
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
        units = np.tanh(NORMALIZED[normalization.at_inference.kind](z, normalization, norm))
    last = weights_by_name(model, "logits")

    logits = units @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(model(images, training=False), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "met"), [((2, 3), (None, 2, 3, 1)), ((2, 3, 3), (None, 2, 3, 3))]
)
def test_grey_images_get_a_channel_and_coloured_ones_keep_theirs(shape, met):
    flat = keras.layers.Flatten()
    model = built(flat, shape=shape)
    assert flat.input.shape == met
    assert (model.input.name, model.input.dtype, model.input.shape) == (
        "images",
        "uint8",
        (None, *shape),
    )


def test_features_come_as_they_are():
    model = built(shape=(2,), moments=Moments([1.0, 2.0], [4.0, 9.0]))
    assert (model.input.name, model.input.dtype) == ("features", "float32")
    scaled = keras.Model(model.input, model.get_layer("scaled").output)
    np.testing.assert_allclose(scaled(np.float32([[5, 5]])), [[2, 1]], rtol=1e-6)


def test_a_network_may_have_logits_of_its_own():
    flat = keras.layers.Flatten
    plain = built(flat())
    own = built(flat(), last=lambda classes: keras.layers.Dense(classes, use_bias=False))
    assert plain.get_layer("logits").use_bias
    assert not own.get_layer("logits").use_bias
    assert plain.output_shape == own.output_shape == (None, 4)


@pytest.mark.parametrize(
    ("layer", "told"),
    [(Doubled(), "`Doubled` is not"), (keras.layers.Lambda(lambda x: x), "`Lambda` is not")],
)
def test_layers_that_keras_alone_could_not_load_are_refused(layer, told):
    with pytest.raises(ParamsError, match=rf"networks/own\.py: {told} a layer of Keras' own"):
        built(keras.layers.Flatten(), layer)


@pytest.mark.parametrize(
    ("layer", "shape", "got"),
    [
        (keras.layers.Identity(), (2, 3), r"\[batch, 2, 3, 1\]"),
        # Of pictures whose height nobody knows.
        (keras.layers.Reshape((-1,)), (None, 2, 3), r"\[batch, None\]"),
    ],
)
def test_hidden_layers_that_end_in_no_units_are_refused(layer, shape, got):
    with pytest.raises(ParamsError, match=rf"`hidden` must return \[batch, units\], got {got}"):
        built(layer, shape=shape)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_activation_is_the_configured_one(activation):
    layer = small(activation=activation).get_layer("activation_0")
    expected = {"relu": [0, 0, 2], "sigmoid": 1 / (1 + np.exp([1, 0, -2]))}[activation]
    np.testing.assert_allclose(layer(np.array([-1.0, 0, 2])), expected, rtol=1e-6)


def test_variants_start_from_the_same_kernels(normalization):
    expected = kernels(small(), seed=3)
    for kernel, same in zip(kernels(small(normalization), seed=3), expected, strict=True):
        np.testing.assert_array_equal(kernel, same)


def test_kernels_differ_between_seeds():
    model = small()
    first, other, again = (kernels(model, seed) for seed in (0, 1, 0))
    assert all((kernel != one).all() for kernel, one in zip(other, first, strict=True))
    np.testing.assert_array_equal(again[0], first[0])


def test_kernels_differ_between_layers_of_equal_shape():
    given = kernels(small(hidden_dims=(5, 5, 5)))
    assert (given[1] != given[2]).all()


def test_first_weights_are_the_models_except_for_the_kernels(normalization):
    model = small(normalization)
    given = drawn(model, seed=0)
    for variable in model.weights:
        same = (given[variable.path] == variable.numpy()).all()
        assert same == (variable.name != "kernel")


NOISY = NoisyBatch(
    momentum=0.9,
    epsilon=0.01,
    center=True,
    scale=True,
    offset_max=0.5,
    factor_max=1.25,
    jitter=0.1,
)


def test_noise_differs_between_seeds_and_layers_and_from_other_draws():
    model = small(NOISY)
    states = [tuple(state) for seed in range(100) for state in first_noise(model, seed).values()]
    assert len(set(states)) == 100 * 3
    kernels_drawn_from = np.random.SeedSequence(0, spawn_key=(1, 0)).generate_state(2)
    assert (np.array(states) != kernels_drawn_from).all()


def test_noise_depends_on_the_seed_and_the_layer_alone():
    first, again = first_noise(small(NOISY), 5), first_noise(small(NOISY, hidden_dims=(9, 2)), 5)
    assert len(again) == 2
    for state, same in zip(again.values(), first.values(), strict=False):
        np.testing.assert_array_equal(state, same)


def test_a_recorded_run_finds_its_kernels_and_its_noise_again():
    # Whoever draws from other streams of NumPy's cannot train a recorded run again.
    model = small(NOISY)
    for place, (kernel, noise) in enumerate(
        zip(kernels(model, seed=7), first_noise(model, 7).values(), strict=False)
    ):
        kernel_seed = np.random.SeedSequence(7, spawn_key=(1, place)).generate_state(1)[0]
        draw = keras.initializers.GlorotUniform(seed=int(kernel_seed))
        np.testing.assert_array_equal(kernel, draw(kernel.shape))
        state = np.random.SeedSequence(7, spawn_key=(2, place)).generate_state(2)
        np.testing.assert_array_equal(noise, state)


def test_only_a_noisy_model_has_variables_that_noise_is_drawn_from(normalization):
    model = small(normalization)
    given = first_noise(model, 0)
    assert bool(given) == (normalization.kind == "noisy_batch")
    weights = {variable.path for variable in model.weights}
    assert given.keys() | weights == {variable.path for variable in model.variables}
    assert not given.keys() & weights


def test_kernels_are_glorot_uniform():
    # Glorot & Bengio 2010, equation 16: U[-a, a] with a² = 6 / (inputs + outputs).
    kernel, limit = kernels(small(hidden_dims=(100, 200)))[1], np.sqrt(6 / 300)
    assert np.abs(kernel).max() <= limit
    assert kernel.mean() == pytest.approx(0, abs=0.01 * limit)
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.01)


def test_equal_parameters_give_an_equal_architecture(normalization):
    first = small(normalization).to_json()
    keras.layers.Dense(3)  # Keras numbers layers without a name by how many there were before.
    assert small(normalization).to_json() == first
    assert small(normalization, hidden_dims=(5, 5)).to_json() != first


@pytest.mark.parametrize("widths", [(3,), (9,)], ids=["more inputs", "more units"])
def test_orthogonal_kernels_are_orthonormal_the_short_way(widths):
    network = dense(hidden_dims=widths, activation="relu", initializer="orthogonal")
    kernel = kernels(build(network, NoNorm(), shape=(2, 3), classes=2))[0]
    assert kernel.shape == (6, *widths)
    short = kernel if len(kernel) >= widths[0] else kernel.T
    np.testing.assert_allclose(short.T @ short, np.eye(short.shape[1]), atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "layer"),
    [
        ((6,), keras.layers.Dense(3)),
        ((3,), keras.layers.Dense(6)),
        ((4,), keras.layers.Dense(4)),
        ((5, 5, 2), keras.layers.Conv2D(4, (3, 2))),
        ((5, 5, 2), keras.layers.Conv2D(9, (1, 2))),
    ],
    ids=["tall", "wide", "square", "tall convolution", "wide convolution"],
)
def test_orthogonal_kernels_are_a_decomposition_of_what_numpy_draws(inputs, layer):
    config = layer.get_config() | {"kernel_initializer": keras.initializers.Orthogonal(gain=2.0)}
    model = keras.Sequential([keras.Input(inputs), type(layer).from_config(config)])
    kernel = first_weights(model, seed=3)[0]

    matrix = kernel.reshape(-1, kernel.shape[-1])
    rng = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(1, 0)))
    q, r = np.linalg.qr(rng.standard_normal((max(matrix.shape), min(matrix.shape))))
    # Of all decompositions, the one whose triangle has a positive diagonal.
    q *= np.sign(np.diag(r))
    expected = q if len(matrix) >= matrix.shape[1] else q.T
    np.testing.assert_allclose(matrix, 2 * expected, atol=1e-6)
    assert kernel.dtype == np.float32


@pytest.mark.slow
def test_orthogonal_kernels_are_uniform_among_rotations():
    # Of a 2 by 2 matrix with uniform direction, each value has mean 0 and mean square 1/2
    # (Mezzadri 2007); with a diagonal that is always positive it would not.
    network = dense(hidden_dims=(2,), activation="relu", initializer="orthogonal")
    model = build(network, NoNorm(), shape=(1, 2), classes=2)
    drawn = np.array([kernels(model, seed)[0] for seed in range(100)])
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.3)
    np.testing.assert_allclose((drawn**2).mean(axis=0), 0.5, atol=0.15)
