"""Makes a store of any number of runs from one that has a few: copies of them, of other code."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import MetaData, create_engine, select

from pipeline.stores.postgresql import with_driver
from pipeline.tracking.store import FINGERPRINT

# The tables that hold something of a run or its model, in an order that keeps foreign keys.
_TABLES = (
    "runs", "params", "tags", "metrics", "latest_metrics", "logged_models", "logged_model_params",
    "logged_model_tags", "logged_model_metrics", "inputs", "input_tags",
)  # fmt: skip
_TIMES = ("start_time", "end_time", "creation_timestamp_ms")
_DAY = 86_400_000
# How many copies are made before they are written.
_AT_ONCE = 20
_Rows = Sequence[Mapping[str, Any]]


def grow(address: str, runs: int) -> None:
    """Copies the trained runs of a store until it has about so many.

    A copy has the name, settings, scores, files and model of its original, ids and a fingerprint of
    its own, and was made a day before the one before it, as if somebody had trained the same with
    other code every day.
    """
    engine = create_engine(with_driver(address))
    schema = MetaData()
    schema.reflect(engine, only=_TABLES)
    tables = [schema.tables[name] for name in _TABLES]
    with engine.begin() as connection:
        rows = {table.name: connection.execute(select(table)).mappings().all() for table in tables}
        of_runs = _trained(rows["tags"])
        ids = of_runs | _belonging(rows, of_runs)
        copies = runs // len(of_runs) - 1
        for first in range(0, copies, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, copies))
            for table in tables:
                copied = [row for number in numbers for row in _copy(rows[table.name], ids, number)]
                if copied:
                    connection.execute(table.insert(), copied)
    engine.dispose()


def _trained(tags: _Rows) -> set[str]:
    return {tag["run_uuid"] for tag in tags if (tag["key"], tag["value"]) == ("kind", "run")}


def _belonging(rows: Mapping[str, _Rows], runs: Collection[str]) -> set[str]:
    """Returns the ids of the models and inputs of these runs."""
    models = {row["model_id"] for row in rows["logged_models"] if row["source_run_id"] in runs}
    inputs = {
        row["input_uuid"]
        for row in rows["inputs"]
        if row["source_id"] in runs or row["destination_id"] in runs
    }
    return models | inputs


def _copy(rows: _Rows, ids: Collection[str], number: int) -> Iterator[dict[str, Any]]:
    """Yields a copy of each row in which one of the ids is, with other ids."""
    for row in rows:
        if not ids & {value for value in row.values() if isinstance(value, str)}:
            continue
        copy = {
            name: _other(value, number) if value in ids else value for name, value in row.items()
        }
        if copy.get("key") == FINGERPRINT:
            copy["value"] = hashlib.sha256(f"{number} {copy['value']}".encode()).hexdigest()
        for name in _TIMES:
            if copy.get(name) is not None:
                copy[name] -= _DAY * (number + 1)
        yield copy


def _other(identifier: str, number: int) -> str:
    """Returns another id of the same kind: 32 hexadecimal digits, a model's after `m-`."""
    digits = hashlib.md5(f"{number} {identifier}".encode(), usedforsecurity=False).hexdigest()
    return f"m-{digits}" if identifier.startswith("m-") else digits
