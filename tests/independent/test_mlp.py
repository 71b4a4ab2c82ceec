"""The implementation that studies are held against: its gradients, steps and formulas."""

import keras
import numpy as np
import pytest

from tests.independent.mlp import (
    KERNELS,
    Adam,
    BatchNorm,
    BatchRenorm,
    LayerNorm,
    Network,
    Relu,
    Sgd,
    train,
)
from tests.independent.mlp import probabilities as softmax

MOVING = {"epsilon": 0.1, "momentum": 0.9}
NORMS = {
    "none": {},
    "layer": {"epsilon": 0.1},
    "batch": MOVING,
    "batch_renorm": {**MOVING, "r_max": 1.5, "d_max": 0.5},
}


def hold_factors(network):
    """Renormalisation takes r and d for constants: so they have to be while inputs are varied."""
    for layer in network.layers:
        if isinstance(layer, BatchRenorm):
            layer.factors = lambda _, held=(layer.r, layer.d): held


@pytest.mark.parametrize("examples", [2, 6])
@pytest.mark.parametrize("norm", NORMS)
def test_gradients_are_the_slopes_of_the_loss(norm, examples):
    rng = np.random.default_rng(3)
    network = Network((5, 8, 6, 3), rng, norm, NORMS[norm], dtype=np.float64)
    network.parameters += 0.1 * rng.standard_normal(network.parameters.shape)
    inputs, labels = rng.standard_normal((examples, 5)), rng.integers(3, size=examples)

    def loss():
        chances = softmax(network.logits(inputs, training=True))
        return -np.log(chances[np.arange(examples), labels]).mean()

    network.learn(inputs, labels)
    hold_factors(network)
    step, slopes = 1e-6, []
    for place, value in enumerate(network.parameters):
        network.parameters[place] = value + step
        above = loss()
        network.parameters[place] = value - step
        slopes.append((above - loss()) / (2 * step))
        network.parameters[place] = value
    assert np.count_nonzero(slopes) > len(slopes) / 2
    np.testing.assert_allclose(network.gradients, slopes, rtol=1e-6, atol=1e-8)


def started(layer):
    layer.gradients = [np.zeros_like(one) for one in layer.parameters]
    return layer


@pytest.mark.parametrize(("kind", "axis"), [(BatchNorm, 0), (LayerNorm, 1)])
def test_normalised_values_have_mean_0_and_variance_1(kind, axis):
    inputs = np.random.default_rng(0).normal(3, 2, (4, 7))
    arguments = {"momentum": 0.9} if kind is BatchNorm else {}
    outputs = kind(7, epsilon=1e-12, **arguments).forward(inputs, training=True)
    np.testing.assert_allclose(outputs.mean(axis=axis), 0, atol=1e-9)
    np.testing.assert_allclose(outputs.var(axis=axis), 1)


@pytest.mark.parametrize("kind", [BatchNorm, BatchRenorm])
def test_moving_statistics_start_at_0_and_1_and_average_the_biased_variance(kind):
    more = {"r_max": 3, "d_max": 5} if kind is BatchRenorm else {}
    layer = kind(1, epsilon=0.25, momentum=0.75, **more)
    layer.forward(np.array([[1.0], [3.0]]), training=True)
    assert (layer.mean, layer.variance) == (0.5, 1.0)
    layer.forward(np.array([[4.0], [8.0]]), training=True)
    assert (layer.mean, layer.variance) == (1.875, 1.75)
    inferred = layer.forward(np.array([[1.875 + np.sqrt(2)]]), training=False)
    np.testing.assert_allclose(inferred, 1)


def test_renormalisation_within_its_limits_gives_in_training_what_inference_gives():
    inputs = np.random.default_rng(0).normal(0.5, 1.5, (4, 7))
    layer = BatchRenorm(7, epsilon=0.001, momentum=0.9, r_max=100, d_max=100)
    inferred = layer.forward(inputs, training=False)
    np.testing.assert_allclose(layer.forward(inputs, training=True), inferred)


def test_renormalisation_without_leeway_is_batch_normalisation():
    inputs = np.random.default_rng(0).normal(5, 4, (4, 7))
    gradient = np.random.default_rng(1).standard_normal((4, 7))
    plain = started(BatchNorm(7, **MOVING))
    renorm = started(BatchRenorm(7, **MOVING, r_max=1, d_max=0))
    expected = plain.forward(inputs, training=True)
    np.testing.assert_allclose(renorm.forward(inputs, training=True), expected)
    np.testing.assert_allclose(renorm.backward(gradient), plain.backward(gradient))


def test_renormalisation_by_hand():
    layer = BatchRenorm(1, epsilon=1e-12, momentum=0.9, r_max=2, d_max=5)
    # Mean 4 and deviation 3 against 0 and 1: r = 3 is cut to 2, d = 4 is within its limit.
    outputs = layer.forward(np.array([[1.0], [7.0]]), training=True)
    np.testing.assert_allclose(outputs, [[2.0], [6.0]])


