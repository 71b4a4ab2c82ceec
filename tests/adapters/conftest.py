import pytest

from pipeline.core import network
from pipeline.core.normalization import BatchNorm
from pipeline.params import Network


@pytest.fixture(scope="session")
def model():
    """A small network with kernels drawn from a seed, statistics that are not fresh, 3 classes."""
    built = network.build(
        Network(hidden_dims=(5,), activation="tanh"),
        BatchNorm(momentum=0.9, epsilon=0.001, center=True, scale=True),
        image_shape=(4, 3),
        classes=3,
    )
    built.set_weights(network.first_weights(built, seed=0))
    built.get_layer("norm_0").moving_variance.assign([1, 2, 3, 4, 5])
    return built
