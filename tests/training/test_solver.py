import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import ParamsError
from pipeline.params import Optimizer
from pipeline.training.network import build, first_weights
from pipeline.training.normalization import BatchNorm, NoNorm
from pipeline.training.solver import Scorer, Solver
from pipeline.training.workers import worker_pool
from tests.networks import dense, training_with

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (11, 2, 2), np.uint8)
LABELS = RNG.integers(0, 3, 11).astype(np.uint8)
# Not as many batches as there are examples in one, so that neither stands for the other.
BATCHES = RNG.permutation(11)[:8].reshape(2, 4).astype(np.int32)
BATCH_NORM = BatchNorm(momentum=0.9, epsilon=0.01, center=True, scale=True)
# A rate of 1, so that a step of SGD is the gradient.
SGD = Optimizer(name="sgd", learning_rate=1.0)
# A large epsilon, so that its place in the equation shows.
ADAM = Optimizer(name="adam", learning_rate=0.1, beta_1=0.8, beta_2=0.95, epsilon=0.1)
RATES = np.full(len(BATCHES), ADAM.learning_rate, np.float32)


def new_solver(normalization, optimizer, activation="relu", **settings):
    network = dense(hidden_dims=(4,), activation=activation)
    training = training_with(optimizer).model_copy(update=settings)
    return Solver(build(network, normalization, shape=(2, 2), classes=3), training)


@pytest.fixture(scope="module")
def batch_norm_solver():
    return new_solver(BATCH_NORM, ADAM)


@pytest.fixture(scope="module")
def scorer():
    network = dense(hidden_dims=(4,), activation="relu")
    model = build(network, BATCH_NORM, shape=(2, 2), classes=3)
    return Scorer(model)


@pytest.fixture(scope="module")
def weights(scorer):
    given = dict(zip(paths(scorer.model), first_weights(scorer.model, seed=0), strict=True))
    given["norm_0/moving_mean"] = np.float32([0.1, -0.2, 0.3, 0])
    given["norm_0/moving_variance"] = np.float32([0.5, 1, 2, 0.1])
    return given


def paths(model):
    return [variable.path for variable in model.weights]


def trainable(solver, state):
    values = dict(zip(paths(solver.model), solver.weights(state), strict=True))
    return {
        one.path: values[one.path].numpy().astype(np.float64)
        for one in solver.model.trainable_variables
    }


def values(state):
    return [np.array(value) for value in tf.nest.flatten(state)]


def assert_same(state, expected):
    for value, same in zip(values(state), values(expected), strict=True):
        np.testing.assert_array_equal(value, same)


def softmax(logits):
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def cross_entropy(logits, labels):
    return -np.log(softmax(logits)[np.arange(len(labels)), labels])


def relu_gradients(weights, images, labels):
    """Loss and gradients of 4 pixels - 4 ReLU units - 3 classes by the chain rule, on paper."""
    n = len(labels)
    x = images.reshape(n, -1) / 255
    z = x @ weights["dense_0/kernel"] + weights["dense_0/bias"]
    h = np.maximum(z, 0)
    logits = h @ weights["logits/kernel"] + weights["logits/bias"]
    d_logits = (softmax(logits) - np.eye(3)[labels]) / n
    d_z = d_logits @ weights["logits/kernel"].T * (z > 0)
    return cross_entropy(logits, labels).mean(), {
        "dense_0/kernel": x.T @ d_z,
        "dense_0/bias": d_z.sum(0),
        "logits/kernel": h.T @ d_logits,
        "logits/bias": d_logits.sum(0),
    }


def training_loss(normalize, weights, images, labels):
    """The loss of the tanh network in training mode, from the equations of the papers."""
    z = units(weights, images)
    logits = np.tanh(normalize(z, weights)) @ weights["logits/kernel"] + weights["logits/bias"]
    return cross_entropy(logits, labels).mean()


def units(weights, images):
    x = images.reshape(len(images), -1) / 255
    return x @ weights["dense_0/kernel"] + weights["dense_0/bias"]


