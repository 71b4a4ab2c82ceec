import math

import numpy as np
import pandas as pd
import pytest

from pipeline.reproduction.outcome import Deviation, Outcome, compare_outcomes

HISTORY = pd.DataFrame(
    [
        {"epoch": 0, "split": "train", "loss": 0.5, "accuracy": 0.75},
        {"epoch": 0, "split": "validation", "loss": 0.625, "accuracy": 0.5},
        {"epoch": 1, "split": "train", "loss": 0.25, "accuracy": 0.875},
        {"epoch": 1, "split": "validation", "loss": 0.375, "accuracy": 0.625},
    ]
)
WEIGHTS = {
    "dense_0/kernel": np.array([[1, 2], [3, 4]], np.float32),
    "dense_0/bias": np.array([0, -1], np.float32),
}


def outcome(*changes, **weights):
    """Returns the outcome above with some scores, given as (row, score, value), and weights."""
    history = HISTORY.copy()
    for row, score, value in changes:
        history.loc[row, score] = value
    return Outcome(history, WEIGHTS | {name.replace("__", "/"): w for name, w in weights.items()})


def test_equal_outcomes_are_identical():
    result = compare_outcomes(outcome(), outcome())

    assert result.is_identical
    assert result.is_within_tolerance
    assert result.first is None
    assert (result.epochs, result.weights) == (2, 6)
    assert (result.accuracy, result.loss) == (0, 0)


def test_the_order_of_rows_and_other_columns_mean_nothing():
    shuffled = Outcome(HISTORY.iloc[::-1].assign(seed=3), WEIGHTS)

    assert compare_outcomes(outcome(), shuffled).is_identical


@pytest.mark.parametrize(
    ("changes", "first", "accuracy", "loss"),
    [
        ([(3, "accuracy", 0.75)], Deviation("epoch 1, validation accuracy", 0.125), 0.125, 0),
        ([(1, "loss", 0.5)], Deviation("epoch 0, validation loss", 0.125), 0, 0.125),
        (
            [(3, "accuracy", 0.5), (2, "accuracy", 1.0), (2, "loss", 0.5), (1, "accuracy", 0.25)],
            Deviation("epoch 0, validation accuracy", 0.25), 0.25, 0.25,
        ),
    ],
)  # fmt: skip
def test_the_first_score_that_differs_is_named_and_the_largest_difference_kept(
    changes, first, accuracy, loss
):
    result = compare_outcomes(outcome(), outcome(*changes))

    assert result.first == first
    assert (result.accuracy, result.loss) == (accuracy, loss)
    assert not result.is_identical
    assert not result.is_within_tolerance


def test_one_different_bit_in_a_weight_is_not_identical_though_all_scores_are_equal():
    kernel = WEIGHTS["dense_0/kernel"].copy()
    kernel[1, 1] = np.nextafter(np.float32(4), np.float32(5))

    result = compare_outcomes(outcome(), outcome(dense_0__kernel=kernel))

    # Between 4 and 8, float32 numbers are 2 ** -21 apart.
    assert result.first == Deviation("weights of dense_0/kernel", 2**-21)
    assert not result.is_identical
    assert result.is_within_tolerance


def test_zeros_of_either_sign_are_not_the_same_bits():
    bias = np.array([-0.0, -1], np.float32)

    assert not compare_outcomes(outcome(), outcome(dense_0__bias=bias)).is_identical


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_runs_that_diverged_in_the_same_way_are_identical(value):
    # MLflow stores finite values only: a missing score was not finite.
    gone = HISTORY.drop(index=3)
    diverged = outcome((3, "loss", value), (3, "accuracy", value), dense_0__bias=np.array(
        [math.nan, 1], np.float32
    ))  # fmt: skip

    assert compare_outcomes(Outcome(gone, diverged.weights), diverged).is_identical


def test_an_epoch_that_one_side_lacks_differs_infinitely():
    shorter = Outcome(HISTORY.iloc[:2], WEIGHTS)

    for result in (compare_outcomes(outcome(), shorter), compare_outcomes(shorter, outcome())):
        assert result.first == Deviation("epoch 1, train loss", math.inf)
        assert not result.is_within_tolerance


def test_small_differences_everywhere_are_within_tolerance():
    changed = outcome((0, "loss", 0.55), (2, "accuracy", 0.86), (3, "loss", 0.32))

    result = compare_outcomes(outcome(), changed)

    assert result.is_within_tolerance
    assert result.accuracy == pytest.approx(0.015)
    assert result.loss == pytest.approx(0.055)
