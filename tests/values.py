"""Values that the tests of several rooms share."""

import dataclasses
import functools
from itertools import product

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.cells import Cell
from pipeline.comparison.contrast import contrasts
from pipeline.comparison.measures import MEASURES
from pipeline.comparison.published import NOTEBOOK
from pipeline.examples.dataset import Dataset, Examples
from pipeline.params import (
    Comparison,
    Data,
    Optimizer,
    Params,
    Tracking,
    Training,
    Variant,
)
from pipeline.reporting.confusion import confusions
from pipeline.reporting.features import Scale
from pipeline.reporting.misread import misread_examples
from pipeline.reporting.pictures import thumbnail_png
from pipeline.reporting.report_page import Enclosed
from pipeline.reporting.words import words_for
from pipeline.studies.study import About, Point, Study
from pipeline.training.normalization import NoNorm
from tests.networks import dense

BETTER = (0.98, 0.97, 0.96, 0.98, 0.97, 0.99, 0.95, 0.96)
WORSE = (0.95, 0.94, 0.95, 0.96, 0.94, 0.95, 0.94, 0.93)


@pytest.fixture(scope="session")
def true_labels():
    return np.tile(np.arange(4, dtype=np.uint8), 25)


@pytest.fixture(scope="session")
def make_cell(true_labels):
    """Makes a cell from the test accuracy of each run.

    The runs with the seeds in `diverged` have a training loss of 1e30 after the last epoch.
    """

    def make(label, accuracy, diverged=(), **fields):
        rng = np.random.default_rng(len(label))
        seeds, images = len(accuracy), len(true_labels)
        wrong = np.arange(images) >= 100 * np.reshape(accuracy, (-1, 1))
        epochs = pd.MultiIndex.from_product(
            [range(seeds), range(3), ["train", "validation"]], names=["seed", "epoch", "split"]
        ).to_frame(index=False)
        loss = rng.random(len(epochs))
        last = epochs["seed"].isin(diverged) & epochs.eval("epoch == 2 and split == 'train'")
        loss[last] = 1e30
        return Cell(
            **{
                "variant": label,
                "label": label,
                "origin": "workspace",
                "data_sha256": "da7a",
                "code_sha256": "c0de",
                "color": "#0072B2",
                "parameters": {"normalization": "none", "network": {"hidden_dims": [4]}},
                "history": epochs.assign(loss=loss, accuracy=rng.random(len(epochs))),
                "scores": pd.DataFrame(
                    {
                        "seed": range(seeds),
                        "epoch": 2,
                        "loss": 1 - np.array(accuracy),
                        "accuracy": accuracy,
                        "balanced_accuracy": np.array(accuracy) - 0.01,
                        "macro_f1": np.array(accuracy) - 0.02,
                        "roc_auc": (1 + np.array(accuracy)) / 2,
                        "expected_calibration_error": 0.01,
                        **{f"recall_{place}": accuracy for place in range(4)},
                    }
                ),
                "predicted": ((true_labels + wrong) % 4).astype(np.uint8),
            }
            | fields
        )

    return make


@pytest.fixture(scope="session")
def make_dataset(true_labels):
    """Makes a dataset of four classes whose test examples have the true labels.

    Its inputs are grey images, images in colour, or rows of thirty features; at each place in the
    test set they are the same each time.
    """
    shapes = {"grey": (8, 8), "colour": (8, 6, 3), "rows": (30,)}

    def make(kind, classes=tuple("0123"), features=None):
        rng, shape = np.random.default_rng(0), (len(true_labels), *shapes[kind])
        if kind == "rows":
            inputs = (rng.normal(size=shape) + true_labels[:, None]).astype(np.float32)
            features = features or tuple(f"feature {i}" for i in range(30))
        else:
            inputs = rng.integers(0, 256, shape, np.uint8)
        examples = Examples(inputs, true_labels)
        return Dataset(examples, examples, examples, tuple(classes), features or ())

    return make


@pytest.fixture(scope="session")
def enclose():
    """Makes what a page embeds of a dataset beside the results of its cells."""

    def make(params, cells, dataset, *, most=100, program="window.vegaEmbed = 1;", **fields):
        cells, test = list(cells.values()), dataset.test
        words = words_for(params.data, has_images=dataset.has_images)
        misread = misread_examples(test, cells, most)
        scale = Scale(dataset.train, dataset.features)
        looks = [
            thumbnail_png(example.input, is_ink=False)
            if dataset.has_images
            else scale.unusual(example.input, 3)
            for example in misread.examples
        ]
        return Enclosed(
            **{
                "words": words,
                "classes": dataset.classes,
                "confusions": confusions(cells, test.labels, len(dataset.classes)),
                "misread": misread,
                "looks": looks,
                "figures": {"paired_differences": b"pairs", "curves": b"curves"},
                "program": program,
            }
            | fields
        )

    return make


