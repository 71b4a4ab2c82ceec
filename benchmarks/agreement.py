"""Tests whether two programs learn the same, by the accuracies of their seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Accuracies [seeds, epochs] by the name of what is scored, such as `no_norm validation`.
Sample = Mapping[str, NDArray[np.floating]]

_FALSE_ALARMS = 0.01


def disagreements(reference: Sample, other: Sample, *, comparisons: int = 1) -> Iterator[str]:
    """Yields a line for each accuracy of `other` that further seeds of `reference` would not give.

    The mean over the n seeds of `other` has to lie in the prediction interval that the N seeds of
    `reference` give for the mean of n more: mean ± t * sd * sqrt(1/n + 1/N). The interval is so
    wide that only one benchmark in a hundred reports programs that do learn the same.

    Args:
        reference: accuracies [N, epochs] of each thing that is scored.
        other: accuracies [n, epochs] of the same.
        comparisons: how many programs are compared with the reference.
    """
    tests = comparisons * sum(values.shape[1] for values in reference.values())
    for name, values in reference.items():
        widths = half_width(values, seeds=len(other[name]), error=_FALSE_ALARMS / tests)
        means, other_means = values.mean(axis=0), other[name].mean(axis=0)
        for epoch in np.flatnonzero(~(np.abs(other_means - means) <= widths)):
            expected = f"{100 * means[epoch]:.2f} ± {100 * widths[epoch]:.2f} %"
            yield f"{name}, epoch {epoch}: {100 * other_means[epoch]:.2f} %, not {expected}"


def half_width(values: NDArray[np.floating], *, seeds: int, error: float) -> NDArray[np.floating]:
    """Returns half the width of the prediction interval for the mean of `seeds` more, by column."""
    n = len(values)
    quantile = stats.t.ppf(1 - error / 2, n - 1)
    return quantile * values.std(axis=0, ddof=1) * np.sqrt(1 / seeds + 1 / n)
