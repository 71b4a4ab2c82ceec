"""Where runs are on disk, and their histories as tables."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from pipeline.files import damaged, missing, replacing
from pipeline.runs.epochs import EpochScores, Scores

RUNS = Path("runs")
# Readers take another root to read the files of another commit.
HERE = Path()
# The two files of a model in a run's folder.
ARCHITECTURE, WEIGHTS = "model.json", "model.weights.h5"


def run_folder(variant: str, seed: int) -> Path:
    """Returns the folder of a run's model."""
    return RUNS / variant / f"seed-{seed:02d}"


def write_history(variant: str, scores: Iterable[EpochScores]) -> None:
    """Writes `history.csv`, with a row for each seed, epoch and split."""
    write_table(RUNS / variant / "history.csv", history_table(scores))


def history_table(scores: Iterable[EpochScores]) -> pd.DataFrame:
    """Returns a table with the columns `seed, epoch, split, loss, accuracy`."""
    rows = [
        {"seed": epoch.seed, "epoch": epoch.epoch, "split": split, **asdict(getattr(epoch, split))}
        for epoch in scores
        for split in ("train", "validation")
    ]
    return pd.DataFrame(rows)


def epochs_of(history: pd.DataFrame, seed: int) -> list[EpochScores]:
    """Returns the epochs of one run, in order, from what `history_table` returned.

    Raises:
        LookupError: if the run has no epoch, or an epoch lacks a split.
    """
    rows = history[history["seed"] == seed].to_dict("records")
    scores = {(row["epoch"], row["split"]): Scores(row["loss"], row["accuracy"]) for row in rows}
    if not scores:
        raise LookupError(seed)
    return [
        EpochScores(seed, epoch, scores[epoch, "train"], scores[epoch, "validation"])
        for epoch in sorted({epoch for epoch, _ in scores})
    ]


def read_history(variant: str, root: Path = HERE) -> pd.DataFrame:
    """Returns a variant's history, with the columns `seed, epoch, split, loss, accuracy`."""
    columns = ("seed", "epoch", "split", "loss", "accuracy")
    return read_table(root / RUNS / variant / "history.csv", columns)


def remove_runs(variant: str) -> None:
    """Removes all runs of a variant, including those of seeds that it no longer has."""
    shutil.rmtree(RUNS / variant, ignore_errors=True)


def remove_undeclared(variants: Collection[str]) -> None:
    """Removes the runs of variants that params.yaml no longer has.

    DVC leaves the outputs of a removed stage in place. They would change the hash of `runs`, on
    which later stages depend. Copies of them stay in DVC's cache.
    """
    for folder in RUNS.glob("*/"):
        if folder.name not in variants:
            remove_runs(folder.name)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes a table as CSV: the same bytes for the same table."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Returns the table in a CSV file.

    Raises:
        MissingInputError: if there is no such file.
        DataError: if it is not a table, or lacks one of the columns.
    """
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise damaged(path, error) from None
    if lacking := set(columns) - set(table.columns):
        raise damaged(path, f"it has no column {min(lacking)}")
    return table
