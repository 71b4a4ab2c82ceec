import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError
from scipy import stats

from pipeline.training.normalization import (
    NORMALIZATIONS,
    BatchNorm,
    BatchRenorm,
    DynamicTanh,
    GhostBatch,
    LayerNorm,
    NoisyBatch,
    NoNorm,
    RMSNorm,
)

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (64, 5)).astype(np.float32)
ANOTHER = RNG.normal(-1, 5, (16, 5)).astype(np.float32)
EPSILON = 0.01
OWN = {
    "batch": {},
    "batch_renorm": {"r_max": 1.5, "d_max": 0.5},
    "noisy_batch": {"offset_max": 0.5, "factor_max": 1.25, "jitter": 0.1},
    "ghost_batch": {"ghost_size": 8},
}
AFFINE = {
    "gamma": np.array([1, 2, 0.5, -1, 3], np.float32),
    "beta": np.array([0, 1, -2, 0.5, 4], np.float32),
}
# As layers name them.
GIVEN = AFFINE | {"scale": AFFINE["gamma"], "alpha": np.float32([0.7])}
# Before gamma and beta; `var` is NumPy's population variance.
NORMALIZED = {
    "none": lambda x: x,
    "batch": lambda x: (x - x.mean(0)) / np.sqrt(x.var(0) + EPSILON),
    "layer": lambda x: (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + EPSILON),
    # Of the first step; r_max and d_max as in conftest.py.
    "batch_renorm": lambda x: renormalized(x, np.zeros(5), np.ones(5), r_max=2.5, d_max=0.5),
    "noisy_batch": lambda x: (x - x.mean(0)) / np.sqrt(x.var(0) + EPSILON),
    # Of 4 examples each; see conftest.py.
    "ghost_batch": lambda x: np.concatenate(
        [NORMALIZED["batch"](ghost) for ghost in np.split(x, 16)]
    ),
    "rms": lambda x: x / np.sqrt((x**2).mean(1, keepdims=True) + EPSILON),
    "dyt": lambda x: np.tanh(0.7 * x),
}
# Those that take a batch as a whole.
WHOLE = ("batch", "batch_renorm", "noisy_batch")
# Those that have a gain for each unit and no offset.
GAIN_ALONE = ("rms",)


def renormalized(x, moving_mean, moving_variance, *, r_max, d_max):
    """Ioffe 2017, algorithm 1, before gamma and beta."""
    r, d = corrections(x, moving_mean, moving_variance, r_max=r_max, d_max=d_max)
    return (x - x.mean(0)) / np.sqrt(x.var(0) + EPSILON) * r + d


def corrections(x, moving_mean, moving_variance, *, r_max, d_max):
    sigma = np.sqrt(moving_variance + EPSILON)
    r = np.sqrt(x.var(0) + EPSILON) / sigma
    d = (x.mean(0) - moving_mean) / sigma
    return np.minimum(np.maximum(r, 1 / r_max), r_max), np.minimum(np.maximum(d, -d_max), d_max)


@pytest.fixture
def layer(normalization):
    layer = normalization.layer("norm")
    layer.build(X.shape)
    for variable in layer.trainable_variables:
        variable.assign(GIVEN[variable.name])
    return layer


def batch_norm(kind="batch", *, momentum=0.9, shape=X.shape, **own):
    fields = {"momentum": momentum, "epsilon": EPSILON, "center": True, "scale": True}
    layer = NORMALIZATIONS[kind](**fields, **(own or OWN[kind])).layer("norm")
    layer.build(shape)
    return layer


def seeds(layer):
    return [layer.noise] if hasattr(layer, "noise") else []


def moving(layer):
    return [layer.moving_mean.numpy(), layer.moving_variance.numpy()]


@pytest.mark.parametrize("cls", NORMALIZATIONS.values())
def test_normalizations_are_found_by_their_kind(cls):
    assert NORMALIZATIONS[cls.kind] is cls


@pytest.mark.parametrize("training", [True, False])
def test_shape_and_type_are_kept(layer, training):
    output = layer(X, training=training)
    assert output.shape == X.shape
    assert output.dtype == "float32"


