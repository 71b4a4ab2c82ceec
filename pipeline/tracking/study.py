"""A study in MLflow: an experiment of its own, a run a cell of the grid, one for the verdict.

A cell's metrics have the seeds as steps, so that its chart shows their spread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.params import flat
from pipeline.studies.study import Study, short
from pipeline.tracking.experiment_pages import mean_of, of_study
from pipeline.tracking.store import Point, RunRecord, Store, is_finished


def mirror(study: Study, table: pd.DataFrame, verdict: Mapping[str, Any], folder: Path) -> None:
    """Adds to MLflow what it lacks of a study.

    Args:
        study: whose name the experiment bears.
        table: its results.
        verdict: as in `verdict.json`.
        folder: where its page, figure and results lie; they become artifacts.
    """
    measures = list(dict.fromkeys(rule.measure for rule in study.about.rules))
    page = partial(of_study, claim=study.about.claim, axes=list(study.axes), measures=measures)
    store = Store(study.params.tracking.experiment, page)
    for record, points in _cells(study, table):
        run = store.open(record)
        if not is_finished(run):
            store.log(run, points)
            store.finish(run)
    told = json.dumps(verdict, sort_keys=True)
    run = store.open(
        RunRecord(
            fingerprint=_fingerprint(study.name, told),
            name=f"verdict: {verdict['verdict']}",
            tags={"kind": "verdict", "verdict": verdict["verdict"], "quick": str(study.is_quick)},
            description=f"**{verdict['claim']}**: {verdict['verdict']}. {verdict['measured']}",
        )
    )
    if not is_finished(run):
        store.log_folder(run, folder, "study")
        store.finish(run)


def _cells(study: Study, table: pd.DataFrame) -> Iterator[tuple[RunRecord, list[Point]]]:
    for point in study.points:
        at = {short(axis): value for axis, value in point.at.items()}
        rows = table
        for axis, value in at.items():
            rows = rows[rows[axis] == value]
        for name, variant in point.params.variants.items():
            own = rows[rows["variant"] == name]
            params = {key: str(value) for key, value in flat(variant.parameters)}
            measures = own.columns.drop([*at, "variant", "seed"])
            points = [
                Point(str(measure), float(value), int(seed))
                for measure in measures
                for seed, value in zip(own["seed"], own[measure], strict=True)
            ]
            # What a table of runs shows of a metric is its last step, here a seed like any other.
            # Where a run diverged there is none, as on the study's page.
            means = own[list(measures)].mean(skipna=False)
            points += [Point(mean_of(str(name)), float(mean)) for name, mean in means.items()]
            content = json.dumps([params, own.to_csv(index=False)])
            yield (
                RunRecord(
                    fingerprint=_fingerprint(study.name, content),
                    name=" ".join([name, *(f"{axis}={value}" for axis, value in at.items())]),
                    params={"variant": name} | params,
                    tags={"kind": "cell", "variant": name, "quick": str(study.is_quick)},
                ),
                points,
            )


def _fingerprint(study: str, content: str) -> str:
    return hashlib.sha256(f"{study}\n{content}".encode()).hexdigest()
