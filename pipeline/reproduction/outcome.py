"""Compares a retrained run with its record: score by score, weight by weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Another processor rounds differently, and within one epoch training amplifies that as far as it
# ever will. Twenty runs compiled for SSE4.2 differed from their twins compiled for AVX2 by up to
# 0.016 (accuracy) and 0.050 (loss) at some epoch; CONTRIBUTING.md has the command.
ACCURACY_TOLERANCE = 0.02
LOSS_TOLERANCE = 0.06

_SCORES = [(split, score) for split in ("train", "validation") for score in ("loss", "accuracy")]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a run.

    Attributes:
        history: columns `epoch, split, loss, accuracy`; a score that was not finite may be nan,
            infinite or missing.
        weights: values by variable name.
    """

    history: pd.DataFrame
    weights: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Deviation:
    """A quantity in which two outcomes differ, and the largest difference in it."""

    quantity: str
    by: float


@dataclass(frozen=True)
class Reproduction:
    """How a retrained run compares with its record.

    Attributes:
        epochs: number of epochs compared.
        weights: number of weights compared.
        first: the first quantity that differs, scores by epoch before weights; None if none does.
        accuracy: largest difference in accuracy, over splits and epochs.
        loss: largest difference in loss, likewise.
    """

    epochs: int
    weights: int
    first: Deviation | None
    accuracy: float
    loss: float

    @property
    def is_identical(self) -> bool:
        """Whether every score and every bit of every weight is the same."""
        return self.first is None

    @property
    def is_within_tolerance(self) -> bool:
        """Whether all scores are as close as those of two types of processor may be."""
        return self.accuracy <= ACCURACY_TOLERANCE and self.loss <= LOSS_TOLERANCE


def compare_outcomes(recorded: Outcome, retrained: Outcome) -> Reproduction:
    """Returns how `retrained` compares with `recorded`, both of the same network."""
    before, after = (_by_epoch(outcome.history) for outcome in (recorded, retrained))
    before, after = before.align(after)
    differences = (before - after).abs().where(before.notna() | after.notna(), 0.0)
    # A score that only one side has differs infinitely.
    differences = differences.fillna(np.inf)
    deviations = [
        Deviation(f"epoch {epoch}, {split} {score}", float(value))
        for epoch, row in differences.iterrows()
        for (split, score), value in zip(_SCORES, row, strict=True)
        if value > 0
    ]
    for name, values in recorded.weights.items():
        if values.tobytes() != retrained.weights[name].tobytes():
            gap = np.abs(values.astype(np.float64) - retrained.weights[name])
            deviations.append(Deviation(f"weights of {name}", float(np.nanmax(gap, initial=0))))
    return Reproduction(
        epochs=len(differences),
        weights=sum(values.size for values in recorded.weights.values()),
        first=deviations[0] if deviations else None,
        accuracy=_largest(differences, "accuracy"),
        loss=_largest(differences, "loss"),
    )


def _by_epoch(history: pd.DataFrame) -> pd.DataFrame:
    """Returns the scores, one row per epoch, in the columns `_SCORES`; nan where not finite."""
    table = history.pivot_table(
        index="epoch", columns="split", values=["loss", "accuracy"], dropna=False
    )
    columns = {pair: table.get(pair[::-1]) for pair in _SCORES}
    return pd.DataFrame(columns, index=table.index).astype(float).replace([np.inf, -np.inf], np.nan)


def _largest(differences: pd.DataFrame, score: str) -> float:
    chosen: Any = [pair for pair in _SCORES if pair[1] == score]
    return float(differences[chosen].to_numpy().max(initial=0))
