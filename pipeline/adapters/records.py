"""The runs on disk as MLflow should show them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.adapters.files import missing
from pipeline.adapters.lineage import Lineage
from pipeline.adapters.runs import Manifest
from pipeline.adapters.tracking import Point, RunRecord
from pipeline.errors import MissingInputError
from pipeline.params import flat

if TYPE_CHECKING:
    from pipeline.core.replicates import EpochScores

# A run's artifacts.
MANIFEST, PATCH = "lineage/manifest.json", "lineage/changes.patch"
COMPARED = "lineage/runs.json"
REPORT = Path("reports/report.md")


def run_record(
    manifest: Manifest, seed: int, lineage: Lineage, *, diverged: bool | None = None
) -> RunRecord:
    """Returns the record of one run; whether it diverged is known once it is trained."""
    known = {} if diverged is None else {"diverged": str(diverged).lower()}
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
            **known,
            **lineage.tags,
        },
    )


def run_files(manifest: Manifest, seed: int, lineage: Lineage) -> dict[str, bytes]:
    """Returns what the run can be made again from, as artifacts: path to content."""
    files = {MANIFEST: manifest.only(seed).to_json().encode()}
    return files | ({PATCH: lineage.patch} if lineage.patch else {})


def read_report() -> str:
    """Returns the report of the comparison.

    Raises:
        MissingInputError: if it is not there.
    """
    try:
        return REPORT.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise missing(REPORT) from None


def comparison_fingerprint(
    comparison: Mapping[str, Any], report: str, fingerprints: Iterable[str]
) -> str:
    """Returns what tells one comparison from another: its results, its text and its runs."""
    content = "".join([json.dumps(comparison), report, *fingerprints])
    return hashlib.sha256(content.encode()).hexdigest()


def comparison_files(run_ids: Sequence[str]) -> dict[str, bytes]:
    """Returns what a comparison's run holds beside its report: which runs were compared."""
    return {COMPARED: (json.dumps(run_ids, indent=2) + "\n").encode()}


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
    rows = scores[scores["seed"] == seed].drop(columns="seed").to_dict("records")
    if len(rows) != 1:
        raise MissingInputError(f"seed {seed} has no test scores: `dvc repro` makes them")
    (row,) = rows
    return [Point(f"test/{name}", float(value)) for name, value in row.items()]
