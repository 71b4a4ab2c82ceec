"""What is known of each run beside its metrics: parameters, tags, its name and experiment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

import numpy as np
import pandas as pd

from pipeline.designs.names import Role, role
from pipeline.designs.values import MISSING, are_numbers, ordered, unified
from pipeline.errors import ArgumentError
from pipeline.stores.stored_runs import StoredRuns

EXPERIMENT = "experiment"
RUN_NAME = "run_name"
_OF_MLFLOW = "mlflow."
_COMMIT = "mlflow.source.git.commit"
_NAMED = 20
_OF_TAGS: frozenset[Role] = frozenset({"seed", "fold", "data"})
# Only what sets up a run can be mistaken for something else that does.
_ALIASED: frozenset[Role] = frozenset({"setting", "data", "label"})
# So few runs may each have a text of their own without having been drawn at random.
_FEW = 12


@dataclass(frozen=True, eq=False)
class Columns:
    """What is known of the runs that count.

    Attributes:
        varying: a column for each thing that differs between runs; its values are texts, each
            written in one way, '' where a run has none.
        roles: of each column of `varying`, in its order.
        aliases: for each column of `varying`, itself and those that vary one-to-one with it.
        merged: for each column, the ways of writing one value that were merged.
        stored: where other columns are found.
        runs: the ids of the runs that count.
    """

    varying: pd.DataFrame
    roles: dict[str, Role]
    aliases: dict[str, tuple[str, ...]]
    merged: dict[str, list[tuple[str, ...]]]
    stored: StoredRuns
    runs: pd.Index

    def of_role(self, *roles: Role) -> list[str]:
        """Returns the columns that have one of the roles."""
        return [name for name, of in self.roles.items() if of in roles]

    @property
    def splits(self) -> list[str]:
        """The columns that tell splits of the data apart: folds, and how often these were made."""
        return self.of_role("fold", "repeat") if self.of_role("fold") else []

    def named(self, name: str, flag: str) -> pd.Series:
        """Returns the column that a user named, whether or not it differs between runs.

        Raises:
            ArgumentError: if there is none.
        """
        found = _raw(self.stored, name)
        if found is None:
            raise ArgumentError(
                f"{flag} {name!r} is no parameter or tag of these runs{self._near(name)}"
            )
        return unified(found.loc[self.runs])[0].rename(name)

    def _near(self, name: str) -> str:
        known = [*self.stored.params, *self.stored.tags, RUN_NAME, EXPERIMENT]
        near = get_close_matches(name, map(str, known), n=3)
        if near:
            return f"; did you mean {' or '.join(map(repr, near))}?"
        differing = names_of(self.varying)[:_NAMED]
        return f"; these differ: {', '.join(differing)}" if differing else ""

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """The place of each value of `varying` among the values of its column, from 0."""
        return pd.DataFrame({name: ranks(of) for name, of in self.varying.items()}, self.runs)

    @cached_property
    def others(self) -> list[str]:
        """What else could be compared: tags, the run's name, the experiment, if they differ."""
        tags = [of for of in names_of(self.stored.tags) if not of.startswith(_OF_MLFLOW)]
        return [name for name in [*tags, RUN_NAME, EXPERIMENT] if _groups(self.named(name, ""))]


