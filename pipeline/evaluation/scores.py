"""Measures of a run's predictions on the test set."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15
# The measures of a run besides its loss and its accuracy.
BESIDES = ("balanced_accuracy", "macro_f1", "roc_auc", "expected_calibration_error")


def measures(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> dict[str, float]:
    """Returns the measures `BESIDES` of a run, each between 0 and 1.

    They are `balanced_accuracy`, the mean recall of the classes; `macro_f1`, the mean of their F1
    scores; `roc_auc`, the mean area under the ROC curve of each class against the rest; and
    `expected_calibration_error`. The first three are nan if a class is absent from the labels, and
    the last two if a probability is not finite.

    Args:
        labels: [examples], the true classes.
        probabilities: [examples, classes], of two classes or more.
    """
    # It takes a second to import, and those who only read scores can do without.
    from sklearn.metrics import (  # noqa: PLC0415
        balanced_accuracy_score,
        f1_score,
        roc_auc_score,
    )

    predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    balanced = f1 = auc = math.nan
    if len(np.unique(labels)) == classes:
        balanced = balanced_accuracy_score(labels, predicted)
        f1 = f1_score(labels, predicted, average="macro")
        if np.isfinite(probabilities).all():
            # Of two classes, scikit-learn wants the probability of the second.
            ranking = probabilities[:, 1] if classes == 2 else probabilities
            auc = roc_auc_score(labels, ranking, multi_class="ovr")
    error = expected_calibration_error(labels, predicted, probabilities.max(axis=1))
    return dict(zip(BESIDES, map(float, (balanced, f1, auc, error)), strict=True))


def confusion_matrix(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Returns counts [classes, classes]; rows are true classes, columns predicted ones."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def recall(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Returns [classes], the share of each class that was recognised; nan for an absent class."""
    recognised, present = np.diag(confusion), confusion.sum(axis=1)
    return np.divide(recognised, present, out=np.full(len(present), np.nan), where=present > 0)


def expected_calibration_error(
    labels: NDArray[np.integer],
    predicted: NDArray[np.integer],
    confidence: NDArray[np.floating],
    bins: int = CALIBRATION_BINS,
) -> float:
    """Returns the gap between confidence and accuracy, 0 to 1 (Guo et al. 2017, equation 3).

    Args:
        labels: [examples], the true classes.
        predicted: [examples], the most probable classes.
        confidence: [examples], their probabilities, in [0, 1]; nan gives nan.
        bins: how many, of equal width, each closed on the right.
    """
    if not np.isfinite(confidence).all():
        return math.nan
    bin_of = np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(int) - 1, 0, bins - 1)
    right = np.bincount(bin_of, weights=labels == predicted, minlength=bins)
    claimed = np.bincount(bin_of, weights=confidence, minlength=bins)
    return float(np.abs(right - claimed).sum() / len(labels))