@pytest.fixture(scope="session")
def experiment(make_cell, true_labels):
    """Makes the parameters, the cells and the contrast of two variants."""

    @functools.cache
    def compared(candidate, baseline, measure, confidence, diverged):
        pair = (
            make_cell("With BN", candidate),
            make_cell("Without BN", baseline, diverged),
        )
        labels = {"da7a": true_labels}
        (contrast,) = contrasts([pair], MEASURES[measure], confidence, labels)
        return contrast

    def make(
        candidate=BETTER,
        baseline=WORSE,
        *,
        label="With BN",
        dataset="digits",
        path="data/raw",
        measure="accuracy",
        confidence=0.95,
        published=(),
        diverged=(),
        **changes,
    ):
        params = Params(
            data=Data(dataset=dataset, path=path, validation_size=300),
            network=dense(hidden_dims=[4], activation="relu"),
            training=Training(
                epochs=3, batch_size=8, optimizer=Optimizer(name="sgd", learning_rate=0.1), seeds=8
            ),
            variants={},
            comparison=Comparison(
                baseline="no_norm", candidate="bn", measure=measure, confidence=confidence
            ),
            tracking=Tracking(experiment="test"),
        )
        bn = {"normalization": "batch", "momentum": 0.99, "network": {"hidden_dims": [4]}}
        by_kind = {curve.parameters["normalization"]: curve for curve in NOTEBOOK}
        curves = {kind: by_kind[kind] if kind in published else None for kind in by_kind}
        cells = {
            "bn": make_cell(label, candidate, parameters=bn, published=curves["batch"]),
            "no_norm": make_cell(
                "Without BN", baseline, diverged, published=curves["none"], color="#D55E00"
            ),
        }
        contrast = compared(candidate, baseline, measure, confidence, diverged)
        effect, verdict = contrast.effect, changes.pop("verdict", contrast.effect.verdict)
        paired = dataclasses.replace(effect.paired, **changes)
        effect = dataclasses.replace(effect, paired=paired, verdict=verdict)
        a = dataclasses.replace(contrast.a, label=label)
        return params, cells, dataclasses.replace(contrast, a=a, effect=effect)

    return make


@pytest.fixture(scope="session")
def study():
    """Makes a study of A and B on eight seeds over three learning rates, or other axes."""
    rates = {"training.optimizer.learning_rate": (0.01, 0.1, 1.0)}

    def params():
        network = dense(hidden_dims=(4,), activation="relu")
        optimizer = Optimizer(name="sgd", learning_rate=0.1)
        training = Training(epochs=1, batch_size=2, optimizer=optimizer, seeds=8)
        variants = {
            name: Variant(
                label=name.upper(), normalization=NoNorm(), network=network, training=training
            )
            for name in ("a", "b")
        }
        return Params(
            data=Data(dataset="digits", path="data/raw", validation_size=200),
            network=network,
            training=training,
            variants=variants,
            comparison=Comparison(baseline="b", candidate="a", measure="accuracy", confidence=0.95),
            tracking=Tracking(experiment="study"),
        )

    def make(*rules, axes=rates, is_quick=False, **about):
        fields = {"claim": "A > B", "source": "us", "published": "none", "probes": ()} | about
        points = [
            Point(dict(zip(axes, at, strict=True)), params()) for at in product(*axes.values())
        ]
        return Study("test", About(**fields, rules=rules), axes, tuple(points), is_quick=is_quick)

    return make


@pytest.fixture(scope="session")
def model():
    """Builds a small network of 3 classes, kernels drawn from a seed, statistics not initial."""
    # TensorFlow takes seconds to import, which not all tests need.
    from pipeline.training import network  # noqa: PLC0415
    from pipeline.training.normalization import BatchNorm  # noqa: PLC0415

    built = network.build(
        dense(hidden_dims=(5,), activation="tanh"),
        BatchNorm(momentum=0.9, epsilon=0.001, center=True, scale=True),
        shape=(4, 3),
        classes=3,
    )
    built.set_weights(network.first_weights(built, seed=0))
    built.get_layer("norm_0").moving_variance.assign([1, 2, 3, 4, 5])
    return built
