"""Which runs diverged. A diverged run is a result like any other: it is kept and counted."""

from __future__ import annotations

import math

import pandas as pd

# In nats: twice the loss of a blind guess among ten digits. A network whose units have died
# predicts the class frequencies. That costs about half of this, and is not divergence.
HIGHEST_LOSS = 2 * math.log(10)


def diverged_seeds(history: pd.DataFrame) -> tuple[int, ...]:
    """Returns the seeds of the runs that diverged, in ascending order.

    A run has diverged if its training loss after the last epoch is not finite, or is above
    `HIGHEST_LOSS`. Earlier epochs do not count: a run that recovers has not diverged.

    Args:
        history: columns `seed, epoch, split, loss`; a loss may be nan or infinite.
    """
    training = history[history["split"] == "train"].sort_values("epoch")
    last = training.groupby("seed").tail(1)
    runs = zip(last["seed"], last["loss"], strict=True)
    return tuple(sorted(int(seed) for seed, loss in runs if is_diverged(loss)))


def is_diverged(last_loss: float) -> bool:
    """Returns whether a run has diverged, given its training loss after the last epoch."""
    # `>` would miss nan, which is neither above nor below anything.
    return not last_loss <= HIGHEST_LOSS
