"""Which runs are copies of others, so that they repeat nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from pipeline.designs.asked import Inference
from pipeline.designs.columns import Columns, names_of, ranks, together
from pipeline.designs.metric import listed
from pipeline.designs.names import is_time


def distinct_runs(
    columns: Columns, cells: Iterable[pd.Series], values: pd.Series, pair_by: Sequence[str]
) -> tuple[pd.Index, list[Inference]]:
    """Returns the runs that differ from all others, and what was inferred.

    A copy was set up as another run was, and all its metrics are the same. Times are not looked at
    unless they are compared, because no two are the same; nor are commits, versions and names. If a
    seed changes nothing, runs that differ in it alone are copies too.

    Args:
        columns: what is known of the runs.
        cells: what is compared, a level for each run.
        values: of the metric, for each run.
        pair_by: what was asked to make a pair.
    """
    set_up = [*columns.of_role("setting", "data", "fold")]
    seeds = columns.of_role("seed")
    table = columns.ranks[[*set_up, *seeds]]
    others = [*cells, *(columns.named(name, "--pair-by") for name in pair_by)]
    for place, other in enumerate(others):
        set_up.append(f"_{place}")
        table = table.assign(**{f"_{place}": ranks(other)})
    result = _results(columns, values)
    table = table.assign(_result=result)
    inferences = []
    if seeds and not set(seeds) & set(pair_by):
        of_setting = result.groupby(together(table, set_up))
        if of_setting.size().max() > 1 and of_setting.nunique().max() == 1:
            told = (
                f"{listed(seeds)} changes nothing: runs that differ only in it have the same "
                "metrics to the last digit, and count as one run."
            )
            inferences.append(Inference(told, "--metric"))
            seeds = []
    identity = together(table, [*set_up, *seeds, "_result"])
    # Of copies the one with the smallest id stays, whatever order they were read in.
    first = identity.sort_index().drop_duplicates().index
    return values.index[values.index.isin(first)], inferences


def _results(columns: Columns, values: pd.Series) -> pd.Series:
    """Returns a number for each run, equal where all metrics are."""
    metrics = columns.stored.metrics.loc[values.index]
    compared = [name for name in names_of(metrics) if not is_time(name)]
    return together(metrics.assign(_value=values), [*compared, "_value"])
