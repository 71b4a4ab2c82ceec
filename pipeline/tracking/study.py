"""A study in MLflow: an experiment with a run for each cell of the grid and one for the verdict.

The steps of a cell's metrics are the seeds, so that its charts show their spread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.params import flat
from pipeline.studies.study import Study, short
from pipeline.tracking.experiment_pages import mean_of, of_study
from pipeline.tracking.patience import persistent
from pipeline.tracking.store import Point, RunRecord, Store, is_finished


def mirror(study: Study, table: pd.DataFrame, verdict: Mapping[str, Any], folder: Path) -> None:
    """Adds a study to MLflow, or whatever MLflow lacks of it.

    Args:
        study: the study.
        table: its results.
        verdict: the content of `verdict.json`.
        folder: has its page, figure and results, which become artifacts.
    """
    measures = list(dict.fromkeys(rule.measure for rule in study.about.rules))
    page = partial(of_study, claim=study.about.claim, axes=list(study.axes), measures=measures)
    store = Store(study.params.tracking.experiment, page)
    for record, points in _cells(study, table):
        _mirror_cell(store, record, points)
    _mirror_verdict(
        store,
        RunRecord(
            fingerprint=_fingerprint(study.name, json.dumps(verdict, sort_keys=True)),
            name=f"verdict: {verdict['verdict']}",
            tags={"kind": "verdict", "verdict": verdict["verdict"], "quick": str(study.is_quick)},
            description=f"**{verdict['claim']}**: {verdict['verdict']}. {verdict['measured']}",
        ),
        folder,
    )


@persistent
def _mirror_cell(store: Store, record: RunRecord, points: Sequence[Point]) -> None:
    run = store.open(record)
    if not is_finished(run):
        store.log(run, points)
        store.finish(run)


@persistent
def _mirror_verdict(store: Store, record: RunRecord, folder: Path) -> None:
    run = store.open(record)
    if not is_finished(run):
        store.log_folder(run, folder, "study")
        store.finish(run)


def _cells(study: Study, table: pd.DataFrame) -> Iterator[tuple[RunRecord, list[Point]]]:
    """Yields the record and the points of each cell."""
    for grid_point in study.points:
        coordinates = {short(axis): value for axis, value in grid_point.at.items()}
        at_point = table
        for axis, value in coordinates.items():
            at_point = at_point[at_point[axis] == value]
        for name, variant in grid_point.params.variants.items():
            trials = at_point[at_point["variant"] == name]
            params = {key: str(value) for key, value in flat(variant.parameters)}
            measures = trials.columns.drop([*coordinates, "variant", "seed"])
            points = [
                Point(str(measure), float(value), int(seed))
                for measure in measures
                for seed, value in zip(trials["seed"], trials[measure], strict=True)
            ]
            # MLflow's table of runs shows the last step of a metric, here just one of the seeds:
            # hence the means. If a run diverged there is no mean, as on the study's page.
            means = trials[list(measures)].mean(skipna=False)
            points += [Point(mean_of(str(key)), float(mean)) for key, mean in means.items()]
            content = json.dumps([params, trials.to_csv(index=False)])
            settings = [f"{axis}={value}" for axis, value in coordinates.items()]
            yield (
                RunRecord(
                    fingerprint=_fingerprint(study.name, content),
                    name=" ".join([name, *settings]),
                    params={"variant": name} | params,
                    tags={"kind": "cell", "variant": name, "quick": str(study.is_quick)},
                ),
                points,
            )


def _fingerprint(study: str, content: str) -> str:
    return hashlib.sha256(f"{study}\n{content}".encode()).hexdigest()
