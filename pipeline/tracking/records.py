"""Turns the runs on disk into what MLflow should record of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import Dataset
from mlflow.types import Schema, TensorSpec

from pipeline.errors import MissingInputError
from pipeline.examples.dataset import Dataset as Prepared
from pipeline.examples.dataset import Examples
from pipeline.examples.prepared import PREPARED_FILE, SPLITS
from pipeline.params import flat
from pipeline.provenance.lineage import Lineage
from pipeline.runs.manifest import Manifest
from pipeline.tracking.store import Point, RunRecord

if TYPE_CHECKING:
    from pipeline.runs.epochs import EpochScores

# Paths of a run's artifacts.
MANIFEST, PATCH = "lineage/manifest.json", "lineage/changes.patch"
# MLflow's page that compares runs opens on the metric that was logged first.
_EPOCH_METRICS = tuple(itertools.product(("validation", "train"), ("accuracy", "loss")))
# Digits of a hash. MLflow allows a digest 36 characters.
_DIGEST = 8


def run_record(
    manifest: Manifest,
    seed: int,
    lineage: Lineage,
    *,
    shown: Mapping[str, str] | None = None,
    diverged: bool | None = None,
) -> RunRecord:
    """Returns the record of one run.

    Args:
        manifest: of its variant.
        seed: of the run.
        lineage: of the run.
        shown: tags for MLflow's pages, which group and colour runs by them.
        diverged: whether it did; None until it is trained.
    """
    outcome = {} if diverged is None else {"diverged": str(diverged).lower()}
    return RunRecord(
        fingerprint=manifest.fingerprint(seed),
        name=run_name(manifest.variant, seed),
        params={"variant": manifest.variant, "seed": str(seed)}
        | {key: str(value) for key, value in flat(manifest.parameters)},
        tags={
            "variant": manifest.variant,
            "seed": str(seed),
            "kind": "run",
            **source_tags(f"train@{manifest.variant}"),
            "data.sha256": manifest.data_sha256,
            "code.sha256": manifest.code_sha256,
            **outcome,
            **(shown or {}),
            **lineage.tags,
        },
        started=lineage.started,
    )


def run_name(variant: str, seed: int) -> str:
    """Returns what MLflow's list of runs calls a run."""
    return f"{variant}-seed-{seed:02d}"


def data_of(name: str, data_sha256: str, prepared: Prepared) -> dict[str, Dataset]:
    """Returns MLflow's records of the data a run is trained and scored on, by split.

    Args:
        name: of the dataset.
        data_sha256: hash of the prepared data.
        prepared: the prepared data.
    """
    return {
        split: _dataset(f"{name}-{split}", data_sha256, vars(prepared)[split]) for split in SPLITS
    }


def run_description(test: Iterable[Point], *, diverged: bool) -> str:
    """Returns a run's test scores in a sentence."""
    scores = {point.key: point.value for point in test}
    accuracy, loss = scores["test/accuracy"], scores["test/loss"]
    sentence = f"{100 * accuracy:.2f} % of the test set right, loss {loss:.4f}."
    return f"Diverged. {sentence}" if diverged else sentence


def run_files(manifest: Manifest, seed: int, lineage: Lineage) -> dict[str, bytes]:
    """Returns the artifacts needed to reproduce the run, by path."""
    files = {MANIFEST: manifest.only(seed).to_json().encode()}
    return files | ({PATCH: lineage.patch} if lineage.patch else {})


def epoch_points(scores: EpochScores) -> list[Point]:
    """Returns the points of one epoch."""
    return [
        Point(f"{split}/{name}", getattr(vars(scores)[split], name), scores.epoch)
        for split, name in _EPOCH_METRICS
    ]


def history_points(history: pd.DataFrame, seed: int) -> list[Point]:
    """Returns the points of one seed, from `history.csv`."""
    rows = history[history["seed"] == seed].to_dict("records")
    points = [
        Point(f"{split}/{name}", float(row[name]), int(row["epoch"]))
        for split, name in _EPOCH_METRICS
        for row in rows
        if row["split"] == split
    ]
    return sorted(points, key=lambda point: point.step)


def test_points(scores: pd.DataFrame, seed: int) -> list[Point]:
    """Returns the points of one seed, from `test.csv`."""
    rows = scores[scores["seed"] == seed].drop(columns="seed").to_dict("records")
    if len(rows) != 1:
        raise MissingInputError(f"seed {seed} has no test scores: `dvc repro` makes them")
    (row,) = rows
    return [Point(f"test/{name}", float(value)) for name, value in row.items()]


def source_tags(stage: str) -> dict[str, str]:
    """Returns the tags behind MLflow's column Source: the stage that made a run."""
    return {"mlflow.source.name": stage, "mlflow.source.type": "LOCAL"}


def _dataset(name: str, data_sha256: str, examples: Examples) -> Dataset:
    inputs = TensorSpec(examples.inputs.dtype, (-1, *examples.inputs.shape[1:]))
    labels = TensorSpec(examples.labels.dtype, (-1,))
    return Dataset(
        name=name,
        digest=data_sha256[:_DIGEST],
        source_type="local",
        source=json.dumps({"uri": str(PREPARED_FILE)}),
        schema=json.dumps(TensorDatasetSchema(Schema([inputs]), Schema([labels])).to_dict()),
        profile=json.dumps({"examples": len(examples)}),
    )
