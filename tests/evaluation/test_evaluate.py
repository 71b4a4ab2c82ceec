"""What `evaluate` writes of models whose weights are given, held against NumPy."""

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from pipeline.errors import DataError
from pipeline.evaluation import evaluate
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import PREPARED_FILE, write_prepared
from pipeline.params_file import params_of
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.models import write_model
from pipeline.runs.tables import run_folder, write_history
from tests.networks import DENSE

# Other numbers of images and of classes, so that neither could stand for the other.
IMAGES, CLASSES = 7, 3
VARIANTS = ("first", "second")


def params(seeds, **training):
    return params_of(
        {
            "data": {"dataset": "digits", "path": "data/raw", "validation_size": 360},
            "network": {"code": DENSE, "hidden_dims": [4], "activation": "relu"},
            "training": {
                "epochs": 3,
                "batch_size": 8,
                "optimizer": {"name": "sgd", "learning_rate": 0.1},
                "seeds": seeds,
                **training,
            },
            "variants": {name: {"label": name, "normalization": "none"} for name in VARIANTS},
            "comparison": {
                "baseline": "first",
                "candidate": "second",
                "measure": "accuracy",
                "confidence": 0.9,
                "looks": "once",
                "looked_at": 0,
            },
            "tracking": {"experiment": "test"},
        }
    )


def write_histories(runs):
    """Writes histories of three epochs: validation is best in the second, by loss in the first."""
    validation = [Scores(0.2, 0.7), Scores(0.3, 0.9), Scores(0.4, 0.8)]
    for name in VARIANTS:
        write_history(
            name,
            [
                EpochScores(seed, epoch, Scores(0.5, 0.5), of_epoch)
                for seed in range(runs)
                for epoch, of_epoch in enumerate(validation)
            ],
        )


@pytest.fixture(scope="module", params=[1, 3], ids=["one seed", "three seeds"])
def evaluated(request, tmp_path_factory):
    """Evaluates runs in a project of its own; gives its test set, and the kernel of each run."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (IMAGES, 2, 2), np.uint8)
    labels = np.array([0, 0, 0, 1, 1, 1, 2], np.uint8)
    test = Examples(images, labels)
    other = Examples(images[:2], labels[:2])
    model = keras.Sequential(
        [
            keras.Input((2, 2), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES, use_bias=False),
        ]
    )
    kernels = {
        (name, seed): rng.normal(0, 4, (4, CLASSES)).astype(np.float32)
        for name in VARIANTS
        for seed in range(request.param)
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        write_prepared(PREPARED_FILE, Dataset(other, other, test, tuple("0123456789")))
        for run, kernel in (kernels | {("undeclared", 0): kernels["first", 0]}).items():
            write_model(run_folder(*run), model.to_json(), [kernel])
        write_histories(request.param)
        evaluate.run(params(request.param))
        yield test, kernels


def probabilities(test, kernel):
    logits = test.inputs.reshape(IMAGES, 4) / 255 @ kernel.astype(np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def test_each_run_has_the_predictions_of_its_own_model(evaluated):
    test, kernels = evaluated
    for (name, seed), kernel in kernels.items():
        expected = probabilities(test, kernel)
        with np.load(f"evaluation/{name}/predictions.npz") as made:
            runs = len(kernels) // len(VARIANTS)
            assert made["predicted"].shape == made["confidence"].shape == (runs, IMAGES)
            np.testing.assert_array_equal(made["predicted"][seed], expected.argmax(axis=1))
            np.testing.assert_allclose(made["confidence"][seed], expected.max(axis=1), rtol=1e-5)


def test_each_run_has_the_scores_of_its_own_predictions(evaluated):
    test, kernels = evaluated
    for (name, seed), kernel in kernels.items():
        shares = probabilities(test, kernel)
        found, confidence = shares.argmax(axis=1), shares.max(axis=1)
        right = found == test.labels
        bins = np.ceil(confidence * 15)
        expected = {
            "seed": seed,
            "epoch": 2,
            "loss": -np.log(shares[np.arange(IMAGES), test.labels]).mean(),
            "accuracy": right.mean(),
            "balanced_accuracy": metrics.balanced_accuracy_score(test.labels, found),
            "macro_f1": metrics.f1_score(test.labels, found, average="macro"),
            "roc_auc": metrics.roc_auc_score(test.labels, shares, multi_class="ovr"),
            # Guo et al. 2017, equation 3, with the 15 bins of the paper.
            "expected_calibration_error": sum(
                abs((right[bins == place] - confidence[bins == place]).sum()) for place in set(bins)
            )
            / IMAGES,
        } | {f"recall_{digit}": right[test.labels == digit].mean() for digit in range(CLASSES)}

        row = pd.read_csv(f"evaluation/{name}/test.csv").loc[seed]

        assert row.index.tolist() == list(expected)
        assert row.to_dict() == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.usefixtures("evaluated")
def test_scores_are_written_with_seven_decimals():
    for name in VARIANTS:
        table = pd.read_csv(f"evaluation/{name}/test.csv", dtype=str).drop(
            columns=["seed", "epoch"]
        )
        decimals = [len(text.partition(".")[2]) for text in table.to_numpy().ravel()]
        assert max(decimals) == 7


@pytest.mark.usefixtures("evaluated")
def test_runs_of_undeclared_variants_are_gone():
    assert not run_folder("undeclared", 0).exists()


@pytest.mark.usefixtures("evaluated")
@pytest.mark.parametrize(("monitor", "epoch"), [("loss", 0), ("accuracy", 1)])
def test_with_early_stopping_the_best_epoch_is_scored(monitor, epoch):
    evaluate.run(params(1, early_stopping={"monitor": monitor, "patience": 2}))
    assert pd.read_csv("evaluation/second/test.csv")["epoch"].tolist() == [epoch]


@pytest.mark.parametrize("lacking", ["seed == 0", "epoch == 1 and split == 'train'"])
def test_a_history_that_lacks_a_part_of_a_run_is_damaged(evaluated, lacking):
    path = "runs/first/history.csv"
    history = pd.read_csv(path)
    history.query(f"not ({lacking})").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"history\.csv is damaged: it lacks epochs of a run"):
        evaluate.run(params(1))
    history.to_csv(path, index=False)
    assert evaluated
