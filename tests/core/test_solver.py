import keras
import numpy as np
import pytest

from pipeline.core.network import build, draw_kernels
from pipeline.core.normalization import BatchNorm, NoNorm
from pipeline.core.solver import Scorer, Solver
from pipeline.params import OPTIMIZER_ARGUMENTS, Network, Optimizer

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (11, 2, 2), np.uint8)
LABELS = RNG.integers(0, 3, 11).astype(np.uint8)
BATCHES = RNG.permutation(11)[:9].reshape(3, 3).astype(np.int32)
BATCH_NORM = BatchNorm(momentum=0.9, epsilon=0.01, center=True, scale=True)
# A rate of 1, so that a step of SGD is the gradient.
SGD = Optimizer(name="sgd", learning_rate=1.0)
# A large epsilon, so that its place in the equation shows.
ADAM = Optimizer(name="adam", learning_rate=0.1, beta_1=0.8, beta_2=0.95, epsilon=0.1)


def new_solver(normalization, optimizer, activation="relu"):
    network = Network(hidden_dims=(4,), activation=activation)
    model = build(network, normalization, image_shape=(2, 2), classes=3)
    solver = Solver(model, optimizer)
    solver.reset(seed=0)
    return solver


@pytest.fixture(scope="module")
def batch_norm_solver():
    return new_solver(BATCH_NORM, ADAM)


@pytest.fixture(scope="module")
def scorer():
    network = Network(hidden_dims=(4,), activation="relu")
    model = build(network, BATCH_NORM, image_shape=(2, 2), classes=3)
    draw_kernels(model, seed=0)
    model.get_layer("norm_0").moving_mean.assign([0.1, -0.2, 0.3, 0])
    model.get_layer("norm_0").moving_variance.assign([0.5, 1, 2, 0.1])
    return Scorer(model)


def trainable(model):
    return {
        f"{variable.path}": variable.numpy().astype(np.float64)
        for variable in model.trainable_variables
    }


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


def training_loss(normalization, weights, images, labels):
    """The loss of the tanh network in training mode, from the equations of the papers."""
    x = images.reshape(len(labels), -1) / 255
    z = x @ weights["dense_0/kernel"] + weights["dense_0/bias"]
    if normalization.kind != "none":
        over = {"batch": 0, "layer": 1}[normalization.kind]
        spread = np.sqrt(z.var(over, keepdims=True) + normalization.epsilon)
        z = (z - z.mean(over, keepdims=True)) / spread
        z = weights["norm_0/gamma"] * z + weights["norm_0/beta"]
    logits = np.tanh(z) @ weights["logits/kernel"] + weights["logits/bias"]
    return cross_entropy(logits, labels).mean()


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