def in_training(norm, first, noise):
    """Returns how units are normalised from `first` on, with noise and renorm's constants."""
    if norm.kind == "none":
        return lambda z, _weights: z
    if norm.kind == "rms":
        return lambda z, weights: (
            z / np.sqrt((z**2).mean(1, keepdims=True) + norm.epsilon) * weights["norm_0/scale"]
        )
    if norm.kind == "dyt":
        return lambda z, weights: (
            np.tanh(weights["norm_0/alpha"] * z) * weights["norm_0/gamma"] + weights["norm_0/beta"]
        )
    over = {"layer": 1}.get(norm.kind, 0)

    def moments(z):
        if norm.kind == "ghost_batch":
            parts = np.split(z, len(z) // norm.ghost_size)
            mean, variance = (
                np.repeat([take(part, 0) for part in parts], norm.ghost_size, axis=0)
                for take in (np.mean, np.var)
            )
            return mean, np.sqrt(variance + norm.epsilon)
        return z.mean(over, keepdims=True), np.sqrt(z.var(over, keepdims=True) + norm.epsilon)

    r, d = 1, 0
    if norm.kind == "batch_renorm":
        # The moving statistics are those before the first step, 0 and 1.
        (mean, spread), moving = moments(first), np.sqrt(1 + norm.epsilon)
        r = np.clip(spread / moving, 1 / norm.r_max, norm.r_max)
        d = np.clip(mean / moving, -norm.d_max, norm.d_max)
    factor, offset = noise

    def normalize(z, weights):
        mean, spread = moments(z)
        z = ((z - mean) / spread * r + d) * weights["norm_0/gamma"] + weights["norm_0/beta"]
        return factor * z + offset

    return normalize


def central_differences(function, weights, width=1e-5):
    gradients = {name: np.empty_like(value) for name, value in weights.items()}
    for name, value in weights.items():
        for place in np.ndindex(value.shape):
            at = value[place]
            value[place] = at + width
            above = function()
            value[place] = at - width
            below = function()
            value[place] = at
            gradients[name][place] = (above - below) / (2 * width)
    return gradients


def test_sgd_step_goes_down_the_gradient_worked_out_by_hand():
    solver = new_solver(NoNorm(), SGD)
    state = solver.start(seed=0)
    before = trainable(solver, state)
    expected_loss, gradients = relu_gradients(before, IMAGES, LABELS)

    stepped, loss = solver.train_step(state, IMAGES, LABELS)

    assert float(loss) == pytest.approx(expected_loss, rel=1e-5)
    after = trainable(solver, stepped)
    assert gradients.keys() == after.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(before[name] - after[name], gradient, atol=1e-6, err_msg=name)


def test_labels_are_smoothed_in_training_alone():
    # Szegedy et al. 2016, section 7: the label is 1 - 0.3 of itself, and 0.3 of all 3 classes.
    solver = new_solver(NoNorm(), SGD, label_smoothing=0.3)
    state = solver.start(seed=0)
    before = trainable(solver, state)
    hidden = np.maximum(units(before, IMAGES), 0)
    logits = hidden @ before["logits/kernel"] + before["logits/bias"]
    shares, targets = softmax(logits), 0.7 * np.eye(3)[LABELS] + 0.3 / 3

    stepped, loss = solver.train_step(state, IMAGES, LABELS)
    scores = solver.evaluate(solver.weights(state), IMAGES, LABELS)

    assert float(loss) == pytest.approx(-(targets * np.log(shares)).sum(1).mean(), rel=1e-5)
    after = trainable(solver, stepped)
    step = before["logits/bias"] - after["logits/bias"]
    np.testing.assert_allclose(step, (shares - targets).mean(0), atol=1e-6)
    assert scores.loss == pytest.approx(cross_entropy(logits, LABELS).mean(), rel=1e-5)


def test_weights_decay_in_kernels_alone():
    # Loshchilov & Hutter 2019, algorithm 1, with a rate of 1: a step takes a tenth more of them.
    stepped = []
    for decay in (None, 0.1):
        solver = new_solver(BATCH_NORM, SGD, weight_decay=decay)
        state = solver.start(seed=0)
        stepped.append(trainable(solver, solver.train_step(state, IMAGES, LABELS)[0]))
    before, (plain, decayed) = trainable(solver, state), stepped
    assert {name for name in before if (plain[name] != decayed[name]).any()} == {
        "dense_0/kernel",
        "logits/kernel",
    }
    for name in ("dense_0/kernel", "logits/kernel"):
        np.testing.assert_allclose(plain[name] - decayed[name], 0.1 * before[name], atol=1e-6)


def steps(**settings):
    solver = new_solver(BATCH_NORM, SGD, **settings)
    state = solver.start(seed=0)
    before = trainable(solver, state)
    return before, trainable(solver, solver.train_step(state, IMAGES, LABELS)[0])


def test_with_trainable_normalizations_all_else_stays_as_it_starts():
    before, plain = steps()
    _, after = steps(trainable="normalization")
    for name, value in after.items():
        expected = plain[name] if name.startswith("norm_0/") else before[name]
        np.testing.assert_array_equal(value, expected, err_msg=name)
    assert (after["norm_0/gamma"] != 1).any()


def test_with_two_weights_of_a_unit_all_else_stays_as_it_starts():
    before, plain = steps()
    _, after = steps(trainable="two_per_unit")
    moved = after["dense_0/kernel"] != before["dense_0/kernel"]
    assert moved.sum(axis=0).tolist() == [2, 2, 2, 2]
    np.testing.assert_array_equal(after["dense_0/kernel"][moved], plain["dense_0/kernel"][moved])
    for name in before.keys() - {"dense_0/kernel"}:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_the_hidden_rate_multiplies_that_of_hidden_kernels_alone():
    before, plain = steps()
    _, after = steps(hidden_rate=8.0)
    for name, start in before.items():
        factor = 8 if name == "dense_0/kernel" else 1
        expected = start + factor * (plain[name] - start)
        np.testing.assert_allclose(after[name], expected, atol=1e-6, err_msg=name)
    assert (after["dense_0/kernel"] != before["dense_0/kernel"]).any()


def test_a_network_without_weights_to_train_is_refused():
    with pytest.raises(ParamsError, match="`trainable` is 'normalization', and the network has no"):
        new_solver(NoNorm(), SGD, trainable="normalization")


def test_adam_steps_follow_kingma_and_ba():
    # Kingma & Ba 2015, the last lines of section 2: Keras' epsilon is their epsilon hat, added to
    # the root of the second moment before its bias is corrected.
    solver = new_solver(NoNorm(), ADAM)
    state = solver.start(seed=0)
    weights = trainable(solver, state)
    m = v = dict.fromkeys(weights, 0)
    for t in (1, 2, 3):
        _, gradients = relu_gradients(weights, IMAGES, LABELS)
        state, _ = solver.train_step(state, IMAGES, LABELS)
        m = {name: 0.8 * m[name] + 0.2 * gradient for name, gradient in gradients.items()}
        v = {name: 0.95 * v[name] + 0.05 * gradient**2 for name, gradient in gradients.items()}
        rate = 0.1 * np.sqrt(1 - 0.95**t) / (1 - 0.8**t)
        weights = {
            name: value - rate * m[name] / (np.sqrt(v[name]) + 0.1)
            for name, value in weights.items()
        }
    for name, value in trainable(solver, state).items():
        np.testing.assert_allclose(value, weights[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_gradients_agree_with_finite_differences(normalization, noise):
    images, labels = IMAGES[:8], LABELS[:8]
    solver = new_solver(normalization, SGD, activation="tanh")
    state = solver.start(seed=0)
    before = trainable(solver, state)
    drawn = noise(normalization, (8, 4), state.statistics[-1:])
    normalize = in_training(normalization, units(before, images), drawn)
    expected = central_differences(lambda: training_loss(normalize, before, images, labels), before)

    stepped, loss = solver.train_step(state, images, labels)

    expected_loss = training_loss(normalize, before, images, labels)
    assert float(loss) == pytest.approx(expected_loss, rel=1e-5)
    for name, after in trainable(solver, stepped).items():
        np.testing.assert_allclose(before[name] - after, expected[name], atol=2e-6, err_msg=name)


def logits_of(images, weights):
    """Returns what NumPy makes of the scorer's network."""
    z = images.reshape(-1, 4) / 255 @ weights["dense_0/kernel"]
    z = (z - [0.1, -0.2, 0.3, 0]) / np.sqrt(np.array([0.5, 1, 2, 0.1]) + 0.01)
    return np.maximum(z, 0) @ weights["logits/kernel"]


def assert_scores(scores, logits, labels):
    assert scores.loss == pytest.approx(cross_entropy(logits, labels).mean(), rel=1e-5)
    assert scores.accuracy == pytest.approx((logits.argmax(1) == labels).mean(), abs=1e-7)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 11, 500])
@pytest.mark.parametrize("rows", [None, range(8), range(8, 11), range(4, 9), range(10, 11)])
def test_evaluation_weighs_every_example_whatever_the_batch_size(scorer, weights, rows, batch_size):
    scores = scorer.evaluate(weights.values(), IMAGES, LABELS, batch_size, rows)
    chosen = slice(None) if rows is None else slice(rows.start, rows.stop)
    assert_scores(scores, logits_of(IMAGES, weights)[chosen], LABELS[chosen])


def test_sets_of_the_same_inputs_share_what_is_compiled(scorer, weights):
    scorer.evaluate(weights.values(), IMAGES, LABELS, rows=range(8))
    before = scorer._sums.experimental_get_tracing_count()
    scorer.evaluate(weights.values(), IMAGES, LABELS, rows=range(8, 11))
    assert scorer._sums.experimental_get_tracing_count() == before > 0


def test_predictions_come_with_their_scores(scorer, weights):
    probabilities, scores = scorer.predict_and_score(weights.values(), IMAGES, LABELS)
    logits = logits_of(IMAGES, weights)
    np.testing.assert_allclose(probabilities, softmax(logits), rtol=1e-4)
    assert_scores(scores, logits, LABELS)


def test_evaluation_and_prediction_leave_the_model_unchanged(scorer, weights):
    before = scorer.model.get_weights()
    scorer.evaluate(weights.values(), IMAGES, LABELS)
    scorer.predict(weights.values(), IMAGES)
    for value, same in zip(scorer.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, same)


def test_predictions_are_the_softmax_of_the_logits(scorer, weights):
    probabilities = scorer.predict(weights.values(), IMAGES)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    model = build(dense(hidden_dims=(4,), activation="relu"), BATCH_NORM, shape=(2, 2), classes=3)
    model.set_weights(list(weights.values()))
    np.testing.assert_allclose(
        probabilities, softmax(model(IMAGES, training=False).numpy()), rtol=1e-5
    )


def test_a_step_leaves_the_state_before_it_unchanged(batch_norm_solver):
    state = batch_norm_solver.start(seed=3)
    before = values(state)
    batch_norm_solver.train_step(state, IMAGES, LABELS)
    assert_same(state, before)


def test_weights_are_in_the_order_of_the_model(batch_norm_solver):
    model = batch_norm_solver.model
    expected = first_weights(model, seed=4)
    given = batch_norm_solver.weights(batch_norm_solver.start(seed=4))
    for value, same in zip(given, expected, strict=True):
        np.testing.assert_array_equal(value, same)
    assert [value.shape for value in given] == [value.shape for value in model.get_weights()]


def test_an_epoch_equals_its_steps_one_by_one(batch_norm_solver):
    solver = batch_norm_solver
    stepped, losses = solver.start(seed=1), []
    for chosen in BATCHES:
        stepped, loss = solver.train_step(stepped, IMAGES[chosen], LABELS[chosen])
        losses.append(float(loss))

    state = solver.start(seed=1)
    loss = solver.train_epoch(state, IMAGES, LABELS, BATCHES, RATES)

    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-5)
    for value, expected in zip(values(state), values(stepped), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)


