import numpy as np
import pytest

from pipeline.training.normalization import NORMALIZATIONS

SETTINGS = {
    "momentum": 0.9,
    "epsilon": 0.01,
    "center": True,
    "scale": True,
    "r_max": 2.5,
    "d_max": 0.5,
    "offset_max": 0.5,
    "factor_max": 1.25,
    "jitter": 0.1,
    "ghost_size": 4,
    "alpha": 0.5,
}


def _with_settings(cls):
    return cls(**{field: SETTINGS[field] for field in cls.model_fields})


@pytest.fixture(scope="session", params=NORMALIZATIONS.values(), ids=NORMALIZATIONS)
def normalization(request):
    """Returns each normalisation in turn, for the contracts that all of them keep."""
    return _with_settings(request.param)


@pytest.fixture(scope="session")
def normalizations():
    """Returns all of them."""
    return [_with_settings(cls) for cls in NORMALIZATIONS.values()]


@pytest.fixture(scope="session")
def noise():
    """Draws the factors and offsets that a normalisation applies to a batch in training."""

    def draw(normalization, shape, states):
        if normalization.kind != "noisy_batch":
            return 1, 0
        layer = normalization.layer("norm")
        layer.build(shape)
        # With a gamma of 0 the output is factor * beta + offset.
        layer.gamma.assign(np.zeros(shape[1]))
        outputs = []
        for beta in (0, 1):
            layer.noise.state.assign(*states)
            layer.beta.assign(np.full(shape[1], beta))
            outputs.append(layer(np.zeros(shape, np.float32), training=True).numpy())
        offset, both = np.array(outputs, np.float64)
        return both - offset, offset

    return draw
