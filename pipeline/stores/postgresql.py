"""The address of a PostgreSQL database, as people type it and as MLflow and SQLAlchemy take it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from pipeline.errors import ArgumentError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


class UnusableAddressError(ArgumentError):
    """A store cannot be reached by this address, or not from here."""


def with_driver(address: str) -> str:
    """Returns the address with the driver that is installed, unless it names one.

    People type `postgresql://…` or `postgres://…`, as PostgreSQL's own programs take it. MLflow and
    SQLAlchemy know only the first, and which driver that means depends on their version. An
    address of anything else is returned as it is.

    Raises:
        UnusableAddressError: if no driver is installed, or a password is not quoted. Libraries
            would take the end of such a password for the host, and show it.
    """
    scheme, colon, rest = address.partition(":")
    dialect, _, driver = scheme.lower().partition("+")
    if dialect not in {"postgresql", "postgres"}:
        return address
    if rest.split("?")[0].count("@") > 1:
        raise UnusableAddressError(
            "the address of PostgreSQL has more than one @: write %40 for one in a password"
        )
    return f"postgresql+{driver or _installed()}{colon}{rest}"


def connected(engine: Engine) -> Connection:
    """Returns a connection to a database.

    Raises:
        UnusableAddressError: if the database has no encoding. SQLAlchemy takes what psycopg
            returns from one for text, though it is bytes.
    """
    try:
        return engine.connect()
    except TypeError:
        raise UnusableAddressError(
            "the database of PostgreSQL is not in UTF-8: make another, as in createdb "
            "--encoding=UTF8 --template=template0"
        ) from None


def _installed() -> str:
    for package in ("psycopg", "psycopg2"):
        if find_spec(package):
            return package
    raise UnusableAddressError(
        "PostgreSQL needs psycopg: in a checkout, pip install '.[postgresql]'"
    )
