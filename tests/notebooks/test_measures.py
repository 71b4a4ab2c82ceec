import keras
import numpy as np
import pytest

from notebooks import measures
from pipeline.examples.dataset import Dataset, Examples
from pipeline.params import Optimizer, Variant
from pipeline.params import Training as Settings
from pipeline.studies.measures.probes import Trained
from pipeline.training import network
from pipeline.training.normalization import BatchNorm, NoNorm
from pipeline.training.trainer import Task, Trainer
from tests.networks import dense

pytestmark = pytest.mark.slow

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 3, 3), np.uint8)
LABELS = np.random.default_rng(1).integers(0, 3, 50).astype(np.uint8)
LABELS[0] = 2
EXAMPLES = Examples(IMAGES, LABELS)
DATA = Dataset(train=EXAMPLES, validation=EXAMPLES, test=EXAMPLES, classes=tuple("0123456789"))
DIMS = dense(hidden_dims=(6, 4), activation="relu")
SETTINGS = Settings(
    epochs=3, batch_size=10, optimizer=Optimizer(name="sgd", learning_rate=0.1), seeds=1
)
EPSILON = 0.01


def variant(momentum=0.5):
    batch_norm = BatchNorm(momentum=momentum, epsilon=EPSILON, center=True, scale=True)
    return Variant(label="BN", normalization=batch_norm, network=DIMS, training=SETTINGS)


@pytest.fixture(scope="module")
def training():
    return Trainer(DATA)


@pytest.fixture(scope="module")
def states(training):
    return list(measures.followed(training, Task(variant(), 0), DATA))


@pytest.fixture(scope="module")
def model():
    return network.build(DIMS, variant().normalization, shape=(3, 3), classes=3)


@pytest.fixture(scope="module")
def trained(model):
    """A network in which no weight has its initial value."""
    rng = np.random.default_rng(2)
    # Kernels of both signs, and biases that do not decide everything.
    weights = [
        rng.normal(size=one.shape) if len(one.shape) == 2 else rng.uniform(0.1, 1, one.shape) / 3
        for one in model.weights
    ]
    return Trained(model, [one.astype(np.float32) for one in weights], DATA, SETTINGS)


def by_path(trained):
    return {v.path: w for v, w in zip(trained.model.weights, trained.weights, strict=True)}


def probabilities(trained, images):
    """Normalises in NumPy, by the images' own mean and variance."""
    weights, units = by_path(trained), images.reshape(len(images), -1) / 255
    for i in (0, 1):
        units = units @ weights[f"dense_{i}/kernel"] + weights[f"dense_{i}/bias"]
        units = (units - units.mean(axis=0)) / np.sqrt(units.var(axis=0) + EPSILON)
        units = np.maximum(units * weights[f"norm_{i}/gamma"] + weights[f"norm_{i}/beta"], 0)
    logits = units @ weights["logits/kernel"] + weights["logits/bias"]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_a_batch_scorer_normalises_by_the_batch(model, trained):
    scorer = measures.BatchScorer(model)

    found = scorer.predict(trained.weights, IMAGES[:20])

    np.testing.assert_allclose(found, probabilities(trained, IMAGES[:20]), atol=1e-5)


@pytest.mark.parametrize("size", [1, 10, 20])
def test_a_batch_scorer_takes_batches_of_the_given_size(model, trained, size):
    scorer = measures.BatchScorer(model)

    found = scorer.evaluate(trained.weights, IMAGES, LABELS, size).accuracy

    # In batches of 20, the last has ten that were counted before.
    given = [
        probabilities(trained, IMAGES[min(start, 50 - size) :][:size]).argmax(axis=1)[
            -(50 - start) :
        ]
        for start in range(0, 50, size)
    ]
    assert found == pytest.approx(np.mean(np.concatenate(given) == LABELS))


def test_a_batch_scorer_leaves_the_model_as_it_was(model, trained):
    before = [weight.copy() for weight in model.get_weights()]

    measures.BatchScorer(model).predict(trained.weights, IMAGES)

    for weight, same in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, same)


def test_alone_every_image_gets_the_same_answer(model, trained):
    scorer = measures.BatchScorer(model)

    one, other = (scorer.predict(trained.weights, IMAGES[i : i + 1]) for i in (0, 1))

    np.testing.assert_array_equal(one, other)


