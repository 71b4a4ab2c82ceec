"""The scores of a run, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.params import EarlyStopping


@dataclass(frozen=True)
class Scores:
    """Mean softmax cross-entropy, and the share of examples classified correctly (0 to 1)."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class EpochScores:
    """Scores in inference mode at the end of an epoch; `epoch` counts from 0."""

    seed: int
    epoch: int
    train: Scores
    validation: Scores


def best_epoch(history: Sequence[EpochScores], monitor: str) -> int:
    """Returns the first epoch with the best validation score: the least loss, or most accuracy.

    A score that is nan is the worst.
    """
    sign = -1 if monitor == "loss" else 1
    scores = [sign * getattr(epoch.validation, monitor) for epoch in history]
    return max(range(len(scores)), key=lambda at: -math.inf if math.isnan(s := scores[at]) else s)


def is_over(history: Sequence[EpochScores], stopping: EarlyStopping | None) -> bool:
    """Returns whether a run ends after these epochs because it did not improve."""
    if stopping is None or not history:
        return False
    return len(history) - 1 - best_epoch(history, stopping.monitor) >= stopping.patience
