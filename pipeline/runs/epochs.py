"""The scores of a run, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass


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
