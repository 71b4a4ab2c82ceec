"""MLflow's filter, applied to runs of stores that do not know it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pandas as pd

from pipeline.errors import ArgumentError, one_line
from pipeline.stores.rows import ENTRY, RUN_NAME, Rows

_USER = "mlflow.user"


def matching(rows: Rows, where: str | None) -> Rows:
    """Returns the runs that match; all of them without a filter.

    Raises:
        ArgumentError: if MLflow does not understand the filter.
    """
    if where is None:
        return rows
    # Takes a second, and most comparisons have no filter.
    from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag
    from mlflow.exceptions import MlflowException
    from mlflow.utils.search_utils import SearchUtils

    params, tags, metrics = (_by_run(entries) for entries in (rows.params, rows.tags, rows.metrics))
    runs = [
        Run(
            RunInfo(
                row["run"],
                row["experiment_id"],
                tags[row["run"]].get(_USER, ""),
                row["status"],
                # MLflow has no runs without one.
                _whole(row["started"]) or 0,
                _whole(row["ended"]),
                "deleted" if row["deleted"] else "active",
                run_name=row["name"] or tags[row["run"]].get(RUN_NAME),
            ),
            RunData(
                [Metric(key, value, 0, 0) for key, value in metrics[row["run"]].items()],
                [Param(key, value) for key, value in params[row["run"]].items()],
                [RunTag(key, value) for key, value in tags[row["run"]].items()],
            ),
        )
        for row in rows.runs.to_dict("records")
    ]
    try:
        if any(clause["type"] == "dataset" for clause in SearchUtils.parse_search_filter(where)):
            raise ArgumentError("a filter on datasets can be answered by an MLflow server only")
        found = SearchUtils.filter(runs, where)
    except (MlflowException, ValueError) as error:
        raise not_understood(where, error) from None
    return rows.of({run.info.run_id for run in found})


def not_understood(where: str, why: object) -> ArgumentError:
    """Returns the error for a filter that MLflow refuses."""
    return ArgumentError(f"MLflow does not understand the filter {where!r}: {one_line(why)}")


def _by_run(entries: pd.DataFrame) -> defaultdict[str, dict[str, Any]]:
    of_run: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for run, key, value in zip(*(entries[name] for name in ENTRY), strict=True):
        of_run[run][key] = value
    return of_run


def _whole(time: float) -> Any:
    return None if pd.isna(time) else int(time)
