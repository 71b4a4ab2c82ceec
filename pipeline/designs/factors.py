"""What is compared: which parameters, and which values of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.designs.asked import Asked, Inference
from pipeline.designs.columns import Columns, distinct, names_of, ranks, together
from pipeline.designs.metric import listed
from pipeline.designs.values import MISSING, are_numbers, ordered
from pipeline.errors import ArgumentError

# Fewer different numbers are compared with each other instead: Fisher's interval of a correlation
# over n points spans 1.96 / sqrt(n - 3) on either side, so below 8 it tells nothing.
FEWEST_FOR_TREND = 8
# Among more settings the best is searched for rather than each compared with each.
MOST_COMPARED = 12
# Combinations tried, of those that are possible, for one factor at a time to be compared.
_NEARLY_FULL = 0.75
# Runs that the trends over one number cover, for it to be the only thing that was varied.
_NEARLY_ALL = 0.75
ABSENT = "none"
_IDENTIFYING_NAMED = 8
_LONGEST_LEVEL = 80


@dataclass(frozen=True)
class Factor:
    """What is compared.

    Attributes:
        names: those of the parameters; more than one if they always change together, or are
            combined.
        levels: its values, in order; of combined parameters each as `lr 0.1, model unet`.
        combined: whether each combination of the parameters is a level; otherwise they are aliases.
    """

    names: tuple[str, ...]
    levels: tuple[str, ...]
    combined: bool = False

    @property
    def label(self) -> str:
        """Its name; of parameters that always change together, the first one's."""
        return listed(self.names) if self.combined else self.names[0]

    @property
    def aliases(self) -> tuple[str, ...]:
        """The other parameters that always change together with it."""
        return () if self.combined else self.names[1:]

    @property
    def is_number(self) -> bool:
        """Whether its levels are enough numbers for a trend."""
        few = len(self.levels) < FEWEST_FOR_TREND
        return not self.combined and not few and are_numbers(self.levels)


def factors(
    columns: Columns, asked: Asked
) -> tuple[list[tuple[Factor, pd.Series]], list[Inference]]:
    """Returns each factor with the level of every run, and what was inferred.

    Raises:
        ArgumentError: if nothing differs between the runs, or what was asked for does not.
    """
    if asked.by:
        table = pd.DataFrame({name: columns.named(name, "--by") for name in asked.by})
        for name in names_of(table):
            if table[name].nunique() < 2:
                only = shown(table[name].iloc[0])
                raise ArgumentError(
                    f"all {len(table)} runs that count have the same {name} ({only}): there is "
                    "nothing to compare (--by, --where)"
                )
        names, inferences = names_of(table), []
    else:
        names, inferences = _inferred(columns, asked.pair_by)
        table = pd.DataFrame({name: _column(columns, name) for name in names})
    found, how = _arranged(table, columns, named=bool(asked.by))
    if not asked.by:
        inferences.insert(0, Inference(f"Compared: {_told(found, how)}.", "--by"))
    elif len(names) > 1:
        inferences.append(Inference(f"Of {listed(names)}, {how}.", "--by"))
    inferences += [
        Inference(f"{listed(of.names)} always change together: no run tells them apart.", "--by")
        for of, _ in found
        if of.aliases
    ]
    return found, inferences


def _column(columns: Columns, name: str) -> pd.Series:
    return columns.varying[name] if name in columns.varying else columns.named(name, "--by")


def _told(found: Sequence[tuple[Factor, pd.Series]], how: str) -> str:
    told = [f"{factor.label} ({_levels(factor)})" for factor, _ in found]
    return f"{'; '.join(told)}{f'; {how}' if how else ''}"


def _levels(factor: Factor) -> str:
    """Returns the levels in a row; of many only how many they are."""
    if factor.combined:
        return f"{len(factor.levels)} combinations"
    if len(factor.levels) > MOST_COMPARED // 2:
        return f"{len(factor.levels)} values"
    return ", ".join(shown(level) for level in factor.levels)


def shown(level: str) -> str:
    """Returns a level as it is shown; of a long one the middle is left out."""
    half = _LONGEST_LEVEL // 2
    if len(level) > _LONGEST_LEVEL:
        return f"{level[:half]}…{level[-half:]}"
    return level or ABSENT


def _inferred(columns: Columns, pair_by: Sequence[str]) -> tuple[list[str], list[Inference]]:
    """Returns the names of the parameters that set up a run, and what else was noticed of them."""
    inferences = [
        Inference(f"One value written in several ways: {name}: {_ways(ways)}.", "--where")
        for name, ways in columns.merged.items()
    ]
    # What is different in each run tells runs apart, unless nothing else does.
    settings = [name for name in columns.of_role("setting") if name not in pair_by]
    names = settings or columns.of_role("label")
    identifying = columns.of_role("identity", "repeat", "provenance", "label")
    used = (*names, *pair_by, *columns.splits)
    if identifying := [name for name in identifying if name not in used]:
        inferences.append(
            Inference(
                "Not compared, as names, paths, versions and the like: "
                f"{listed(identifying, _IDENTIFYING_NAMED)}.",
                "--by",
            )
        )
    if not names:
        return _instead(columns), inferences
    following = _following(columns.varying[names])
    inferences += [
        Inference(f"{name} follows from {leader}: not compared by itself.", "--by")
        for name, leader in following.items()
    ]
    names = [name for name in names if name not in following]
    blocks = columns.of_role("seed", "fold", "data")
    for name, other, value in _conditional(columns.varying[names]):
        rest = [of for of in names if of != name]
        # Where it tells no two runs apart that nothing else does, it need not be compared.
        idle = bool(blocks and rest) and (
            _combinations(columns, [*rest, *blocks]) == _combinations(columns, [*names, *blocks])
        )
        if idle or (columns.varying[name] == MISSING).any():
            inferences.append(
                Inference(f"{name} was varied only where {other} is {shown(value)}.", "--by")
            )
        names = rest if idle else names
    return names, inferences


