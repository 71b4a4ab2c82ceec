"""Which runs count, and why the others do not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.designs.asked import Asked, Inference, LeftOut
from pipeline.designs.metric import (
    WORDS_FOR_AT,
    Metric,
    better_direction,
    chosen,
    has,
    how_compared,
    listed,
    values_at,
)
from pipeline.errors import ArgumentError
from pipeline.stores.stored_runs import StoredRuns

_METRICS_NAMED = 6
# What diverged so far is no result, and its square, which statistics take, would be infinite.
_LARGEST = 1e100
_PARENT = "mlflow.parentRunId"


class Tally:
    """Leaves out runs, one reason after another, and counts them."""

    def __init__(self, runs: pd.DataFrame) -> None:
        self.runs = runs
        self.left_out: list[LeftOut] = []

    def leave_out(self, which: pd.Series, reason: str) -> pd.Index:
        """Leaves out the runs for which `which` is true, and returns their ids."""
        found = self.runs.index[which.reindex(self.runs.index).to_numpy(bool)]
        if len(found):
            self.left_out.append(LeftOut(reason, len(found)))
            self.runs = self.runs.drop(found)
        return found


def counted(
    stored: StoredRuns, asked: Asked
) -> tuple[Metric, pd.Series, list[LeftOut], list[Inference]]:
    """Returns the metric, its value for each run that counts, and what was left out and inferred.

    Raises:
        ArgumentError: if fewer than two runs are left, or the metric is not clear.
    """
    if stored.runs.empty:
        raise ArgumentError("there are no runs here: is it the right --experiment or --where?")
    tally = Tally(stored.runs)
    _leave_out_unfinished(tally)
    if tally.runs.empty:
        raise ArgumentError(
            f"no finished run is left: {_reasons(tally.left_out)} (--experiment, --where)"
        )
    parents = _parents(stored, tally)
    name, inferences = chosen(stored, tally.runs.index.difference(parents, sort=False), asked)
    with_own = int(stored.metrics.loc[parents, name].notna().sum())
    own = f", {with_own} of them with {name} of {'its' if with_own == 1 else 'their'} own"
    tally.leave_out(
        tally.runs.index.to_series().isin(parents),
        f"with runs nested in them{own if with_own else ''}",
    )
    tally.leave_out(~has(stored, name), f"without {name}")
    inferences += _nesting(tally)
    smaller = better_direction(name, asked)
    values = values_at(
        stored, name, tally.runs.index, asked.at or "last", smaller_is_better=smaller
    )
    at_step = asked.at is not None and asked.at not in WORDS_FOR_AT
    no_number = f"without {name} at step {asked.at}" if at_step else f"whose {name} is no number"
    tally.leave_out(values.isna(), no_number)
    tally.leave_out(values.abs() == np.inf, f"whose {name} is infinite")
    tally.leave_out(values.abs() > _LARGEST, f"whose {name} is beyond {_LARGEST:g}")
    values = values[tally.runs.index]
    if values.empty:
        raise ArgumentError(
            f"no run with a finite {name} is left: {_reasons(tally.left_out)} (--metric, --where)"
        )
    if len(values) == 1:
        others = f", beside {_reasons(tally.left_out)}" if tally.left_out else ""
        raise ArgumentError(
            f"a single run with a finite {name} counts{others}: there is nothing to compare "
            "(--experiment, --where)"
        )
    metric, of_metric = how_compared(stored, name, values, asked, smaller_is_better=smaller)
    kinds = _kinds(stored.metrics.loc[values.index])
    return metric, values.rename("value"), tally.left_out, [*inferences, *of_metric, *kinds]


def _leave_out_unfinished(tally: Tally) -> None:
    deleted = tally.runs["deleted"].astype(bool)
    tally.leave_out(deleted, "deleted")
    status = tally.runs["status"]
    tally.leave_out(status == "FAILED", "failed")
    tally.leave_out(status == "KILLED", "killed")
    tally.leave_out(status != "FINISHED", "still running or scheduled")


def _parents(stored: StoredRuns, tally: Tally) -> pd.Index:
    """Returns the runs that are left and have children, deleted or failed ones among them."""
    return tally.runs.index[tally.runs.index.isin(stored.runs["parent"])]


def _nesting(tally: Tally) -> list[Inference]:
    """Leaves out the fewer of nested runs and others: a sweep's runs are no final runs."""
    nested = tally.runs["parent"] != ""
    inside, outside = int(nested.sum()), int((~nested).sum())
    if not inside or not outside:
        return []
    if inside >= outside:
        tally.leave_out(~nested, "not nested in another run, while most are")
        kept = f"the {inside} runs nested in others, as those of a sweep are,"
        others = "IS NULL"
    else:
        tally.leave_out(nested, "nested in another run, while most are not")
        kept = f"the {outside} runs that are not nested in others"
        others = "IS NOT NULL"
    return [
        Inference(f'Only {kept} are compared; the others are "tags.{_PARENT} {others}".', "--where")
    ]


def _kinds(metrics: pd.DataFrame) -> list[Inference]:
    """Returns which metrics not all runs have, for such runs may be of different kinds."""
    counts = metrics.notna().sum()
    partly = counts[(counts > 0) & (counts < len(metrics))].sort_index()
    if partly.empty:
        return []
    told = []
    for count, names in partly.groupby(partly, sort=True).groups.items():
        shown = [str(name) for name in names[:_METRICS_NAMED]]
        told.append(f"{count} of {len(metrics)} also have {listed(shown)}")
    return [
        Inference(f"These may be different kinds of runs: {'; '.join(told)}.", "--where"),
    ]


def _reasons(left_out: list[LeftOut]) -> str:
    return ", ".join(f"{of.count} {of.reason}" for of in left_out)
