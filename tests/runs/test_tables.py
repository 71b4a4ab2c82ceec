import copy
import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError, MissingInputError
from pipeline.evaluation.results import (
    Predictions,
    read_predictions,
    read_test_scores,
    write_predictions,
    write_test_scores,
)
from pipeline.params import Optimizer, Training, Variant, flat
from pipeline.reporting.curves import write_curves
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.manifest import Manifest, read_manifest, trained_variants, write_manifest
from pipeline.runs.tables import (
    epochs_of,
    history_table,
    read_history,
    remove_runs,
    remove_undeclared,
    run_folder,
    write_history,
)
from pipeline.training.normalization import BatchNorm
from tests.networks import dense

pytestmark = pytest.mark.usefixtures("project")

MANIFEST = Manifest(
    variant="batch_norm",
    parameters={"normalization": "batch", "training": {"epochs": 2, "batch_size": 32}},
    seeds=(0, 1, 2),
    data_sha256="da7a",
    code_sha256="c0de",
)
HISTORY = [
    EpochScores(0, 0, train=Scores(0.5, 0.75), validation=Scores(0.1234567, 1.0)),
    EpochScores(0, 1, train=Scores(0.25, 0.875), validation=Scores(1e-7, 1 / 3)),
    EpochScores(1, 0, train=Scores(1.5, 0.25), validation=Scores(2.0, 0.0)),
]
PREDICTIONS = Predictions(
    np.array([[1, 2], [3, 4]], np.uint8), np.array([[0.5, 1], [0.25, 0.1]], np.float32)
)
TEST_SCORES = pd.DataFrame(
    {
        "seed": [0, 1],
        "loss": [0.1, 0.2],
        "accuracy": [0.97, 1 / 3],
        "expected_calibration_error": [0.01, 0.02],
    }
)


def test_the_epochs_of_a_run_are_read_back_whatever_the_order_of_rows():
    table = history_table(HISTORY)
    for rows in (table, table.iloc[::-1]):
        assert epochs_of(rows, 0) == HISTORY[:2]
        assert epochs_of(rows, 1) == HISTORY[2:]


@pytest.mark.parametrize(("seed", "rows"), [(2, 6), (1, 5)])
def test_a_run_that_is_missing_or_lacks_a_split_has_no_epochs(seed, rows):
    with pytest.raises(LookupError):
        epochs_of(history_table(HISTORY)[:rows], seed)


def test_each_run_has_its_own_folder():
    assert run_folder("batch_norm", 7) == Path("runs/batch_norm/seed-07")
    assert run_folder("batch_norm", 123) == Path("runs/batch_norm/seed-123")


def test_history_has_a_row_for_each_seed_epoch_and_split():
    write_history("batch_norm", HISTORY)

    assert Path("runs/batch_norm/history.csv").read_bytes() == (
        b"seed,epoch,split,loss,accuracy\n"
        b"0,0,train,0.5,0.75\n"
        b"0,0,validation,0.1234567,1.0\n"
        b"0,1,train,0.25,0.875\n"
        b"0,1,validation,1e-07,0.3333333333333333\n"
        b"1,0,train,1.5,0.25\n"
        b"1,0,validation,2.0,0.0\n"
    )


def test_history_comes_back_to_the_last_digit():
    write_history("batch_norm", HISTORY)

    table = read_history("batch_norm")

    assert table["split"].tolist() == ["train", "validation"] * 3
    assert table["seed"].tolist() == [0, 0, 0, 0, 1, 1]
    assert table["epoch"].tolist() == [0, 0, 1, 1, 0, 0]
    assert table["loss"].tolist() == [0.5, 0.1234567, 0.25, 1e-7, 1.5, 2.0]
    assert table["accuracy"].tolist() == [0.75, 1.0, 0.875, 1 / 3, 0.25, 0.0]


def test_curves_are_means_over_seeds():
    write_history("batch_norm", HISTORY)

    write_curves({"With BN": read_history("batch_norm")})

    assert Path("reports/curves/train.csv").read_text() == (
        "variant,epoch,loss,accuracy\nWith BN,0,1.0,0.5\nWith BN,1,0.25,0.875\n"
    )
    assert Path("reports/curves/validation.csv").read_text() == (
        "variant,epoch,loss,accuracy\nWith BN,0,1.061728,0.5\nWith BN,1,0.0,0.333333\n"
    )


