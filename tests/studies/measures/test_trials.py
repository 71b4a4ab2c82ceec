import numpy as np
import pytest

from pipeline.examples.dataset import Dataset, Examples
from pipeline.params import Optimizer, Variant
from pipeline.params import Training as TrainingSection
from pipeline.studies.measures.probes import PROBES, Trained
from pipeline.studies.measures.trials import Trials
from pipeline.training.normalization import BatchNorm
from pipeline.training.trainer import Task, Trainer
from tests.networks import dense

pytestmark = pytest.mark.slow

SEED, EPOCHS, STEPS = 5, 4, 3
SCORES = [
    f"{split}_{score}"
    for split in ("train", "validation", "test")
    for score in ("loss", "accuracy")
]


def examples(rng, count):
    images = rng.integers(0, 256, (count, 4, 4), np.uint8)
    return Examples(images, rng.integers(0, 3, count).astype(np.uint8))


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    return Dataset(examples(rng, 90), examples(rng, 30), examples(rng, 60), tuple("abc"))


@pytest.fixture(scope="module")
def cell():
    optimizer = Optimizer(name="sgd", learning_rate=0.1)
    variant = Variant(
        label="A",
        normalization=BatchNorm(momentum=0.9, epsilon=0.01, center=True, scale=True),
        network=dense(hidden_dims=(6, 5), activation="relu"),
        training=TrainingSection(
            epochs=EPOCHS, steps_per_epoch=STEPS, batch_size=10, optimizer=optimizer, seeds=1
        ),
    )
    return Task(variant, SEED)


@pytest.fixture(scope="module")
def followed(dataset, cell):
    return Trials(dataset, ["dead_units"], ["percentiles"])(cell)


@pytest.fixture(scope="module")
def trials(dataset):
    """Trials that measure only scores."""
    return Trials(dataset, [])


@pytest.fixture(scope="module")
def training(dataset):
    """The trainer of the main pipeline."""
    return Trainer(dataset)


@pytest.fixture(scope="module")
def run(training, cell):
    """The same run by the main pipeline's training."""
    return training(cell)


def test_scores_are_those_of_the_main_pipelines_training(trials, cell, run):
    trial = trials(cell)

    assert trial.course == []
    assert list(trial.measured) == [*SCORES, "diverged"]
    last = run.history[-1]
    assert trial.measured["train_loss"] == last.train.loss
    assert trial.measured["validation_accuracy"] == last.validation.accuracy
    assert trial.measured["diverged"] == 0.0


@pytest.mark.parametrize("rate", [0.02, 0.5])
def test_a_cell_is_trained_at_its_own_rate(trials, training, cell, run, rate):
    optimizer = cell.variant.training.optimizer.model_copy(update={"learning_rate": rate})
    section = cell.variant.training.model_copy(update={"optimizer": optimizer})
    other = Task(cell.variant.model_copy(update={"training": section}), SEED)

    measured = trials(other).measured

    last = training(other).history[-1]
    assert measured["train_loss"] == last.train.loss
    assert measured["validation_loss"] == last.validation.loss
    assert measured["train_loss"] != run.history[-1].train.loss


def test_probes_measure_the_trained_network(dataset, cell, run, followed):
    solver = Trainer(dataset).solver(cell.variant)
    trained = Trained(solver.model, run.weights, dataset, cell.variant.training)

    for name in ("dead_units", "percentiles"):
        for measure, value in PROBES[name].measure(trained).items():
            # The mean over units.
            assert followed.measured[measure] == pytest.approx(float(np.mean(value)))


def test_the_course_has_a_row_for_each_epoch_with_its_step(run, followed):
    assert [row["step"] for row in followed.course] == [3, 6, 9, 12]
    for row, scores in zip(followed.course, run.history, strict=True):
        assert row["train_loss"] == scores.train.loss
        assert row["validation_loss"] == scores.validation.loss
    assert "dead_units" not in followed.course[0]


def test_mean_and_drift_are_of_all_epochs(followed):
    losses = np.array([row["test_loss"] for row in followed.course])

    assert followed.measured["test_loss_mean"] == pytest.approx(losses.mean())
    assert followed.measured["test_loss_drift"] == pytest.approx(np.abs(losses - losses[-1]).mean())
    assert followed.measured["test_loss"] == losses[-1]


def test_drifts_of_units_do_not_cancel_each_other(followed):
    middle = np.array([row["percentile_50"] for row in followed.course])

    # One unit rises and another falls: the mean over units would hardly move.
    of_means = np.abs(middle - middle[-1]).mean()
    assert followed.measured["percentile_50_drift"] > of_means


def test_without_training_a_network_is_measured_as_it_starts(dataset, cell, training):
    trial = Trials(dataset, ["dead_units"], untrained=True)(cell)

    solver = training.solver(cell.variant)
    weights = [weight.numpy() for weight in solver.weights(solver.start(SEED))]
    expected = solver.evaluate(weights, dataset.test.inputs, dataset.test.labels)
    first = Trained(solver.model, weights, dataset, cell.variant.training)
    assert trial.measured == {
        "test_loss": expected.loss,
        "test_accuracy": expected.accuracy,
        "dead_units": PROBES["dead_units"].measure(first)["dead_units"],
    }
    assert trial.course == []
