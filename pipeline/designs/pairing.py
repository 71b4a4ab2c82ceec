"""What makes runs comparable: the blocks within which they differ only in what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.comparison.verdict import fewest_pairs
from pipeline.designs.asked import Asked, Inference
from pipeline.designs.columns import Columns, distinct, names_of, ranks, together
from pipeline.designs.factors import Factor
from pipeline.designs.metric import listed
from pipeline.designs.names import Role
from pipeline.errors import ArgumentError

Unit = Literal["pairs", "data", "folds", "alone"]

# In this order columns are tried as what the runs of a block share.
_ROLES: tuple[Role, ...] = ("data", "fold", "repeat", "seed", "setting")
# Runs that a further column may leave without a partner, of those that had one.
_MAY_LOSE = 0.5
# From so many data sets on they are what counts, whatever was repeated on each.
ENOUGH_DATA = fewest_pairs(0.95)
# Among more cells, who shares what with whom is no longer worth knowing.
_MOST_CELLS = 60
# Fewer runs than this may differ in a commit without each having its own.
_FEW_RUNS = 6


@dataclass(frozen=True)
class Confounder:
    """Something that changes with what is compared, so that it may be the cause.

    Attributes:
        name: of the parameter or tag.
        always: whether no two runs that were compared have it in common.
    """

    name: str
    always: bool


@dataclass(frozen=True, eq=False)
class Question:
    """One thing that is compared, and the runs by which.

    Attributes:
        factor: what is compared.
        pair_by: what the runs of a block share; () if nothing.
        unit: what a block is: a pair of runs (of seeds, or other parameters), data, or a fold;
            `alone` if runs share nothing.
        runs: a row for each run, indexed by its id, with the columns `cell`, its level; `block`, a
            number; `value`.
        others: what else is known of these runs: a column for each thing that differs.
        set_by: the columns of `others` that set up a run: parameters, data, the experiment.
        data: those of `set_by` that say on which data.
        repeats: how many runs share both cell and block with another run.
        confounders: what changes with the factor between the runs of a block.
        differing: what changes with the factor over all runs, whatever the blocks.
        told: what was inferred of the blocks.
        folds: into how many parts the data were split; 0 if blocks are no folds.
    """

    factor: Factor
    pair_by: tuple[str, ...]
    unit: Unit
    runs: pd.DataFrame
    others: pd.DataFrame
    set_by: tuple[str, ...]
    data: tuple[str, ...]
    repeats: int
    confounders: tuple[Confounder, ...]
    differing: tuple[Confounder, ...]
    told: tuple[Inference, ...]
    folds: int


def question(
    factor: Factor, cells: pd.Series, values: pd.Series, columns: Columns, asked: Asked
) -> Question:
    """Returns what is compared, with the blocks in which it is.

    Args:
        factor: what is compared.
        cells: the level of each run.
        values: of the metric, for each run.
        columns: what else is known of the runs.
        asked: what the flags said.

    Raises:
        ArgumentError: if `pair_by` names nothing, or what is compared.
    """
    compared = factor.names if factor.combined else factor.names[:1]
    if both := [name for name in asked.pair_by if name in compared]:
        raise ArgumentError(
            f"--pair-by {both[0]!r} is what is compared: the runs of a pair differ in it (--by)"
        )
    # The first runs of two settings have nothing in common, except the first split of the data.
    apart = [
        of for of in columns.of_role("identity", "repeat", "label") if of not in columns.splits
    ]
    table = columns.ranks.drop(columns=apart)
    table = table.drop(columns=list(factor.names), errors="ignore")
    for name in asked.pair_by:
        table[name] = ranks(columns.named(name, "--pair-by"))
    key = list(asked.pair_by) or _shared(table, cells, columns)
    unit, block_by, told = _unit(table, cells, key, columns, asked)
    block = together(table, block_by)
    runs = pd.DataFrame({"cell": cells, "block": block, "value": values})
    # In whatever order runs were read, sums are taken in the same one.
    runs = runs.sort_values(["block", "value"], kind="stable")
    in_block = runs.groupby(["cell", "block"])["value"].transform("size")
    folds = [name for name in block_by if columns.roles.get(name) == "fold"]
    known = [name for name in names_of(table) if name in columns.varying]
    return Question(
        factor=factor,
        pair_by=tuple(block_by),
        unit=unit,
        runs=runs,
        others=columns.varying.loc[runs.index, known],
        set_by=tuple(name for name in columns.of_role("setting", "data") if name in table),
        data=tuple(name for name in columns.of_role("data") if name in table),
        repeats=int((in_block > 1).sum()) if unit != "alone" else 0,
        confounders=_confounders(table.drop(columns=block_by), runs, columns),
        differing=_confounders(table[known], runs.assign(block=0), columns),
        told=tuple(told),
        folds=int(table[folds[0]].nunique()) if unit == "folds" else 0,
    )


def _shared(table: pd.DataFrame, cells: pd.Series, columns: Columns) -> list[str]:
    """Returns the columns whose values runs of different cells share, so that they form blocks."""
    key: list[str] = []
    covered, meeting = len(cells), _meeting(cells, pd.Series(0, cells.index))
    for name in (name for role in _ROLES for name in columns.of_role(role) if name in table):
        block = together(table, [*key, name])
        with_it = _covered(cells, block)
        if _fixed(table[name], cells) or with_it < max(1, _MAY_LOSE * covered):
            continue
        # Cells on different data are not compared; cells with different settings are, if need be.
        if columns.roles[name] != "setting" or _meeting(cells, block) == meeting:
            key.append(name)
            covered, meeting = with_it, _meeting(cells, block)
    if key:
        return key
    for name in (name for name in columns.of_role("provenance") if name in table):
        block = together(table, [name])
        if not _fixed(table[name], cells) and _covered(cells, block) == covered:
            return [name]
    return []


def _fixed(column: pd.Series, cells: pd.Series) -> bool:
    """Whether each cell has a single value."""
    return not column.ne(column.groupby(cells).transform("first")).any()


def _covered(cells: pd.Series, block: pd.Series) -> int:
    """Returns how many runs are in a block with runs of another cell."""
    return int((cells.groupby(block).transform("nunique") > 1).sum())


def _meeting(cells: pd.Series, block: pd.Series) -> int:
    """Returns how many pairs of cells have a block in common."""
    there = pd.crosstab(block, cells).to_numpy() > 0
    both = there.T.astype(float) @ there.astype(float)
    return int((np.triu(both, 1) > 0).sum())


def _unit(
    table: pd.DataFrame, cells: pd.Series, key: Sequence[str], columns: Columns, asked: Asked
) -> tuple[Unit, list[str], list[Inference]]:
    """Returns what a block is, by which columns, and what is said of it."""
    data = [name for name in key if columns.roles.get(name) == "data"]
    folds = any(columns.roles.get(name) == "fold" for name in key)
    block_by = list(key)
    of_data = together(table, data)
    sets = int((distinct(cells, of_data) > 1).sum())
    told = []
    if not key:
        unit: Unit = "alone"
    elif data and (len(data) == len(key) or sets >= ENOUGH_DATA):
        unit, block_by = "data", data
        if averaged := [name for name in key if name not in data]:
            told.append(
                Inference(
                    f"The unit is {_names(data, columns)}, of which there are {sets}: runs that "
                    f"differ in {listed(averaged)} are averaged.",
                    "--pair-by",
                )
            )
    else:
        unit = "folds" if folds else "pairs"
    if not asked.pair_by:
        told.insert(0, Inference(_told(unit, block_by, columns), "--pair-by"))
    return unit, block_by, told


def _told(unit: Unit, block_by: Sequence[str], columns: Columns) -> str:
    if unit == "alone":
        return "Not paired: the runs share no seed, fold, data set or other setting."
    return f"Paired by {_names(block_by, columns)}."


def _names(names: Sequence[str], columns: Columns) -> str:
    told = []
    for name in names:
        aliases = columns.aliases.get(name, (name,))[1:]
        told.append(f"{name} (with {listed(aliases)})" if aliases else name)
    return listed(told)


def _confounders(
    table: pd.DataFrame, runs: pd.DataFrame, columns: Columns
) -> tuple[Confounder, ...]:
    """Returns the columns in which runs of a block differ between cells."""
    many = runs["cell"].nunique() > _MOST_CELLS
    groups, meetings = ([], []) if many else _meetings(runs)
    found = []
    for name in names_of(table):
        of = table.loc[runs.index, name].to_numpy()
        levels = len(set(of.tolist()))
        if columns.roles.get(name) in {"seed", "fold", "repeat"} or levels < 2:
            continue
        # A commit or version of its own in every run tells nothing about what is compared.
        own = levels > max(_FEW_RUNS, len(of) // 3)
        if columns.roles.get(name) == "provenance" and own:
            continue
        values = [frozenset(of[rows].tolist()) for rows in groups]
        if many or any(values[a] != values[b] for a, b in meetings):
            always = not many and all(values[a].isdisjoint(values[b]) for a, b in meetings)
            found.append(Confounder(name, always=always))
    return tuple(found)


def _meetings(runs: pd.DataFrame) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Returns the rows of each cell in each block, and which two of these share a block."""
    groups: dict[tuple[int, str], list[int]] = {}
    for row, key in enumerate(zip(runs["block"], runs["cell"], strict=True)):
        groups.setdefault(key, []).append(row)
    in_block: dict[int, list[int]] = {}
    for place, (block, _) in enumerate(groups):
        in_block.setdefault(block, []).append(place)
    meetings = [pair for places in in_block.values() for pair in combinations(places, 2)]
    return list(groups.values()), meetings