def assert_same_weights(model, expected):
    for variable, value in zip(model.variables, expected, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


def test_sgd_step_goes_down_the_gradient_worked_out_by_hand():
    solver = new_solver(NoNorm(), SGD)
    before = trainable(solver.model)
    expected_loss, gradients = relu_gradients(before, IMAGES, LABELS)

    loss = solver.train_step(IMAGES, LABELS)

    assert float(loss) == pytest.approx(expected_loss, rel=1e-5)
    after = trainable(solver.model)
    assert gradients.keys() == after.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(before[name] - after[name], gradient, atol=1e-6, err_msg=name)


def test_adam_steps_follow_kingma_and_ba():
    # Kingma & Ba 2015, the last lines of section 2: Keras' epsilon is their epsilon hat, added to
    # the root of the second moment before its bias is corrected.
    solver = new_solver(NoNorm(), ADAM)
    weights = trainable(solver.model)
    m = v = dict.fromkeys(weights, 0)
    for t in (1, 2, 3):
        _, gradients = relu_gradients(weights, IMAGES, LABELS)
        solver.train_step(IMAGES, LABELS)
        m = {name: 0.8 * m[name] + 0.2 * gradient for name, gradient in gradients.items()}
        v = {name: 0.95 * v[name] + 0.05 * gradient**2 for name, gradient in gradients.items()}
        rate = 0.1 * np.sqrt(1 - 0.95**t) / (1 - 0.8**t)
        weights = {
            name: value - rate * m[name] / (np.sqrt(v[name]) + 0.1)
            for name, value in weights.items()
        }
    for name, value in trainable(solver.model).items():
        np.testing.assert_allclose(value, weights[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_gradients_agree_with_finite_differences(normalization):
    solver = new_solver(normalization, SGD, activation="tanh")
    before = trainable(solver.model)
    expected = central_differences(
        lambda: training_loss(normalization, before, IMAGES, LABELS), before
    )

    loss = solver.train_step(IMAGES, LABELS)

    expected_loss = training_loss(normalization, before, IMAGES, LABELS)
    assert float(loss) == pytest.approx(expected_loss, rel=1e-5)
    for name, after in trainable(solver.model).items():
        np.testing.assert_allclose(before[name] - after, expected[name], atol=2e-6, err_msg=name)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 11, 500, None])
def test_evaluation_weighs_every_example_whatever_the_batch_size(scorer, batch_size):
    weights = {variable.path: variable.numpy() for variable in scorer.model.variables}
    z = IMAGES.reshape(11, 4) / 255 @ weights["dense_0/kernel"]
    z = (z - [0.1, -0.2, 0.3, 0]) / np.sqrt(np.array([0.5, 1, 2, 0.1]) + 0.01)
    logits = np.maximum(z, 0) @ weights["logits/kernel"]

    scores = scorer.evaluate(IMAGES, LABELS, batch_size)

    assert scores.loss == pytest.approx(cross_entropy(logits, LABELS).mean(), rel=1e-5)
    assert scores.accuracy == pytest.approx((logits.argmax(1) == LABELS).mean(), abs=1e-7)


def test_evaluation_and_prediction_leave_the_model_unchanged(scorer):
    before = [variable.numpy() for variable in scorer.model.variables]
    scorer.evaluate(IMAGES, LABELS)
    scorer.predict(IMAGES)
    assert_same_weights(scorer.model, before)


def test_predictions_are_the_softmax_of_the_logits(scorer):
    probabilities = scorer.predict(IMAGES)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        probabilities, softmax(scorer.model(IMAGES, training=False).numpy()), rtol=1e-5
    )


def test_an_epoch_is_its_steps_one_by_one(batch_norm_solver):
    solver = batch_norm_solver
    solver.reset(seed=1)
    losses = [float(solver.train_step(IMAGES[chosen], LABELS[chosen])) for chosen in BATCHES]
    by_steps = solver.model.get_weights()

    solver.reset(seed=1)
    loss = solver.train_epoch(IMAGES, LABELS, BATCHES)

    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-5)
    for weight, expected in zip(solver.model.get_weights(), by_steps, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


def test_reset_goes_back_to_before_the_first_step(batch_norm_solver):
    solver = batch_norm_solver
    solver.reset(seed=2)
    fresh = [variable.numpy() for variable in solver.model.variables]
    fresh_optimizer = [variable.numpy() for variable in solver.optimizer.variables]
    solver.train_epoch(IMAGES, LABELS, BATCHES)
    assert any((v.numpy() != f).any() for v, f in zip(solver.model.variables, fresh, strict=True))

    solver.reset(seed=2)

    assert_same_weights(solver.model, fresh)
    for variable, value in zip(solver.optimizer.variables, fresh_optimizer, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_training_again_after_reset_gives_the_same_bits(batch_norm_solver):
    solver, trained = batch_norm_solver, []
    for seed in (5, 6, 5):
        solver.reset(seed)
        solver.train_epoch(IMAGES, LABELS, BATCHES)
        trained.append(solver.model.get_weights())
    first, other, again = trained
    assert any((weight != same).any() for weight, same in zip(other, first, strict=True))
    for weight, same in zip(again, first, strict=True):
        np.testing.assert_array_equal(weight, same)


@pytest.mark.parametrize("name", OPTIMIZER_ARGUMENTS)
def test_optimizer_takes_its_arguments(name):
    flags = {"amsgrad", "centered", "nesterov"}
    arguments = {
        argument: True if argument in flags else 0.25 for argument in OPTIMIZER_ARGUMENTS[name]
    }
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    solver = Solver(model, Optimizer(name=name, learning_rate=0.5, **arguments))
    config = solver.optimizer.get_config()
    assert config["learning_rate"] == pytest.approx(0.5)
    assert arguments.items() <= config.items()
