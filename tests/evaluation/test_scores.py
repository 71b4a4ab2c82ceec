import numpy as np
import pytest
from sklearn import metrics

from pipeline.evaluation.scores import confusion_matrix, expected_calibration_error, recall


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
