"""What learning curves show, however they are drawn: their panels, runs and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.comparison.cells import Cell
from pipeline.runs.tables import write_table

CURVES = Path("reports/curves")
# Split and measure of each panel, in reading order.
PANELS = (
    ("train", "loss"),
    ("validation", "loss"),
    ("train", "accuracy"),
    ("validation", "accuracy"),
)


def counted(cells: Sequence[Cell], score: str) -> Sequence[Cell]:
    """Returns the cells with the runs that count in a panel: in losses, all that did not diverge.

    If every run of every cell diverged, all count.
    """
    if score == "accuracy":
        return cells
    steady = [
        replace(cell, history=cell.history[~cell.history["seed"].isin(cell.diverged)])
        for cell in cells
    ]
    return steady if any(len(cell.history) for cell in steady) else cells


def printed(cell: Cell, split: str, score: str) -> tuple[float, ...]:
    """Returns what the notebook printed for a panel, by epoch from 0; empty if nothing."""
    return getattr(cell.published, f"{split}_{score}", ())


def most_of(cells: Sequence[Cell], split: str, score: str) -> tuple[float, float]:
    """Returns limits that leave out rare outliers, which would flatten everything else."""
    tables = [cell.history for cell in cells]
    values = np.concatenate([t.loc[t["split"] == split, score].to_numpy() for t in tables])
    values = values[np.isfinite(values)]
    shown = list(np.quantile(values, [0.01, 0.99])) if len(values) else [0.0, 1.0]
    shown += [value for cell in cells for value in printed(cell, split, score)]
    room = 0.06 * (max(shown) - min(shown)) or 0.01
    return min(shown) - room, max(shown) + room


def write_curves(histories: Mapping[str, pd.DataFrame]) -> None:
    """Writes the means over seeds by epoch, one file per split, for `dvc plots`.

    Args:
        histories: as `read_history` returns them, by the variant's label.
    """
    means = pd.concat(
        history.groupby(["split", "epoch"], as_index=False)[["loss", "accuracy"]]
        .mean()
        .assign(variant=label)
        for label, history in histories.items()
    ).round(6)
    for split, table in means.groupby("split"):
        columns = ["variant", "epoch", "loss", "accuracy"]
        write_table(CURVES / f"{split}.csv", table[columns])
