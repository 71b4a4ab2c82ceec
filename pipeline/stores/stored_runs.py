"""Runs as a store has them, as tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, eq=False)
class StoredRuns:
    """All runs of some experiments. Every table has a row for each run, indexed by its id.

    Attributes:
        runs: columns `name`; `experiment`, its name, and `experiment_id`, both text; `status`, as
            MLflow calls it (`FINISHED`, `FAILED`, …); `deleted`, whether the run or its experiment
            is; `started` and `ended`, in milliseconds since 1970, nan if unknown; `parent`, the id
            of the run that it is nested in, '' if none.
        params: a column for each parameter; text, nan where a run has none.
        tags: the same of tags, those of MLflow included.
        metrics: a column for each metric; its last value as MLflow counts (by step, then time,
            then value), nan where a run has none.
        history: returns all values of one metric: columns `run`, `step`, `timestamp`, `value`.
        damaged: what the store has beside these, but could not be read: a path each.
    """

    runs: pd.DataFrame
    params: pd.DataFrame
    tags: pd.DataFrame
    metrics: pd.DataFrame
    history: Callable[[str], pd.DataFrame]
    damaged: tuple[str, ...] = ()
