"""Compares training with its floor, at the notebook's size and at a large one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks import floor, probe
from benchmarks.probe import Point
from benchmarks.results import spread

SIZES = {
    "the notebook's: width 32, batch 32": Point(),
    "width 512, batch 256": Point(hidden_dims=(512, 512), batch_size=256, examples=11_000),
}


def run(*, quick: bool) -> dict[str, Any]:
    """Returns the times at both sizes, or only at the first if `quick`."""
    sizes = list(SIZES.items())[: 1 if quick else None]
    return {"sizes": [_measured(label, point) for label, point in sizes]}


def _measured(label: str, point: Point) -> dict[str, Any]:
    samples = {name: np.array(values) for name, values in probe.beside_floor(point).items()}
    optimizer_bytes = floor.optimizer_bytes(point.widths) * point.steps
    training, products = samples["training"], samples["products"]
    optimizer = optimizer_bytes / samples["bandwidth"]
    return {
        "label": label,
        **asdict(point),
        "products_flops": floor.flops(floor.products(point.widths, point.batch_size)),
        "training": spread(training),
        "products": spread(products),
        "optimizer": spread(optimizer),
        "bandwidth": spread(samples["bandwidth"]),
        "times_products": spread(training / products),
        "times_both": spread(training / (products + optimizer)),
    }
