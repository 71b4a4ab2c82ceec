"""What is taken of the course of a measure through training, beside its last value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Its mean over all epochs, and how far it was from its last value on average.
MEAN, DRIFT = "_mean", "_drift"


def taken(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns mean and drift of each measure, by its name with `MEAN` or `DRIFT` at the end.

    Args:
        rows: one an epoch; a measure is a number, or one for each unit, over which drifts are
            averaged, so that one unit's way up does not make up for another's way down.
    """
    found: dict[str, float] = {}
    for name in rows[0]:
        values: NDArray[np.float64] = np.array([row[name] for row in rows], np.float64)
        found[name + MEAN] = float(values.mean())
        found[name + DRIFT] = float(np.abs(values - values[-1]).mean())
    return found


def parted(measure: str) -> tuple[str, str]:
    """Returns the measure that is followed through training, and what is taken of its course."""
    for end in (MEAN, DRIFT):
        if measure.endswith(end):
            return measure.removesuffix(end), end
    return measure, ""