@pytest.mark.parametrize(
    ("ours", "keras_own"),
    [
        (Adam(0.01, epsilon=1e-8), lambda: keras.optimizers.Adam(0.01, epsilon=1e-8)),
        (Adam(0.1, epsilon=1e-2), lambda: keras.optimizers.Adam(0.1, epsilon=1e-2)),
        (Sgd(0.3), lambda: keras.optimizers.SGD(0.3)),
    ],
)
def test_steps_are_those_of_keras(ours, keras_own):
    rng = np.random.default_rng(0)
    network = Network((3, 4, 2), rng)
    variable, theirs = keras.Variable(network.parameters), keras_own()
    for _ in range(5):
        network.gradients[:] = rng.standard_normal(len(network.gradients))
        theirs.apply([network.gradients.copy()], [variable])
        ours.step(network)
        np.testing.assert_allclose(network.parameters, variable.numpy(), rtol=1e-5, atol=1e-6)


def test_kernels_begin_glorot_uniform_and_biases_at_0():
    kernel, bias = Network((784, 32, 10), np.random.default_rng(0)).layers[0].parameters
    limit = np.sqrt(6 / (784 + 32))
    assert 0.999 * limit < np.abs(kernel).max() <= limit
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.01)
    assert not bias.any()


def test_an_epoch_sees_every_example_of_whole_batches_once():
    seen = []

    class Recorder:
        parameters = np.zeros(1)

        def learn(self, images, labels):
            assert len(images) == len(labels) == 3
            seen.extend(images.tolist())

    numbers = np.arange(10)
    rng = np.random.default_rng(0)
    train(
        Recorder(), type("Still", (), {"step": lambda *_: None})(), numbers, numbers,
        epochs=2, batch_size=3, rng=rng,
    )  # fmt: skip
    first, second = seen[:9], seen[9:]
    assert len(set(first)) == len(set(second)) == 9
    assert first != second


def test_equal_seeds_agree_and_different_ones_differ():
    images = np.random.default_rng(0).random((64, 5), np.float32)
    labels = (images[:, 0] > images[:, 1]).astype(int)

    def trained(seed):
        rng = np.random.default_rng(seed)
        network = Network((5, 8, 2), rng, "batch", MOVING)
        train(network, Adam(0.01), images, labels, epochs=20, batch_size=8, rng=rng)
        assert (network.logits(images).argmax(axis=1) == labels).mean() > 0.9
        assert network.logits(images).dtype == np.float32
        return network.parameters

    np.testing.assert_array_equal(trained(0), trained(0))
    assert np.abs(trained(0) - trained(1)).max() > 0.1


def test_units_are_dead_that_are_0_for_all_inputs():
    network = Network((2, 4, 2), np.random.default_rng(0))
    kernel, bias = network.layers[0].parameters
    kernel[:], bias[:] = 0, [-1, 0, 1, 2]
    assert isinstance(network.layers[1], Relu)
    assert network.dead_units(np.ones((5, 2), np.float32)) == 0.5


def test_momentum_is_that_of_keras():
    # Keras 3: velocity = momentum * velocity - rate * gradient; weight += velocity.
    class Held:
        parameters, gradients = np.array([1.0]), np.array([2.0])

    sgd, variable = Sgd(0.1, momentum=0.9), keras.Variable([1.0])
    other = keras.optimizers.SGD(0.1, momentum=0.9)
    for _ in range(4):
        sgd.step(Held)
        other.apply([keras.ops.convert_to_tensor([2.0])], [variable])
    np.testing.assert_allclose(Held.parameters, variable.numpy(), rtol=1e-6)


def test_kernels_are_as_wide_as_those_of_keras():
    drawn = KERNELS["he_normal"](400, 300, np.random.default_rng(0))
    other = keras.initializers.HeNormal(seed=1)((400, 300)).numpy()
    assert drawn.std() == pytest.approx(other.std(), rel=0.01)
    assert np.abs(drawn).max() == pytest.approx(np.abs(other).max(), rel=0.01)


def test_units_that_are_off_are_0_for_the_next_layer():
    rng = np.random.default_rng(0)
    network = Network((5, 8, 6, 3), rng)
    inputs, labels = rng.standard_normal((40, 5)), rng.integers(3, size=40)
    everything = network.logits(inputs).copy()
    area = network.ablation_area(inputs, labels, rng, orders=2)
    # With all off the last bias is left, which is 0 for each class: the first is the answer.
    assert area > 0
    np.testing.assert_array_equal(network.logits(inputs), everything)
    for layer in network.layers:
        if isinstance(layer, Relu):
            layer.on = 0
    np.testing.assert_array_equal(network.logits(inputs), np.zeros((40, 3)))
