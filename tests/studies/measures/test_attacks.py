import numpy as np
import pytest

from pipeline.studies.measures.attacks import Attacked
from pipeline.training import network
from pipeline.training.normalization import NoNorm
from tests.networks import dense

# A linear model of two classes: logits w·x and -w·x, whose loss rises along -w for class 0.
WEIGHTS = np.random.default_rng(1).normal(size=9).astype(np.float32)
FAR = 0.05


@pytest.fixture(scope="module")
def linear():
    built = network.build(
        dense(hidden_dims=(9,), activation="linear"), NoNorm(), shape=(3, 3), classes=2
    )
    kernel = np.stack([WEIGHTS, -WEIGHTS], axis=1)
    return Attacked(built, [np.eye(9, dtype=np.float32), np.zeros(9, np.float32), kernel,
                           np.array([0, 0], np.float32)])  # fmt: skip


@pytest.fixture(scope="module")
def grey():
    """Pixels so far from 0 and 1 that no attack is clipped, with the linear model's labels."""
    pixels = np.random.default_rng(2).uniform(0.3, 0.7, (4000, 3, 3)).astype(np.float32)
    return pixels, (pixels.reshape(-1, 9) @ WEIGHTS < 0).astype(np.uint8)


def margins(pixels, labels):
    return (1 - 2.0 * labels) * (pixels.reshape(-1, 9) @ WEIGHTS)


def test_the_sign_method_lowers_each_margin_as_far_as_it_can(linear, grey):
    pixels, labels = grey

    moved = linear.fgsm(pixels, labels, FAR)

    # On a linear model, an attack in the maximum norm lowers the margin by distance times 1-norm.
    taken = margins(pixels, labels) - margins(moved, labels)
    np.testing.assert_allclose(taken, FAR * np.abs(WEIGHTS).sum(), rtol=1e-4)


def test_gradient_descent_gets_equally_far_from_any_start(linear, grey):
    pixels, labels = grey
    start = np.random.default_rng(3).uniform(-1, 1, pixels.shape)

    moved = linear.pgd(pixels, labels, FAR, start)

    np.testing.assert_allclose(moved, linear.fgsm(pixels, labels, FAR), atol=1e-6)


def test_attacked_pixels_stay_within_the_distance_and_the_range(linear):
    pixels = np.random.default_rng(4).choice([0.0, 0.01, 0.5, 1.0], (100, 3, 3)).astype(np.float32)
    labels = np.zeros(100, np.uint8)

    for moved in (
        linear.fgsm(pixels, labels, FAR),
        linear.pgd(pixels, labels, FAR, np.ones_like(pixels)),
    ):
        assert (moved >= 0).all()
        assert (moved <= 1).all()
        assert np.abs(moved - pixels).max() <= FAR + 1e-6