def _combinations(columns: Columns, names: list[str]) -> int:
    return len(columns.varying[names].drop_duplicates())


def _ways(merged: Sequence[tuple[str, ...]]) -> str:
    return "; ".join(" is ".join(repr(shown(text)) for text in ways) for ways in merged)


def _instead(columns: Columns) -> list[str]:
    """Returns what is compared where no parameter can be: a tag, the run's name, the experiment.

    Raises:
        ArgumentError: if nothing differs.
    """
    if columns.others:
        return columns.others[:1]
    blocks = columns.of_role("seed", "fold", "data")
    if not blocks:
        raise ArgumentError(
            f"no parameter differs between the {len(columns.runs)} runs that count: there is "
            "nothing to compare (--experiment, --where, --by)"
        )
    nested = len(set(columns.stored.runs.loc[columns.runs, "parent"])) > 1
    parents = "; to compare the runs that they are nested in, --by mlflow.parentRunId"
    raise ArgumentError(
        f"nothing but {listed(blocks)} differs between the {len(columns.runs)} runs that count, "
        f"and that makes pairs: to compare it, use --by {blocks[0]!r}{parents if nested else ''}"
    )


def _following(table: pd.DataFrame) -> dict[str, str]:
    """Returns the parameters whose value another one fixes, each with that one.

    Only one that at least two runs share, on average, can be said to fix anything, and only one
    that all runs have.
    """
    following: dict[str, str] = {}
    codes = {name: pd.factorize(table[name]) for name in names_of(table)}
    for name, (code, values) in codes.items():
        for leader, (by, groups) in codes.items():
            if len(groups) <= len(values) or 2 * len(groups) > len(table) or MISSING in groups:
                continue
            first = np.zeros(len(groups), int)
            first[by] = code
            if (first[by] == code).all():
                following[name] = leader
                break
    return following


def _conditional(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Returns parameters that vary only where another has one value: both names, and the value."""
    found = []
    codes = {name: pd.factorize(table[name]) for name in names_of(table)}
    few = {name: of for name, of in codes.items() if len(of[1]) <= MOST_COMPARED}
    for name, (code, values) in codes.items():
        for other, (by, groups) in few.items():
            if name == other:
                continue
            there = np.zeros((len(groups), len(values)), bool)
            there[by, code] = True
            varies = there.sum(axis=1) > 1
            if varies.sum() == 1 and there[~varies].any(axis=0).sum() == 1:
                found.append((name, other, str(groups[varies.argmax()])))
                break
    return found


def _arranged(
    table: pd.DataFrame, columns: Columns, *, named: bool
) -> tuple[list[tuple[Factor, pd.Series]], str]:
    """Returns the factors that the columns amount to, and how they are compared."""
    names = names_of(table)
    if len(names) == 1:
        return [_single(table[names[0]], columns)], ""
    if not named and (number := _only_number(table, columns)):
        return [_single(table[number], columns)], "the only number that was varied by itself"
    levels = [table[name].nunique() for name in names]
    if _tried(table, columns) >= _NEARLY_FULL and max(levels) <= MOST_COMPARED:
        return [_single(table[name], columns) for name in names], "one factor at a time"
    rows = table.loc[together(table, names).sort_values(kind="stable").index].drop_duplicates()
    labels = {tuple(row): _label(names, row) for row in rows.itertuples(index=False)}
    cells = pd.Series(
        [labels[tuple(row)] for row in table.itertuples(index=False)], table.index, dtype=object
    )
    factor = Factor(tuple(names), tuple(labels.values()), combined=True)
    return [(factor, cells)], "each combination as one setting"


def _tried(table: pd.DataFrame, columns: Columns) -> float:
    """Returns the share of combinations that were tried, on most data if not on all."""
    data = together(columns.ranks, columns.of_role("data"))
    most = table[data == data.mode()[0]]
    of = most if 2 * len(most) >= len(table) else table
    return len(of.drop_duplicates()) / math.prod(of.nunique())


def _single(column: pd.Series, columns: Columns) -> tuple[Factor, pd.Series]:
    name = str(column.name)
    aliases = columns.aliases.get(name, (name,))
    return Factor(aliases, tuple(ordered(column))), column


def _label(names: Sequence[str], row: Sequence[str]) -> str:
    told = [f"{name} {value}" for name, value in zip(names, row, strict=True) if value != MISSING]
    return ", ".join(told) or ABSENT


def _only_number(table: pd.DataFrame, columns: Columns) -> str | None:
    """Returns the column that takes many numbers while all others stay the same, if any."""
    held = [name for name in columns.of_role("data") if name not in table]
    covered: dict[str, int] = {}
    others = pd.concat([table.apply(ranks), columns.ranks[held]], axis=1)
    for name in names_of(table):
        numbers = table[name]
        if not Factor((name,), tuple(ordered(numbers))).is_number:
            continue
        stratum = together(others, [of for of in names_of(others) if of != name])
        enough = stratum.map(distinct(numbers, stratum)) >= FEWEST_FOR_TREND
        covered[name] = int(enough.sum())
    best = max(covered, key=lambda name: covered[name], default=None)
    if best is None or covered[best] < _NEARLY_ALL * len(table):
        return None
    return best if sum(count == covered[best] for count in covered.values()) == 1 else None
