"""What a learning curve shows, whoever draws it: its panels, its runs, its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.comparison.cells import Cell
from pipeline.runs.tables import write_table

CURVES = Path("reports/curves")
# Split and measure of each panel, in the order of reading.
PANELS = (
    ("train", "loss"),
    ("validation", "loss"),
    ("train", "accuracy"),
    ("validation", "accuracy"),
)


def counted(results: Sequence[Cell], score: str) -> Sequence[Cell]:
    """Returns the variants with the runs that count in a panel; all of them for an accuracy."""
    if score == "accuracy":
        return results
    steady = [
        replace(one, history=one.history[~one.history["seed"].isin(one.diverged)])
        for one in results
    ]
    return steady if any(len(one.history) for one in steady) else results


def printed(one: Cell, split: str, score: str) -> tuple[float, ...]:
    """Returns what the notebook printed for a panel, by epoch from 0; nothing if it did not."""
    return getattr(one.published, f"{split}_{score}", ())


def most_of(results: Sequence[Cell], split: str, score: str) -> tuple[float, float]:
    """Returns limits that show all but the rare far-off point, which would flatten the rest."""
    tables = [one.history for one in results]
    values = np.concatenate([t.loc[t["split"] == split, score].to_numpy() for t in tables])
    values = values[np.isfinite(values)]
    seen = list(np.quantile(values, [0.01, 0.99])) if len(values) else [0.0, 1.0]
    seen += [value for one in results for value in printed(one, split, score)]
    room = 0.06 * (max(seen) - min(seen)) or 0.01
    return min(seen) - room, max(seen) + room


def write_curves(histories: Mapping[str, pd.DataFrame]) -> None:
    """Writes the means over seeds by epoch, a file a split, for `dvc plots`.

    Args:
        histories: what `read_history` gives, by the variant's label.
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
