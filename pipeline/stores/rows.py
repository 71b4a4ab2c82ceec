"""What each kind of store gives, as long tables, and how they become `StoredRuns`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd

from pipeline.stores.stored_runs import StoredRuns

RUN = ["run", "name", "experiment_id", "status", "deleted", "started", "ended"]
ENTRY = ["run", "key", "value"]
POINT = ["run", "step", "timestamp", "value"]
_LARGEST = sys.float_info.max
_Values = TypeVar("_Values", pd.DataFrame, pd.Series)
RUN_NAME, PARENT = "mlflow.runName", "mlflow.parentRunId"


@dataclass(frozen=True)
class Experiment:
    """An experiment: its id as text, its name, and whether it is deleted."""

    id: str
    name: str
    deleted: bool


@dataclass(frozen=True, eq=False)
class Rows:
    """The runs of some experiments, as a store has them.

    Attributes:
        runs: a row for each run; columns `RUN`, times in milliseconds since 1970, nan if unknown.
        params: a row for each parameter of each run; columns `ENTRY`, values are text.
        tags: the same of tags.
        metrics: the same of metrics, with their last values, which are numbers.
        damaged: paths of what could not be read.
    """

    runs: pd.DataFrame
    params: pd.DataFrame
    tags: pd.DataFrame
    metrics: pd.DataFrame
    damaged: tuple[str, ...] = ()

    def of(self, runs: Collection[str]) -> Rows:
        """Returns the rows of these runs only."""
        tables = {
            name: table[table["run"].isin(list(runs))]
            for name in ("runs", "params", "tags", "metrics")
            for table in [getattr(self, name)]
        }
        return replace(self, **tables)


class Store(Protocol):
    """A kind of store. Nothing that it does changes what it reads."""

    def experiments(self) -> Sequence[Experiment]:
        """Returns all experiments, deleted ones too."""
        ...

    def rows(self, experiments: Sequence[Experiment], where: str | None) -> Rows:
        """Returns the runs of these experiments that match MLflow's filter, deleted ones too."""
        ...

    def history(self, metric: str, runs: Sequence[str]) -> pd.DataFrame:
        """Returns all values of a metric in these runs, which have it: columns `POINT`."""
        ...


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> pd.DataFrame:
    """Returns a table; it has its columns even if there are no rows."""
    return pd.DataFrame(list(rows), columns=list(columns))


def last(points: pd.DataFrame) -> pd.DataFrame:
    """Returns the last value of each metric of each run, as MLflow counts; columns `ENTRY`.

    Args:
        points: columns `POINT` and `key`.
    """
    ordered = points.sort_values(["step", "timestamp", "value"], na_position="first")
    return ordered.drop_duplicates(["run", "key"], keep="last")[ENTRY]


def stored_runs(
    rows: Rows,
    experiments: Sequence[Experiment],
    history: Callable[[str, Sequence[str]], pd.DataFrame],
) -> StoredRuns:
    """Returns the runs as tables with a row for each, the oldest first."""
    runs = rows.runs.astype({"started": float, "ended": float, "deleted": bool})
    runs = runs.sort_values(["started", "run"]).set_index("run")
    params, tags, metrics = (
        _wide(entries, runs.index) for entries in (rows.params, rows.tags, rows.metrics)
    )
    by_id = {experiment.id: experiment for experiment in experiments}
    owners = runs["experiment_id"].map(by_id.__getitem__)
    named = runs["name"].fillna("")

    def values(metric: str) -> pd.DataFrame:
        # Not those whose last value is a number: it may be nan.
        having = rows.metrics.loc[rows.metrics["key"] == metric, "run"]
        return _ordered(history(metric, list(having)), runs.index)

    return StoredRuns(
        runs=pd.DataFrame(
            {
                "name": named.where(named != "", _tag(tags, RUN_NAME)),
                "experiment": owners.map(lambda experiment: experiment.name),
                "experiment_id": runs["experiment_id"],
                "status": runs["status"],
                "deleted": runs["deleted"] | owners.map(lambda experiment: experiment.deleted),
                "started": runs["started"],
                "ended": runs["ended"],
                "parent": _tag(tags, PARENT),
            }
        ),
        params=params,
        tags=tags,
        metrics=_with_infinity(metrics.astype(float)),
        history=values,
        damaged=rows.damaged,
    )


def _wide(entries: pd.DataFrame, runs: pd.Index) -> pd.DataFrame:
    # A key that a run has twice would be an error here, and a mean in a `pivot_table`.
    wide = entries.pivot(index="run", columns="key", values="value")  # noqa: PD010
    return wide.reindex(runs).rename_axis(columns=None)


def _with_infinity(values: _Values) -> _Values:
    """Returns the values as they were logged: for infinity, databases have the largest number."""
    return values.replace([_LARGEST, -_LARGEST], [np.inf, -np.inf])


def _nothing(runs: pd.Index) -> pd.Series:
    return pd.Series(float("nan"), runs)


def _tag(tags: pd.DataFrame, key: str) -> pd.Series:
    return tags.get(key, _nothing(tags.index)).astype("str").where(lambda text: text.notna(), "")


def _ordered(points: pd.DataFrame, runs: pd.Index) -> pd.DataFrame:
    points = points.astype({"step": "int64", "timestamp": "int64", "value": float})
    place = points["run"].map({run: place for place, run in enumerate(runs)})
    points = points.assign(value=_with_infinity(points["value"]))
    ordered = points.assign(place=place).sort_values(["place", "step", "timestamp", "value"])
    return ordered[POINT].reset_index(drop=True)
