"""The address of a PostgreSQL database, as people type it and as MLflow and SQLAlchemy take it."""

from __future__ import annotations

from importlib.util import find_spec

from pipeline.errors import ArgumentError


class MissingDriverError(ArgumentError):
    """No package that connects to PostgreSQL is installed."""


def with_driver(address: str) -> str:
    """Returns the address with the driver that is installed, unless it names one.

    People type `postgresql://…` or `postgres://…`, as PostgreSQL's own programs take it. MLflow and
    SQLAlchemy know only the first, and which driver that means depends on their version. An
    address of anything else is returned as it is.

    Raises:
        MissingDriverError: if no driver is installed.
    """
    scheme, colon, rest = address.partition(":")
    dialect, _, driver = scheme.lower().partition("+")
    if dialect not in {"postgresql", "postgres"}:
        return address
    return f"postgresql+{driver or _installed()}{colon}{rest}"


def _installed() -> str:
    for package in ("psycopg", "psycopg2"):
        if find_spec(package):
            return package
    raise MissingDriverError("PostgreSQL needs psycopg: pip install 'bnlab[postgresql]'")
