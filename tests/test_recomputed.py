"""What the stages write, computed again with NumPy and SciPy from the files that they go by."""

import base64
import itertools
import json
import re
import shutil
from io import BytesIO
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from pipeline.datasets import download, prepare
from pipeline.evaluation import evaluate
from pipeline.execution import engines, train
from pipeline.params_file import params_of
from pipeline.reporting import compare
from pipeline.training import network
from pipeline.training.batches import epoch_batches
from tests.independent import mlp
from tests.networks import DENSE

pytestmark = pytest.mark.slow

CANDIDATE, BASELINE = VARIANTS = ("with_norm", "without")
# With so few pairs no verdict is possible at 95 %, and one is at 90 %.
SEEDS, CONFIDENCE = 5, 0.9
EPOCHS, BATCH_SIZE, HIDDEN, LEARNING_RATE = 2, 32, 8, 0.05
MOVING = {"momentum": 0.9, "epsilon": 0.01}
PARAMS = params_of(
    {
        # As many as for the test, so that either set could stand in for the other.
        "data": {"dataset": "digits", "path": "data/raw", "validation_size": 360},
        "network": {"code": DENSE, "hidden_dims": [HIDDEN], "activation": "relu"},
        "training": {
            "epochs": EPOCHS,
            "batch_size": BATCH_SIZE,
            "optimizer": {"name": "sgd", "learning_rate": LEARNING_RATE},
            "seeds": SEEDS,
        },
        "variants": {
            CANDIDATE: {
                "label": "With",
                "normalization": "batch",
                "center": True,
                "scale": True,
                **MOVING,
            },
            BASELINE: {"label": "Without", "normalization": "none"},
        },
        "comparison": {
            "baseline": BASELINE,
            "candidate": CANDIDATE,
            "measure": "accuracy",
            "confidence": CONFIDENCE,
            "looks": "once",
            "looked_at": 0,
        },
        "tracking": {"experiment": "digits"},
    }
)
MEASURES = (
    "accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "loss", "expected_calibration_error",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory, empty_store):
    """A project in which every stage but the last was run, as the current folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(tmp_path_factory.mktemp("project"))
        shutil.copy(empty_store, "mlflow.db")
        download.run(PARAMS)
        prepare.run(PARAMS)
        for name in VARIANTS:
            train.run(PARAMS, name, workers=2)
        evaluate.run(PARAMS)
        compare.run(PARAMS)
        yield


class Backwards(engines.Threads):
    """Finishes last what it was given first."""

    def results(self, make, dataset, tasks, watcher=None):
        return super().results(make, dataset, reversed(list(tasks)), watcher)


def test_files_do_not_depend_on_the_order_in_which_runs_finish(monkeypatch):
    def files():
        return {path: path.read_bytes() for path in Path("runs/without").rglob("*.*")}

    expected = files()
    monkeypatch.setattr(train, "engine", lambda *_: Backwards(1))
    train.run(PARAMS, "without")
    assert files() == expected


@pytest.fixture(scope="module")
def split():
    """Returns the images [examples, pixels] in 0…1 and the labels of a set."""
    arrays = np.load("data/prepared.npz")

    def read(name):
        images = arrays[f"{name}_inputs"].astype(np.float64) / 255
        return images.reshape(len(images), -1), arrays[f"{name}_labels"]

    return read


@pytest.fixture(scope="module")
def predictions():
    """What each run made of the test images, by variant."""
    return {name: np.load(f"evaluation/{name}/predictions.npz") for name in VARIANTS}


@pytest.fixture(scope="module")
def right(predictions, split):
    """Whether each run was right on each test image, [runs, images], by variant."""
    _, labels = split("test")
    return {name: made["predicted"] == labels for name, made in predictions.items()}


def table(variant):
    return pd.read_csv(f"evaluation/{variant}/test.csv")


def loaded(variant, seed):
    folder = Path("runs", variant, f"seed-{seed:02d}")
    model = keras.models.model_from_json((folder / "model.json").read_text())
    model.load_weights(folder / "model.weights.h5")
    return {
        layer.name: [np.float64(weight) for weight in layer.get_weights()] for layer in model.layers
    }


def forward(weights, images):
    """Returns the probabilities [images, classes] that a model gives, at inference."""
    kernel, bias = weights["dense_0"]
    units = images @ kernel + bias
    if weights["norm_0"]:
        gamma, beta, mean, variance = weights["norm_0"]
        units = gamma * (units - mean) / np.sqrt(variance + MOVING["epsilon"]) + beta
    kernel, bias = weights["logits"]
    return mlp.probabilities(np.maximum(units, 0) @ kernel + bias)


def loss(probabilities, labels):
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


def calibration_error(right, confidence):
    """Guo et al. 2017, equation 3, with the 15 bins of the paper."""
    error = 0
    for lower in range(15):
        inside = (confidence > lower / 15) & (confidence <= (lower + 1) / 15)
        if inside.any():
            error += abs(right[inside].mean() - confidence[inside].mean()) * inside.mean()
    return error


def f1(found, true):
    return 2 * (found & true).sum() / (found.sum() + true.sum())


def area(probabilities, true):
    """Returns the share of pairs of a true and another example that are in the right order."""
    higher = probabilities[true][:, None] - probabilities[~true]
    return (np.sign(higher) / 2 + 0.5).mean()


def student(values):
    """Returns mean, standard deviation and Student's interval."""
    low, high = stats.t.interval(CONFIDENCE, len(values) - 1, np.mean(values), stats.sem(values))
    return {
        "mean": np.mean(values), "sd": np.std(values, ddof=1), "ci_low": low, "ci_high": high
    }  # fmt: skip


def bca(values):
    """Returns the interval of Efron 1987 for the mean, over all resamples that there are."""
    means = np.sort([np.mean(one) for one in itertools.product(values, repeat=len(values))])
    below, level = (means < np.mean(values)).mean(), (means <= np.mean(values)).mean()
    bias = stats.norm.ppf((below + level) / 2)
    left_out = np.array([np.mean(np.delete(values, i)) for i in range(len(values))])
    pull = left_out.mean() - left_out
    acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    shifted = bias + stats.norm.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return np.quantile(means, stats.norm.cdf(bias + shifted / (1 - acceleration * shifted)))


def beyond(differences):
    """Returns the percentile interval where both runs and images are drawn again."""
    rng = np.random.default_rng(1)
    runs, images = differences.shape
    means = [
        differences[rng.integers(runs, size=runs)].mean(axis=0)[rng.integers(images, size=images)]
        for _ in range(10_000)
    ]
    low, high = np.quantile(np.mean(means, axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return low, high


def test_each_digit_that_was_published_is_in_one_set(split):
    published = np.loadtxt("data/raw/digits.csv", delimiter=",")
    sets = [split(name) for name in ("validation", "train", "test")]
    assert [len(labels) for _, labels in sets] == [360, 1077, 360]
    images, labels = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    np.testing.assert_allclose(images, published[:, :-1] / 16, atol=0.5 / 255)
    np.testing.assert_array_equal(labels, published[:, -1])


def test_the_examples_of_each_class_are_counted(split):
    found = json.loads(Path("reports/data.json").read_text())
    assert found == {
        name: {str(digit): int((split(name)[1] == digit).sum()) for digit in range(10)}
        for name in ("train", "validation", "test")
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_runs_learn_from_the_training_examples_alone(name, split):
    images, labels = split("train")
    variant = PARAMS.variants[name]
    model = network.build(variant.network, variant.normalization, shape=(8, 8), classes=10)
    for seed in (0, SEEDS - 1):
        kernels = [one for one in network.first_weights(model, seed) if one.ndim == 2]
        norm = {"batch": ("batch", MOVING), "none": ("none", ())}[variant.normalization.kind]
        learner = mlp.Network((64, HIDDEN, 10), np.random.default_rng(0), *norm, dtype=np.float64)
        dense = [layer for layer in learner.layers if isinstance(layer, mlp.Dense)]
        for layer, kernel in zip(dense, kernels, strict=True):
            layer.parameters[0][:] = kernel
        optimizer = mlp.Sgd(LEARNING_RATE)
        for epoch in range(EPOCHS):
            order = epoch_batches(seed, epoch, examples=len(labels), batch_size=BATCH_SIZE)
            for chosen in order:
                learner.learn(images[chosen], labels[chosen])
                optimizer.step(learner)
        weights = loaded(name, seed)
        for layer, place in zip(dense, ("dense_0", "logits"), strict=True):
            for ours, theirs in zip(layer.parameters, weights[place], strict=True):
                np.testing.assert_allclose(theirs, ours, atol=1e-4)


@pytest.mark.parametrize("name", VARIANTS)
def test_histories_end_with_the_scores_of_the_models_on_either_split(name, split):
    history = pd.read_csv(f"runs/{name}/history.csv")
    ends = history[history["epoch"] == EPOCHS - 1].set_index(["seed", "split"])
    assert len(ends) == 2 * SEEDS
    for (seed, of), row in ends.iterrows():
        images, labels = split(of)
        probabilities = forward(loaded(name, seed), images)
        assert row["loss"] == pytest.approx(loss(probabilities, labels), rel=1e-5)
        assert row["accuracy"] == pytest.approx((probabilities.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("name", VARIANTS)
def test_predictions_are_those_of_each_seeds_own_model_on_the_test_set(name, predictions, split):
    images, labels = split("test")
    losses = table(name)["loss"]
    for seed in range(SEEDS):
        probabilities = forward(loaded(name, seed), images)
        largest = probabilities.max(axis=1)
        np.testing.assert_array_equal(
            predictions[name]["predicted"][seed], probabilities.argmax(axis=1)
        )
        np.testing.assert_allclose(predictions[name]["confidence"][seed], largest, rtol=1e-5)
        assert losses[seed] == pytest.approx(loss(probabilities, labels), rel=1e-5)
    assert len(np.unique(predictions[name]["predicted"], axis=0)) == SEEDS


@pytest.mark.parametrize("name", VARIANTS)
def test_test_scores_follow_from_the_predictions(name, predictions, right, split):
    images, labels = split("test")
    scores = table(name)
    of_probabilities = ["balanced_accuracy", "macro_f1", "roc_auc", "expected_calibration_error"]
    columns = [
        "seed",
        "epoch",
        "loss",
        "accuracy",
        *of_probabilities,
        *(f"recall_{digit}" for digit in range(10)),
    ]
    assert scores.columns.tolist() == columns
    assert scores["seed"].tolist() == list(range(SEEDS))
    assert set(scores["epoch"]) == {EPOCHS - 1}
    for seed, row in scores.iterrows():
        confidence = predictions[name]["confidence"][seed].astype(np.float64)
        recalls = {
            f"recall_{digit}": right[name][seed][labels == digit].mean() for digit in range(10)
        }
        predicted, shares = (
            predictions[name]["predicted"][seed],
            forward(loaded(name, seed), images),
        )
        expected = {
            "accuracy": right[name][seed].mean(),
            "balanced_accuracy": np.mean(list(recalls.values())),
            "macro_f1": np.mean([f1(predicted == digit, labels == digit) for digit in range(10)]),
            "roc_auc": np.mean([area(of, labels == digit) for digit, of in enumerate(shares.T)]),
            "expected_calibration_error": calibration_error(right[name][seed], confidence),
        } | recalls
        assert row[list(expected)].to_dict() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_metrics_summarise_the_test_scores(name, right):
    metrics = json.loads(Path(f"reports/metrics/{name}.json").read_text())
    assert metrics.keys() == {"test", "seeds", "diverged"}
    assert (metrics["seeds"], metrics["diverged"]) == (SEEDS, 0)
    assert metrics["test"].keys() == set(MEASURES)
    assert metrics["test"]["accuracy"] == pytest.approx(student(right[name].mean(axis=1)), abs=1e-6)
    for measure in MEASURES[1:]:
        assert metrics["test"][measure] == pytest.approx(student(table(name)[measure]))


def test_the_comparison_is_that_of_the_candidate_with_the_baseline(right):
    found = json.loads(Path("reports/comparison.json").read_text())

    candidate, baseline = (right[name].mean(axis=1) for name in VARIANTS)
    differences = (candidate - baseline).round(6)
    wins, ties = int((differences > 0).sum()), int((differences == 0).sum())
    # Clopper-Pearson, with ties as lost for the one end and as won for the other.
    tail, won = (1 - CONFIDENCE) / 2, wins + ties
    highest = stats.beta.ppf(1 - tail, won + 1, SEEDS - won) if won < SEEDS else 1.0
    others = {
        name: table(CANDIDATE)[name] - table(BASELINE)[name]
        for name in MEASURES
        if name != "accuracy"
    }
    exact = {
        "n": SEEDS,
        "confidence": CONFIDENCE,
        "mean": differences.mean(),
        "sd": differences.std(ddof=1),
        "wins": wins,
        "ties": ties,
        "probability_of_outperforming": (wins + ties / 2) / SEEDS,
        "probability_ci_low": stats.beta.ppf(tail, wins, SEEDS - wins + 1),
        "probability_ci_high": highest,
        "wilcoxon_p": stats.wilcoxon(differences).pvalue,
        "t_test_p": stats.ttest_rel(candidate, baseline).pvalue,
        "pairing_correlation": np.corrcoef(candidate, baseline)[0, 1],
    }
    assert {key: found.pop(key) for key in exact} == pytest.approx(exact, rel=1e-4)
    # Their ends are of random resamples; at 95 % they would lie further out by a tenth and more.
    drawn = {
        "": (found, bca(differences)),
        "beyond": (
            found.pop("beyond_test_set"),
            beyond(right[CANDIDATE].astype(float) - right[BASELINE]),
        ),
        **{name: (found[name], bca(differences)) for name, differences in others.items()},
    }
    for interval, (low, high) in drawn.values():
        ends = interval.pop("ci_low"), interval.pop("ci_high")
        assert ends == pytest.approx((low, high), abs=0.04 * (high - low))
    for name, of_pairs in others.items():
        p = stats.wilcoxon(of_pairs).pvalue
        assert found.pop(name) == pytest.approx({"mean": of_pairs.mean(), "wilcoxon_p": p})
    assert found == {
        "candidate": CANDIDATE,
        "baseline": BASELINE,
        "measure": "accuracy",
        "looks": "once",
        "confidence_over_all_looks": CONFIDENCE,
        "verdict": "candidate_better",
        "diverged": dict.fromkeys(VARIANTS, 0),
    }
    assert wins == SEEDS


def test_the_summary_is_the_short_of_it(right):
    found = json.loads(Path("reports/summary.json").read_text())
    comparison = json.loads(Path("reports/comparison.json").read_text())
    means = {name: right[name].mean() for name in VARIANTS}

    difference = {key: comparison[key] for key in ("ci_low", "ci_high")}
    difference["mean"] = means[CANDIDATE] - means[BASELINE]
    assert found.pop("accuracy") == pytest.approx(means, abs=1e-5)
    losses = {name: table(name)["loss"].mean() for name in VARIANTS}
    assert found.pop("loss") == pytest.approx(losses, abs=1e-5)
    assert found.pop("difference") == pytest.approx(difference, abs=1e-5)
    assert found == {"verdict": "candidate_better", "diverged": 0}
    decimals = re.findall(r"\d\.(\d+)", Path("reports/summary.json").read_text())
    assert max(map(len, decimals)) == 5


def test_every_picture_of_the_report_is_there():
    shown = re.findall(r"\]\((figures/\w+\.png)\)", Path("reports/report.md").read_text())
    assert "figures/curves.png" in shown
    for name in shown:
        with Image.open(Path("reports", name)) as picture:
            picture.verify()


def test_misread_digits_are_dark_on_white():
    page = Path("reports/report.html").read_text(encoding="utf-8")
    pictures = [
        np.asarray(Image.open(BytesIO(base64.b64decode(found))).convert("L"))
        for found in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    ]
    digits = [picture for picture in pictures if picture.shape == (8, 8)]
    assert len(digits) > 10
    # Of a digit's frame most is background.
    frames = [np.concatenate([one[0], one[-1], one[:, 0], one[:, -1]]) for one in digits]
    assert np.median(np.concatenate(frames)) == 255
