import numpy as np
import pytest

from pipeline.core.normalization import NORMALIZATIONS, BatchNorm, LayerNorm, NoNorm

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (64, 5)).astype(np.float32)
ANOTHER = RNG.normal(-1, 5, (16, 5)).astype(np.float32)
EPSILON = 0.01
AFFINE = {
    "gamma": np.array([1, 2, 0.5, -1, 3], np.float32),
    "beta": np.array([0, 1, -2, 0.5, 4], np.float32),
}
# Before gamma and beta; `var` is NumPy's population variance.
NORMALIZED = {
    "none": lambda x: x,
    "batch": lambda x: (x - x.mean(0)) / np.sqrt(x.var(0) + EPSILON),
    "layer": lambda x: (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + EPSILON),
}


@pytest.fixture
def layer(normalization):
    layer = normalization.layer("norm")
    layer.build(X.shape)
    for variable in layer.trainable_variables:
        variable.assign(AFFINE[variable.name])
    return layer


def batch_norm(*, momentum=0.9, center=True, scale=True):
    layer = BatchNorm(momentum=momentum, epsilon=EPSILON, center=center, scale=scale).layer("norm")
    layer.build(X.shape)
    return layer


def moving(layer):
    return [layer.moving_mean.numpy(), layer.moving_variance.numpy()]


@pytest.mark.parametrize("cls", [NoNorm, BatchNorm, LayerNorm])
def test_normalizations_are_found_by_their_kind(cls):
    assert NORMALIZATIONS[cls.kind] is cls


@pytest.mark.parametrize("training", [True, False])
def test_shape_and_type_are_kept(layer, training):
    output = layer(X, training=training)
    assert output.shape == X.shape
    assert output.dtype == "float32"


def test_output_in_training_follows_the_papers(normalization, layer):
    has_affine = bool(layer.trainable_variables)
    gamma, beta = (AFFINE["gamma"], AFFINE["beta"]) if has_affine else (1, 0)
    expected = gamma * NORMALIZED[normalization.kind](X.astype(np.float64)) + beta
    np.testing.assert_allclose(layer(X, training=True), expected, rtol=1e-4, atol=1e-5)


def test_inference_leaves_every_variable_unchanged(layer):
    before = layer.get_weights()
    layer(X, training=False)
    for value, expected in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_layers_share_no_variables(normalization):
    layers = [normalization.layer(name) for name in ("norm_0", "norm_1")]
    for layer in layers:
        layer.build(X.shape)
    first, second = ({id(variable) for variable in layer.variables} for layer in layers)
    assert not first & second


def test_settings_reach_the_layer(normalization):
    config = normalization.layer("norm_7").get_config()
    assert config["name"] == "norm_7"
    assert normalization.model_dump().items() <= config.items()


@pytest.mark.parametrize("kind", ["none", "layer"])
def test_training_and_inference_do_not_differ_without_moving_statistics(kind):
    fields = {"epsilon": EPSILON, "center": True, "scale": True} if kind == "layer" else {}
    layer = NORMALIZATIONS[kind](**fields).layer("norm")
    np.testing.assert_array_equal(layer(X, training=True), layer(X, training=False))
    np.testing.assert_array_equal(layer(X[:1]), layer(X)[:1])


@pytest.mark.parametrize("normalization_class", [BatchNorm, LayerNorm])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_center_and_scale_decide_which_variables_are_learnt(normalization_class, center, scale):
    fields = {"momentum": 0.9, "epsilon": EPSILON, "center": center, "scale": scale}
    taken = {name: fields[name] for name in normalization_class.model_fields}
    layer = normalization_class(**taken).layer("norm")
    layer.build(X.shape)
    learnt = {variable.name for variable in layer.trainable_variables}
    assert learnt == {name for name, kept in (("beta", center), ("gamma", scale)) if kept}


def test_moving_statistics_follow_the_momentum():
    layer = batch_norm(momentum=0.9)
    for batch in (X, ANOTHER):
        layer(batch, training=True)
    mean = 0.9 * (0.9 * 0 + 0.1 * X.mean(0)) + 0.1 * ANOTHER.mean(0)
    variance = 0.9 * (0.9 * 1 + 0.1 * X.var(0)) + 0.1 * ANOTHER.var(0)
    np.testing.assert_allclose(moving(layer), [mean, variance], rtol=1e-5)


def test_inference_leaves_moving_statistics_unchanged():
    layer = batch_norm()
    layer(X, training=True)
    before = moving(layer)
    layer(ANOTHER, training=False)
    layer(ANOTHER)
    np.testing.assert_array_equal(moving(layer), before)


def test_inference_normalizes_by_the_moving_statistics():
    layer = batch_norm(momentum=0)  # keeps the last batch's alone
    layer(X, training=True)
    expected = (ANOTHER - X.mean(0)) / np.sqrt(X.var(0) + EPSILON)
    np.testing.assert_allclose(layer(ANOTHER, training=False), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_gamma_and_beta_can_undo_batch_normalization(training):
    # Ioffe & Szegedy 2015, section 3: the transform can represent the identity.
    layer = batch_norm(momentum=0)
    layer(X, training=True)
    layer.gamma.assign(np.sqrt(X.var(0) + EPSILON))
    layer.beta.assign(X.mean(0))
    np.testing.assert_allclose(layer(X, training=training), X, rtol=1e-5, atol=1e-5)
