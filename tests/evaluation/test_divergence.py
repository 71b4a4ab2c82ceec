import math

import pandas as pd
import pytest

from pipeline.evaluation import divergence

COLUMNS = ["seed", "epoch", "split", "loss", "accuracy"]


def diverged_seeds(table, classes=10, **scored):
    """Returns the seeds that diverged; `scored` has epochs, by `seed_<n>`, where they are known."""
    seeds = [int(name.removeprefix("seed_")) for name in scored]
    scores = pd.DataFrame({"seed": seeds, "epoch": list(scored.values())})
    recalls = {f"recall_{place}": 1.0 for place in range(classes)}
    return divergence.diverged_seeds(
        table, (scores if scored else scores[["seed"]]).assign(**recalls)
    )


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


@pytest.mark.parametrize("loss", [0.0, 0.3, 2.302585, 4.6051, 2 * math.log(10)])
def test_a_run_that_has_learnt_nothing_has_not_diverged(loss):
    assert diverged_seeds(history(seed_0=[0.5, loss])) == ()


@pytest.mark.parametrize("loss", [math.nan, 1e30])
def test_a_run_that_recovers_has_not_diverged(loss):
    assert diverged_seeds(history(seed_0=[loss, 0.5])) == ()


# Twice ln 2 is 1.38629, twice ln 50 is 7.82405.
@pytest.mark.parametrize(
    ("classes", "loss", "diverged"),
    [(2, 1.3862, ()), (2, 1.3864, (0,)), (50, 7.824, ()), (50, 7.8241, (0,))],
)
def test_the_limit_is_twice_a_guess_among_as_many_classes_as_there_are(classes, loss, diverged):
    assert diverged_seeds(history(seed_0=[0.5, loss]), classes) == diverged


@pytest.mark.parametrize(("loss", "diverged"), [(1e30, ()), (math.inf, (0,)), (math.nan, (0,))])
def test_where_the_classes_are_unknown_only_a_loss_that_is_not_finite_has_diverged(loss, diverged):
    assert diverged_seeds(history(seed_0=[0.5, loss]), classes=0) == diverged


@pytest.mark.parametrize("loss", [math.nan, 1e30])
def test_the_epoch_counts_whose_network_is_scored(loss):
    table = history(seed_0=[0.5, loss, 0.4], seed_3=[0.5, 0.4, 0.3], seed_5=[0.5, 0.4, loss])
    assert diverged_seeds(table, seed_0=1, seed_3=1, seed_5=1) == (0,)
    assert diverged_seeds(table, seed_0=0, seed_3=2, seed_5=2) == (5,)


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