def test_output_in_training_follows_the_papers(normalization, layer, noise):
    factor, offset = noise(normalization, X.shape, [one.state.value for one in seeds(layer)])
    has_affine = bool(layer.trainable_variables)
    gamma, beta = (AFFINE["gamma"], AFFINE["beta"]) if has_affine else (1, 0)
    beta = 0 if normalization.kind in GAIN_ALONE else beta
    expected = gamma * NORMALIZED[normalization.kind](X.astype(np.float64)) + beta
    expected = factor * expected + offset
    np.testing.assert_allclose(layer(X, training=True), expected, rtol=1e-4, atol=1e-5)


def test_inference_leaves_every_variable_unchanged(layer):
    before = [variable.numpy() for variable in layer.variables]
    layer(X, training=False)
    for variable, expected in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, expected)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 5)])
def test_the_layers_at_inference_are_keras_own_and_give_the_same(normalization, layer, shape):
    layer(X, training=True)
    weights = layer.get_weights()
    layer = normalization.layer("norm")
    layer.build((None, *shape))
    inputs = keras.Input(shape)
    served = keras.Model(inputs, normalization.at_inference.layer("norm")(inputs))
    assert all(type(one).__module__.startswith("keras.") for one in served.layers)
    assert all(one.name.startswith("norm") for one in served.layers[1:])
    for each in (layer, served):
        each.set_weights(weights)
    given = np.resize(ANOTHER, (16, *shape))
    expected = layer(given, training=False)
    for outputs in (served(given, training=False), served(given), layer(given)):
        np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("cls", [BatchNorm, BatchRenorm, NoisyBatch, GhostBatch])
def test_at_inference_all_batch_normalizations_are_one(cls):
    own = OWN[cls.kind]
    assert cls(momentum=0.9, epsilon=EPSILON, center=True, scale=False, **own).at_inference == (
        BatchNorm(momentum=0.9, epsilon=EPSILON, center=True, scale=False)
    )


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


@pytest.mark.parametrize(
    "chosen",
    [
        NoNorm(),
        RMSNorm(epsilon=EPSILON),
        DynamicTanh(alpha=2.0),
        LayerNorm(epsilon=EPSILON, center=True, scale=True),
    ],
    ids=lambda one: one.kind,
)
def test_training_and_inference_do_not_differ_without_moving_statistics(chosen):
    layer = chosen.layer("norm")
    np.testing.assert_array_equal(layer(X, training=True), layer(X, training=False))
    np.testing.assert_allclose(layer(X[:1]), layer(X)[:1], rtol=1e-6)


@pytest.mark.parametrize(
    "normalization_class", [BatchNorm, LayerNorm, BatchRenorm, NoisyBatch, GhostBatch]
)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_center_and_scale_decide_which_variables_are_learnt(normalization_class, center, scale):
    fields = {"momentum": 0.9, "epsilon": EPSILON, "center": center, "scale": scale}
    fields |= OWN.get(normalization_class.kind, {})
    taken = {name: fields[name] for name in normalization_class.model_fields}
    layer = normalization_class(**taken).layer("norm")
    layer.build(X.shape)
    layer(X, training=True)
    learnt = {variable.name for variable in layer.trainable_variables}
    assert learnt == {name for name, kept in (("beta", center), ("gamma", scale)) if kept}


@pytest.mark.parametrize("kind", WHOLE)
def test_moving_statistics_follow_the_momentum(kind):
    layer = batch_norm(kind, momentum=0.9)
    for batch in (X, ANOTHER):
        layer(batch, training=True)
    mean = 0.9 * (0.9 * 0 + 0.1 * X.mean(0)) + 0.1 * ANOTHER.mean(0)
    variance = 0.9 * (0.9 * 1 + 0.1 * X.var(0)) + 0.1 * ANOTHER.var(0)
    np.testing.assert_allclose(moving(layer), [mean, variance], rtol=1e-5)


@pytest.mark.parametrize("kind", OWN)
def test_inference_leaves_moving_statistics_unchanged(kind):
    layer = batch_norm(kind)
    layer(X, training=True)
    before = moving(layer)
    layer(ANOTHER, training=False)
    layer(ANOTHER)
    np.testing.assert_array_equal(moving(layer), before)


@pytest.mark.parametrize("kind", WHOLE)
def test_inference_normalizes_by_the_moving_statistics(kind):
    layer = batch_norm(kind, momentum=0)  # keeps the last batch's alone
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


