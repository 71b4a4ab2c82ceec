import numpy as np
import pytest

from pipeline.core import network
from pipeline.core.examples import Examples
from pipeline.core.normalization import BatchNorm, NoNorm
from pipeline.core.probes import PROBES, Trained, dead_units
from pipeline.params import Network

IMAGES = np.random.default_rng(0).integers(0, 256, (5000, 3, 3), np.uint8)
TEST = Examples(IMAGES, np.zeros(len(IMAGES), np.uint8))
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

    share = dead_units(Trained(built, weights), TEST)

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

    probe(Trained(built, network.first_weights(built, 3)), TEST)

    for weight, same in zip(built.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, same)
