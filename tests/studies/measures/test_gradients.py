import numpy as np
import pytest

from pipeline.studies.measures.gradients import Gradients, cosine, difference, norm, stepped
from pipeline.training import network
from pipeline.training.normalization import BatchNorm, NoNorm
from tests.networks import dense

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 3), np.uint8)
LABELS = np.random.default_rng(1).integers(0, 3, 20).astype(np.uint8)


def built(normalization):
    dims = dense(hidden_dims=(5,), activation="linear")
    return network.build(dims, normalization, shape=(3, 3), classes=3)


def by_hand(weights):
    """Returns loss and gradients of two linear layers, computed in float64."""
    x = IMAGES.reshape(-1, 9) / 255
    kernel, bias, upper, upper_bias = (np.asarray(one, np.float64) for one in weights)
    hidden = x @ kernel + bias
    logits = hidden @ upper + upper_bias
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = -np.log(shares[np.arange(20), LABELS]).mean()
    error = (shares - np.eye(3)[LABELS]) / 20
    below = error @ upper.T
    return loss, [x.T @ below, below.sum(0), hidden.T @ error, error.sum(0)]


def test_loss_and_gradients_are_those_of_two_layers_by_hand():
    model = built(NoNorm())
    at = Gradients(model, network.first_weights(model, 3))

    loss, found = at(at.weights, IMAGES, LABELS)

    expected_loss, expected = by_hand(at.weights)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for gradient, same in zip(found, expected, strict=True):
        np.testing.assert_allclose(gradient, same, atol=1e-6)
    assert at.kernels == [0, 2]


def test_gradients_are_taken_at_the_given_weights():
    model = built(NoNorm())
    at = Gradients(model, network.first_weights(model, 3))
    moved = stepped(at.weights, [np.ones_like(one) for one in at.weights], 0.5)

    loss, found = at(moved, IMAGES, LABELS)

    for weight, before in zip(moved, at.weights, strict=True):
        np.testing.assert_allclose(weight, before - 0.5, atol=1e-6)
    expected_loss, expected = by_hand(moved)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert difference(found, [one.astype(np.float32) for one in expected]) < 1e-5


def test_normalisation_uses_the_batch_as_in_training():
    model = built(BatchNorm(momentum=0.9, epsilon=0.001, center=True, scale=True))
    at = Gradients(model, network.first_weights(model, 3))
    names = [one.path for one in model.trainable_variables]

    _, found = at(at.weights, IMAGES, LABELS)

    # Subtracting the batch's mean removes what was added to every example.
    assert np.abs(found[names.index("dense_0/bias")]).max() < 1e-6
    assert np.abs(found[names.index("dense_0/kernel")]).max() > 1e-3


def test_norm_and_cosine_of_known_vectors():
    a, b = np.array([[3.0, 0.0]], np.float32), np.array([[4.0, 4.0]], np.float32)

    assert norm([a, b]) == pytest.approx(np.sqrt(9 + 32))
    assert cosine(a, b) == pytest.approx(np.sqrt(0.5))
    assert cosine(a, 0 * a) == 1.0
