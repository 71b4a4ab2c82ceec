"""What a training step cannot do without: its matrix products, and the optimiser's memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Product = tuple[int, int, int]

_FLOAT = 4
# Adam reads parameters, gradients and both moments, and writes all but the gradients.
_MOVED = 7


def products(widths: Sequence[int], batch_size: int) -> list[Product]:
    """Returns (m, k, n) of the products [m, k] @ [k, n] of one step.

    Each layer has one forward, one for the gradient of its kernel and, but for the first, one for
    the gradient of its inputs.

    Args:
        widths: from the pixels to the classes.
        batch_size: examples in the step.
    """
    wanted = []
    for place, (inputs, outputs) in enumerate(pairwise(widths)):
        wanted += [(batch_size, inputs, outputs), (inputs, batch_size, outputs)]
        if place:
            wanted.append((batch_size, outputs, inputs))
    return wanted


def flops(wanted: Sequence[Product]) -> int:
    """Returns the additions and multiplications of the products."""
    return sum(2 * m * k * n for m, k, n in wanted)


def parameters(widths: Sequence[int]) -> int:
    """Returns how many a network without normalisation has."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def product_seconds(wanted: Sequence[Product], steps: int) -> float:
    """Returns how long BLAS takes for the products of so many steps, on one thread.

    The caller sees to that thread: OPENBLAS_NUM_THREADS=1 before NumPy is imported. What Python
    takes to call BLAS is taken off.
    """
    called = _seconds([(1, 1, 1)] * len(wanted), steps)
    return max(0.0, _seconds(wanted, steps) - called)


def _seconds(wanted: Sequence[Product], steps: int) -> float:
    random = np.random.default_rng(0)
    matrices = [
        (
            random.random((m, k), np.float32),
            random.random((k, n), np.float32),
            np.empty((m, n), np.float32),
        )
        for m, k, n in wanted
    ]
    started = time.perf_counter()
    for _ in range(steps):
        for left, right, out in matrices:
            np.matmul(left, right, out=out)
    return time.perf_counter() - started


def optimizer_bytes(widths: Sequence[int]) -> int:
    """Returns the bytes that Adam reads and writes in a step."""
    return _MOVED * _FLOAT * parameters(widths)


def bandwidth(values: int, steps: int) -> float:
    """Returns the bytes per second that one core adds two arrays of so many float32 with."""
    a, b, c = (np.ones(values, np.float32) for _ in range(3))
    started = time.perf_counter()
    for _ in range(steps):
        np.add(a, b, out=c)
    return 3 * _FLOAT * values * steps / (time.perf_counter() - started)
