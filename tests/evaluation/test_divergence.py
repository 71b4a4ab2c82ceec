import math

import pandas as pd
import pytest

from pipeline.evaluation.divergence import HIGHEST_LOSS, diverged_seeds

COLUMNS = ["seed", "epoch", "split", "loss", "accuracy"]


def history(**losses):
    """Makes the history of runs with these training losses by epoch; validation is always good."""
    rows = [
        (int(name.removeprefix("seed_")), epoch, split, loss if split == "train" else 0.1, 0.9)
        for name, by_epoch in losses.items()
        for epoch, loss in enumerate(by_epoch)
        for split in ("train", "validation")
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.mark.parametrize("loss", [math.nan, math.inf, 1e30, 4.6052])
def test_a_run_whose_last_training_loss_is_above_the_limit_has_diverged(loss):
    # Twice ln 10 is 4.60517.
    assert diverged_seeds(history(seed_0=[0.5, 0.4], seed_7=[0.5, loss])) == (7,)


@pytest.mark.parametrize("loss", [0.0, 0.3, 2.302585, 4.6051, HIGHEST_LOSS])
def test_a_run_that_has_learnt_nothing_has_not_diverged(loss):
    assert diverged_seeds(history(seed_0=[0.5, loss])) == ()


@pytest.mark.parametrize("loss", [math.nan, 1e30])
def test_a_run_that_recovers_has_not_diverged(loss):
    assert diverged_seeds(history(seed_0=[loss, 0.5])) == ()


def test_validation_does_not_count():
    table = history(seed_0=[0.5, 0.4])
    table.loc[table["split"] == "validation", "loss"] = math.inf
    assert diverged_seeds(table) == ()


def test_seeds_are_in_order_whatever_the_order_of_rows():
    table = history(seed_3=[0.5, 9.0], seed_0=[9.0, 0.5], seed_1=[9.0, math.nan])
    assert diverged_seeds(table.iloc[::-1]) == diverged_seeds(table) == (1, 3)


def test_a_loss_missing_from_mlflow_was_not_finite():
    rows = [
        {"seed": 0, "epoch": 0, "split": "train", "loss": 0.5, "accuracy": 0.9},
        {"seed": 0, "epoch": 1, "split": "train", "accuracy": 0.1},
    ]
    assert diverged_seeds(pd.DataFrame(rows, columns=COLUMNS)) == (0,)


def test_an_empty_history_has_no_diverged_runs():
    assert diverged_seeds(pd.DataFrame([], columns=COLUMNS)) == ()
