"""The networks of `networks/`, against NumPy."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.training.network import build, first_weights
from pipeline.training.network_file import network_class
from pipeline.training.normalization import BatchNorm, NoNorm
from pipeline.training.portable_layers import outside_promise
from pipeline.training.solver import Scorer

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (7, 3, 3), np.uint8)
BATCH_NORM = BatchNorm(momentum=0.9, epsilon=0.01, center=True, scale=True)


def network(name, **fields):
    code = str(ROOT / f"networks/{name}.py")
    return network_class(code)(code=code, **fields)


def deep(skip, depth=3, width=4):
    return network(
        "deep", depth=depth, width=width, activation="relu", initializer="he_normal", skip=skip
    )


def built(chosen, normalization):
    model = build(chosen, normalization, shape=(3, 3), classes=2)
    assert outside_promise(model) == []
    weights = [RNG.uniform(0.1, 1, one.shape).astype(np.float32) for one in model.weights]
    return model, weights, dict(zip([one.path for one in model.weights], weights, strict=True))


def normalized(units, weights, place):
    of = {
        name: weights[f"norm_{place}/{name}"]
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }
    units = (units - of["moving_mean"]) / np.sqrt(of["moving_variance"] + 0.01)
    return units * of["gamma"] + of["beta"]


def dense(units, weights, name):
    return units @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("normalization", [BATCH_NORM, NoNorm()], ids=lambda one: one.kind)
@pytest.mark.parametrize("skip", ["none", "one", "zero"])
def test_deep_layers_follow_one_another_or_skip_connections(skip, normalization):
    model, weights, by_path = built(deep(skip), normalization)

    def norm(units, place):
        return normalized(units, by_path, place) if normalization is BATCH_NORM else units

    units = IMAGES.reshape(7, 9) / 255
    if skip != "none":
        units = dense(units, by_path, "dense_0")
    for place in range(3):
        if skip == "none":
            units = np.maximum(norm(dense(units, by_path, f"dense_{place}"), place), 0)
            continue
        branch = dense(np.maximum(norm(units, place), 0), by_path, f"dense_{place + 1}")
        gain = by_path[f"einsum_dense_{place}/kernel"] if skip == "zero" else 1
        units = units + gain * branch
    expected = softmax(dense(units, by_path, "logits"))
    np.testing.assert_allclose(Scorer(model).predict(weights, IMAGES), expected, atol=1e-5)


def test_branches_with_a_gain_start_at_zero():
    model = build(deep("zero"), NoNorm(), shape=(3, 3), classes=2)
    first = dict(zip([one.path for one in model.weights], first_weights(model, 1), strict=True))
    gains = [value for path, value in first.items() if path.startswith("einsum_dense")]
    assert [gain.tolist() for gain in gains] == [[0], [0], [0]]
    # The kernels are those of the same network without gains.
    same = build(deep("one"), NoNorm(), shape=(3, 3), classes=2)
    kernels = [one for one in first_weights(same, 1) if one.ndim == 2]
    for one, other in zip([one for one in first.values() if one.ndim == 2], kernels, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("behind", "places"), [("each", [0, 1, 2]), ("last", [2])])
def test_dropout_is_behind_each_activation_or_the_last(behind, places):
    chosen = network(
        "dropout", hidden_dims=[5, 4, 3], activation="relu", dropout=0.5, behind=behind
    )
    names = [one.name for one in build(chosen, BATCH_NORM, shape=(3, 3), classes=2).layers]
    follow = [names[names.index(f"dropout_{at}") - 1] for at in range(len(places))]
    assert follow == [f"activation_{place}" for place in places]
    assert f"dropout_{len(places)}" not in names
