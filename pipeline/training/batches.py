"""The order in which a run sees the examples: a pure function of seed and epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Weights and noise are drawn from the same seeds, but under different keys.
_BATCHES = 0


def epoch_batches(
    seed: int, epoch: int, *, examples: int, batch_size: int, steps: int | None = None
) -> NDArray[np.int32]:
    """Returns which examples make up each batch of an epoch: indices [steps, batch_size].

    The stream is that of the notebook's reader, which drops nothing. A seed's permutations of all
    examples are concatenated, and step t takes places [t * batch_size, (t + 1) * batch_size). The
    examples left at the end of one permutation therefore begin the next batch.

    Args:
        seed: selects the stream; at least 0.
        epoch: counts from 0.
        examples: number of examples to draw from.
        batch_size: from 1 to `examples`.
        steps: number of steps in an epoch, by default `examples // batch_size`.
    """
    places = (steps or examples // batch_size) * batch_size
    first = epoch * places
    drawn_before, offset = divmod(first, examples)
    drawn_after = -(-(first + places) // examples)
    order = np.concatenate(
        [_permutation(seed, draw, examples) for draw in range(drawn_before, drawn_after)]
    )
    return order[offset : offset + places].reshape(-1, batch_size)


def _permutation(seed: int, draw: int, examples: int) -> NDArray[np.int32]:
    sequence = np.random.SeedSequence(seed, spawn_key=(_BATCHES, draw))
    return np.random.default_rng(sequence).permutation(examples).astype(np.int32)
