import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import MissingInputError
from pipeline.examples.dataset import Dataset, Examples
from pipeline.provenance.lineage import Lineage
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.manifest import Manifest
from pipeline.runs.tables import read_history, write_history
from pipeline.tracking import records
from pipeline.tracking.store import Point

MANIFEST = Manifest(
    variant="batch_norm",
    parameters={
        "normalization": "batch",
        "network": {"hidden_dims": [32, 32]},
        "training": {"epochs": 10, "optimizer": {"name": "adam", "epsilon": 1e-8}},
    },
    seeds=(0, 1, 2),
    data_sha256="da7a",
    code_sha256="c0de",
)
EPOCH = EpochScores(2, 4, train=Scores(0.25, 0.75), validation=Scores(0.5, 0.625))


def test_a_run_is_named_and_described_by_what_made_it():
    record = records.run_record(
        MANIFEST, 2, Lineage({"threads": "2"}, b"diff"), shown={"cell": "batch_norm"}
    )

    assert record.name == "batch_norm-seed-02"
    assert record.fingerprint == MANIFEST.fingerprint(2)
    assert record.params == {
        "variant": "batch_norm",
        "seed": "2",
        "normalization": "batch",
        "network.hidden_dims": "[32, 32]",
        "training.epochs": "10",
        "training.optimizer.name": "adam",
        "training.optimizer.epsilon": "1e-08",
    }
    assert record.tags == {
        "variant": "batch_norm",
        "seed": "2",
        "kind": "run",
        "cell": "batch_norm",
        "mlflow.source.name": "train@batch_norm",
        "mlflow.source.type": "LOCAL",
        "data.sha256": "da7a",
        "code.sha256": "c0de",
        "threads": "2",
    }


def test_a_run_names_its_data_by_split():
    images = np.zeros((5, 4, 3), np.uint8)
    sets = {
        name: Examples(images[:count], images[:count, 0, 0])
        for name, count in (("train", 5), ("validation", 2), ("test", 3))
    }

    data = records.data_of(
        "digits", "0123456789abcdef", Dataset(**sets, classes=tuple("0123456789"))
    )

    assert {split: one.name for split, one in data.items()} == {
        "train": "digits-train", "validation": "digits-validation", "test": "digits-test",
    }  # fmt: skip
    assert {one.digest for one in data.values()} == {"01234567"}
    assert [json.loads(one.profile)["examples"] for one in data.values()] == [5, 2, 3]
    schema = json.loads(data["test"].schema)["mlflow_tensorspec"]
    (features,), (targets,) = json.loads(schema["features"]), json.loads(schema["targets"])
    assert features["tensor-spec"] == {"dtype": "uint8", "shape": [-1, 4, 3]}
    assert targets["tensor-spec"] == {"dtype": "uint8", "shape": [-1]}


@pytest.mark.parametrize(("diverged", "first"), [(False, "97.15"), (True, "Diverged. 97.15")])
def test_a_run_is_described_by_its_scores(diverged, first):
    test = [Point("test/accuracy", 0.9715), Point("test/loss", 0.09123), Point("test/recall_0", 1)]

    told = records.run_description(test, diverged=diverged)

    assert told == f"{first} % of the test set right, loss 0.0912."


@pytest.mark.parametrize(("diverged", "told"), [(True, "true"), (False, "false")])
def test_a_trained_run_says_whether_it_diverged(diverged, told):
    record = records.run_record(MANIFEST, 2, Lineage({}), diverged=diverged)
    assert record.tags["diverged"] == told


def test_a_run_holds_what_is_needed_to_reproduce_it():
    files = records.run_files(MANIFEST, 2, Lineage({}, b"diff"))

    assert files.keys() == {"lineage/manifest.json", "lineage/changes.patch"}
    assert files["lineage/changes.patch"] == b"diff"
    alone = Manifest.from_json(files["lineage/manifest.json"].decode(), "here")
    assert alone.seeds == (2,)
    assert alone.fingerprint(2) == MANIFEST.fingerprint(2)


def test_a_run_of_a_clean_checkout_has_no_patch():
    assert records.run_files(MANIFEST, 2, Lineage({})).keys() == {"lineage/manifest.json"}


def test_a_seed_without_test_scores_is_reported():
    with pytest.raises(MissingInputError, match="seed 3 has no test scores: `dvc repro`"):
        records.test_points(pd.DataFrame({"seed": [0], "loss": [0.5]}), 3)


def test_an_epoch_has_a_point_for_each_split_and_score():
    assert set(records.epoch_points(EPOCH)) == {
        Point("train/loss", 0.25, 4),
        Point("train/accuracy", 0.75, 4),
        Point("validation/loss", 0.5, 4),
        Point("validation/accuracy", 0.625, 4),
    }


@pytest.mark.usefixtures("project")
def test_history_points_equal_those_of_the_live_view():
    of_others = [EpochScores(seed, 4, Scores(9, 0), Scores(9, 0)) for seed in (0, 1)]
    odd = EpochScores(2, 5, Scores(0.1234567, 1 / 3), Scores(1e-7, 1.0))
    write_history("batch_norm", [*of_others, EPOCH, odd])

    points = records.history_points(read_history("batch_norm"), seed=2)

    assert points == [*records.epoch_points(EPOCH), *records.epoch_points(odd)]


def test_test_scores_are_those_of_the_seed():
    table = pd.DataFrame(
        {"seed": [0, 2], "loss": [9, 0.25], "accuracy": [0, 0.5], "recall_0": [0, 1]}
    )

    assert set(records.test_points(table, seed=2)) == {
        Point("test/loss", 0.25),
        Point("test/accuracy", 0.5),
        Point("test/recall_0", 1.0),
    }