# Units whose batches come to stray in either direction, by more than is corrected and by less.
DRIFTING = [
    (RNG.normal(0, 1, (16, 5)) * [0.2, 0.9, 1, 1.2, 8] + step * np.array([0, 0.1, -0.2, 1, -9]))
    for step in range(6)
]


def test_renormalized_batches_follow_the_moving_statistics_through_the_steps():
    layer, clipped = batch_norm("batch_renorm"), []
    for name, value in AFFINE.items():
        getattr(layer, name).assign(value)
    mean, variance = np.zeros(5), np.ones(5)
    for x in DRIFTING:
        limits = {"r_max": 1.5, "d_max": 0.5}
        expected = renormalized(x, mean, variance, **limits) * AFFINE["gamma"] + AFFINE["beta"]
        r, d = corrections(x, mean, variance, **limits)
        clipped += zip((r - 1 / 1.5) * (1.5 - r) == 0, np.abs(d) == 0.5, strict=True)

        given = layer(x.astype(np.float32), training=True)

        np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-4)
        mean, variance = 0.9 * mean + 0.1 * x.mean(0), 0.9 * variance + 0.1 * x.var(0)
        np.testing.assert_allclose(moving(layer), [mean, variance], rtol=1e-4, atol=1e-6)
    assert {(bool(r), bool(d)) for r, d in clipped} == {
        (r, d) for r in (True, False) for d in (True, False)
    }


@pytest.mark.parametrize("gamma", [AFFINE["gamma"], np.ones(5)])
def test_gradients_treat_the_corrections_as_constants(gamma):
    layer, x, downstream = batch_norm("batch_renorm"), DRIFTING[1], RNG.normal(size=(16, 5))
    layer.gamma.assign(gamma)
    r, _ = corrections(x, np.zeros(5), np.ones(5), r_max=1.5, d_max=0.5)
    inputs = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(layer(inputs, training=True) * downstream.astype(np.float32))

    # Ioffe & Szegedy 2015, section 3: what comes back through mean and variance; times r alone.
    normalized, g = NORMALIZED["batch"](x), downstream * gamma * r
    expected = g - g.mean(0) - normalized * (g * normalized).mean(0)
    expected /= np.sqrt(x.var(0) + EPSILON)
    np.testing.assert_allclose(tape.gradient(loss, inputs), expected, rtol=1e-3, atol=1e-4)


def test_renormalization_without_corrections_is_batch_normalization():
    renorm, batch = batch_norm("batch_renorm", r_max=1.0, d_max=0.0), batch_norm()
    for x in (X, ANOTHER):
        np.testing.assert_allclose(
            renorm(x, training=True), batch(x, training=True), rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(moving(renorm), moving(batch), rtol=1e-6)


def test_renormalization_without_limits_normalizes_by_the_moving_statistics():
    # Ioffe 2017, section 3: what r and d are for.
    layer = batch_norm("batch_renorm", r_max=1e6, d_max=1e6)
    layer(X, training=True)
    mean, variance = moving(layer)
    expected = (ANOTHER - mean) / np.sqrt(variance + EPSILON)
    np.testing.assert_allclose(layer(ANOTHER, training=True), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5), (6, 2, 3, 5)])
def test_moving_statistics_take_in_ghost_batches_one_after_the_other(shape):
    ghosts, batch = batch_norm("ghost_batch", shape=shape, ghost_size=2), batch_norm(shape=shape)
    x = RNG.normal(2, 3, shape).astype(np.float32)
    for _ in range(3):
        outputs = ghosts(x, training=True)
        expected = [batch(x[at : at + 2], training=True) for at in (0, 2, 4)]
        np.testing.assert_allclose(outputs, np.concatenate(expected), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moving(ghosts), moving(batch), rtol=1e-5)


def test_a_batch_is_made_of_whole_ghost_batches():
    ghosts = GhostBatch(momentum=0.9, epsilon=0.1, center=True, scale=True, ghost_size=8)
    ghosts.expect_batches_of(64)
    with pytest.raises(ValueError, match="`ghost_size` must divide the batch size, 20, got 8"):
        ghosts.expect_batches_of(20)


@pytest.mark.parametrize("limit", [{"r_max": 0.99, "d_max": 0}, {"r_max": 1, "d_max": -0.01}])
def test_limits_that_leave_no_room_are_refused(limit):
    with pytest.raises(ValidationError, match="greater than or equal to"):
        batch_norm("batch_renorm", **limit)