def test_curves_of_all_variants_share_a_file():
    write_history("batch_norm", HISTORY)
    history = read_history("batch_norm")

    write_curves({"With BN": history, "Without BN": history})

    labels = pd.read_csv("reports/curves/train.csv")["variant"]
    assert labels.tolist() == ["With BN"] * 2 + ["Without BN"] * 2


def test_a_manifest_comes_back():
    write_manifest(MANIFEST)

    assert read_manifest("batch_norm") == MANIFEST


def test_a_manifest_has_a_line_for_each_value():
    # A variant's settings are found again by the hash of this text.
    assert (
        MANIFEST.to_json()
        == """\
{
  "variant": "batch_norm",
  "parameters": {
    "normalization": "batch",
    "training": {
      "epochs": 2,
      "batch_size": 32
    }
  },
  "seeds": [
    0,
    1,
    2
  ],
  "data_sha256": "da7a",
  "code_sha256": "c0de"
}
"""
    )


@pytest.mark.parametrize(
    "change",
    [{"variant": "no_norm"}, {"data_sha256": "0"}, {"code_sha256": "0"}],
    ids=lambda change: next(iter(change)),
)
def test_a_fingerprint_changes_with_each_input(change):
    assert replace(MANIFEST, **change).fingerprint(0) != MANIFEST.fingerprint(0)


VARIANT = Variant(
    label="Batch norm",
    normalization=BatchNorm(momentum=0.99, epsilon=0.001, center=True, scale=False),
    network=dense(hidden_dims=(32, 16), activation="relu", initializer="random_normal", stddev=0.1),
    training=Training(
        epochs=2,
        steps_per_epoch=100,
        batch_size=32,
        seeds=3,
        optimizer=Optimizer(name="adam", learning_rate=0.01, beta_1=0.8, beta_2=0.95, epsilon=1e-8),
    ),
)
PARAMETERS = {
    "normalization": "layer",
    "momentum": 0.9,
    "epsilon": 0.01,
    "center": False,
    "scale": True,
    "network.code": "networks/other.py",
    "network.hidden_dims": [32, 17],
    "network.activation": "tanh",
    "network.initializer": "he_normal",
    "network.stddev": 0.2,
    "training.epochs": 3,
    "training.steps_per_epoch": 101,
    "training.batch_size": 33,
    "training.optimizer.name": "nadam",
    "training.optimizer.learning_rate": 0.02,
    "training.optimizer.beta_1": 0.9,
    "training.optimizer.beta_2": 0.999,
    "training.optimizer.epsilon": 1e-7,
}


def made_of(variant):
    return replace(MANIFEST, parameters=variant.parameters)


def test_a_manifest_has_every_parameter_of_a_variant():
    assert dict(flat(made_of(VARIANT).parameters)).keys() == PARAMETERS.keys()


@pytest.mark.parametrize("key", PARAMETERS)
def test_a_fingerprint_changes_with_each_parameter(key):
    manifest = made_of(VARIANT)
    parameters = copy.deepcopy(manifest.parameters)
    *path, last = key.split(".")
    functools.reduce(dict.__getitem__, path, parameters)[last] = PARAMETERS[key]

    assert replace(manifest, parameters=parameters).fingerprint(0) != manifest.fingerprint(0)


@pytest.mark.parametrize(
    "change",
    [{"label": "BN"}, {"training": VARIANT.training.model_copy(update={"seeds": 30})}],
    ids=["label", "number of seeds"],
)
def test_a_fingerprint_does_not_change_with(change):
    same = made_of(VARIANT.model_copy(update=change))

    assert same.fingerprint(0) == made_of(VARIANT).fingerprint(0)


def test_a_fingerprint_is_that_of_one_seed():
    assert len({MANIFEST.fingerprint(seed) for seed in range(100)}) == 100


def test_the_runs_of_a_manifest_are_found_by_their_fingerprints():
    assert MANIFEST.fingerprints() == {MANIFEST.fingerprint(seed): seed for seed in (0, 1, 2)}


def test_trained_variants_are_those_with_a_manifest():
    write_manifest(MANIFEST)
    Path("runs/unfinished").mkdir()

    assert trained_variants() == ["batch_norm"]


def test_a_fingerprint_does_not_depend_on_other_seeds_or_the_order_of_keys():
    reordered = {"training": {"batch_size": 32, "epochs": 2}, "normalization": "batch"}

    same = replace(MANIFEST, seeds=tuple(range(30)), parameters=reordered)

    assert same.fingerprint(1) == MANIFEST.fingerprint(1)


def test_a_fingerprint_survives_the_file():
    write_manifest(MANIFEST)

    assert read_manifest("batch_norm").fingerprint(1) == MANIFEST.fingerprint(1)