def columns(stored: StoredRuns, runs: pd.Index) -> Columns:
    """Returns what differs between the runs."""
    params = stored.params.loc[runs]
    sources = {str(name): params[name] for name in sorted(params, key=str)}
    tags = {name: stored.tags.loc[runs, name] for name in sorted(names_of(stored.tags))}
    if _COMMIT in tags:
        sources.setdefault("git commit", tags[_COMMIT])
    for name, column in tags.items():
        # Of tags, only those that can make pairs are looked at unless they are asked for.
        if not name.startswith(_OF_MLFLOW) and _role(name, column.fillna(MISSING)) in _OF_TAGS:
            sources.setdefault(name, column)
    # Of aliases the first one lends its name: one that every run has, if any.
    sources = dict(sorted(sources.items(), key=lambda source: bool(source[1].isna().any())))
    sources = {EXPERIMENT: _experiments(stored)[runs]} | sources
    varying: dict[str, pd.Series] = {}
    merged: dict[str, list[tuple[str, ...]]] = {}
    roles: dict[str, Role] = {}
    aliases: dict[str, tuple[str, ...]] = {}
    firsts: dict[bytes, list[_First]] = {}
    for name, raw in sources.items():
        column, ways = unified(raw)
        if ways:
            merged[name] = ways
        if column.nunique() < 2:
            continue
        of = "data" if name == EXPERIMENT else _role(name, column)
        if of in _ALIASED:
            alike = firsts.setdefault(pd.factorize(column)[0].tobytes(), [])
            one = _First(name, _order(column), is_number=are_numbers(column.tolist()))
            if first := next((first for first in alike if _move_together(first, one)), None):
                aliases[first.name] = (*aliases[first.name], name)
                continue
            alike.append(one)
        varying[name], roles[name], aliases[name] = column, of, (name,)
    table = pd.DataFrame(varying, index=runs, dtype=object)
    return Columns(table, roles, aliases, merged, stored, runs)


@dataclass(frozen=True)
class _First:
    """A column that others may be aliases of."""

    name: str
    order: tuple[int, ...]
    is_number: bool


def _order(column: pd.Series) -> tuple[int, ...]:
    """Returns the runs' order by a column, rising, if each has a value of its own; else ()."""
    if column.nunique() < len(column):
        return ()
    order = ranks(column).to_numpy(np.int64)
    return tuple((order if order[0] <= order[-1] else len(order) - 1 - order).tolist())


def _move_together(one: _First, other: _First) -> bool:
    """Whether two columns that vary one-to-one are aliases.

    Where each run has a value of its own any two vary so, thus their order must be the same too:
    of two numbers that were drawn at random it is not.
    """
    few_texts = len(one.order) <= _FEW and not (one.is_number and other.is_number)
    return few_texts or one.order == other.order


def _role(name: str, column: pd.Series) -> Role:
    told = column[column != MISSING]
    return role(name, list(told.unique()), len(told))


def _groups(column: pd.Series) -> bool:
    """Whether a column sorts runs into more than one group, not each into its own."""
    return 1 < column.nunique() < len(column)


def _raw(stored: StoredRuns, name: str) -> pd.Series | None:
    for table in (stored.params, stored.tags):
        if name in table:
            return table[name]
    if name == RUN_NAME:
        return stored.runs["name"]
    return _experiments(stored) if name == EXPERIMENT else None


def _experiments(stored: StoredRuns) -> pd.Series:
    """Returns the name of each run's experiment, with its id where several have one name."""
    names, ids = stored.runs["experiment"], stored.runs["experiment_id"]
    several = ids.groupby(names).transform("nunique") > 1
    return names.where(~several, names + " (" + ids.astype(str) + ")")


def names_of(table: pd.DataFrame) -> list[str]:
    """Returns the names of a table's columns."""
    return [str(name) for name in table]


def distinct(column: pd.Series, by: pd.Series) -> pd.Series:
    """Returns how many different values each group has, indexed by the group."""
    return column.groupby(by).nunique()


def together(table: pd.DataFrame, names: Iterable[str]) -> pd.Series:
    """Returns a number for each row, equal where all the named columns are.

    Numbers are in the order of the columns' values, so seed 2 comes before seed 10.
    """
    names = list(names)
    if not names:
        return pd.Series(0, table.index)
    places = pd.DataFrame({name: ranks(table[name]) for name in names})
    return places.groupby(names, sort=True).ngroup()


def ranks(column: pd.Series) -> pd.Series:
    """Returns the place of each value among those of its column; whole numbers stay."""
    if pd.api.types.is_integer_dtype(column):
        return column
    if pd.api.types.is_numeric_dtype(column):
        return column.rank(method="dense").fillna(0)
    places = {value: place for place, value in enumerate(ordered(column))}
    return column.map(places)
