"""Invented runs, as a store would have them."""

import numpy as np
import pandas as pd

from pipeline.designs.answer import answer
from pipeline.designs.asked import Asked
from pipeline.designs.design import design
from pipeline.stores.stored_runs import StoredRuns


def run(metrics=None, /, *, tags=None, **params):
    """A run; a metric with several values has a history, from step 0 on.

    What MLflow knows of each run goes by names that begin with `_`: `_status`, `_experiment`, …
    """
    own = {name[1:]: params.pop(name) for name in list(params) if name.startswith("_")}
    return {"metrics": metrics or {}, "tags": tags or {}, "params": params, **own}


def store(rows):
    ids = [row.get("id", f"{place:032x}") for place, row in enumerate(rows)]
    runs = pd.DataFrame(
        {
            "name": [row.get("name", "run") for row in rows],
            "experiment": [row.get("experiment", "Default") for row in rows],
            "experiment_id": "0",
            "status": [row.get("status", "FINISHED") for row in rows],
            "deleted": [row.get("deleted", False) for row in rows],
            "started": 0.0,
            "ended": 0.0,
            "parent": [row.get("parent", "") for row in rows],
        },
        index=ids,
    )
    history = [
        (metric, run_id, step, 0, float(value))
        for run_id, row in zip(ids, rows, strict=True)
        for metric, values in row["metrics"].items()
        for step, value in enumerate(np.atleast_1d(values))
    ]
    told = pd.DataFrame(history, columns=["metric", "run", "step", "timestamp", "value"])
    last = told.groupby(["run", "metric"], sort=False).last(skipna=False)["value"]

    def of_metric(metric):
        return told[told["metric"] == metric].drop(columns="metric").reset_index(drop=True)

    return StoredRuns(
        runs=runs,
        params=_table([row["params"] for row in rows], ids),
        tags=_table([row["tags"] for row in rows], ids),
        # `pivot_table` would leave out what is no number.
        metrics=last.unstack("metric").reindex(ids).astype(float),  # noqa: PD010
        history=of_metric,
    )


def _table(rows, ids):
    texts = [{name: str(value) for name, value in row.items()} for row in rows]
    return pd.DataFrame(texts, index=ids, dtype=object)


def designed(rows, **asked):
    return design(store(rows), Asked(**asked))


def answered(rows, *, confidence=0.95, **asked):
    return answer(designed(rows, **asked), confidence)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def seeded(cells, seeds=10, gap=0.05, metric="accuracy", name="model", **others):
    """A run of each cell for each seed; each cell is better than the next one by a gap."""
    return [
        run(
            {metric: 0.8 - gap * place + 0.01 * value},
            **{name: cell, "seed": seed, **others},
        )
        for place, cell in enumerate(cells)
        for seed, value in enumerate(noise(len(cells), seeds)[place])
    ]
