"""The runs on disk as MLflow should show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pipeline.adapters.runs import Manifest
from pipeline.adapters.tracking import Point, RunRecord
from pipeline.params import flat

if TYPE_CHECKING:
    from pipeline.core.replicates import EpochScores


def run_record(manifest: Manifest, seed: int) -> RunRecord:
    """Returns the record of one trained run."""
    return RunRecord(
        fingerprint=manifest.fingerprint(seed),
        name=f"{manifest.variant}-seed-{seed:02d}",
        params={"variant": manifest.variant, "seed": str(seed)}
        | {key: str(value) for key, value in flat(manifest.parameters)},
        tags={
            "variant": manifest.variant,
            "seed": str(seed),
            "kind": "run",
            "data.sha256": manifest.data_sha256,
            "code.sha256": manifest.code_sha256,
        },
    )


def epoch_points(scores: EpochScores) -> list[Point]:
    """Returns the points of one epoch."""
    return [
        Point(f"{split}/{name}", value, scores.epoch)
        for split in ("train", "validation")
        for name, value in vars(getattr(scores, split)).items()
    ]


def history_points(history: pd.DataFrame, seed: int) -> list[Point]:
    """Returns the points of one seed, from `history.csv`."""
    return [
        Point(f"{row['split']}/{name}", float(row[name]), int(row["epoch"]))
        for row in history[history["seed"] == seed].to_dict("records")
        for name in ("loss", "accuracy")
    ]


def test_points(scores: pd.DataFrame, seed: int) -> list[Point]:
    """Returns the points of one seed, from `test.csv`."""
    (row,) = scores[scores["seed"] == seed].drop(columns="seed").to_dict("records")
    return [Point(f"test/{name}", float(value)) for name, value in row.items()]
