import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ArgumentError, MissingInputError
from pipeline.files import sha256
from pipeline.lookup import sources
from pipeline.runs.manifest import Manifest
from pipeline.tracking.recorded import RecordedRun

MANIFEST = Manifest("batch_norm", {"normalization": "batch"}, (3,), "da7a", "c0de")
HISTORY = pd.DataFrame(
    {"seed": [3], "epoch": [0], "split": ["validation"], "loss": [0.1], "accuracy": [0.9]}
)


def recorded(**test):
    return RecordedRun("0123456789abcdef", "batch_norm-seed-03", MANIFEST, {}, HISTORY, test)


def test_a_recorded_run_is_a_cell_of_one_seed():
    cell = sources.cell_of_run(recorded(accuracy=0.9, loss=0.1))

    assert cell.scores.to_dict("records") == [{"seed": 3, "loss": 0.1, "accuracy": 0.9}]
    assert cell.predicted.shape == (1, 0)
    assert (cell.label, cell.origin) == ("batch_norm-seed-03", "run 01234567")
    assert (cell.variant, cell.data_sha256, cell.code_sha256) == ("batch_norm", "da7a", "c0de")


def test_a_loss_that_mlflow_did_not_take_is_nan():
    assert np.isnan(sources.cell_of_run(recorded(accuracy=0.1)).scores["loss"][0])


def test_a_recorded_run_without_test_scores_is_reported():
    with pytest.raises(MissingInputError, match="batch_norm-seed-03 has no test scores yet"):
        sources.cell_of_run(recorded())


def test_labels_are_those_of_the_same_data_alone(project):
    assert sources.true_labels("da7a") is None
    (project / "data").mkdir()
    np.savez(project / "data" / "prepared.npz", test_labels=np.arange(3, dtype=np.uint8))

    assert sources.true_labels("da7a") is None
    found = sources.true_labels(sha256(project / "data" / "prepared.npz"))
    np.testing.assert_array_equal(found, [0, 1, 2])


def test_a_source_gives_the_variants_that_it_has():
    whole = sources.Source("HEAD", "commit 1234567", ("a", "b"), whole=True, read=pytest.fail)

    one = whole.only("b")
    assert (one.name, one.variants, one.whole) == ("HEAD:b", ("b",), False)
    assert one.description == "variant of commit 1234567"
    with pytest.raises(ArgumentError, match="'HEAD' has no variant 'c'; it has a, b"):
        whole.only("c")