def drawn_noise(steps, shape, **own):
    """Returns the factors and offsets, [steps, batch, units], of consecutive steps."""
    # With a gamma of 0 what comes out is factor * beta + offset.
    outputs = []
    for beta in (0, 1):
        layer = batch_norm("noisy_batch", shape=shape, **(OWN["noisy_batch"] | own))
        layer.gamma.assign(np.zeros(shape[1]))
        layer.beta.assign(np.full(shape[1], beta))
        layer.noise.state.assign([11, 12])
        x = tf.zeros(shape)
        outputs.append(np.array([layer(x, training=True) for _ in range(steps)], np.float64))
    offsets, both = outputs
    return both - offsets, offsets


def assert_drawn_from(distribution, values):
    values = np.ravel(values)
    assert stats.kstest(values, distribution.cdf).pvalue > 0.01
    assert values.std() == pytest.approx(distribution.std(), rel=0.02)


@pytest.mark.slow
def test_each_step_draws_an_offset_and_a_factor_for_each_unit():
    factors, offsets = drawn_noise(300, (4, 50), jitter=0.0)

    # Without jitter all examples have those of their unit.
    assert np.ptp(offsets, axis=1).max() < 1e-6
    assert np.ptp(factors, axis=1).max() < 1e-6
    offset, factor = offsets[:, 0], factors[:, 0]
    assert_drawn_from(stats.uniform(-0.5, 1), offset)
    assert_drawn_from(stats.uniform(1, 0.25), factor)
    # Neither one of the other, nor one step or unit of the next: 15,000 draws, 4 deviations.
    for one, other in [
        (offset, factor),
        (offset[1:], offset[:-1]),
        (factor[1:], factor[:-1]),
        (offset[:, 1:], offset[:, :-1]),
        (factor[:, 1:], factor[:, :-1]),
    ]:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(15_000)


def test_each_example_draws_around_the_values_of_its_unit():
    factors, offsets = drawn_noise(30, (100, 5), offset_max=0.0, factor_max=1.0)

    assert_drawn_from(stats.uniform(-0.1, 0.2), offsets)
    # The second argument of N is taken for a standard deviation.
    assert_drawn_from(stats.norm(1, 0.1), factors)
    # No step goes through the draws of another, in whichever place.
    assert len(np.unique(offsets)) > 0.99 * offsets.size
    for one, other in [
        (offsets, factors),
        (offsets[1:], offsets[:-1]),
        (factors[:, 1:], factors[:, :-1]),
        (factors[..., 1:], factors[..., :-1]),
    ]:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(15_000)


def test_both_noises_add_up():
    alone = drawn_noise(20, (100, 5), jitter=0.0)
    about = drawn_noise(20, (100, 5), offset_max=0.0, factor_max=1.0)
    factors, offsets = drawn_noise(20, (100, 5))
    np.testing.assert_allclose(offsets, alone[1] + about[1], atol=1e-5)
    np.testing.assert_allclose(factors, alone[0] + about[0] - 1, atol=1e-5)


def test_a_state_always_gives_the_same_noise():
    # Another sign or order would draw from the same distributions, and make other runs.
    drawn = tf.function(tf.random.stateless_uniform, jit_compile=True)
    mu, sigma, *rest = drawn((2 + 2 * 3, 5), [11, 12], -1, 1, alg="threefry").numpy()
    m, s = np.reshape(rest, (2, 3, 5))

    factors, offsets = drawn_noise(1, (3, 5))

    np.testing.assert_allclose(offsets[0], 0.5 * mu + 0.1 * m, atol=1e-6)
    # The standard normal's quantiles, and what is uniform in -1…1.
    by_unit = 1 + 0.25 * (1 + sigma) / 2
    np.testing.assert_allclose(factors[0], by_unit + 0.1 * stats.norm.ppf((1 + s) / 2), atol=1e-5)


def test_noise_depends_on_its_state_and_advances_it():
    layer = batch_norm("noisy_batch")
    given = []
    for state in ([3, 4], None, [3, 4], [3, 5], [4, 4]):
        if state:
            layer.noise.state.assign(state)
        given.append(layer(X, training=True).numpy())
    first, second, again, after, other = given
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(after, second)
    assert (second != first).mean() > 0.9
    assert (other != first).mean() > 0.9
