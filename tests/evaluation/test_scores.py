import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from pipeline.evaluation.scores import (
    BESIDES,
    confusion_matrix,
    expected_calibration_error,
    measures,
    recall,
)


def test_confusion_has_the_true_class_in_rows_and_the_predicted_in_columns():
    labels = np.array([0, 0, 0, 1, 1, 3], np.uint8)
    predicted = np.array([0, 1, 1, 1, 3, 3], np.uint8)
    assert confusion_matrix(labels, predicted, classes=4).tolist() == [
        [1, 2, 0, 0],
        [0, 1, 0, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 1],
    ]


def test_recall_is_the_share_recognised_and_nan_for_an_absent_class():
    recalls = recall(np.array([[1, 2, 0], [0, 0, 0], [1, 0, 3]]))
    np.testing.assert_allclose(recalls, [1 / 3, np.nan, 3 / 4])


def test_confusion_and_recall_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    # Enough classes that the product of two labels overflows uint8.
    labels, predicted = rng.integers(0, 40, (2, 5000)).astype(np.uint8)
    confusion = confusion_matrix(labels, predicted, classes=40)
    np.testing.assert_array_equal(confusion, metrics.confusion_matrix(labels, predicted))
    expected = metrics.recall_score(labels, predicted, average=None)
    np.testing.assert_allclose(recall(confusion), expected)


@pytest.mark.parametrize(
    ("right", "confidence", "bins", "expected"),
    [
        # (2 |1/2 - 0.9| + 1 |1 - 0.3|) / 3
        ([1, 0, 1], [0.9, 0.9, 0.3], 5, 0.5),
        # Within a bin, over- and underconfidence cancel.
        ([1, 0], [0.9, 0.1], 1, 0.0),
        # 0.5 lies in the lower bin: (|1 - 0.5| + |0 - 0.6|) / 2
        ([1, 0], [0.5, 0.6], 2, 0.55),
        ([0, 1], [0.0, 1.0], 15, 0.0),
        ([1, 0], [0.0, 1.0], 15, 1.0),
        ([1, 1, 1, 0], [0.75, 0.75, 0.75, 0.75], 15, 0.0),
        # Rounding puts a softmax above 1, but not beyond the last bin: |1 - (1 + 0.95)| / 2
        ([0, 1], [1.0000001, 0.95], 15, 0.475),
    ],
)
def test_calibration_error_by_hand(right, confidence, bins, expected):
    predicted = np.full(len(right), 3, np.uint8)
    labels = np.where(right, 3, 5).astype(np.uint8)
    error = expected_calibration_error(labels, predicted, np.float32(confidence), bins)
    assert error == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("overconfidence", "expected"), [(0, 0), (0.2, 0.2)])
def test_calibration_error_of_many_examples(overconfidence, expected):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 100_000)
    labels = (rng.random(100_000) < confidence - overconfidence).astype(int)
    error = expected_calibration_error(labels, np.ones_like(labels), confidence)
    assert error == pytest.approx(expected, abs=0.01)


def probabilities(labels, classes, seed=0):
    """Makes probabilities [examples, classes] of a network that is often right."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(labels), classes)) + 1.5 * np.eye(classes)[labels]
    shares = np.exp(logits)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def test_measures_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2], np.uint8)
    # Right are the first two, the fourth and the last.
    shares = np.array(
        [[.8, .1, .1], [.5, .3, .2], [.3, .6, .1], [.2, .7, .1], [.4, .35, .25], [.1, .1, .8]],
        np.float32,
    )  # fmt: skip

    found = measures(labels, shares)

    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    # 2 TP / (2 TP + FP + FN): 4 / (4 + 1 + 1), 2 / (2 + 1 + 1), 2 / 2.
    assert found["macro_f1"] == pytest.approx((4 / 6 + 2 / 4 + 1) / 3)
    # Pairs in the right order: 8 of 9, 7 of 8 and 5 of 5.
    assert found["roc_auc"] == pytest.approx((8 / 9 + 7 / 8 + 1) / 3)


@pytest.mark.parametrize("classes", [2, 3, 40])
def test_measures_of_many_examples(classes):
    labels = np.arange(900, dtype=np.uint8) % classes
    shares = probabilities(labels, classes)

    found = measures(labels, shares)

    predicted = shares.argmax(axis=1)
    recalls = [(predicted[labels == place] == place).mean() for place in range(classes)]
    precisions = [(labels[predicted == place] == place).mean() for place in range(classes)]
    areas = [
        # The share of pairs in the right order is Mann and Whitney's U over the number of pairs.
        stats.mannwhitneyu(of_class[labels == place], of_class[labels != place]).statistic
        / ((labels == place).sum() * (labels != place).sum())
        for place, of_class in enumerate(shares.T)
    ]
    assert found.keys() == set(BESIDES)
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["macro_f1"] == pytest.approx(
        np.mean([2 * p * r / (p + r) for p, r in zip(precisions, recalls, strict=True)])
    )
    # Of two classes both areas are equal but for rounding of the probabilities.
    assert found["roc_auc"] == pytest.approx(np.mean(areas), abs=1e-6)
    error = expected_calibration_error(labels, predicted, shares.max(axis=1))
    assert found["expected_calibration_error"] == error


@pytest.mark.parametrize("classes", [2, 3])
def test_what_needs_every_class_is_nan_where_one_is_absent(classes):
    labels = np.zeros(50, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measures(labels, probabilities(labels, classes))
    assert [name for name, value in found.items() if np.isnan(value)] == [
        "balanced_accuracy", "macro_f1", "roc_auc",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_needs_probabilities_is_nan_where_one_is_not_finite(value):
    labels = np.arange(60, dtype=np.uint8) % 3
    shares = probabilities(labels, 3)
    expected = measures(labels, shares)
    shares[7] = [0.1, 0.2, value]

    found = measures(labels, shares)

    assert [name for name, number in found.items() if np.isnan(number)] == [
        "roc_auc", "expected_calibration_error",
    ]  # fmt: skip
    assert found["balanced_accuracy"] == pytest.approx(expected["balanced_accuracy"], abs=0.1)


def test_a_class_that_is_never_predicted_counts_as_0():
    labels = np.array([0, 0, 1, 2], np.uint8)
    shares = np.full((4, 3), [0.6, 0.3, 0.1], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measures(labels, shares)
    assert found["balanced_accuracy"] == pytest.approx(1 / 3)
    assert found["macro_f1"] == pytest.approx(4 / 6 / 3)
    assert found["roc_auc"] == 0.5
