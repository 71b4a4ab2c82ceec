"""Measures time and memory as seeds, width, batch, depth and cores grow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from benchmarks import floor, probe
from benchmarks.probe import Point

# For training at one point, forward and backward.
_MOST_FLOPS = 5e10

GRID: dict[str, tuple[int, ...]] = {
    "seeds": (1, 10, 30, 100),
    "width": (32, 128, 512, 2048),
    "batch": (2, 32, 256, 4096),
    "depth": (1, 4, 16),
    "cores": (1, 2),
}


def run(*, quick: bool) -> dict[str, Any]:
    """Returns the points of each quantity that grows; only the first and last if `quick`."""
    return {
        name: [_measured(name, value, quick=quick) for value in _chosen(values, quick=quick)]
        for name, values in GRID.items()
    }


def point(name: str, value: int) -> Point:
    """Returns where to measure when `name` has grown to `value`."""
    small = Point()
    match name:
        case "seeds":
            return replace(small, seeds=value, workers=2)
        case "width":
            return _affordable(replace(small, hidden_dims=(value, value)))
        case "batch":
            return replace(small, batch_size=value)
        case "depth":
            return replace(small, hidden_dims=(32,) * value)
        case "cores":
            return replace(small, workers=value, seeds=6)
        case _:
            raise ValueError(f"{name!r} is not one of {', '.join(GRID)}")


def _chosen(values: Sequence[int], *, quick: bool) -> Sequence[int]:
    return (values[0], values[-1]) if quick else values


def _measured(name: str, value: int, *, quick: bool) -> dict[str, Any]:
    at = point(name, value)
    if quick:
        at = replace(at, examples=max(at.examples // 10, at.batch_size))
    measured = probe.growth(at)
    examples_seen = at.seeds * at.steps * at.batch_size
    print(f"{name} {value}: {measured['seconds']:.2f} s", file=sys.stderr)
    return {
        "value": value,
        **asdict(at),
        **measured,
        "microseconds_per_example": 1e6 * measured["seconds"] / examples_seen,
    }


def _affordable(point: Point) -> Point:
    """Returns the point with few enough examples to take only seconds."""
    flops_per_example = floor.flops(floor.products(point.widths, 1))
    return replace(point, examples=min(point.examples, int(_MOST_FLOPS / flops_per_example)))
