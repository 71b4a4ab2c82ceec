"""Which metric is compared, which of its values counts, and which direction is better."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.designs.asked import Asked, Inference
from pipeline.designs.names import direction, is_time, words
from pipeline.errors import ArgumentError
from pipeline.stores.stored_runs import StoredRuns

# Which of a run's values counts, if not that of a step.
WORDS_FOR_AT = ("last", "best", "mean")
_LISTED = 12
# Of metrics nothing else says what there is to choose from.
_METRICS_LISTED = 60
# What counts how far a run came, or what the machine did, is seldom what is compared.
_COUNTERS = frozenset({"epoch", "epochs", "step", "steps", "iteration", "iterations"})
_SYSTEM = "system/"


@dataclass(frozen=True)
class Metric:
    """A metric, as it is compared.

    Attributes:
        name: as the store has it.
        at: which of its values counts in each run: `last`, `best`, `mean`, or a step.
        smaller_is_better: whether the smaller of two values wins.
        as_ratio: whether effects are ratios: of times, all above 0.
    """

    name: str
    at: str
    smaller_is_better: bool
    as_ratio: bool


def chosen(stored: StoredRuns, finished: pd.Index, asked: Asked) -> tuple[str, list[Inference]]:
    """Returns the name of the metric that was asked for, or that alone can be meant.

    Raises:
        ArgumentError: if there is no such metric, or more than one could be meant.
    """
    counts = stored.metrics.loc[finished].notna().sum()
    counts = counts[counts > 0].sort_index().sort_values(ascending=False, kind="stable")
    if asked.metric is not None:
        known = asked.metric in stored.metrics
        if not known or not has(stored, asked.metric)[finished].any():
            raise ArgumentError(
                f"no finished run has a metric {asked.metric!r}; --metric takes {_listed(counts)}"
            )
        return asked.metric, []
    if counts.empty:
        raise ArgumentError(
            f"none of the {len(finished)} finished runs has a metric: there is nothing to compare"
        )
    meant = [str(name) for name in counts.index if _may_decide(str(name))]
    in_all = [name for name in meant if counts[name] == len(finished)]
    tested = [name for name in in_all if "test" in words(name)]
    for names, why in (
        (meant, "the only metric"),
        (in_all, "the only metric that all runs have"),
        (tested, "the only test metric that all runs have"),
    ):
        if len(names) == 1:
            return names[0], [Inference(f"Metric: {names[0]}, {why}.", "--metric")]
    raise ArgumentError(f"which metric? name one with --metric: {_listed(counts)}")


def has(stored: StoredRuns, name: str) -> pd.Series:
    """Returns whether each run has a metric; its last value may be nan all the same."""
    last = stored.metrics[name]
    return last.notna() | last.index.isin(stored.history(name)["run"])


def _may_decide(name: str) -> bool:
    return not name.startswith(_SYSTEM) and _COUNTERS.isdisjoint(words(name)[-1:])


def _listed(counts: pd.Series) -> str:
    """Returns metrics with how many runs have each, the most frequent first."""
    told = [f"{name} ({count} run{'s' if count != 1 else ''})" for name, count in counts.items()]
    more = len(told) - _METRICS_LISTED
    return ", ".join(told[:_METRICS_LISTED]) + (f", and {more} more" if more > 0 else "")


def values_at(
    stored: StoredRuns, name: str, runs: pd.Index, at: str, *, smaller_is_better: bool
) -> pd.Series:
    """Returns the value of each run that counts, nan where a run has none.

    Raises:
        ArgumentError: if `at` is none of `last`, `best`, `mean` and a whole number, or no run has a
            value at that step.
    """
    if at == "last":
        return stored.metrics.loc[runs, name].astype(float)
    if at not in WORDS_FOR_AT and not re.fullmatch(r"-?\d+", at):
        raise ArgumentError(f"--at must be last, best, mean or a step, got {at!r}")
    history = stored.history(name)
    of_run = history.groupby("run")["value"]
    if at == "best":
        values = of_run.min() if smaller_is_better else of_run.max()
    elif at == "mean":
        # A mean that leaves out the steps at which a run diverged would flatter it.
        values = of_run.agg(lambda of: of.mean(skipna=False))
    else:
        at_step = history[history["step"] == int(at)].sort_values(["timestamp", "value"])
        if at_step.empty:
            last = history["step"].max()
            raise ArgumentError(f"no run has {name} at step {at}; the last step is {last} (--at)")
        values = at_step.groupby("run")["value"].last()
    return values.reindex(runs).astype(float)


def how_compared(
    stored: StoredRuns, name: str, values: pd.Series, asked: Asked, *, smaller_is_better: bool
) -> tuple[Metric, list[Inference]]:
    """Returns the metric as it is compared, with what was inferred about it.

    Args:
        stored: all runs.
        name: of the metric.
        values: of the runs that count, all finite.
        asked: what the flags said.
        smaller_is_better: as `better_direction` has it.
    """
    inferences = []
    if asked.smaller_is_better is None:
        inferences.append(_told_direction(name, smaller_is_better=smaller_is_better))
    at = asked.at or "last"
    if asked.at is None:
        inferences += _told_last(
            stored.history(name), name, values, smaller_is_better=smaller_is_better
        )
    as_ratio = is_time(name) and bool((values > 0).all())
    return Metric(name, at, smaller_is_better, as_ratio), inferences


def better_direction(name: str, asked: Asked) -> bool:
    """Returns whether smaller is better: as asked, else as the name says, else not."""
    if asked.smaller_is_better is not None:
        return asked.smaller_is_better
    return bool(direction(name))


def _told_direction(name: str, *, smaller_is_better: bool) -> Inference:
    if smaller_is_better:
        return Inference(f"Smaller is better, as the name {name} says.", "--larger-is-better")
    if direction(name) is False:
        return Inference(f"Larger is better, as the name {name} says.", "--smaller-is-better")
    return Inference(
        f"Larger is better, since the name {name} does not say.", "--smaller-is-better"
    )


def _told_last(
    history: pd.DataFrame, name: str, values: pd.Series, *, smaller_is_better: bool
) -> list[Inference]:
    """Returns what is said of the last value, where any run has more than one."""
    of_run = history[history["run"].isin(values.index)].groupby("run")["value"]
    if history.empty or of_run.size().max() == 1:
        return []
    best = (of_run.min() if smaller_is_better else of_run.max()).reindex(values.index)
    differ = int(np.sum(best.to_numpy(float) != values.to_numpy(float)))
    not_best = f"; it is not the best in {differ} of {len(values)} runs" if differ else ""
    return [Inference(f"Of each run the last {name} counts{not_best}.", "--at")]


def listed(names: Sequence[str], most: int = _LISTED) -> str:
    """Returns names in a row: `a, b and c`; of more than `most`, how many the others are."""
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
