"""Measures of a run's predictions on the test set."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15


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
