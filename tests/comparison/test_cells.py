import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.cells import read_cell, table
from pipeline.errors import DataError
from pipeline.evaluation.results import Predictions, write_predictions, write_test_scores
from pipeline.runs.manifest import Manifest, write_manifest


def test_curve_has_the_mean_over_seeds_and_students_interval_of_each_epoch(make_cell):
    history = pd.DataFrame(
        [
            (seed, epoch, split, 0, values[epoch] if split == "train" else -1)
            for seed, values in enumerate([[0.5, 0.9], [0.6, 0.8], [0.4, 0.7]])
            for epoch in (0, 1)
            for split in ("train", "validation")
        ],
        columns=["seed", "epoch", "split", "loss", "accuracy"],
    )
    curve = make_cell("With", [0.9] * 3, history=history).curve("train", "accuracy", 0.9)
    assert curve.index.tolist() == [0, 1]
    np.testing.assert_allclose(curve["mean"], [0.5, 0.8])
    low, high = stats.t.interval(0.9, 2, [0.5, 0.8], 0.1 / np.sqrt(3))
    np.testing.assert_allclose(curve[["ci_low", "ci_high"]], np.transpose([low, high]))


def ended_early(make_cell):
    """Makes a cell whose second run ended after its second epoch, and whose first was best."""
    rows = [(0, 0, 0.5), (0, 1, 0.6), (0, 2, 0.8), (1, 0, 0.9), (1, 1, 0.4)]
    history = pd.DataFrame(
        [
            (seed, epoch, split, accuracy, accuracy)
            for seed, epoch, accuracy in rows
            for split in ("train", "validation")
        ],
        columns=["seed", "epoch", "split", "loss", "accuracy"],
    )
    cell = make_cell("With", [0.9, 0.9], history=history)
    cell.scores["epoch"] = [2, 0]
    return cell


def test_a_run_that_ended_early_counts_on_with_the_epoch_that_is_scored(make_cell):
    cell = ended_early(make_cell)

    curve = cell.curve("validation", "accuracy", 0.95)

    np.testing.assert_allclose(curve["mean"], [(0.5 + 0.9) / 2, (0.6 + 0.4) / 2, (0.8 + 0.9) / 2])
    held = cell.held_history()
    assert len(held) == len(cell.history) + 2
    assert held.groupby(["split", "epoch"]).size().tolist() == [2] * 6


def test_runs_of_one_length_are_held_as_they_are(make_cell):
    cell = make_cell("With", [0.9] * 3)
    pd.testing.assert_frame_equal(cell.held_history(), cell.history)


def test_the_epoch_that_is_scored_says_whether_a_run_diverged(make_cell):
    cell = make_cell("With", [0.9, 0.8], diverged=(1,))
    assert cell.diverged == (1,)
    cell.scores["epoch"] = [2, 1]
    assert cell.diverged == ()


@pytest.mark.parametrize("scores", [(0.9, 0.97), (0.03, 0.1)])
def test_an_interval_ends_where_a_share_does(make_cell, scores):
    told = make_cell("With", scores).summary("accuracy", 0.95)
    # Student's t is 12.706 for one degree of freedom, and the error half of 0.07.
    low, high = np.mean(scores) - 12.706 * 0.035, np.mean(scores) + 12.706 * 0.035
    assert told.ci_low == pytest.approx(max(0, low), abs=1e-4)
    assert told.ci_high == pytest.approx(min(1, high), abs=1e-4)


def test_a_measure_that_is_not_known_has_no_summary(make_cell):
    cell = make_cell("With", [0.9, 0.8])
    del cell.scores["macro_f1"]
    assert set(vars(cell.summary("macro_f1", 0.95)).values()) == {None}


def test_curve_of_one_seed_has_no_interval(make_cell):
    curve = make_cell("With", [0.9]).curve("validation", "loss", 0.95)
    assert curve["mean"].notna().all()
    assert curve[["ci_low", "ci_high"]].isna().all(axis=None)


