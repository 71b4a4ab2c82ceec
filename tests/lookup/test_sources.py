from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ArgumentError, DataError, MissingInputError
from pipeline.evaluation.test_scores import Predictions, write_predictions, write_test_scores
from pipeline.files import sha256
from pipeline.lookup import sources
from pipeline.runs.manifest import Manifest, write_manifest
from pipeline.tracking.recorded import RecordedRun

MANIFEST = Manifest("batch_norm", {"normalization": "batch"}, (3,), "da7a", "c0de")
HISTORY = pd.DataFrame(
    {"seed": [3], "epoch": [0], "split": ["validation"], "loss": [0.1], "accuracy": [0.9]}
)
SCORES = {"seed": [3], "loss": [np.inf], "accuracy": [0.9], "expected_calibration_error": [0.1]}


def recorded(**test):
    return RecordedRun("0123456789abcdef", "batch_norm-seed-03", MANIFEST, {}, HISTORY, test)


@pytest.fixture
def files(project):
    """What training and evaluation leave of one variant."""
    write_manifest(MANIFEST)
    HISTORY.to_csv(project / "runs" / "batch_norm" / "history.csv", index=False)
    write_test_scores("batch_norm", pd.DataFrame(SCORES))
    return project


def side_of_files():
    return sources.side_of_files("batch_norm", "With BN", "workspace", Path())


def test_a_recorded_run_is_a_side_of_one_seed():
    side = sources.side_of_run(recorded(accuracy=0.9, loss=0.1))

    assert side.results.scores.to_dict("records") == [{"seed": 3, "loss": 0.1, "accuracy": 0.9}]
    assert side.results.predicted.shape == (1, 0)
    assert (side.results.label, side.origin) == ("batch_norm-seed-03", "run 01234567")
    assert (side.variant, side.data_sha256, side.code_sha256) == ("batch_norm", "da7a", "c0de")


def test_a_loss_that_mlflow_did_not_take_is_nan():
    assert np.isnan(sources.side_of_run(recorded(accuracy=0.1)).results.scores["loss"][0])


def test_a_recorded_run_without_test_scores_is_told():
    with pytest.raises(MissingInputError, match="batch_norm-seed-03 has no test scores yet"):
        sources.side_of_run(recorded())


@pytest.mark.usefixtures("files")
def test_an_infinite_loss_is_nan_and_unkept_predictions_are_of_no_images():
    results = side_of_files().results

    assert np.isnan(results.scores["loss"][0])
    assert results.predicted.shape == (1, 0)


@pytest.mark.usefixtures("files")
def test_predictions_of_other_runs_are_told():
    two = np.zeros((2, 5), np.uint8)
    write_predictions("batch_norm", Predictions(two, two.astype(np.float32)))

    with pytest.raises(DataError, match=r"predictions\.npz is damaged: it has 2 runs, test\.csv 1"):
        side_of_files()


def test_labels_are_those_of_the_same_data_alone(project):
    assert sources.true_labels("da7a") is None
    (project / "data").mkdir()
    np.savez(project / "data" / "prepared.npz", test_labels=np.arange(3, dtype=np.uint8))

    assert sources.true_labels("da7a") is None
    found = sources.true_labels(sha256(project / "data" / "prepared.npz"))
    np.testing.assert_array_equal(found, [0, 1, 2])


def test_a_source_gives_the_variants_that_it_has():
    whole = sources.Source("HEAD", "commit 1234567", ("a", "b"), whole=True, read=pytest.fail)

    one = whole.only("b", "variant of it")
    assert (one.name, one.variants, one.whole) == ("HEAD:b", ("b",), False)
    with pytest.raises(ArgumentError, match="'HEAD' has no variant 'c'; it has a, b"):
        whole.only("c", "")
