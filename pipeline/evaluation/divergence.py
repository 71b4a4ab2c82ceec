"""Which runs diverged. That is a result like any other: to be kept, and to be counted."""

from __future__ import annotations

import math

import pandas as pd

# In nats, twice what it costs to guess among ten digits. A network whose units have died answers
# with how often each digit comes: that costs about half of this, and is no divergence.
HIGHEST_LOSS = 2 * math.log(10)


def diverged_seeds(history: pd.DataFrame) -> tuple[int, ...]:
    """Returns the seeds of the runs that diverged, in order.

    A run has diverged if its training loss after the last epoch is not finite, or is above
    `HIGHEST_LOSS`. What it was before does not count: who finds back has not diverged.

    Args:
        history: columns `seed, epoch, split, loss`; a loss that was not finite may be nan or
            infinite.
    """
    training = history[history["split"] == "train"].sort_values("epoch")
    last = training.groupby("seed").tail(1)
    runs = zip(last["seed"], last["loss"], strict=True)
    return tuple(sorted(int(seed) for seed, loss in runs if is_diverged(loss)))


def is_diverged(last_loss: float) -> bool:
    """Returns whether a run has diverged, given its training loss after the last epoch."""
    # Put so that nan, which is neither above nor below anything, is among them.
    return not last_loss <= HIGHEST_LOSS