def test_mean_confusion_averages_the_runs(make_cell):
    labels = np.array([0, 0, 1, 1, 2], np.uint8)
    predicted = np.array([[0, 1, 1, 1, 2], [0, 0, 1, 3, 0]], np.uint8)
    results = make_cell("With", [0.8, 0.6], predicted=predicted)
    assert results.mean_confusion(labels).tolist() == [
        [1.5, 0.5, 0, 0],
        [0, 1.5, 0, 0.5],
        [0.5, 0, 0.5, 0],
        [0, 0, 0, 0],
    ]


def test_a_cell_of_some_seeds_has_their_runs_in_the_given_order(make_cell):
    cell = make_cell("With", [0.9, 0.8, 0.7], diverged=(1,))

    some = cell.of_seeds([2, 1])

    assert some.seeds == [2, 1]
    assert some.scores["accuracy"].tolist() == [0.7, 0.8]
    assert list(some.scores) == list(cell.scores)
    np.testing.assert_array_equal(some.predicted, cell.predicted[[2, 1]])
    assert set(some.history["seed"]) == {1, 2}
    assert (cell.diverged, some.diverged, cell.of_seeds([0]).diverged) == ((1,), (1,), ())


def test_the_table_has_one_row_per_run(make_cell):
    cells = [
        make_cell("a", [0.9, 0.8], diverged=(1,), parameters={"momentum": 0.9}),
        make_cell("b", [0.7], origin="HEAD~1", parameters={"network": {"hidden_dims": [4]}}),
    ]

    runs = table(cells)

    columns = ["cell", "origin", "variant", "seed", "diverged", "accuracy"]
    assert runs[columns].to_numpy().tolist() == [
        [0, "workspace", "a", 0, False, 0.9],
        [0, "workspace", "a", 1, True, 0.8],
        [1, "HEAD~1", "b", 0, False, 0.7],
    ]
    assert runs["momentum"].tolist()[:2] == [0.9, 0.9]
    assert np.isnan(runs["momentum"][2])
    assert runs["network.hidden_dims"][2] == [4]
    assert set(runs["data"]) == {"da7a"}
    assert set(runs["code"]) == {"c0de"}


MANIFEST = Manifest("batch_norm", {"normalization": "batch"}, (3,), "da7a", "c0de")
HISTORY = pd.DataFrame(
    {"seed": [3], "epoch": [0], "split": ["validation"], "loss": [0.1], "accuracy": [0.9]}
)
SCORES = {"seed": [3], "loss": [0.2], "accuracy": [0.9], "expected_calibration_error": [0.1]}


@pytest.fixture
def files(project):
    """Writes the files that training and evaluation leave for one variant."""
    write_manifest(MANIFEST)
    HISTORY.to_csv(project / "runs" / "batch_norm" / "history.csv", index=False)
    write_test_scores("batch_norm", pd.DataFrame(SCORES))
    return project


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("loss", [np.inf, -np.inf])
def test_an_infinite_loss_is_nan_and_missing_predictions_have_no_images(loss):
    write_test_scores("batch_norm", pd.DataFrame(SCORES | {"loss": [loss]}))
    cell = read_cell("batch_norm", "With BN", "workspace")

    assert np.isnan(cell.scores["loss"][0])
    assert cell.predicted.shape == (1, 0)
    assert (cell.label, cell.data_sha256, cell.code_sha256) == ("With BN", "da7a", "c0de")


@pytest.mark.usefixtures("files")
def test_predictions_of_another_number_of_runs_are_refused():
    two = np.zeros((2, 5), np.uint8)
    write_predictions("batch_norm", Predictions(two, two.astype(np.float32)))

    with pytest.raises(DataError, match=r"predictions\.npz is damaged: it has 2 runs, test\.csv 1"):
        read_cell("batch_norm", "With BN", "workspace")