def test_test_scores_come_back_to_the_last_digit():
    write_test_scores("batch_norm", TEST_SCORES)

    pd.testing.assert_frame_equal(read_test_scores("batch_norm"), TEST_SCORES, check_exact=True)


def test_predictions_come_back():
    write_predictions("batch_norm", PREDICTIONS)

    again = read_predictions("batch_norm")

    np.testing.assert_array_equal(again.predicted, PREDICTIONS.predicted)
    np.testing.assert_array_equal(again.confidence, PREDICTIONS.confidence)
    assert (again.predicted.dtype, again.confidence.dtype) == (np.uint8, np.float32)


@pytest.mark.parametrize(
    ("write", "value", "name"),
    [
        (write_history, HISTORY, "runs/a/history.csv"),
        (write_test_scores, TEST_SCORES, "evaluation/a/test.csv"),
        (write_predictions, PREDICTIONS, "evaluation/a/predictions.npz"),
    ],
)
def test_files_are_the_same_bytes_each_time(write, value, name):
    write("a", value)
    first = Path(name).read_bytes()

    write("a", value)

    assert Path(name).read_bytes() == first


READERS = {
    "runs/a/history.csv": read_history,
    "runs/a/manifest.json": read_manifest,
    "evaluation/a/test.csv": read_test_scores,
    "evaluation/a/predictions.npz": read_predictions,
}


@pytest.mark.parametrize(("name", "read"), READERS.items())
def test_a_missing_file_says_what_makes_it(name, read):
    with pytest.raises(MissingInputError, match=f"{name} is not here: `dvc repro` makes it"):
        read("a")


@pytest.mark.parametrize(("name", "read"), READERS.items())
@pytest.mark.parametrize("content", [b"", b'a,b\n"', b"\xff\xfe\x00"])
def test_a_damaged_file_is_reported(name, read, content):
    Path(name).parent.mkdir(parents=True)
    Path(name).write_bytes(content)

    with pytest.raises(DataError, match=f"{name} is damaged"):
        read("a")


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "null",
        "{}",
        '{"seeds": 3}',
        '{"seeds": [0], "variant": "a"}',
        json.dumps({"seeds": [], "variant": "a", "parameters": {}, "extra": 1}),
    ],
)
def test_other_json_is_not_a_manifest(content):
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/manifest.json").write_text(content)

    with pytest.raises(DataError, match=r"runs/a/manifest\.json is damaged"):
        read_manifest("a")


@pytest.mark.parametrize("read", [read_history, read_test_scores])
def test_a_table_with_other_columns_is_reported(read):
    for name in ("runs/a/history.csv", "evaluation/a/test.csv"):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text("step,value\n0,1\n")

    with pytest.raises(DataError):
        read("a")


def test_predictions_are_never_unpickled():
    Path("evaluation/a").mkdir(parents=True)
    objects = np.array([{"any": "object"}])
    np.savez("evaluation/a/predictions.npz", predicted=objects, confidence=objects)

    with pytest.raises(DataError, match="allow_pickle=False"):
        read_predictions("a")


def test_only_undeclared_variants_are_removed():
    for name in ("batch_norm", "no_norm", "layer_norm"):
        Path("runs", name, "seed-00").mkdir(parents=True)
        Path("runs", name, "history.csv").touch()
    Path("runs/.gitignore").touch()

    remove_undeclared(["batch_norm", "no_norm"])

    assert sorted(path.name for path in Path("runs").iterdir()) == [
        ".gitignore",
        "batch_norm",
        "no_norm",
    ]
    assert Path("runs/no_norm/history.csv").exists()


def test_nothing_to_remove_is_no_error():
    remove_undeclared(["batch_norm"])
    remove_runs("batch_norm")


def test_files_below_another_root_are_read_the_same_way(project):
    write_manifest(MANIFEST)
    write_history("batch_norm", HISTORY)
    write_test_scores("batch_norm", TEST_SCORES)
    write_predictions("batch_norm", PREDICTIONS)
    there = project / "there"
    there.mkdir()
    for folder in ("runs", "evaluation"):
        (project / folder).rename(there / folder)

    assert read_manifest("batch_norm", there) == MANIFEST
    assert len(read_history("batch_norm", there)) == 2 * len(HISTORY)
    pd.testing.assert_frame_equal(read_test_scores("batch_norm", there), TEST_SCORES)
    found = read_predictions("batch_norm", there)
    np.testing.assert_array_equal(found.predicted, PREDICTIONS.predicted)
