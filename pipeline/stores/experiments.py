"""Which experiments of a store are meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.errors import ArgumentError, printable
from pipeline.stores.rows import Experiment

_MOST_LISTED = 20


def chosen(experiments: Sequence[Experiment], asked: Iterable[str]) -> list[Experiment]:
    """Returns the experiments with these ids or names; all, where none is asked for.

    Raises:
        ArgumentError: if nothing, or more than one experiment, has an id or name.
    """
    found = [_one(experiments, word) for word in asked]
    return list(dict.fromkeys(found)) or list(experiments)


def _one(experiments: Sequence[Experiment], asked: str) -> Experiment:
    by_id = [experiment for experiment in experiments if experiment.id == asked]
    matches = by_id or [experiment for experiment in experiments if experiment.name == asked]
    if len(matches) > 1:
        ids = _listed(f"{match.id} (deleted)" if match.deleted else match.id for match in matches)
        raise ArgumentError(
            f"{len(matches)} experiments are called {asked!r}; ask for one by its id: {ids}"
        )
    if not matches:
        names = _listed(repr(experiment.name) for experiment in experiments)
        raise ArgumentError(f"no experiment has the name or id {asked!r}; there are {names}")
    return matches[0]


def _listed(words: Iterable[str]) -> str:
    words = list(words)
    more = len(words) - _MOST_LISTED
    shown = printable(", ".join(words[:_MOST_LISTED]))
    return f"{shown} and {more} more" if more > 0 else shown
