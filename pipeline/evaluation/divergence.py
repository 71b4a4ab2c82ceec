"""Which runs diverged. A diverged run is a result like any other: it is kept and counted."""

from __future__ import annotations

import math

import pandas as pd

from pipeline.evaluation.results import classes_of, scored_epochs


def highest_loss(classes: int) -> float:
    """Returns the highest loss of a run that has not diverged, in nats.

    It is twice the loss of a blind guess among the classes. A network whose units have died
    predicts the class frequencies. That costs about half of this, and is not divergence. Infinite
    for 0 classes, which stand for an unknown number.
    """
    return 2 * math.log(classes) if classes else math.inf


def is_diverged(loss: float, classes: int) -> bool:
    """Returns whether a run has diverged, given its training loss at the epoch that is scored."""
    # `>` would miss nan, which is neither above nor below anything.
    return not (math.isfinite(loss) and loss <= highest_loss(classes))


def diverged_seeds(history: pd.DataFrame, scores: pd.DataFrame) -> tuple[int, ...]:
    """Returns the seeds of the runs that diverged, in ascending order.

    A run has diverged if its training loss at the epoch that is scored is not finite, or is above
    `highest_loss`. Other epochs do not count: a run that recovers has not diverged.

    Args:
        history: columns `seed, epoch, split, loss`; a loss may be nan or infinite.
        scores: a row for each of these runs, as `evaluate` writes them.
    """
    classes, epochs = classes_of(scores), scored_epochs(history, scores)
    training = history[history["split"] == "train"]
    scored = training[training["epoch"] == training["seed"].map(epochs)]
    runs = zip(scored["seed"], scored["loss"], strict=True)
    return tuple(sorted(int(seed) for seed, loss in runs if is_diverged(loss, classes)))
