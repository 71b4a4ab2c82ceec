"""What a study takes from the course of a measure through training, besides its last value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The mean over all epochs, and the mean distance from the last value.
MEAN, DRIFT = "_mean", "_drift"


def mean_and_drift(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the mean and the drift of each measure, named by its name plus `MEAN` or `DRIFT`.

    Args:
        rows: one per epoch. A measure is a number, or one number per unit; drifts are averaged
            over the units, so that one unit's rise does not cancel another's fall.
    """
    taken: dict[str, float] = {}
    for name in rows[0]:
        values: NDArray[np.float64] = np.array([row[name] for row in rows], np.float64)
        taken[name + MEAN] = float(values.mean())
        taken[name + DRIFT] = float(np.abs(values - values[-1]).mean())
    return taken


def parted(measure: str) -> tuple[str, str]:
    """Returns the measure that is followed, and the ending `MEAN` or `DRIFT`, or '' for neither."""
    for end in (MEAN, DRIFT):
        if measure.endswith(end):
            return measure.removesuffix(end), end
    return measure, ""
