"""Test scores and predictions on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.files import read_arrays, write_arrays
from pipeline.runs.tables import HERE, read_table, write_table

EVALUATION = Path("evaluation")
# How the column of a class's recall begins; its place among the classes follows.
RECALL = "recall_"


@dataclass(frozen=True, eq=False)
class Predictions:
    """What each run predicted for each test image.

    Attributes:
        predicted: [runs, images], the most probable class.
        confidence: [runs, images], its probability.
    """

    predicted: NDArray[np.uint8]
    confidence: NDArray[np.float32]


def write_test_scores(variant: str, scores: pd.DataFrame) -> None:
    """Writes `test.csv`, a row per seed: the epoch scored, each measure, and recall per class."""
    write_table(EVALUATION / variant / "test.csv", scores)


def read_test_scores(variant: str, root: Path = HERE) -> pd.DataFrame:
    """Returns what `write_test_scores` wrote; older versions left out some of its columns."""
    columns = ("seed", "loss", "accuracy", "expected_calibration_error")
    return read_table(root / EVALUATION / variant / "test.csv", columns)


def scored_epochs(history: pd.DataFrame, scores: pd.DataFrame) -> pd.Series[int]:
    """Returns the epoch (from 0) whose network was scored, by seed.

    Args:
        history: columns `seed, epoch`.
        scores: as `read_test_scores` returns them. Where they have no `epoch`, it was the last.
    """
    if "epoch" in scores:
        return scores.set_index("seed")["epoch"].astype(int)
    return history.groupby("seed")["epoch"].max().astype(int)


def classes_of(scores: pd.DataFrame) -> int:
    """Returns the number of classes, each of which has its recall; 0 if they are unknown."""
    return sum(str(column).startswith(RECALL) for column in scores)


def write_predictions(variant: str, predictions: Predictions) -> None:
    """Writes `predictions.npz`."""
    write_arrays(EVALUATION / variant / "predictions.npz", vars(predictions))


def read_predictions(variant: str, root: Path = HERE) -> Predictions:
    """Returns what `write_predictions` wrote."""
    path = root / EVALUATION / variant / "predictions.npz"
    return Predictions(**read_arrays(path, ("predicted", "confidence")))
