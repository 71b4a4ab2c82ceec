import numpy as np
import pytest

from pipeline.core import network, probes
from pipeline.core.examples import Examples
from pipeline.core.normalization import BatchNorm, NoNorm
from pipeline.core.probes import PROBES, Trained, dead_units, fgsm, pgd, robustness, undone
from pipeline.params import Network

IMAGES = np.random.default_rng(0).integers(0, 256, (5000, 3, 3), np.uint8)
TEST = Examples(IMAGES, np.zeros(len(IMAGES), np.uint8))
FEW = Examples(IMAGES[:50], np.zeros(50, np.uint8))
BATCH_NORM = BatchNorm(momentum=0.9, epsilon=0.001, center=True, scale=True)


def model(normalization):
    return network.build(
        Network(hidden_dims=(6, 4), activation="relu"), normalization, image_shape=(3, 3), classes=3
    )


def with_dead_units(built):
    """Weights of which the biases silence three of the ten units, whatever the image."""
    weights = {
        v.path: w for v, w in zip(built.weights, network.first_weights(built, 1), strict=True)
    }
    weights["dense_0/bias"] = np.array([-99, 1, 1, -99, 1, 1], np.float32)
    weights["dense_1/bias"] = np.array([1, 1, -99, 1], np.float32)
    return list(weights.values())


def test_units_that_are_0_for_every_image_are_dead():
    built = model(NoNorm())
    weights = with_dead_units(built)

    share = dead_units(Trained(built, weights), TEST)["dead_units"]

    # In NumPy, all images at once.
    units, dead = IMAGES.reshape(-1, 9) / 255, []
    for kernel, bias in ((weights[0], weights[1]), (weights[2], weights[3])):
        units = np.maximum(units @ kernel + bias, 0)
        dead += (units == 0).all(axis=0).tolist()
    assert sum(dead) >= 3
    assert share == pytest.approx(np.mean(dead))


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_a_probe_leaves_the_model_that_runs_share_as_it_was(probe):
    built = model(BATCH_NORM)
    before = [weight.copy() for weight in built.get_weights()]

    found = probe.measure(Trained(built, network.first_weights(built, 3)), FEW)

    assert tuple(found) == probe.measures

    for weight, same in zip(built.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, same)


# A linear model of two classes: logits w·x and -w·x, whose loss rises along -w for class 0.
WEIGHTS = np.random.default_rng(1).normal(size=9).astype(np.float32)
FAR = 0.05


@pytest.fixture(scope="module")
def linear():
    built = network.build(
        Network(hidden_dims=(9,), activation="linear"), NoNorm(), image_shape=(3, 3), classes=2
    )
    kernel = np.stack([WEIGHTS, -WEIGHTS], axis=1)
    return Trained(built, [np.eye(9, dtype=np.float32), np.zeros(9, np.float32), kernel,
                           np.array([0, 0], np.float32)])  # fmt: skip


@pytest.fixture(scope="module")
def grey():
    """Pixels so far from 0 and 1 that no attack is cut off, with the labels of the linear model."""
    pixels = np.random.default_rng(2).uniform(0.3, 0.7, (4000, 3, 3)).astype(np.float32)
    return pixels, (pixels.reshape(-1, 9) @ WEIGHTS < 0).astype(np.uint8)


def margins(pixels, labels):
    return (1 - 2.0 * labels) * (pixels.reshape(-1, 9) @ WEIGHTS)


def test_the_sign_method_takes_from_each_margin_what_it_can(linear, grey):
    pixels, labels = grey

    moved = fgsm(linear, pixels, labels, FAR)

    # Of a linear model an attack in the maximum norm takes the distance times the 1-norm of w.
    taken = margins(pixels, labels) - margins(moved, labels)
    np.testing.assert_allclose(taken, FAR * np.abs(WEIGHTS).sum(), rtol=1e-4)


def test_gradient_descent_gets_as_far_from_wherever_it_starts(linear, grey):
    pixels, labels = grey
    start = np.random.default_rng(3).uniform(-1, 1, pixels.shape)

    moved = pgd(linear, pixels, labels, FAR, start)

    np.testing.assert_allclose(moved, fgsm(linear, pixels, labels, FAR), atol=1e-6)


def test_attacked_pixels_stay_within_the_distance_and_the_range(linear):
    pixels = np.random.default_rng(4).choice([0.0, 0.01, 0.5, 1.0], (100, 3, 3)).astype(np.float32)
    labels = np.zeros(100, np.uint8)

    for moved in (
        fgsm(linear, pixels, labels, FAR),
        pgd(linear, pixels, labels, FAR, np.ones_like(pixels)),
    ):
        assert (moved >= 0).all()
        assert (moved <= 1).all()
        assert np.abs(moved - pixels).max() <= FAR + 1e-6


def test_accuracy_under_attack_is_the_share_of_margins_that_are_wide_enough(linear, monkeypatch):
    images = np.random.default_rng(5).integers(80, 170, (3000, 3, 3)).astype(np.uint8)
    sums = images.reshape(-1, 9) / 255 @ WEIGHTS
    # A bias that puts the border between the classes among the images.
    bias = np.array([-sums.mean(), sums.mean()], np.float32)
    labels = (sums < sums.mean()).astype(np.uint8)
    monkeypatch.setattr(probes, "DISTANCES", (FAR,))

    found = robustness(Trained(linear.model, [*linear.weights[:3], bias]), Examples(images, labels))

    kept = np.mean(np.abs(sums - sums.mean()) > FAR * np.abs(WEIGHTS).sum())
    assert 0.1 < kept < 0.9
    assert found["fgsm_0.05_accuracy"] == pytest.approx(kept, abs=2e-3)
    assert found["pgd_0.05_accuracy"] == pytest.approx(kept, abs=2e-3)
    assert found["noise_0.1_accuracy"] > found["noise_0.4_accuracy"] > 0.5


def test_gamma_and_beta_can_make_batch_normalisation_the_identity():
    built = model(BATCH_NORM)
    weights = [np.abs(weight) + 0.1 for weight in network.first_weights(built, 0)]

    assert undone(Trained(built, weights), TEST)["identity_error"] < 1e-6


def test_a_network_without_the_layer_has_nothing_to_undo():
    built = model(NoNorm())

    assert undone(Trained(built, built.get_weights()), TEST) == {"identity_error": 0.0}
