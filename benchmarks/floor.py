"""The least work of a training step: its matrix products, and the optimiser's memory traffic."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Product = tuple[int, int, int]

_FLOAT = 4
# Adam reads parameters, gradients and both moments, and writes all but the gradients.
_ARRAYS_MOVED = 7


def products(widths: Sequence[int], batch_size: int) -> list[Product]:
    """Returns (m, k, n) of the products [m, k] @ [k, n] of one step.

    Each layer has one in the forward pass, one for the gradient of its kernel and, except the
    first, one for the gradient of its inputs.

    Args:
        widths: of all layers, from the pixels to the classes.
        batch_size: examples in the step.
    """
    found = []
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        found += [(batch_size, inputs, outputs), (inputs, batch_size, outputs)]
        if layer:
            found.append((batch_size, outputs, inputs))
    return found


def flops(of_step: Sequence[Product]) -> int:
    """Returns the number of additions and multiplications in the products."""
    return sum(2 * m * k * n for m, k, n in of_step)


def parameters(widths: Sequence[int]) -> int:
    """Returns the number of parameters of a network without normalisation."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def product_seconds(of_step: Sequence[Product], steps: int) -> float:
    """Returns how long BLAS takes for the products of that many steps, on one thread.

    The caller has to set OPENBLAS_NUM_THREADS=1 before NumPy is imported. The time that Python
    takes to call BLAS is subtracted.
    """
    overhead = _seconds([(1, 1, 1)] * len(of_step), steps)
    return max(0.0, _seconds(of_step, steps) - overhead)


def _seconds(of_step: Sequence[Product], steps: int) -> float:
    random = np.random.default_rng(0)
    matrices = [
        (
            random.random((m, k), np.float32),
            random.random((k, n), np.float32),
            np.empty((m, n), np.float32),
        )
        for m, k, n in of_step
    ]
    started = time.perf_counter()
    for _ in range(steps):
        for left, right, out in matrices:
            np.matmul(left, right, out=out)
    return time.perf_counter() - started


def optimizer_bytes(widths: Sequence[int]) -> int:
    """Returns how many bytes Adam reads and writes in a step."""
    return _ARRAYS_MOVED * _FLOAT * parameters(widths)


def bandwidth(values: int, steps: int) -> float:
    """Returns how many bytes per second one core moves when adding two float32 arrays."""
    a, b, c = (np.ones(values, np.float32) for _ in range(3))
    started = time.perf_counter()
    for _ in range(steps):
        np.add(a, b, out=c)
    return 3 * _FLOAT * values * steps / (time.perf_counter() - started)
