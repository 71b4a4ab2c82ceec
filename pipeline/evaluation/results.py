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
    """Writes `test.csv`, a row per seed: loss, accuracy, calibration error, recall per class."""
    write_table(EVALUATION / variant / "test.csv", scores)


def read_test_scores(variant: str, root: Path = HERE) -> pd.DataFrame:
    """Returns what `write_test_scores` wrote."""
    columns = ("seed", "loss", "accuracy", "expected_calibration_error")
    return read_table(root / EVALUATION / variant / "test.csv", columns)


def write_predictions(variant: str, predictions: Predictions) -> None:
    """Writes `predictions.npz`."""
    write_arrays(EVALUATION / variant / "predictions.npz", vars(predictions))


def read_predictions(variant: str, root: Path = HERE) -> Predictions:
    """Returns what `write_predictions` wrote."""
    path = root / EVALUATION / variant / "predictions.npz"
    return Predictions(**read_arrays(path, ("predicted", "confidence")))