def test_moving_averages_follow_the_batches(batch_norm_solver):
    # moving = momentum * moving + (1 - momentum) * batch, with a momentum of 0.9 (see BATCH_NORM),
    # from a mean of 0 and a variance of 1.
    solver, model = batch_norm_solver, batch_norm_solver.model
    before = dict(zip(paths(model), first_weights(model, seed=1), strict=True))
    stepped, _ = solver.train_step(solver.start(seed=1), IMAGES, LABELS)
    after = dict(zip(paths(model), solver.weights(stepped), strict=True))
    z = IMAGES.reshape(11, 4) / 255 @ before["dense_0/kernel"]
    np.testing.assert_allclose(after["norm_0/moving_mean"], 0.1 * z.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(after["norm_0/moving_variance"], 0.9 + 0.1 * z.var(0), rtol=1e-4)


def test_equal_seeds_give_the_same_bits_and_others_do_not(batch_norm_solver):
    solver, trained = batch_norm_solver, []
    for seed in (5, 6, 5):
        state = solver.start(seed)
        solver.train_epoch(state, IMAGES, LABELS, BATCHES, RATES)
        trained.append(values(state))
    first, other, again = trained
    assert any((value != same).any() for value, same in zip(other, first, strict=True))
    for value, same in zip(again, first, strict=True):
        np.testing.assert_array_equal(value, same)


def test_threads_share_what_is_compiled(batch_norm_solver):
    solver = batch_norm_solver
    alone = [solver.start(seed) for seed in range(4)]
    for state in alone:
        solver.train_epoch(state, IMAGES, LABELS, BATCHES, RATES)
    together = [solver.start(seed) for seed in range(4)]
    with worker_pool(4) as pool:
        pool.map(lambda state: solver.train_epoch(state, IMAGES, LABELS, BATCHES, RATES), together)
    for state, expected in zip(together, alone, strict=True):
        assert_same(state, expected)
    assert solver.train_epoch.experimental_get_tracing_count() == 1


def test_an_epoch_is_compiled_as_one(batch_norm_solver):
    state = batch_norm_solver.start(seed=0)
    data = map(tf.constant, (IMAGES, LABELS, BATCHES, RATES))
    epoch = batch_norm_solver.train_epoch.get_concrete_function(state, *data)
    assert epoch.function_def.attr["_XlaMustCompile"].b
