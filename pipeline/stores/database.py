"""A database of MLflow 1 to 3: SQLite, read from a copy, or PostgreSQL.

Reads only tables and columns that all those versions have, and migrates nothing. The tables are
those of `mlflow/store/tracking/dbmodels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Select,
    column,
    create_engine,
    inspect,
    literal,
    select,
)
from sqlalchemy import table as sql_table
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pipeline.errors import DataError, UnavailableError, one_line
from pipeline.stores.postgresql import connected
from pipeline.stores.rows import ENTRY, POINT, Experiment, Rows, last
from pipeline.stores.sqlite_copy import Copy
from pipeline.stores.where import matching

_NEEDED = {"experiments", "runs", "params", "tags", "metrics"}
# MLflow has it since 1.3.
_LATEST = "latest_metrics"
_CONNECT_SECONDS = 20
_EXPERIMENTS = sql_table(
    "experiments", column("experiment_id"), column("name"), column("lifecycle_stage")
)
_RUNS = sql_table(
    "runs",
    *map(column, ["run_uuid", "name", "experiment_id", "status", "lifecycle_stage"]),
    *map(column, ["start_time", "end_time"]),
)


def sqlite(path: Path) -> Database:
    """Returns a database that is read from a copy, made now."""
    copy = Copy(path)
    url = URL.create("sqlite", database=str(copy.path))
    return Database(create_engine(url, poolclass=NullPool), str(path), copy)


def postgresql(url: URL) -> Database:
    """Returns a database each of whose transactions is read-only; the address names a driver."""
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args={"connect_timeout": _CONNECT_SECONDS},
        execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    )
    shown = URL.create("postgresql", host=url.host, port=url.port, database=url.database)
    return Database(engine, str(shown))


class Database:
    """A database with MLflow's tables."""

    def __init__(self, engine: Engine, name: str, keeps: object = None) -> None:
        """Takes what errors call it, and what has to last as long as it does."""
        self._engine = engine
        self._name = name
        self._keeps = keeps
        self._chosen = select(_RUNS.c.run_uuid)

    def experiments(self) -> list[Experiment]:
        """Returns all experiments."""
        with self._connection() as connection:
            if not _NEEDED.issubset(inspect(connection).get_table_names()):
                raise DataError(f"{self._name} is a database, but not one of MLflow")
            rows = connection.execute(select(_EXPERIMENTS).order_by(column("experiment_id"))).all()
        return [
            Experiment(str(row.experiment_id), row.name, row.lifecycle_stage == "deleted")
            for row in rows
        ]

    def rows(self, experiments: Sequence[Experiment], where: str | None) -> Rows:
        """Returns their runs that match."""
        ids = [int(experiment.id) for experiment in experiments]
        with self._connection() as connection:
            runs = _read(connection, select(_RUNS).where(_RUNS.c.experiment_id.in_(ids)))
            chosen = self._chosen = select(_RUNS.c.run_uuid).where(_RUNS.c.experiment_id.in_(ids))
            params, tags = (
                _read(connection, _entries(name, chosen)).fillna({"value": ""})
                for name in ("params", "tags")
            )
            if _LATEST in inspect(connection).get_table_names():
                metrics = _points(connection, _LATEST, chosen)[ENTRY]
            else:
                metrics = last(_points(connection, "metrics", chosen))
        runs = runs.rename(
            columns={"run_uuid": "run", "start_time": "started", "end_time": "ended"}
        ).assign(
            experiment_id=runs["experiment_id"].astype("str"),
            deleted=runs["lifecycle_stage"] == "deleted",
        )
        return matching(Rows(runs, params, tags, metrics), where)

    def history(self, metric: str, runs: Sequence[str]) -> pd.DataFrame:
        """Returns all values of a metric."""
        with self._connection() as connection:
            points = _points(connection, "metrics", self._chosen, metric)
        return points.loc[points["run"].isin(runs), POINT]

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            with connected(self._engine) as connection:
                yield connection
        except OperationalError as error:
            raise UnavailableError(f"{self._name} cannot be read: {one_line(error.orig)}") from None
        except (SQLAlchemyError, ImportError) as error:
            cause = getattr(error, "orig", None) or error
            raise DataError(f"{self._name} cannot be read: {one_line(cause)}") from None


def _read(connection: Connection, query: Select) -> pd.DataFrame:
    return pd.read_sql(query, connection)


def _entries(name: str, runs: Select) -> Select:
    entries = sql_table(name, column("run_uuid"), column("key"), column("value"))
    return select(entries.c.run_uuid.label("run"), entries.c.key, entries.c.value).where(
        entries.c.run_uuid.in_(runs)
    )


def _points(
    connection: Connection, name: str, runs: Select, metric: str | None = None
) -> pd.DataFrame:
    """Returns points of metrics: `POINT` and `key`. MLflow 1.0 has no nan, and before no steps."""
    present = {found["name"] for found in inspect(connection).get_columns(name)}
    optional = [
        column(wanted) if wanted in present else literal(0).label(wanted)
        for wanted in ("step", "is_nan")
    ]
    query = select(
        column("run_uuid").label("run"), column("key"), column("timestamp"), column("value"),
        *optional,
    ).select_from(sql_table(name)).where(column("run_uuid").in_(runs))  # fmt: skip
    if metric is not None:
        query = query.where(column("key") == metric)
    points = _read(connection, query)
    value = points["value"].astype(float).mask(points["is_nan"].astype(bool))
    return points.assign(value=value)
