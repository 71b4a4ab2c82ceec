"""Whether two programs learn the same, seen by the accuracies of their seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Accuracies [seeds, epochs] of each thing that is scored.
Sample = Mapping[str, NDArray[np.floating]]

_FALSE_ALARMS = 0.01


def disagreements(reference: Sample, other: Sample, *, comparisons: int = 1) -> Iterator[str]:
    """Yields a line for each accuracy that seeds of the reference would not give.

    The mean over the other's n seeds has to lie in the prediction interval that the N seeds of the
    reference give for the mean of n more of theirs: mean ± t * sd * sqrt(1/n + 1/N). It is so wide
    that programs which learn the same are told apart in one of a hundred benchmarks.

    Args:
        reference: [N, epochs] of each thing that is scored.
        other: [n, epochs] of the same.
        comparisons: how many others are set against the reference.
    """
    tests = comparisons * sum(values.shape[1] for values in reference.values())
    for name, values in reference.items():
        within = half_width(values, seeds=len(other[name]), error=_FALSE_ALARMS / tests)
        means, others = values.mean(axis=0), other[name].mean(axis=0)
        for epoch in np.flatnonzero(~(np.abs(others - means) <= within)):
            expected = f"{100 * means[epoch]:.2f} ± {100 * within[epoch]:.2f} %"
            yield f"{name}, epoch {epoch}: {100 * others[epoch]:.2f} %, not {expected}"


def half_width(values: NDArray[np.floating], *, seeds: int, error: float) -> NDArray[np.floating]:
    """Returns that of the prediction interval for the mean of `seeds` more, by column."""
    n = len(values)
    quantile = stats.t.ppf(1 - error / 2, n - 1)
    return quantile * values.std(axis=0, ddof=1) * np.sqrt(1 / seeds + 1 / n)