def test_a_run_is_followed_from_its_first_weights_to_its_last(training, states):
    run = training(Task(variant(), 0))

    assert len(states) == 1 + SETTINGS.epochs
    first = network.first_weights(states[0].model, 0)
    for found, expected in zip(states[0].weights, first, strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(states[-1].weights, run.weights, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_unit_fires_for_the_images_that_lift_it_above_0():
    model = network.build(DIMS, NoNorm(), shape=(3, 3), classes=3)
    weights = network.first_weights(model, 1)
    weights[1] = np.array([-99, 99, 0, 0, 0, 0], np.float32)

    first, second = measures.firing(Trained(model, weights, DATA, SETTINGS))

    units = np.maximum(IMAGES.reshape(50, 9) / 255 @ weights[0] + weights[1], 0)
    np.testing.assert_allclose(first, (units > 0).mean(axis=0))
    assert (first[0], first[1]) == (0, 1)
    np.testing.assert_allclose(second, (units @ weights[2] + weights[3] > 0).mean(axis=0))


def test_gamma_and_beta_are_listed_with_the_values_that_would_undo_normalisation(trained):
    found = measures.learnt(trained)

    weights = by_path(trained)
    assert found["layer"].tolist() == [0] * 6 + [1] * 4
    for i in (0, 1):
        of_layer = found[found["layer"] == i]
        np.testing.assert_array_equal(of_layer["gamma"], weights[f"norm_{i}/gamma"])
        np.testing.assert_array_equal(of_layer["beta"], weights[f"norm_{i}/beta"])
        np.testing.assert_array_equal(of_layer["mean"], weights[f"norm_{i}/moving_mean"])
        deviation = np.sqrt(weights[f"norm_{i}/moving_variance"] + EPSILON)
        np.testing.assert_allclose(of_layer["deviation"], deviation, rtol=1e-6)


def test_averages_that_never_moved_are_0_and_1_and_other_weights_stay(trained):
    found = dict(zip(by_path(trained), measures.never_updated(trained), strict=True))

    for path, weight in by_path(trained).items():
        expected = {"moving_mean": 0, "moving_variance": 1}.get(path.rpartition("/")[2], weight)
        np.testing.assert_array_equal(found[path], np.broadcast_to(expected, weight.shape))


def test_answers_depend_on_the_other_images_of_each_shuffled_batch(model, trained):
    scorer = measures.BatchScorer(model)

    found = measures.answers(scorer, trained, size=20, times=3, seed=5)

    # 50 images in batches of 20 are two of 25.
    rng = np.random.default_rng(5)
    assert {0, 1, 2} == set(found.ravel())
    for row in found:
        for batch in np.split(rng.permutation(50), 2):
            expected = probabilities(trained, IMAGES[batch]).argmax(axis=1)
            np.testing.assert_array_equal(row[batch], expected)


def test_answers_depend_on_the_seed(model, trained):
    scorer = measures.BatchScorer(model)

    one, same, other = (
        measures.answers(scorer, trained, size=2, times=2, seed=seed) for seed in (0, 0, 1)
    )

    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_images_that_do_not_fill_a_batch_are_one_batch(model, trained):
    found = measures.answers(measures.BatchScorer(model), trained, size=64, times=2, seed=0)

    expected = probabilities(trained, IMAGES).argmax(axis=1)
    np.testing.assert_array_equal(found, [expected, expected])


def test_another_momentum_changes_the_averages_and_no_trainable_weight(training, states):
    slower = measures.with_momentum(variant(), 0.9, looks=3, apart=5)
    assert (slower.training.epochs, slower.training.steps_per_epoch) == (3, 5)

    *_, last = measures.followed(training, Task(slower, 0), DATA)

    for one, other in zip(measures.learnable(last), measures.learnable(states[-1]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (measures.learnt(last)["mean"] != measures.learnt(states[-1])["mean"]).all()


def test_all_weights_but_the_averages_are_learnable(trained):
    expected = [weight for path, weight in by_path(trained).items() if "moving" not in path]

    found = measures.learnable(trained)

    assert len(found) == len(expected) == 10
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def kerass_own(layer):
    dense = isinstance(layer, keras.layers.Dense)
    return (keras.layers.Dense if dense else type(layer)).from_config(layer.get_config())


def test_each_state_has_an_accuracy_by_batch_and_by_moving_statistics(states):
    found = measures.both_ways(states)

    assert len(found) == len(states)
    for state, row in zip(states, found.itertuples(), strict=True):
        batches = np.split(IMAGES, 5)
        by_batch = np.concatenate([probabilities(state, b).argmax(axis=1) for b in batches])
        assert row.batch == pytest.approx(np.mean(by_batch == LABELS))
        model = keras.models.clone_model(state.model, clone_function=kerass_own)
        model.set_weights(state.weights)
        by_average = model(IMAGES, training=False).numpy().argmax(axis=1)
        assert row.moving == pytest.approx(np.mean(by_average == LABELS))
